"""Takes audio in and gives it out: the bytes and what is known of them stay in step."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

import grpc
import structlog

from servicekit.errors import DomainError
from servicekit.ids import new_id
from storage_service.errors import UploadStalledError, audio_mismatch, audio_not_found, audio_too_large, field_error
from storage_service.ports import AudioStore, StoryStore, Upload
from storage_service.records import AudioKey, KeptAudio, SignedUrl
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_log: Final = structlog.stdlib.get_logger("storage_service.audio")

_WRITE_BLOCK: Final = 1 << 20
_READ_CHUNK: Final = 256 << 10
"""Between services pieces are larger than at the gateway's door: see docs/adr/0007-pieces-of-audio.md."""


class AudioLibrary:
    """The audio of stories, over a store of records and one of bytes.

    `max_bytes` bounds a file, `idle_seconds` the wait for the next piece of an upload.
    """

    def __init__(self, stories: StoryStore, files: AudioStore, *, max_bytes: int, idle_seconds: float) -> None:
        self._stories = stories
        self._files = files
        self._max_bytes = max_bytes
        self._idle_seconds = idle_seconds

    async def write(
        self, header: storage_pb2.AudioHeader, pieces: AsyncIterator[storage_pb2.WriteAudioRequest]
    ) -> common_pb2.StoryAudio:
        """Keeps the audio that `header` announces and `pieces` bring; gives it as kept, without segments.

        Raises STORY_NOT_FOUND, WRONG_STATE, LEASE_LOST, AUDIO_TOO_LARGE, AUDIO_MISMATCH, or VALIDATION_FAILED where
        the pieces do not follow each other up to a commit. Nothing is kept then.
        """
        await self._stories.check_lease(header.story_id, header.lease_token)
        key = AudioKey(header.story_id, new_id())
        async with self._files.upload(key, content_type=header.audio.content_type) as upload:
            commit = await self._receive(upload, pieces)
            digest = await upload.digest()
            if (digest.size, digest.sha256) != (commit.size_bytes, commit.sha256):
                raise audio_mismatch(
                    "Size or SHA-256 of the audio differ from what the commit says.", received_bytes=str(digest.size)
                )
            await upload.publish()
        audio = common_pb2.StoryAudio()
        audio.CopyFrom(header.audio)
        audio.ClearField("segments")
        audio.size_bytes, audio.sha256 = digest.size, digest.sha256
        try:
            attached = await self._stories.attach_audio(header.story_id, header.lease_token, audio, key)
        except DomainError as error:
            # Where the database could not say, the record may be kept after all: the sweep finds out.
            if error.code is not grpc.StatusCode.UNAVAILABLE:
                await self._forget([key])
            raise
        await self._forget(attached.dropped)
        return attached.audio

    async def find(self, owner: str, story_id: str, audio_id: str) -> KeptAudio:
        """The audio of a story, the one named `audio_id` unless that is empty; AUDIO_NOT_FOUND."""
        kept = await self._stories.find_audio(owner, story_id)
        if kept is None or audio_id not in {"", kept.audio.audio_id}:
            raise audio_not_found(story_id)
        return kept

    async def read(self, owner: str, kept: KeptAudio, *, offset: int, limit: int | None) -> AsyncGenerator[bytes, None]:
        """The bytes from `offset` on, in chunks of 256 KiB.

        Raises AUDIO_CORRUPT where bytes are missing or differ, AUDIO_NOT_FOUND where other audio has taken their place.
        """
        try:
            async with aclosing(self._files.read(kept, offset=offset, limit=limit)) as blocks:
                async for block in blocks:
                    for start in range(0, len(block), _READ_CHUNK):
                        yield block[start : start + _READ_CHUNK]
        except DomainError as error:
            if error.code is grpc.StatusCode.DATA_LOSS:
                now = await self._stories.find_audio(owner, kept.key.story_id)
                if now is None or now.key != kept.key:
                    raise audio_not_found(kept.key.story_id) from error
                _log.error("kept audio is damaged", story_id=kept.key.story_id)
            raise

    async def url(self, kept: KeptAudio, *, expiry: int) -> SignedUrl:
        """An address for the audio, for `expiry` microseconds; AUDIO_URL_UNSUPPORTED."""
        return await self._files.url(kept, expiry=expiry)

    async def sweep(self, *, grace: int) -> int:
        """Removes bytes older than `grace` microseconds that no story refers to; how many files."""
        return await self._files.sweep(self._stories.known_audio, grace=grace)

    async def _forget(self, keys: Sequence[AudioKey]) -> None:
        """Removes bytes that no story refers to; what stays for now is swept later."""
        try:
            await self._files.remove(keys)
        except DomainError:
            _log.warning("audio without a story stays until it is swept", files=len(keys))

    async def _receive(
        self, upload: Upload, pieces: AsyncIterator[storage_pb2.WriteAudioRequest]
    ) -> storage_pb2.AudioCommit:
        received = gathered = 0
        # Pieces, not a bytearray: that one moves all its bytes each time it grows.
        block: list[bytes] = []
        while (piece := await self._next(pieces)) is not None:
            match piece.WhichOneof("piece"):
                case "chunk":
                    # Taken out once: each look at the field copies it.
                    data = piece.chunk.data
                    _check_chunk(piece.chunk.offset, len(data), received)
                    received += len(data)
                    if received > self._max_bytes:
                        raise audio_too_large(self._max_bytes)
                    block.append(data)
                    gathered += len(data)
                    if gathered >= _WRITE_BLOCK:
                        await upload.write(b"".join(block))
                        block.clear()
                        gathered = 0
                case "commit":
                    if piece.commit.size_bytes <= 0:
                        raise field_error("commit.size_bytes", "must be above 0")
                    if await self._next(pieces) is not None:
                        raise field_error("commit", "must come last")
                    await upload.write(b"".join(block))
                    return piece.commit
                case "header":
                    raise field_error("header", "must come once")
                case _:
                    raise field_error("piece", "must be given")
        raise field_error("commit", "must be given; nothing is kept without it")

    async def _next(self, pieces: AsyncIterator[storage_pb2.WriteAudioRequest]) -> storage_pb2.WriteAudioRequest | None:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await anext(pieces, None)
        except TimeoutError:
            raise UploadStalledError from None


def _check_chunk(offset: int, size: int, received: int) -> None:
    if size > _WRITE_BLOCK:
        raise field_error("chunk.data", "must have at most 1048576 bytes")
    if offset != received:
        raise field_error("chunk.offset", f"must be {received}, the bytes that came before it")
