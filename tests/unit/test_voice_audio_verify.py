"""Whether a segment is whole, judged by its frames and its length."""

from __future__ import annotations

import pytest
from support.voice_samples import ENGLISH

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.verify import duration_bounds, verify_pcm, verify_segment, verify_words
from voice_service.audio.words import word_spans
from voice_service.ports import WordTiming
from voice_service.providers.mock.provider import frames_for, silent_mp3

SECONDS = len(ENGLISH) / 15


def test_whole_segment_is_verified() -> None:
    """Frames, samples, rate and duration of a whole segment come back with its bytes."""
    data = silent_mp3(b"x", frames_for(SECONDS))

    verified = verify_segment(data, text=ENGLISH, speed=None, provider="mock")

    assert data == verified.data
    assert frames_for(SECONDS) == verified.frames
    assert 1152 * verified.frames / 44_100 == verified.duration


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.3, 0.45, 0.5])
def test_segment_that_lost_half_between_frames_is_refused(kept: float) -> None:
    """A cut between two frames that leaves half or less of a passage is refused as truncated."""
    data = silent_mp3(b"x", frames_for(SECONDS * kept))

    with pytest.raises(ProviderError) as caught:
        verify_segment(data, text=ENGLISH, speed=None, provider="mock")

    assert (ProviderErrorKind.TRUNCATED, True, "mock") == (
        caught.value.kind,
        caught.value.retryable,
        caught.value.provider,
    )


def test_segment_that_runs_away_is_refused() -> None:
    """Six times the length that a text needs is no reading of it."""
    data = silent_mp3(b"x", frames_for(SECONDS * 6))

    with pytest.raises(ProviderError) as caught:
        verify_segment(data, text=ENGLISH, speed=None, provider="mock")

    assert ProviderErrorKind.TRUNCATED == caught.value.kind


@pytest.mark.parametrize("data", [b"", b"<html>", silent_mp3(b"x", 400)[:-1]])
def test_segment_that_is_not_whole_frames_is_refused(data: bytes) -> None:
    """What cannot be walked is truncated, whatever is wrong with it."""
    with pytest.raises(ProviderError) as caught:
        verify_segment(data, text="Mia", speed=None, provider="mock")

    assert ProviderErrorKind.TRUNCATED == caught.value.kind


def test_segment_in_another_format_is_refused_for_good() -> None:
    """Whole frames of another format would be the same on a retry."""
    stereo = (bytes.fromhex("fffb9064") + bytes(413)) * 20

    with pytest.raises(ProviderError) as caught:
        verify_segment(stereo, text="Mia", speed=None, provider="mock")

    assert (ProviderErrorKind.UNSUPPORTED, False) == (caught.value.kind, caught.value.retryable)


def test_error_says_nothing_of_the_text() -> None:
    """Story text stays out of what may be logged."""
    with pytest.raises(ProviderError) as caught:
        verify_segment(silent_mp3(b"x", 1), text="Secret " * 20, speed=None, provider="mock")

    assert "Secret" not in str(caught.value)


@pytest.mark.parametrize("pcm", [b"", b"\0", bytes(44_100 * 40 + 1)])
def test_pcm_of_no_or_half_samples_is_refused(pcm: bytes) -> None:
    """PCM is whole samples, and some."""
    with pytest.raises(ProviderError) as caught:
        verify_pcm(pcm, sample_rate=22_050, text=ENGLISH, speed=None, provider="offline")

    assert ProviderErrorKind.TRUNCATED == caught.value.kind


@pytest.mark.parametrize(("kept", "whole"), [(1.0, True), (0.5, False)])
def test_pcm_is_held_against_its_text(kept: float, whole: bool) -> None:
    """Half of the samples that a text needs are refused."""
    pcm = bytes(2 * int(22_050 * SECONDS * kept))
    refused = False

    try:
        verify_pcm(pcm, sample_rate=22_050, text=ENGLISH, speed=None, provider="offline")
    except ProviderError:
        refused = True

    assert whole is not refused


@pytest.mark.parametrize("text", ["…", "🐉🌙", "* * *", "—", "?!", "Mia", "The End", "Zzzzzzzzzzzzzzzzzzzzzzzzzzzzz!"])
def test_short_and_wordless_texts_have_no_minimum(text: str) -> None:
    """A frame of sound is enough for a word, a mark or a drawn-out sound."""
    assert duration_bounds(text).admit(1152 / 44_100)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1234567890", 6.9), ("👨‍👩‍👧‍👦🐉🌙", 2.5), ("I. II. III. IV.", 4.4), ("กาลครั้งหนึ่งนานมาแล้ว", 26.5), ("Mia", 0.9)],
)
def test_texts_that_sound_long_are_admitted(text: str, seconds: float) -> None:
    """Numbers, emoji and scripts that a voice spells out take their time (measured with espeak-ng)."""
    assert duration_bounds(text).admit(seconds)


def test_speed_widens_the_bounds_and_never_narrows_them() -> None:
    """A provider that ignores or clamps the speed is not refused for it."""
    plain, fast, slow = duration_bounds(ENGLISH), duration_bounds(ENGLISH, 2.0), duration_bounds(ENGLISH, 0.5)

    assert fast.shortest < plain.shortest == slow.shortest
    assert slow.longest > plain.longest == fast.longest


def test_speed_of_zero_is_a_mistake() -> None:
    """A speed is a factor above zero."""
    with pytest.raises(ValueError, match="positive"):
        duration_bounds("Mia", 0.0)


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

    verify_words(words, duration=0.7, provider="mock")
    verify_words((), duration=0.1, provider="mock")
    with pytest.raises(ProviderError) as caught:
        verify_words(words, duration=0.5, provider="mock")

    assert (ProviderErrorKind.TRUNCATED, True) == (caught.value.kind, caught.value.retryable)
