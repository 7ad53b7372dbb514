"""Keeps answers within what gRPC carries."""

from collections.abc import Iterator
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from tale.storage.v1 import storage_pb2

MAX_BYTES: Final = 3 << 20
"""Of a record in an answer. gRPC carries 4 MiB; the gateway, which needs the whole record, cuts further for callers."""

_CHUNK: Final = 256 << 10
"""Bytes of audio in a message: between services chunks are larger than at the gateway's door."""


def chunks_of(block: bytes) -> Iterator[bytes]:
    """The chunks in which bytes of audio are sent."""
    if len(block) <= _CHUNK:
        return iter((block,))
    return (block[start : start + _CHUNK] for start in range(0, len(block), _CHUNK))


def within_bounds(record: storage_pb2.StoryRecord) -> storage_pb2.StoryRecord:
    """The record; where it is too large, without its raw responses, which a problem then says."""
    if record.ByteSize() <= MAX_BYTES:
        return record
    del record.story.full_response[:]
    now = Timestamp()
    now.GetCurrentTime()
    record.story.problems.add(
        reason="RESPONSE_TRUNCATED",
        message="The raw responses of the models are too large for an answer and were left out of this one.",
        mend="Nothing is lost: text, audio and ledger are whole.",
        time=now,
    )
    return record
