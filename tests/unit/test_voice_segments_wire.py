"""Segments as messages of the storage service."""

from support.voice_segments import segment

from voice_service.synthesis.remote_store import put_requests


def test_a_segment_is_header_chunks_and_commit() -> None:
    """In this order, and the chunks are its bytes."""
    audio = bytes(range(256)) * 10_000
    pieces = list(put_requests(segment(audio), audio, "story"))

    assert ["header", "chunk", "chunk", "chunk", "commit"] == [piece.WhichOneof("piece") for piece in pieces]
    assert "story" == pieces[0].header.story_id
    assert audio == b"".join(piece.chunk for piece in pieces)
