"""Segments as messages of the storage service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tale.storage.v1 import segment_pb2
from voice_service.segments.ports import NO_WORDS, StoredSegment, Words

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK: Final = 1 << 20
"""Most bytes of a chunk; most segments of the default format are one."""
_CHUNK_TAG: Final = bytes([segment_pb2.PutSegmentRequest.CHUNK_FIELD_NUMBER << 3 | 2])
_COMMIT: Final = segment_pb2.PutSegmentRequest(commit=segment_pb2.PutSegmentCommit()).SerializeToString()


def put_requests(segment: StoredSegment, audio: bytes, story_id: str) -> Iterator[bytes]:
    """Yields the messages that store a segment, as they go over the wire: header, chunks, commit."""
    header = segment_pb2.PutSegmentHeader(segment=to_message(segment), story_id=story_id)
    yield segment_pb2.PutSegmentRequest(header=header).SerializeToString()
    for begin in range(0, len(audio), _CHUNK):
        yield chunk_request(audio[begin : begin + _CHUNK])
    yield _COMMIT


def chunk_request(chunk: bytes) -> bytes:
    """Returns PutSegmentRequest(chunk=chunk) as it goes over the wire.

    A message would copy the bytes three times; that was a third of the CPU of storing a segment.
    """
    head, size = bytearray(_CHUNK_TAG), len(chunk)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return b"".join((head, chunk))


def to_message(segment: StoredSegment) -> segment_pb2.StoredSegment:
    """Returns the message for a segment."""
    words = segment.words
    return segment_pb2.StoredSegment(
        key=segment.key,
        size_bytes=segment.size,
        sha256=segment.sha256,
        sample_count=segment.samples,
        sample_rate=segment.sample_rate,
        provider=segment.provider,
        voice_id=segment.voice_id,
        model_id=segment.model_id,
        words=segment_pb2.SegmentWords(
            text_starts=words.text_starts,
            text_ends=words.text_ends,
            start_us=words.starts_us,
            end_us=words.ends_us,
        )
        if words.text_starts
        else None,
    )


def from_message(message: segment_pb2.StoredSegment) -> StoredSegment:
    """Returns the segment of a message."""
    words = NO_WORDS
    if message.HasField("words"):
        timed = message.words
        words = Words(tuple(timed.text_starts), tuple(timed.text_ends), tuple(timed.start_us), tuple(timed.end_us))
    return StoredSegment(
        key=message.key,
        size=message.size_bytes,
        sha256=message.sha256,
        samples=message.sample_count,
        sample_rate=message.sample_rate,
        provider=message.provider,
        voice_id=message.voice_id,
        model_id=message.model_id,
        words=words,
    )
