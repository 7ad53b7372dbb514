"""The check that a segment is whole, before a byte of it leaves the service, and its way into the story's format."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import TREATMENTS, ProviderError, ProviderErrorKind
from voice_service.audio.decode import AudioError, Pcm, decode, is_file, samples_of_mp3
from voice_service.audio.encoder import Sound
from voice_service.audio.lengths import Lengths
from voice_service.audio.loudness import Levels, amplified, frames_amplified, has_sound, measure
from voice_service.audio.mp3 import Walk, followed_by_silence
from voice_service.ports import MP3_44100_128, NativeFormat

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from voice_service.audio.encoder import AudioEncoder
    from voice_service.ports import ProviderMetadata, SegmentRequest, StoryFormat, WordTiming


class ImplausibleError(ProviderError):
    """Sound that is too short or too long for its text, or whose times do not end where the text does.

    A text of its own kind may be to blame as well as the provider: another one may be fine. So it does not speak
    against the provider's health as other TRUNCATED answers do.
    """

    def __init__(self, message: str, *, provider: str) -> None:
        kind = ProviderErrorKind.TRUNCATED
        treatment = replace(TREATMENTS[kind], break_circuit=False)
        super().__init__(kind, message, provider=provider, treatment=treatment)


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
        self._levels = Levels()

    async def finish(
        self,
        data: bytes,
        *,
        request: SegmentRequest,
        metadata: ProviderMetadata,
        words: Sequence[WordTiming] = (),
        content_type: str = "",
        levelled: bool = False,
        story_format: StoryFormat = MP3_44100_128,
    ) -> Sound:
        """Returns the whole segment that `metadata`'s provider made for `request`, with `words` at their times.

        The pause of the request follows it. It has the loudness of all voices; `levelled` sound has it already.
        MP3 in the story's format passes frame by frame; of it the first seconds of a voice alone are decoded. Raises
        ProviderError: TRUNCATED (retryable) where bytes are cut, damaged or implausibly few or many for the text,
        UNSUPPORTED where they are of a kind that cannot be decoded, TRANSPORT where they are no audio.
        """
        name = metadata.name
        raw = metadata.native_format is NativeFormat.PCM_S16LE
        known = partial(decode, data, content_type=content_type, sample_rate=metadata.sample_rate if raw else 0)
        try:
            heard = await self._encoder.run(known) if raw or is_file(data) else known()
            if isinstance(heard, Pcm) and not heard.samples.any() and any(map(str.isalpha, request.text)):
                raise ImplausibleError("the audio is silent", provider=name)
            if trouble := self._lengths.trouble(heard.duration, request, name):
                raise ImplausibleError(trouble, provider=name)
            check_words(words, duration=heard.duration, provider=name)
            shape = (story_format.sample_rate, story_format.channels, story_format.bit_rate)
            passes = isinstance(heard, Walk) and heard.shape == shape
            voice = None if levelled else (name, request.voice_id, request.model_id)
            heard = await self._at_level(heard, voice, passes=passes)
            if isinstance(heard, Walk):
                heard = followed_by_silence(heard, request.pause)
                return Sound(heard.data, heard.samples, heard.sample_rate)
            return await self._encoder.encode(heard.followed_by_silence(request.pause), story_format)
        except AudioError as error:
            raise ProviderError(error.kind, str(error), provider=name) from error

    async def _at_level(self, heard: Walk | Pcm, voice: Hashable | None, *, passes: bool) -> Walk | Pcm:
        """Returns the sound at the loudness of all voices: frames that pass into the story, else samples."""
        frames = heard if passes and isinstance(heard, Walk) else None
        fixed = voice is None or self._levels.is_fixed(voice) or (frames is not None and not has_sound(frames))
        if frames is not None and fixed:
            return frames_amplified(frames, self._levels.gain(voice))
        samples = await self._encoder.run(partial(samples_of_mp3, heard)) if isinstance(heard, Walk) else heard
        if not fixed:
            self._levels.add(voice, await self._encoder.run(partial(measure, samples)))
        gain = self._levels.gain(voice)
        if frames is not None:
            return frames_amplified(frames, gain)
        return await self._encoder.run(partial(amplified, samples, gain)) if gain else samples
