"""Whether a segment is whole, judged by its frames and its length."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
from support.voice_samples import ENGLISH

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.encoder import AudioEncoder, Sound
from voice_service.audio.mp3 import walk
from voice_service.audio.verify import SegmentFinisher, check_words
from voice_service.audio.words import word_spans
from voice_service.ports import NativeFormat, SegmentRequest, WordTiming
from voice_service.providers.mock.provider import MockVoiceProvider, frames_for, silent_mp3

SECONDS = len(ENGLISH) / 15


async def finished(data: bytes, text: str = ENGLISH, native: NativeFormat = NativeFormat.MP3_44100_128) -> Sound:
    """The segment as a provider's answer becomes one."""
    encoder = AudioEncoder(1)
    metadata = replace(MockVoiceProvider().metadata, native_format=native, sample_rate=22_050)
    request = SegmentRequest(text=text, language_code="en")
    try:
        return await SegmentFinisher(encoder).finish(data, request=request, metadata=metadata)
    finally:
        await encoder.aclose()


async def refusal(data: bytes, text: str = ENGLISH, native: NativeFormat = NativeFormat.MP3_44100_128) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await finished(data, text, native)
    assert "mock" == caught.value.provider
    return caught.value


async def test_whole_segment_passes_as_it_is() -> None:
    """Frames of the story's format are not coded again."""
    data = silent_mp3(b"x", frames_for(SECONDS))

    sound = await finished(data)

    assert data == sound.data
    assert 1152 * frames_for(SECONDS) / 44_100 == sound.duration


@pytest.mark.parametrize("native", NativeFormat)
async def test_whatever_a_provider_announces_its_bytes_are_heard(native: NativeFormat) -> None:
    """A file in another format than the announced one is decoded; the story has its own."""
    samples = (np.sin(np.arange(round(24_000 * SECONDS)) * 0.05) * 8_000).astype("<i2")
    for container, subtype in (("WAV", None), ("FLAC", None), ("OGG", "OPUS"), ("MP3", None)):
        file = io.BytesIO()
        soundfile.write(file, samples, 24_000, format=container, subtype=subtype)
        sound = await finished(file.getvalue(), native=native)
        assert (44_100, 1, 128_000) == walk(sound.data).shape
        assert sound.duration == pytest.approx(SECONDS, abs=0.15)


@pytest.mark.parametrize("kept", [0.1, 0.3, 0.45, 0.5])
async def test_segment_that_lost_half_between_frames_is_refused(kept: float) -> None:
    """A cut between two frames that leaves half or less of a passage is refused as truncated."""
    error = await refusal(silent_mp3(b"x", frames_for(SECONDS * kept)))

    assert ProviderErrorKind.TRUNCATED is error.kind
    assert error.retryable


async def test_segment_that_runs_away_is_refused() -> None:
    """Six times the length that a text needs is no reading of it."""
    assert ProviderErrorKind.TRUNCATED is (await refusal(silent_mp3(b"x", frames_for(SECONDS * 6)))).kind


@pytest.mark.parametrize("data", [b"", b"\x00garbage", silent_mp3(b"x", 400)[:-1]])
async def test_segment_that_is_not_whole_frames_is_refused(data: bytes) -> None:
    """What cannot be walked is truncated, whatever is wrong with it."""
    assert ProviderErrorKind.TRUNCATED is (await refusal(data, "Mia")).kind


@pytest.mark.parametrize("native", NativeFormat)
async def test_text_is_refused_as_no_audio(native: NativeFormat) -> None:
    """However short the text is that should have been spoken."""
    assert ProviderErrorKind.TRANSPORT is (await refusal(b"Internal Server Error!", "Mia", native)).kind


async def test_error_says_nothing_of_the_text() -> None:
    """Story text stays out of what may be logged."""
    assert "Secret" not in str(await refusal(silent_mp3(b"x", 1), "Secret " * 20))


@pytest.mark.parametrize("samples", [b"", b"\0", bytes(44_100 * 40 + 1)])
async def test_pcm_of_no_or_half_samples_is_refused(samples: bytes) -> None:
    """PCM is whole samples, and some."""
    error = await refusal(samples, native=NativeFormat.PCM_S16LE)

    assert ProviderErrorKind.TRUNCATED is error.kind


async def test_pcm_is_held_against_its_text() -> None:
    """Half of the samples that a text needs are refused, and silence in place of its words."""
    whole = (np.sin(np.arange(int(22_050 * SECONDS)) * 0.05) * 8_000).astype("<i2").tobytes()

    assert await finished(whole, native=NativeFormat.PCM_S16LE)
    assert (
        ProviderErrorKind.TRUNCATED is (await refusal(whole[: len(whole) // 4 * 2], native=NativeFormat.PCM_S16LE)).kind
    )
    assert "silent" in (await refusal(bytes(len(whole)), native=NativeFormat.PCM_S16LE)).message
    # A voice may have no word for a sign.
    assert await finished(bytes(2 * 22_050), "①", NativeFormat.PCM_S16LE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("“Are you awake?” she said…", ["Are", "you", "awake", "she", "said"]),
        ("couldn't — well-known—wind", ["couldn't", "well-known", "wind"]),
        ("«Да-да!» Ёжик-то, дракó́н", ["Да-да", "Ёжик-то", "дракó́н"]),
        ("a 🐉, 👨‍👩‍👧 ... !", ["a", "🐉", "👨‍👩‍👧"]),
        ("", []),
    ],
)
def test_words_stand_without_their_punctuation(text: str, words: list[str]) -> None:
    """A span holds a word and nothing around it."""
    assert words == [text[start:end] for start, end in word_spans(text)]


def test_words_beyond_the_end_of_the_sound_tell_that_it_was_cut() -> None:
    """Of a short text the length alone does not: half of it may be a fast reading."""
    words = (WordTiming(0, 4, 0.0, 0.4), WordTiming(5, 10, 0.4, 0.9))

    check_words(words, duration=0.7, provider="mock")
    check_words((), duration=0.1, provider="mock")
    with pytest.raises(ProviderError) as caught:
        check_words(words, duration=0.5, provider="mock")

    assert (ProviderErrorKind.TRUNCATED, True) == (caught.value.kind, caught.value.retryable)
