"""PCM to MP3."""

from __future__ import annotations

import asyncio
import os

import numpy as np
import pytest

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.decode import Pcm
from voice_service.audio.encoder import AudioEncoder, encode
from voice_service.audio.mp3 import walk
from voice_service.audio.verify import SegmentFinisher
from voice_service.ports import MP3_44100_128, OGG_OPUS_48000, WAV_44100, SegmentRequest, StoryFormat
from voice_service.providers.mock.provider import MockVoiceProvider
from voice_service.providers.offline.provider import OfflineVoiceProvider


def tone(seconds: float, sample_rate: int) -> Pcm:
    """A tone of 440 Hz."""
    moments = np.arange(round(seconds * sample_rate)) / sample_rate
    return Pcm((np.sin(2 * np.pi * 440 * moments) * 8000).astype("<i2"), sample_rate)


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_encoding_keeps_the_duration(sample_rate: int) -> None:
    """The story's format comes out, longer than the PCM by the encoder's delay and padding: 3 frames at most."""
    walked = walk(encode(tone(1.0, sample_rate), MP3_44100_128).data)

    assert (44_100, 1, 128_000) == (walked.sample_rate, walked.channels, walked.bit_rate)
    assert 0 < walked.duration - 1.0 < 3 * 1152 / 44_100


@pytest.mark.parametrize("story_format", [MP3_44100_128, WAV_44100, OGG_OPUS_48000], ids=lambda each: each.name)
@pytest.mark.parametrize("samples", [131_199, 131_200, 60_000])
def test_same_pcm_gives_the_same_sound(story_format: StoryFormat, samples: int) -> None:
    """Nothing random is mixed in, wherever in memory it is made."""
    pcm = Pcm((np.random.default_rng(1).normal(size=samples) * 3_000).astype("<i2"), 24_000)
    made: set[bytes] = set()
    held: list[bytes] = []
    for _ in range(12):
        held.append(bytes(len(held) * 10_007))
        made.add(encode(pcm, story_format).data)

    assert 1 == len(made)


def test_what_is_loud_is_cut_and_not_turned_over() -> None:
    """Resampling overshoots where full steps follow each other."""
    square = np.where(np.arange(24_000) // 40 % 2, 32_767, -32_768).astype("<i2")
    loud = np.frombuffer(encode(Pcm(square, 24_000), WAV_44100).data, dtype="<i2")

    assert (32_767, -32_768) == (loud.max(), loud.min())
    assert 24_000 // 40 - 1 == np.count_nonzero(np.diff(loud > 0))


def test_encoding_starts_with_an_empty_reservoir() -> None:
    """The first frame needs no bits of a frame before it, so segments can be joined."""
    encoded = encode(tone(0.5, 22_050), MP3_44100_128).data
    main_data_begin = encoded[4] << 1 | encoded[5] >> 7

    assert 0 == main_data_begin


def test_one_sample_can_be_encoded() -> None:
    """The shortest sound is some frames."""
    assert walk(encode(Pcm(np.zeros(1, "<i2"), 22_050), MP3_44100_128).data).frames >= 1


async def test_encoder_works_off_the_loop_in_order() -> None:
    """Encodings beside each other give what one by one gives."""
    encoder = AudioEncoder(threads=2)
    sounds = [tone(0.1 * number, 22_050) for number in range(1, 6)]

    encoded = [each.data for each in await asyncio.gather(*(encoder.encode(sound) for sound in sounds))]

    assert [encode(sound, MP3_44100_128).data for sound in sounds] == encoded
    await encoder.aclose()


async def test_encoder_never_raises_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without privileges that fails, and a service that was started by `nice` would encode nothing."""
    priorities: list[int] = []
    monkeypatch.setattr(os, "getpriority", lambda *_: 10)
    monkeypatch.setattr(os, "setpriority", lambda *given: priorities.append(given[-1]))
    await AudioEncoder(1).encode(tone(0.1, 16_000))
    assert [10] == priorities


async def test_finisher_encodes_pcm_and_passes_mp3_through() -> None:
    """PCM is brought into the story's format; MP3 in that format is left as it is."""
    encoder = AudioEncoder(threads=1)
    finisher = SegmentFinisher(encoder)
    request = SegmentRequest(text="Good night, Mia.", language_code="en")
    pcm = tone(1.5, 24_000)
    mp3 = encode(pcm, MP3_44100_128).data

    metadata = OfflineVoiceProvider().metadata
    encoded = await finisher.finish(pcm.samples.tobytes(), request=request, metadata=metadata, levelled=True)
    passed = await finisher.finish(mp3, request=request, metadata=MockVoiceProvider().metadata, levelled=True)

    assert mp3 == encoded.data == passed.data
    await encoder.aclose()


async def test_finisher_refuses_pcm_that_is_too_short() -> None:
    """PCM is held against its text before it is encoded, in the name of its provider."""
    encoder = AudioEncoder(threads=1)
    request = SegmentRequest(text="Good night, Mia. " * 10, language_code="en")

    with pytest.raises(ProviderError) as caught:
        await SegmentFinisher(encoder).finish(
            tone(1.0, 24_000).samples.tobytes(), request=request, metadata=OfflineVoiceProvider().metadata
        )

    assert (ProviderErrorKind.TRUNCATED, "offline") == (caught.value.kind, caught.value.provider)
    await encoder.aclose()
