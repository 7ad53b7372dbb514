"""Worker processes of the embedded voice, and the queue before them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.providers.offline.engine import Speech, failure, refusal

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Coroutine, Sequence


_AGAIN_SECONDS: Final = 60.0
_MAX_HEADER_BYTES: Final = 1 << 20
_MAX_PCM_BYTES: Final = 64 << 20
_READ_BUFFER_BYTES: Final = 4 << 20
_PREFIX_BYTES: Final = 4
# Keys of paid providers stay out of a process that feeds text to native code.
_ENVIRONMENT: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")


_ROOT: Final = str(Path(__file__).resolve().parents[3])


def worker_program(module: str, *arguments: str, packages: bool = True) -> tuple[str, ...]:
    """Returns the command line that runs `main` of a module beside this one.

    It is isolated from the environment, and from installed packages where it needs none.
    """
    name = f"{__package__}.{module}"
    code = f"import sys; sys.path.insert(0, {_ROOT!r}); from {name} import main; sys.exit(main(*sys.argv[1:]))"
    return (sys.executable, "-I", *(() if packages else ("-S",)), "-c", code, *arguments)


class WorkerFailedError(Exception):
    """The process ended, or sent no valid reply. It cannot be used again."""


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
        """Starts `command` and wait for its hello. Raises WorkerFailedError; the caller sets the deadline."""
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
        """Sends `request` (see `pipe`) and return what it made.

        Raises ProviderError where it refuses, after which it may be used on, and WorkerFailedError, after which it may
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
            raise refusal(str(header["error"]))
        pcm_bytes = _whole_number(header.get("pcm_bytes"))
        words = header.get("words")
        if pcm_bytes > request["max_pcm_bytes"] or not isinstance(words, list):
            raise WorkerFailedError("the worker's answer makes no sense")
        pcm = await self._read_exactly(pcm_bytes)
        sample_rate = _whole_number(header.get("sample_rate", self.sample_rate))
        clauses = tuple((str(said), int(end)) for said, end in header.get("clauses", ()))
        return Speech(pcm, tuple((int(position), int(sample)) for position, sample in words), sample_rate, clauses)

    async def kill(self) -> None:
        """Ends the process and its fork at once and let go of the pipes."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._requests.close()
        # Reading to the end lets the loop close the pipe, which it leaves open for further reads.
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


_T = TypeVar("_T")


class WorkerPool:
    """Hands requests to at most `size` workers, first come first served.

    A worker is started when it is first needed, is killed when it fails or takes longer than `speak_timeout` seconds
    for a request, and is replaced by the next request. A request that is cancelled while a worker speaks it is spoken
    to its end and forgotten, so that the worker stays in step. At most `max_waiting` requests wait, each for
    `queue_timeout` seconds.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        size: int,
        start_timeout: float,
        speak_timeout: float,
        queue_timeout: float,
        max_waiting: int = 1024,
    ) -> None:
        self._command = command
        self._size = size
        self._start_timeout = start_timeout
        self._speak_timeout = speak_timeout
        self._queue_timeout = queue_timeout
        self._max_waiting = max_waiting
        self._reason: str | None = None
        self._again = 0.0
        self._places = asyncio.Semaphore(size)
        self._waiting = 0
        self._idle: deque[WorkerProcess] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def idle_pids(self) -> tuple[int, ...]:
        """Process ids of the workers that wait for a request."""
        return tuple(worker.pid for worker in self._idle)

    def warm_up(self) -> None:
        """Starts all workers in the background; requests that come meanwhile wait for them.

        Says nothing of a worker that does not start: `check` and the first request do.
        """
        for _ in range(self._size):
            self._track(asyncio.create_task(self._in_turn(self._start_one)))

    async def check(self) -> None:
        """Makes sure that a worker starts. Raises ProviderError as `speak` does."""
        await self._in_turn(self._start_one)

    async def failed(self) -> str:
        """Returns why the last start of a worker failed; "" where it did not. Starts one at most once a minute."""
        if self._reason is None or (self._reason and time.monotonic() >= self._again):
            try:
                await self.check()
            except ProviderError as error:
                return error.message
        return self._reason or ""

    async def speak(self, request: dict[str, Any]) -> Speech:
        """Speaks `request` (see `pipe`; this adds "seconds" and "max_pcm_bytes").

        Raises ProviderError: what `refusal` makes of a worker's, TRANSPORT where it crashed or talked nonsense, TIMEOUT
        where it took too long, OVERLOAD where the queue is full or too slow, CANCELLED once the pool is closed.
        """
        limits = {"seconds": self._speak_timeout, "max_pcm_bytes": _MAX_PCM_BYTES}
        return await self._in_turn(lambda: self._speak({**limits, **request}))

    async def aclose(self) -> None:
        """Kills all workers; what they were speaking, and what waits, fails with ProviderError CANCELLED."""
        self._closed = True
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        while self._idle:
            await self._idle.pop().kill()

    async def _in_turn(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Waits for a place and do `work` in it, to its end even when the caller is cancelled."""
        if self._waiting >= self._max_waiting:
            raise failure(ProviderErrorKind.OVERLOAD, "too many requests wait")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._queue_timeout):
                await self._places.acquire()
        except TimeoutError as error:
            raise failure(ProviderErrorKind.OVERLOAD, "all workers stayed busy") from error
        finally:
            self._waiting -= 1
        if self._closed:
            self._places.release()
            raise failure(ProviderErrorKind.CANCELLED, "the voice is shutting down")
        task = asyncio.create_task(work())
        self._track(task)
        task.add_done_callback(lambda _: self._places.release())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if task.cancelled() and not (caller and caller.cancelling()):
                raise failure(ProviderErrorKind.CANCELLED, "the voice is shutting down") from None
            raise

    def _track(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Retrieved here, since a cancelled caller does not: the loop would log it.
        if not task.cancelled():
            task.exception()

    async def _start_one(self) -> None:
        self._idle.append(await self._take_worker())

    async def _speak(self, request: dict[str, Any]) -> Speech:
        worker = await self._take_worker()
        usable = False
        try:
            async with asyncio.timeout(self._speak_timeout):
                speech = await worker.speak(request)
            usable = True
        except ProviderError:
            usable = True
            raise
        except TimeoutError as error:
            raise failure(ProviderErrorKind.TIMEOUT, f"no answer within {self._speak_timeout:g} s") from error
        except WorkerFailedError as error:
            raise failure(ProviderErrorKind.TRANSPORT, str(error)) from error
        finally:
            if usable:
                self._idle.append(worker)
            else:
                await worker.kill()
        return speech

    async def _take_worker(self) -> WorkerProcess:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            await worker.kill()
        return await self._start()

    async def _start(self) -> WorkerProcess:
        try:
            async with asyncio.timeout(self._start_timeout):
                worker = await WorkerProcess.start(self._command)
        except TimeoutError as error:
            self._note(f"a worker did not start within {self._start_timeout:g} s")
            raise failure(ProviderErrorKind.TIMEOUT, self._reason or "") from error
        except WorkerFailedError as error:
            self._note(str(error))
            raise failure(ProviderErrorKind.TRANSPORT, self._reason or "") from error
        self._note("")
        return worker

    def _note(self, reason: str) -> None:
        self._reason, self._again = reason, time.monotonic() + _AGAIN_SECONDS
