"""The check that a segment is whole, before a byte of it leaves the service.

Frames are walked and the length is held against the text; nothing is decoded and loudness is not judged. TRUNCATED is
an ImplausibleError where the bytes are whole and do not fit the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.mp3 import Mp3Error, walk
from voice_service.audio.plausibility import duration_bounds
from voice_service.implausible import ImplausibleError
from voice_service.ports import MP3_44100_128

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_service.audio.mp3 import Walk
    from voice_service.ports import StoryFormat, WordTiming

_SAMPLE_BYTES: Final = 2
_LATE_SECONDS: Final = 0.3
"""How far a provider may be off about its last word."""


def verify_segment(
    data: bytes,
    *,
    text: str,
    speed: float | None,
    provider: str,
    story_format: StoryFormat = MP3_44100_128,
) -> Walk:
    """Strip tags from the MP3 `data` and check that it is whole frames of `story_format`, as long as `text` needs.

    Raises ProviderError of `provider`: TRUNCATED (retryable) where bytes are cut, damaged or implausibly few or many;
    UNSUPPORTED where the frames are whole but of another format.
    """
    walked = _walk(data, provider)
    if not is_of(walked, story_format):
        message = (
            f"the audio has {walked.sample_rate} Hz, {walked.channels} channel(s) and "
            f"{walked.bit_rate or 'varying'} bit/s where the story has {story_format.sample_rate} Hz, "
            f"{story_format.channels} and {story_format.bit_rate}"
        )
        raise ProviderError(ProviderErrorKind.UNSUPPORTED, message, provider=provider)
    _check_duration(walked.duration, text=text, speed=speed, provider=provider)
    return walked


def verify_mp3(data: bytes, *, text: str, speed: float | None, provider: str) -> Walk:
    """Do as `verify_segment` does with frames of any one format. Raises ProviderError with TRUNCATED (retryable)."""
    walked = _walk(data, provider)
    _check_duration(walked.duration, text=text, speed=speed, provider=provider)
    return walked


def is_of(walked: Walk, story_format: StoryFormat) -> bool:
    """Tell whether the frames may stand in a story of that format as they are."""
    shape = (walked.sample_rate, walked.channels, walked.bit_rate)
    return shape == (story_format.sample_rate, story_format.channels, story_format.bit_rate)


def verify_pcm(pcm: bytes, *, sample_rate: int, text: str, speed: float | None, provider: str) -> None:
    """Check that mono s16le `pcm` at `sample_rate` Hz is whole samples, as long as `text` needs.

    Raises ProviderError of `provider` with TRUNCATED (retryable).
    """
    if not pcm or len(pcm) % _SAMPLE_BYTES:
        message = f"the audio is not whole: {len(pcm)} bytes of 16-bit samples"
        raise ProviderError(ProviderErrorKind.TRUNCATED, message, provider=provider)
    _check_duration(len(pcm) / _SAMPLE_BYTES / sample_rate, text=text, speed=speed, provider=provider)


def verify_words(words: Sequence[WordTiming], *, duration: float, provider: str) -> None:
    """Check that no word sounds beyond the end of `duration` seconds of sound: that tells of audio that was lost.

    Raises ProviderError of `provider` with TRUNCATED (retryable).
    """
    end = words[-1].end if words else 0.0
    if end > duration + _LATE_SECONDS:
        message = f"the audio lasts {duration:.2f} s where its last word ends at {end:.2f} s"
        raise ImplausibleError(message, provider=provider)


def _walk(data: bytes, provider: str) -> Walk:
    try:
        return walk(data)
    except Mp3Error as error:
        message = f"the audio is not whole: {error}"
        raise ProviderError(ProviderErrorKind.TRUNCATED, message, provider=provider) from error


def _check_duration(duration: float, *, text: str, speed: float | None, provider: str) -> None:
    bounds = duration_bounds(text, speed)
    if not bounds.admit(duration):
        message = (
            f"the audio lasts {duration:.2f} s where {len(text)} characters take "
            f"{bounds.shortest:.2f} to {bounds.longest:.2f} s"
        )
        raise ImplausibleError(message, provider=provider)
