"""Calls a transcriber: behind a circuit breaker, repeated where that may help, counted and audited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from servicekit.resilience.outgoing import OutgoingCalls

if TYPE_CHECKING:
    from servicekit.resilience.manager import BreakerManager
    from servicekit.resilience.outgoing import Attempt
    from servicekit.resilience.retry import RetryPolicy
    from voice_service.metrics import VoiceMetrics
    from voice_service.transcription.ports import Recording, Transcriber, Transcript

ENDPOINT: Final = "audio_transcriptions"


class GuardedTranscriber:
    """The transcriber `inner`, guarded. The breaker has its name."""

    def __init__(
        self,
        inner: Transcriber,
        *,
        breakers: BreakerManager,
        retry: RetryPolicy,
        metrics: VoiceMetrics,
    ) -> None:
        self._inner = inner
        self._calls = OutgoingCalls(
            inner.name, breakers=breakers, policy=retry, audit=metrics.audit(inner.name), http=False
        )

    @property
    def name(self) -> str:
        """See Transcriber."""
        return self._inner.name

    def missing(self) -> str:
        """See Transcriber."""
        return self._inner.missing()

    async def aclose(self) -> None:
        """See Transcriber."""
        await self._inner.aclose()

    async def transcribe(self, recording: Recording, *, deadline: float | None = None) -> Transcript:
        """See Transcriber. CircuitOpenError, and no call, while the circuit is open."""

        async def work(attempt: Attempt) -> Transcript:
            transcript = await self._inner.transcribe(recording, deadline=deadline)
            attempt.ids["request_id"] = transcript.request_id
            return transcript

        return await self._calls.call(ENDPOINT, work, deadline=deadline)
