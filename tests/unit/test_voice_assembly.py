"""Where the bytes of a segment depend on its place in the file."""

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from tale.storage.v1.segment_pb2 import StoredSegment
from voice_service.audio.container import pack, samples_of
from voice_service.narration.assembly import Assembly
from voice_service.narration.messages import samples_in
from voice_service.ports import OGG_OPUS_48000
from voice_service.synthesis.store import MemorySegments


def made(packets: int) -> tuple[StoredSegment, bytes]:
    """A segment of so many packets; always under the same key."""
    sound = [bytes([0b11111000]) + bytes([number % 250]) * 20 for number in range(packets)]
    data = pack(sound)
    segment = StoredSegment(
        key="a" * 64,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).digest(),
        sample_count=samples_of(sound),
        sample_rate=48_000,
        provider="p",
        voice_id="v",
        model_id="m",
    )
    return segment, data


@pytest.mark.parametrize("stored", [True, False])
async def test_a_segment_that_was_made_again_is_placed_as_it_is_now(stored: bool) -> None:
    """Ogg pages of the sound that was lost are not taken for those of the new one, under the same key."""
    store = MemorySegments()
    request: Any = SimpleNamespace(story_format=OGG_OPUS_48000, story_id="", word_timings=False, stored=stored)
    text: Any = SimpleNamespace(index=0, start=0, end=10, last=False, spoken=None)
    placed = []
    for packets in (100, 150):
        segment, audio = made(packets)
        spoken: Any = SimpleNamespace(segment=segment, audio=audio, cached=False)
        placed.append(await Assembly(request, store).place(text, spoken))
    before, after = placed

    assert before.segment.key != after.segment.key
    assert after.segment.sha256 == hashlib.sha256(await store.read(after.segment.key)).digest()
    assert samples_in(after.segment.duration, 48_000) == made(150)[0].sample_count
