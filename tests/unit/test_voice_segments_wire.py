"""Segments as messages of the storage service."""

import pytest
from support.voice_segments import WORDS, segment

from tale.storage.v1 import segment_pb2
from voice_service.segments.ports import StoredSegment
from voice_service.segments.wire import chunk_request, from_message, put_requests, to_message


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, 1 << 20])
def test_a_chunk_is_the_message_that_protobuf_makes(size: int) -> None:
    """Whatever its length takes."""
    chunk = bytes(size)

    assert segment_pb2.PutSegmentRequest(chunk=chunk).SerializeToString() == chunk_request(chunk)


def test_a_segment_is_header_chunks_and_commit() -> None:
    """In this order, and the chunks are its bytes."""
    audio = bytes(range(256)) * 10_000
    pieces = [segment_pb2.PutSegmentRequest.FromString(each) for each in put_requests(segment(audio), audio, "story")]

    assert ["header", "chunk", "chunk", "chunk", "commit"] == [piece.WhichOneof("piece") for piece in pieces]
    assert "story" == pieces[0].header.story_id
    assert audio == b"".join(piece.chunk for piece in pieces)


@pytest.mark.parametrize("facts", [segment(), segment(words=WORDS)])
def test_facts_survive_the_wire(facts: StoredSegment) -> None:
    """With words and without."""
    assert facts == from_message(to_message(facts))
