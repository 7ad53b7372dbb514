"""The check that a segment is whole, before a byte of it leaves the service.

Frames are walked and the length is held against the text; nothing is decoded and loudness is not judged. TRUNCATED is
an ImplausibleError where the bytes are whole and do not fit the text. What is whole is brought into the story's format.

A stream of speech that was cut between two frames looks like a shorter one; only its length against its text shows it.
The bounds are wide on purpose, because refusing a sound segment costs the caller a paid call:

- At least 0.038 s for each letter, digit and gap between words. espeak-ng at 150 words a minute takes 0.069 to 0.076 s
  over passages of English, Russian and German, 0.062 s at its fastest sentence and 0.052 s in the tightest of twenty
  made-up extremes; 19 characters a second, which is fast for any voice, are 0.053 s. So a cut that leaves half of a
  passage or less is refused, of a fast voice one that leaves less than two thirds; a smaller loss at a frame's edge
  passes.
- At most 0.3 s for each letter of an alphabet with upper and lower case, 1 s for a mark of punctuation and 2 s for
  anything else (digits in long numbers take 0.7 s each, emoji 1 s, Thai spelled out by an English voice 1.2 s). This
  stops a voice that runs away, not one that repeats a sentence.

Of a drawn-out sound ("Zzzzzz", "Ooooh") two letters count towards the minimum, since voices differ over the rest.
Punctuation and emoji alone have no minimum.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind, Treatment
from voice_service.audio.encoder import Sound
from voice_service.audio.mp3 import Mp3Error, walk
from voice_service.ports import MP3_44100_128, Codec, NativeFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_service.audio.encoder import AudioEncoder
    from voice_service.audio.mp3 import Walk
    from voice_service.ports import ProviderMetadata, SegmentRequest, StoryFormat, WordTiming


_MIN_SECONDS: Final = 0.038
_MIN_SLACK_SECONDS: Final = 0.4
_MAX_SECONDS_LETTER: Final = 0.3
_MAX_SECONDS_PUNCTUATION: Final = 1.0
_MAX_SECONDS_OTHER: Final = 2.0
_MAX_SLACK_SECONDS: Final = 6.0
_UNSPOKEN: Final = re.compile(r"[^\w\s]|_")
_RUN: Final = re.compile(r"(\w)\1{2,}")


@dataclass(frozen=True, slots=True)
class DurationBounds:
    """Seconds between which the sound of a text is plausible."""

    shortest: float
    longest: float

    def admit(self, duration: float) -> bool:
        """Returns whether `duration` seconds are plausible."""
        return self.shortest <= duration <= self.longest


def duration_bounds(text: str, speed: float | None = None) -> DurationBounds:
    """Bounds the length of `text` spoken at `speed` times a voice's own pace (None is 1.0).

    A speed above 1.0 lowers the minimum and one below raises the maximum, never the other way round: providers
    clamp or ignore a speed that they do not know.
    """
    factor = 1.0 if speed is None else speed
    if factor <= 0:
        raise ValueError("speed must be positive")
    shortest = _MIN_SECONDS * _spoken_length(text) / max(factor, 1.0) - _MIN_SLACK_SECONDS
    longest = (
        sum(_longest_sound(each) * times for each, times in Counter(text).items()) / min(factor, 1.0)
        + _MAX_SLACK_SECONDS
    )
    return DurationBounds(max(0.0, shortest), longest)


def _spoken_length(text: str) -> int:
    """Counts letters, digits and gaps between words; of a letter repeated in a row, two."""
    words = _UNSPOKEN.sub("", text).split()
    return len(_RUN.sub(r"\1\1", " ".join(words)))


def _longest_sound(character: str) -> float:
    if character.isspace():
        return 0.0
    if character.lower() != character.upper():
        return _MAX_SECONDS_LETTER
    if unicodedata.category(character).startswith("P"):
        return _MAX_SECONDS_PUNCTUATION
    return _MAX_SECONDS_OTHER


class ImplausibleError(ProviderError):
    """Sound that is too short or too long for its text, or whose times do not end where the text does.

    A text of its own kind may be to blame as well as the provider: another one may be fine. So it does not speak
    against the provider's health as other TRUNCATED answers do.
    """

    def __init__(self, message: str, *, provider: str) -> None:
        super().__init__(ProviderErrorKind.TRUNCATED, message, provider=provider)

    @property
    def treatment(self) -> Treatment:
        """That of TRUNCATED, but that no circuit opens."""
        return replace(super().treatment, break_circuit=False)


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
    """Strips tags from the MP3 `data` and check that it is whole frames of `story_format`, as long as `text` needs.

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
    """Does as `verify_segment` does with frames of any one format. Raises ProviderError with TRUNCATED (retryable)."""
    walked = _walk(data, provider)
    _check_duration(walked.duration, text=text, speed=speed, provider=provider)
    return walked


