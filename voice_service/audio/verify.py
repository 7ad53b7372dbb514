"""The check that a segment is whole, before a byte of it leaves the service.

Frames are walked and the length is held against the text; nothing is decoded and loudness is not judged. TRUNCATED is
an ImplausibleError where the bytes are whole and do not fit the text. What is whole is brought into the story's format.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind, Treatment
from voice_service.audio.encoder import Sound
from voice_service.audio.mp3 import Mp3Error, walk
from voice_service.audio.plausibility import duration_bounds
from voice_service.ports import MP3_44100_128, Codec, NativeFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_service.audio.encoder import AudioEncoder
    from voice_service.audio.mp3 import Walk
    from voice_service.ports import ProviderMetadata, SegmentRequest, StoryFormat, WordTiming


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
        """Return the whole segment that `metadata`'s provider made for `request`, with `words` at their times.

        Raises ProviderError as the checks of `voice_service.audio.verify` do; TRUNCATED where the audio can not be
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
                    ProviderErrorKind.TRUNCATED, "the audio can not be encoded", provider=name
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
            raise ProviderError(ProviderErrorKind.TRUNCATED, "the audio can not be decoded", provider=name) from error
