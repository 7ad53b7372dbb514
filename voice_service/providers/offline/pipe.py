"""The worker's end of the pipes.

Protocol on stdin and stdout, one request at a time; every number is big-endian:

    hello     = length:u32 {"id": 0, "sample_rate": Hz}
    request   = length:u32 {"id", "seconds", "max_pcm_bytes", ... as the worker needs}
    reply     = length:u32 {"id", "pcm_bytes", "sample_rate", "words": [[code point, sample], ...]} pcm (mono s16le)
              | length:u32 {"id", "error": "voice" | "too_long" | "failed"}

`sample_rate` is left out of a reply where it is that of the hello. The process ends when stdin does and when its parent
dies. It imports the standard library alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG: Final = 1
_NICE: Final = 5


class Engine(Protocol):
    """What speaks in a worker: `sample_rate` in Hz."""

    sample_rate: int

    def speak(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Returns the header of the reply and the samples."""


_E = TypeVar("_E", bound=Engine)


def serve(load: Callable[[], _E], answer: Callable[[_E, dict[str, Any], BinaryIO], bool]) -> int:
    """Loads the engine and answers requests until stdin ends, or until one is not answered.

    Returns the exit status.
    """
    _die_with_parent()
    # The process that started this one answers calls meanwhile.
    os.nice(_NICE)
    requests = sys.stdin.buffer
    # What a library may print must not get between the replies.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    engine = load()
    _write(replies, {"id": 0, "sample_rate": engine.sample_rate})
    while (request := _read(requests)) is not None:
        if not answer(engine, request, replies):
            return 1
    return 0


def reply(engine: Engine, request: dict[str, Any], replies: BinaryIO) -> bool:
    """Speaks `request` and writes the reply."""
    # The parent kills what takes too long; this is for a parent that is gone.
    signal.alarm(int(request["seconds"]) + 1)
    try:
        header, pcm = engine.speak(request)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # It is the text: the engine is as it was.
        header, pcm = {"error": "failed"}, b""
    signal.alarm(0)
    _write(replies, {"id": request["id"], **header}, pcm)
    return True


def reply_in_fork(engine: Engine, request: dict[str, Any], replies: BinaryIO) -> bool:
    """Speaks `request` in a fork, which leaves no trace in the engine; returns whether all went well."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _die_with_parent()
            reply(engine, request, replies)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def _die_with_parent() -> None:
    """Has this process killed when its parent ends, where the system can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))


def _read(stream: BinaryIO) -> dict[str, Any] | None:
    prefix = stream.read(4)
    if len(prefix) < 4:
        return None
    (length,) = struct.unpack(">I", prefix)
    body = stream.read(length)
    if len(body) < length:
        return None
    request: dict[str, Any] = json.loads(body)
    return request


def _write(stream: BinaryIO, header: dict[str, Any], pcm: bytes = b"") -> None:
    body = json.dumps(header).encode()
    stream.write(struct.pack(">I", len(body)) + body)
    stream.write(pcm)
    stream.flush()
