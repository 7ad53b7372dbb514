"""Silence of the service's own behind titles, headings and paragraphs, whatever the provider sends."""

import math
from collections.abc import AsyncIterator

import numpy as np
import pytest
from support.voice_kit import NamedVoice, voice_service

from servicekit.resilience.errors import ProviderError
from voice_service.audio.encoder import AudioEncoder
from voice_service.audio.mp3 import walk
from voice_service.audio.verify import SegmentFinisher
from voice_service.narration.spoken_text import HEADING_PAUSE, PARAGRAPH_PAUSE
from voice_service.ports import (
    MP3_44100_128,
    OGG_OPUS_48000,
    WAV_44100,
    NativeFormat,
    ProviderMetadata,
    SegmentRequest,
    StoryFormat,
)
from voice_service.providers.mock.provider import frames_for, silent_mp3

TEXT = "The fox ran home."


@pytest.fixture
async def encoder() -> AsyncIterator[AudioEncoder]:
    """An encoder."""
    encoder = AudioEncoder(1)
    yield encoder
    await encoder.aclose()


def _metadata(native: NativeFormat) -> ProviderMetadata:
    return ProviderMetadata(
        name="one", display_name="One", supports_streaming=False, native_format=native, sample_rate=22_050,
        max_text_length=600, languages=("en",), paid=False, takes_previous_text=False, default_voice="v",
        default_model="m",
    )  # fmt: skip


@pytest.mark.parametrize("story_format", [MP3_44100_128, WAV_44100, OGG_OPUS_48000], ids=lambda each: each.name)
@pytest.mark.parametrize("native", list(NativeFormat))
async def test_pause_is_part_of_the_segment_in_every_format(
    encoder: AudioEncoder, native: NativeFormat, story_format: StoryFormat
) -> None:
    """As long as asked for, to a frame of MP3; the length of the text is judged without it."""
    tone = (8_000 * np.sin(np.arange(30_000) / 8)).astype("<i2").tobytes()
    data = tone if native is NativeFormat.PCM_S16LE else silent_mp3(b"x", frames_for(1.3))
    finisher = SegmentFinisher(encoder)

    async def finished(pause: float) -> float:
        request = SegmentRequest(text=TEXT, language_code="en", pause=pause)
        sound = await finisher.finish(data, request=request, metadata=_metadata(native), story_format=story_format)
        return sound.duration

    assert abs(await finished(HEADING_PAUSE) - await finished(0.0) - HEADING_PAUSE) < 0.03
    with pytest.raises(ProviderError):
        await finisher.finish(
            data[: len(data) // 20 // 2 * 2] if native is NativeFormat.PCM_S16LE else silent_mp3(b"x", 1),
            request=SegmentRequest(text=TEXT * 3, language_code="en", pause=30.0),
            metadata=_metadata(native),
        )


async def test_pauses_follow_the_title_and_empty_lines_and_none_the_end() -> None:
    """Each is in the facts of its segment, so that the words after it are where they are heard."""
    text = "The fox ran home.\n\nChapter Two\n\nShe slept until the morning came.\n\n"
    async with voice_service(NamedVoice("mock")) as voice:
        told = await voice.tell(text, title="The Fox", word_timings=True)
    silent = bytes([*told.audio[:2], told.audio[2] & ~2, told.audio[3]]) + bytes(413)
    sounds = [told.audio[segment.audio.start : segment.audio.end] for segment in told.segments]

    frames = [math.ceil(pause * 44_100 / 1_152) for pause in (HEADING_PAUSE, PARAGRAPH_PAUSE, HEADING_PAUSE, 0.0)]
    assert frames == [sound.count(silent) for sound in sounds]
    assert [walk(sound).samples for sound in sounds] == [
        round(segment.duration.ToNanoseconds() * 44_100 / 1e9) for segment in told.segments
    ]
    ends = [segment.words[-1].end.ToNanoseconds() / 1e9 for segment in told.segments[:3]]
    starts = [segment.start.ToNanoseconds() / 1e9 for segment in told.segments[1:]]
    assert all(start - end >= PARAGRAPH_PAUSE for start, end in zip(starts, ends, strict=True))
