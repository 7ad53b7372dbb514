"""From what a provider handed over to a segment that may leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.encoder import Sound
from voice_service.audio.verify import is_of, verify_mp3, verify_pcm, verify_segment, verify_words
from voice_service.ports import MP3_44100_128, Codec, NativeFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_service.audio.encoder import AudioEncoder
    from voice_service.ports import ProviderMetadata, SegmentRequest, StoryFormat, WordTiming


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
