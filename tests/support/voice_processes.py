"""Processes that tests watch die, and a worker that misbehaves on request."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from typing import TYPE_CHECKING, Final

import pytest

from voice_service.providers.offline.provider import OfflineVoiceProvider

if TYPE_CHECKING:
    from pathlib import Path

SCRIPTED_WORKER: Final = """
import json, os, sys, time

def read(count):
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        sys.exit(0)
    return data

def write(header, pcm=b""):
    body = json.dumps(header).encode()
    sys.stdout.buffer.write(len(body).to_bytes(4, "big") + body + pcm)
    sys.stdout.buffer.flush()

write({"id": 0, "sample_rate": 22050})
while True:
    request = json.loads(read(int.from_bytes(read(4), "big")))
    text, number = request["text"], request["id"]
    pcm = text.encode()
    if text == "crash":
        write({"id": number, "pcm_bytes": 100000, "words": []}, bytes(70000))
        os._exit(1)
    elif text == "hang":
        time.sleep(3600)
    elif text == "nonsense":
        sys.stdout.buffer.write(b"Traceback (most recent call last)")
        sys.stdout.buffer.flush()
    elif text == "not json":
        sys.stdout.buffer.write((4).to_bytes(4, "big") + b"oops")
        sys.stdout.buffer.flush()
    elif text == "another":
        write({"id": number + 1, "pcm_bytes": 0, "words": []})
    elif text == "endless":
        write({"id": number, "pcm_bytes": 1 << 40, "words": []})
    elif text == "refuse":
        write({"id": number, "error": "voice"})
    else:
        if text == "noisy":
            os.write(2, bytes(1 << 20))
        if text.startswith("wait "):
            open(text[5:]).read()
        write({"id": number, "pcm_bytes": len(pcm), "words": [[0, 0]]}, pcm)
"""


def scripted_worker(folder: Path) -> tuple[str, ...]:
    """Write the worker into `folder` and return its command line.

    It answers with the text as samples, but for texts that name a misbehaviour; "wait PATH" waits for a FIFO to be
    opened for writing and closed.
    """
    path = folder / "scripted_worker.py"
    path.write_text(SCRIPTED_WORKER)
    return (sys.executable, "-I", "-S", str(path))


def without_neural(workers: int = 1) -> OfflineVoiceProvider:
    """Return the embedded voice of a machine where onnxruntime is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", None)
        return OfflineVoiceProvider(workers=workers)


async def gone(pid: int) -> None:
    """Return when the process has ended. Raises TimeoutError after 10 s."""
    async with asyncio.timeout(10):
        if hasattr(os, "pidfd_open"):
            await asyncio.to_thread(_wait_by_descriptor, pid)
            return
        while _exists(pid):  # noqa: ASYNC110 - where the system has no descriptor for it
            await asyncio.sleep(0.01)


def _wait_by_descriptor(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [], 10)
    finally:
        os.close(descriptor)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
