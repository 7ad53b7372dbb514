"""Reads kept audio over as many connections as it takes, and checks that it is what the gateway said it is."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator

import grpc

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.connection import Connection, correlation, next_of
from tale_client.errors import TaleError
from tale_client.retry import ReconnectPolicy, Reconnects


class AudioDownload:
    """The audio of one story, from byte `offset` on. `header` is known with the first chunk."""

    def __init__(
        self, connection: Connection, policy: ReconnectPolicy, story_id: str, *, audio_id: str = "", offset: int = 0
    ) -> None:
        self.header: common_pb2.StoryAudio | None = None
        """Size, SHA-256, media type; None until it came."""
        self._connection = connection
        self._policy = policy
        self._story_id = story_id
        self._audio_id = audio_id
        self._offset = offset
        # The checksum is of the whole: without the beginning only the size can be checked.
        self._hash = hashlib.sha256() if offset == 0 else None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes, in order, each once; TaleError, AUDIO_CORRUPT where size or SHA-256 are not the header's."""
        reconnects = Reconnects(self._policy, asyncio.get_running_loop().time)
        while True:
            call = None
            try:
                await self._connection.ready()
                call = self._call()
                while (response := await next_of(call, self._policy.idle)) is not None:
                    if chunk := self._accept(response):
                        reconnects.progressed()
                        yield chunk
                if self.header is not None and self._offset >= self.header.size_bytes:
                    self._verify(self.header)
                    return
                error = TaleError(
                    grpc.StatusCode.UNAVAILABLE, "STREAM_INCOMPLETE", "The stream ended before the audio did."
                )
            except TaleError as failed:
                if not failed.connection_lost or (call is None and self.header is None):
                    raise
                error = failed
            finally:
                if call is not None:
                    call.cancel()
            await asyncio.sleep(reconnects.lost(error))

    def _call(self) -> grpc.aio.UnaryStreamCall[gateway_pb2.ReadStoryAudioRequest, gateway_pb2.ReadStoryAudioResponse]:
        return self._connection.stub.ReadStoryAudio(
            gateway_pb2.ReadStoryAudioRequest(story_id=self._story_id, audio_id=self._audio_id, offset=self._offset),
            timeout=self._policy.stream_deadline,
            metadata=correlation(),
        )

    def _accept(self, response: gateway_pb2.ReadStoryAudioResponse) -> bytes:
        if response.WhichOneof("piece") == "header":
            if self.header is not None and self.header.sha256 != response.header.sha256:
                raise _corrupt("The audio was replaced by another while it was read; read it again.")
            self.header = response.header
            self._audio_id = response.header.audio_id
            return b""
        piece = response.chunk
        if piece.offset > self._offset:
            raise TaleError(
                grpc.StatusCode.UNAVAILABLE, "STREAM_INCOMPLETE", "The stream left out a part of the audio."
            )
        chunk = piece.chunk[self._offset - piece.offset :]
        self._offset += len(chunk)
        if self._hash is not None:
            self._hash.update(chunk)
        return chunk

    def _verify(self, header: common_pb2.StoryAudio) -> None:
        if self._offset != header.size_bytes:
            raise _corrupt(f"The audio has {self._offset} bytes where {header.size_bytes} were announced.")
        if self._hash is not None and self._hash.digest() != header.sha256:
            raise _corrupt("The audio that came does not match its SHA-256.")


def _corrupt(message: str) -> TaleError:
    return TaleError(grpc.StatusCode.DATA_LOSS, "AUDIO_CORRUPT", message)
