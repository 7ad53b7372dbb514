"""One worker process as its parent sees it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

_MAX_HEADER_BYTES: Final = 1 << 20
_READ_BUFFER_BYTES: Final = 4 << 20
_PREFIX_BYTES: Final = 4
# Keys of paid providers stay out of a process that feeds text to native code.
_ENVIRONMENT: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")


class WorkerFailedError(Exception):
    """The process ended, or said what is no answer to the request. It is of no further use."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What a worker made: mono s16le samples, and pairs of (code point, sample) where words begin."""

    pcm: bytes
    words: tuple[tuple[int, int], ...]


class WorkerRefusedError(Exception):
    """The worker is well but does not speak the request: `reason` is "voice", "too_long" or "failed"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WorkerProcess:
    """A process that speaks one request at a time. Not to be shared by tasks."""

    def __init__(self, process: Process, requests: asyncio.StreamWriter, replies: asyncio.StreamReader) -> None:
        self._process = process
        self._requests = requests
        self._replies = replies
        self._last_id = 0
        self.sample_rate = 0

    @classmethod
    async def start(cls, command: Sequence[str]) -> WorkerProcess:
        """Start `command` and wait for its hello. Raises WorkerFailedError; the caller sets the deadline."""
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=environment,
                start_new_session=True,
                limit=_READ_BUFFER_BYTES,
            )
        except OSError as error:
            raise WorkerFailedError("the worker does not start") from error
        if process.stdin is None or process.stdout is None:
            raise WorkerFailedError("the worker has no pipes")
        worker = cls(process, process.stdin, process.stdout)
        try:
            hello = await worker._read_header(expected_id=0)
            worker.sample_rate = _whole_number(hello.get("sample_rate"))
        except BaseException:
            await worker.kill()
            raise
        return worker

    @property
    def pid(self) -> int:
        """The process's id, which is its process group's too."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process was running when last looked at."""
        return self._process.returncode is None and not self._replies.at_eof()

    async def speak(self, request: dict[str, Any]) -> Speech:
        """Send `request` (see `worker`) and return what it made.

        Raises WorkerRefusedError, after which the worker may be used on, and WorkerFailedError, after which it may
        not, and neither after a cancellation.
        """
        self._last_id += 1
        body = json.dumps({"id": self._last_id, **request}).encode()
        try:
            self._requests.write(len(body).to_bytes(_PREFIX_BYTES, "big") + body)
            await self._requests.drain()
        except OSError as error:
            raise WorkerFailedError("the worker has ended") from error
        header = await self._read_header(expected_id=self._last_id)
        if "error" in header:
            raise WorkerRefusedError(str(header["error"]))
        pcm_bytes = _whole_number(header.get("pcm_bytes"))
        words = header.get("words")
        if pcm_bytes > request["max_pcm_bytes"] or not isinstance(words, list):
            raise WorkerFailedError("the worker's answer makes no sense")
        pcm = await self._read_exactly(pcm_bytes)
        return Speech(pcm, tuple((int(position), int(sample)) for position, sample in words))

    async def kill(self) -> None:
        """End the process and its fork at once and let go of the pipes."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._requests.close()
        # Reading to the end lets the loop close the pipe, which it keeps for whoever may still read.
        with suppress(OSError):
            while await self._replies.read(_READ_BUFFER_BYTES):
                pass
        await self._process.wait()

    async def _read_header(self, *, expected_id: int) -> dict[str, Any]:
        length = int.from_bytes(await self._read_exactly(_PREFIX_BYTES), "big")
        if length > _MAX_HEADER_BYTES:
            raise WorkerFailedError("the worker's answer makes no sense")
        body = await self._read_exactly(length)
        try:
            header = json.loads(body)
        except ValueError as error:
            raise WorkerFailedError("the worker's answer makes no sense") from error
        if not isinstance(header, dict) or header.get("id") != expected_id:
            raise WorkerFailedError("the worker answers another request")
        return header

    async def _read_exactly(self, count: int) -> bytes:
        try:
            return await self._replies.readexactly(count)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise WorkerFailedError("the worker has ended") from error


def _whole_number(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise WorkerFailedError("the worker's answer makes no sense")
    return value
