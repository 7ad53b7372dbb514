"""The check that a segment is whole, before a byte of it leaves the service, and its way into the story's format."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind, Treatment
from voice_service.audio.decode import AudioError, decode, is_file, samples_of_mp3
from voice_service.audio.encoder import Sound
from voice_service.audio.lengths import Lengths
from voice_service.audio.mp3 import Walk, followed_by_silence
from voice_service.ports import MP3_44100_128, NativeFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_service.audio.encoder import AudioEncoder
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


class SegmentFinisher:
    """Decodes and checks a provider's answer, and brings it into the story's format."""

    def __init__(self, encoder: AudioEncoder) -> None:
        self._encoder = encoder
        self._lengths = Lengths()

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
        name = metadata.name
        raw = metadata.native_format is NativeFormat.PCM_S16LE
        known = partial(decode, data, content_type=content_type, sample_rate=metadata.sample_rate if raw else 0)
        try:
            heard = await self._encoder.run(known) if raw or is_file(data) else known()
            if trouble := self._lengths.trouble(heard.duration, request, name):
                raise ImplausibleError(trouble, provider=name)
            check_words(words, duration=heard.duration, provider=name)
            if isinstance(heard, Walk):
                if heard.shape == (story_format.sample_rate, story_format.channels, story_format.bit_rate):
                    heard = followed_by_silence(heard, request.pause)
                    return Sound(heard.data, heard.samples, heard.sample_rate)
                heard = await self._encoder.run(partial(samples_of_mp3, heard))
            return await self._encoder.encode(heard.followed_by_silence(request.pause), story_format)
        except AudioError as error:
            raise ProviderError(error.kind, str(error), provider=name) from error
