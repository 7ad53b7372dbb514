"""Calls a transcriber under a circuit breaker, again where that may help, and writes each call into the books."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.retry import RetryBudget

if TYPE_CHECKING:
    from servicekit.resilience.manager import BreakerManager
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
        self._breakers = breakers
        self._retry = retry
        self._budget = RetryBudget()
        self._metrics = metrics

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

        async def attempt() -> Transcript:
            with self._breakers.get(self.name, provider=self.name).call():
                return await self._call(recording, deadline)

        transcript: Transcript = await self._retry.attempts(budget=self._budget, deadline=deadline)(attempt)
        return transcript

    async def _call(self, recording: Recording, deadline: float | None) -> Transcript:
        began = time.monotonic()
        status, request_id, http_status = ProviderErrorKind.CANCELLED.value, "", ""
        try:
            transcript = await self._inner.transcribe(recording, deadline=deadline)
            status, request_id = "success", transcript.request_id
        except ProviderError as error:
            status, request_id, http_status = error.kind.value, error.request_id, str(error.status or "")
            raise
        finally:
            self._metrics.call_ended(
                self.name,
                ENDPOINT,
                status,
                time.monotonic() - began,
                request_id=request_id,
                http_status=http_status,
            )
        return transcript
