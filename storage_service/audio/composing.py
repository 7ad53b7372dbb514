"""Composes audio by reading segments from one object store and writing them into another."""

from collections.abc import Sequence
from contextlib import aclosing

import grpc

from servicekit.errors import DomainError
from storage_service.ports import BlobLostError, ObjectStore
from storage_service.records import Blob, Digest, ObjectKey


class StreamedComposer:
    """Composes between any two object stores; see Composer. A block of a segment at a time is in memory."""

    def __init__(self, segments: ObjectStore, audio: ObjectStore) -> None:
        self._segments = segments
        self._audio = audio

    async def compose(self, key: ObjectKey, blobs: Sequence[Blob], *, content_type: str) -> Digest:
        """Writes the blobs one after the other."""
        async with self._audio.upload(key, content_type=content_type) as upload:
            for blob in blobs:
                try:
                    async with aclosing(self._segments.read(blob)) as blocks:
                        async for block in blocks:
                            await upload.write(block)
                except DomainError as error:
                    if error.code is grpc.StatusCode.DATA_LOSS:
                        raise BlobLostError(blob) from error
                    raise
            return await upload.publish()
