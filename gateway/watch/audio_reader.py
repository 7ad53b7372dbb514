"""Reads audio from storage, over as many streams as it takes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from gateway.peers.clients import CALL_SECONDS, StorageStub
from gateway.peers.retry import PEER_ERRORS, AttemptRetry, classify
from gateway.peers.stream import read_alive
from servicekit.channel import call_metadata
from tale.storage.v1 import storage_pb2

WAIT_SECONDS: Final = 60.0
"""How long a reader waits for a storage service that cannot be reached."""


class AudioReader:
    """Reads audio, finished or in the making. A stream that breaks is resumed behind the last byte that came."""

    def __init__(self, storage: StorageStub) -> None:
        self._storage = storage

    async def read(
        self, request: storage_pb2.ReadAudioRequest, *, timeout: float | None = None
    ) -> AsyncGenerator[storage_pb2.ReadAudioResponse, None]:
        """One header, then chunks without a gap or a byte twice; the size in the header is where they end.

        Raises what storage refuses with, and UNAVAILABLE where it stays away.
        """
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        persistence = AttemptRetry(wait_seconds=WAIT_SECONDS)
        wanted, begun = storage_pb2.ReadAudioRequest(), False
        wanted.CopyFrom(request)
        while not (begun and wanted.limit <= 0):
            left = None if until is None else max(0.0, until - loop.time())
            call = self._storage.ReadAudio(wanted, timeout=left, metadata=call_metadata(), wait_for_ready=True)
            try:
                async with aclosing(read_alive(call, idle_seconds=CALL_SECONDS)) as responses:
                    async for response in responses:
                        if response.HasField("chunk"):
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
            except PEER_ERRORS as error:
                await persistence.after(classify(error))
            finally:
                call.cancel()
