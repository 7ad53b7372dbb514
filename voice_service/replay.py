"""Gives segments again that were spoken before, exactly as they were, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from servicekit.errors import DomainError
from voice_service.cache.ports import CacheError
from voice_service.outcome import cache_away, segment_lost
from voice_service.speakable import speakable

if TYPE_CHECKING:
    from voice_service.intake import TextSegment
    from voice_service.messages import NarrationRequest, SpokenSegment
    from voice_service.registry import ProviderRegistry
    from voice_service.speaker import Speaker
    from voice_service.synthesize import SegmentSynthesizer, Spoken


class Replay:
    """The committed segments of a narration that is resumed."""

    def __init__(self, request: NarrationRequest, registry: ProviderRegistry, synthesizer: SegmentSynthesizer) -> None:
        self._request = request
        self._registry = registry
        self._synthesizer = synthesizer

    async def give(self, segment: TextSegment, speaker: Speaker) -> Spoken | None:
        """Return the segment as it was; None where the caller has it.

        `speaker` lends settings and language. Raises FAILED_PRECONDITION / SEGMENT_LOST where the text is cut
        otherwise now, or the cache does not hold the segment; UNAVAILABLE / UPSTREAM_UNAVAILABLE where the cache does
        not say.
        """
        before = self._request.spoken[segment.index]
        if (segment.start, segment.end) != (before.text_start, before.text_end):
            raise segment_lost(segment.index, "does not fit this text")
        if segment.index < self._request.skip:
            return None
        try:
            provider = self._registry.get_provider(before.provider)
        except DomainError as error:
            raise segment_lost(segment.index, "is of a provider that is gone") from error
        who = replace(speaker, provider=provider, voice_id=before.voice_id, model_id=before.model_id)
        request = who.request(speakable(segment.text).text, segment.previous)
        try:
            kept = await self._synthesizer.recall(
                provider.metadata, request, self._request.story_format, self._request.story_id
            )
        except CacheError as error:
            raise cache_away() from error
        if kept is None:
            raise segment_lost(segment.index, "is no longer in the cache")
        return kept

    def check(self, placed: SpokenSegment) -> None:
        """See that a segment stands where it stood, with that very audio. Raises FAILED_PRECONDITION / SEGMENT_LOST."""
        if placed.index >= len(self._request.spoken):
            return
        before = self._request.spoken[placed.index]
        if (placed.audio_start, placed.audio_end) != (before.audio_start, before.audio_end):
            raise segment_lost(placed.index, "stood elsewhere in the audio")
        if placed.sha256 != before.sha256:
            raise segment_lost(placed.index, "is in the cache with other audio")
