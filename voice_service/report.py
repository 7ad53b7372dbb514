"""What the log and the metrics are told of each narration, however it ends."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Self

import structlog

from servicekit.errors import DomainError
from voice_service.messages import SpokenSegment, Summary
from voice_service.metrics import SUCCESS

if TYPE_CHECKING:
    from types import TracebackType

    from voice_service.messages import Event, NarrationRequest
    from voice_service.metrics import VoiceMetrics
    from voice_service.narration import Narration

_log: Final = structlog.stdlib.get_logger(__name__)


class NarrationReport:
    """Watches one narration from its beginning to its end; as a context manager. Ids and numbers only, never text."""

    def __init__(self, request: NarrationRequest, narration: Narration, metrics: VoiceMetrics) -> None:
        self._request = request
        self._narration = narration
        self._metrics = metrics
        self._began = time.monotonic()
        self._sounded = False
        self._summary: Summary | None = None

    def sent(self, event: Event) -> None:
        """Note that an event has left."""
        if isinstance(event, Summary):
            self._summary = event
        elif isinstance(event, SpokenSegment) and not self._sounded:
            self._sounded = True
            self._metrics.narration_began_to_sound(self._narration.provider, time.monotonic() - self._began)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._began
        outcome, reason = _ending(error)
        provider = self._narration.provider
        self._metrics.narration_ended(provider, outcome=outcome, reason=reason, seconds=seconds)
        summary = self._summary
        _log.info(
            "narration",
            audio_id=self._request.audio_id,
            provider=provider,
            success=outcome == SUCCESS,
            generation_time=round(seconds, 3),
            **({"reason": reason} if reason else {}),
            **({} if summary is None else {"segments": summary.segments, "cached": summary.cached_segments}),
        )


def _ending(error: BaseException | None) -> tuple[str, str]:
    match error:
        case None:
            return SUCCESS, ""
        case DomainError():
            return "failure", error.reason
        case asyncio.CancelledError():
            return "cancelled", "CANCELLED"
        case _:
            return "failure", "INTERNAL"
