"""Keeps answers within what gRPC carries."""

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from tale.storage.v1 import storage_pb2

MAX_BYTES: Final = 3 << 20
"""Of a record in an answer. gRPC carries 4 MiB; the gateway, which needs the whole record, cuts further for callers."""


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
