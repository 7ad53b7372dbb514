"""Reads audio from storage, over as many streams as it takes."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, Protocol

from gateway.persistence import Persistence
from gateway.siblings import SIBLING_ERRORS, classify
from tale.storage.v1 import storage_pb2

WAIT_SECONDS: Final = 60.0
"""How long a reader waits for a storage service that cannot be reached."""


class Storage(Protocol):
    """What the reader needs of storage."""

    def read_audio(
        self, request: storage_pb2.ReadAudioRequest, *, timeout: float | None
    ) -> AsyncGenerator[storage_pb2.ReadAudioResponse, None]:
        """The header, then chunks."""


class AudioReader:
    """Reads audio, finished or in the making. A stream that breaks is resumed behind the last byte that came."""

    def __init__(
        self,
        storage: Storage,
        *,
        wait_seconds: float = WAIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._wait_seconds = wait_seconds
        self._clock = clock

    async def read(
        self, request: storage_pb2.ReadAudioRequest, *, timeout: float | None
    ) -> AsyncGenerator[storage_pb2.ReadAudioResponse, None]:
        """One header, then chunks without a gap or a byte twice; the size in the header is where they end.

        Raises what storage refuses with, and UNAVAILABLE where it stays away.
        """
        until = None if timeout is None else asyncio.get_running_loop().time() + timeout
        persistence = Persistence(wait_seconds=self._wait_seconds, clock=self._clock)
        wanted, begun = storage_pb2.ReadAudioRequest(), False
        wanted.CopyFrom(request)
        while not (begun and wanted.limit <= 0):
            left = None if until is None else max(0.0, until - asyncio.get_running_loop().time())
            try:
                async with aclosing(self._storage.read_audio(wanted, timeout=left)) as responses:
                    async for response in responses:
                        if response.WhichOneof("piece") == "chunk":
                            size = len(response.chunk.data)
                            wanted.offset += size
                            wanted.limit -= size
                            yield response
                            persistence.progressed()
                        elif not begun:
                            begun, header = True, response.header
                            # A narration grows and may begin anew: what goes on is this one, up to this size.
                            wanted.audio_id = header.audio_id
                            if not wanted.HasField("limit"):
                                wanted.limit = max(0, header.size_bytes - wanted.offset)
                            yield response
                return  # noqa: TRY300 - all is read
            except SIBLING_ERRORS as error:
                await persistence.after(classify(error))
