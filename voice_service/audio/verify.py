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
from functools import partial
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind, Treatment
from voice_service.audio.decode import AudioError, decode, is_file, samples_of_mp3
from voice_service.audio.encoder import Sound
from voice_service.audio.mp3 import Walk, followed_by_silence
from voice_service.ports import MP3_44100_128, NativeFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_service.audio.encoder import AudioEncoder
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


_LATE_SECONDS: Final = 0.3
"""How far a provider may be off about its last word."""


def check_words(words: Sequence[WordTiming], *, duration: float, provider: str) -> None:
    """Checks that no word sounds beyond the end of `duration` seconds of sound: then audio was lost.

    Raises ProviderError of `provider` with TRUNCATED (retryable).
    """
    end = words[-1].end if words else 0.0
    if end > duration + _LATE_SECONDS:
        message = f"the audio lasts {duration:.2f} s where its last word ends at {end:.2f} s"
        raise ImplausibleError(message, provider=provider)


def check_duration(duration: float, *, text: str, speed: float | None, provider: str) -> None:
    """Checks that `duration` seconds are a plausible length for `text`. Raises ImplausibleError of `provider`."""
    bounds = duration_bounds(text, speed)
    if not bounds.admit(duration):
        message = (
            f"the audio lasts {duration:.2f} s where {len(text)} characters take "
            f"{bounds.shortest:.2f} to {bounds.longest:.2f} s"
        )
        raise ImplausibleError(message, provider=provider)


class SegmentFinisher:
    """Decodes and checks a provider's answer, and brings it into the story's format."""

    def __init__(self, encoder: AudioEncoder) -> None:
        self._encoder = encoder

    async def finish(
        self,
        data: bytes,
        *,
        request: SegmentRequest,
        metadata: ProviderMetadata,
        words: Sequence[WordTiming] = (),
        content_type: str = "",
        story_format: StoryFormat = MP3_44100_128,
    ) -> Sound:
        """Returns the whole segment that `metadata`'s provider made for `request`, with `words` at their times.

        The pause of the request follows it.

        MP3 in the story's format passes as it is, and is neither decoded nor handed to a thread. Raises ProviderError:
        TRUNCATED (retryable) where bytes are cut, damaged or implausibly few or many for the text, UNSUPPORTED where
        they are of a kind that cannot be decoded, TRANSPORT where they are no audio.
        """
        text, speed, name = request.text, request.settings.speed, metadata.name
        raw = metadata.native_format is NativeFormat.PCM_S16LE
        known = partial(decode, data, content_type=content_type, sample_rate=metadata.sample_rate if raw else 0)
        try:
            heard = await self._encoder.run(known) if raw or is_file(data) else known()
            check_duration(heard.duration, text=text, speed=speed, provider=name)
            check_words(words, duration=heard.duration, provider=name)
            if isinstance(heard, Walk):
                if heard.shape == (story_format.sample_rate, story_format.channels, story_format.bit_rate):
                    heard = followed_by_silence(heard, request.pause)
                    return Sound(heard.data, heard.samples, heard.sample_rate)
                heard = await self._encoder.run(partial(samples_of_mp3, heard))
            return await self._encoder.encode(heard.followed_by_silence(request.pause), story_format)
        except AudioError as error:
            raise ProviderError(error.kind, str(error), provider=name) from error