def is_of(walked: Walk, story_format: StoryFormat) -> bool:
    """Returns whether the frames may stand in a story of that format as they are."""
    shape = (walked.sample_rate, walked.channels, walked.bit_rate)
    return shape == (story_format.sample_rate, story_format.channels, story_format.bit_rate)


def verify_pcm(pcm: bytes, *, sample_rate: int, text: str, speed: float | None, provider: str) -> None:
    """Checks that mono s16le `pcm` at `sample_rate` Hz is whole samples, as long as `text` needs.

    Raises ProviderError of `provider` with TRUNCATED (retryable).
    """
    if not pcm or len(pcm) % _SAMPLE_BYTES:
        message = f"the audio is not whole: {len(pcm)} bytes of 16-bit samples"
        raise ProviderError(ProviderErrorKind.TRUNCATED, message, provider=provider)
    _check_duration(len(pcm) / _SAMPLE_BYTES / sample_rate, text=text, speed=speed, provider=provider)


def verify_words(words: Sequence[WordTiming], *, duration: float, provider: str) -> None:
    """Checks that no word sounds beyond the end of `duration` seconds of sound: then audio was lost.

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


class SegmentFinisher:
    """Checks a provider's bytes and brings them into the story's format."""

    def __init__(self, encoder: AudioEncoder) -> None:
        self._encoder = encoder

    async def finish(
        self,
        data: bytes,
        *,
        request: SegmentRequest,
        metadata: ProviderMetadata,
        words: Sequence[WordTiming] = (),
        story_format: StoryFormat = MP3_44100_128,
    ) -> Sound:
        """Returns the whole segment that `metadata`'s provider made for `request`, with `words` at their times.

        Raises ProviderError as the checks of `voice_service.audio.verify` do; TRUNCATED where the audio cannot be
        decoded or encoded.
        """
        text, speed, name = request.text, request.settings.speed, metadata.name
        if metadata.native_format is NativeFormat.PCM_S16LE:
            verify_pcm(data, sample_rate=metadata.sample_rate, text=text, speed=speed, provider=name)
            verify_words(words, duration=len(data) / 2 / metadata.sample_rate, provider=name)
            try:
                return await self._encoder.encode(data, metadata.sample_rate, story_format)
            except ValueError as error:
                raise ProviderError(
                    ProviderErrorKind.TRUNCATED, "the audio cannot be encoded", provider=name
                ) from error
        if metadata.native_format is NativeFormat.MP3_44100_128:
            walked = verify_segment(data, text=text, speed=speed, provider=name)
        else:
            walked = verify_mp3(data, text=text, speed=speed, provider=name)
        verify_words(words, duration=walked.duration, provider=name)
        if story_format.codec is Codec.MP3 and is_of(walked, story_format):
            return Sound(walked.data, walked.samples, walked.sample_rate)
        try:
            return await self._encoder.transcode_mp3(walked.data, story_format)
        except ValueError as error:
            raise ProviderError(ProviderErrorKind.TRUNCATED, "the audio cannot be decoded", provider=name) from error
