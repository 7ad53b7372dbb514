"""Counts what a narration came to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from voice_service.messages import Summary
from voice_service.registry import EMBEDDED

if TYPE_CHECKING:
    from voice_service.assembly import Assembly
    from voice_service.messages import CallMade


class Tally:
    """The segments and calls of one narration so far."""

    def __init__(self) -> None:
        self._providers: Counter[str] = Counter()
        self._cached = 0
        self._characters = 0

    def segment(self, provider: str, *, cached: bool) -> None:
        """Count a segment; `cached` where nothing was called for it."""
        self._providers[provider] += 1
        self._cached += cached

    def call(self, call: CallMade) -> CallMade:
        """Count the characters of a call, and return it."""
        self._characters += call.record.characters
        return call

    def summary(self, audio_id: str, assembly: Assembly) -> Summary:
        """Return the summary, once all segments are counted and stand in `assembly`."""
        return Summary(
            audio_id=audio_id,
            size=assembly.size,
            samples=assembly.samples,
            sample_rate=assembly.sample_rate,
            segments=self._providers.total(),
            cached_segments=self._cached,
            characters=self._characters,
            embedded=EMBEDDED in self._providers,
            providers=dict(self._providers),
        )
