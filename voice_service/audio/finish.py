"""From what a provider handed over to a segment that may leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voice_service.audio.verify import VerifiedSegment, verify_pcm, verify_segment
from voice_service.ports import NativeFormat

if TYPE_CHECKING:
    from voice_service.audio.encoder import Mp3Encoder
    from voice_service.ports import ProviderMetadata, SegmentRequest


class SegmentFinisher:
    """Checks a provider's bytes and brings them into the story's format."""

    def __init__(self, encoder: Mp3Encoder) -> None:
        self._encoder = encoder

    async def finish(self, data: bytes, *, request: SegmentRequest, metadata: ProviderMetadata) -> VerifiedSegment:
        """Return the whole segment that `metadata`'s provider made for `request`.

        Raises ProviderError as `verify_segment` and `verify_pcm` do.
        """
        speed = request.settings.speed
        if metadata.native_format is NativeFormat.PCM_S16LE:
            verify_pcm(data, sample_rate=metadata.sample_rate, text=request.text, speed=speed, provider=metadata.name)
            data = await self._encoder.encode(data, metadata.sample_rate)
        return verify_segment(data, text=request.text, speed=speed, provider=metadata.name)
