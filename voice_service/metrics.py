"""Metrics of the voice service, beside those of every server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from servicekit.resilience.outgoing import AuditLog

if TYPE_CHECKING:
    from servicekit.metrics import Metrics

_CALL_SECONDS: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30.0, 60.0)
_NARRATION_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_NO_PREFIX: Final = re.compile(r"[^a-zA-Z0-9_]")
SUCCESS: Final = "success"
"""Status of a call and outcome of a narration that went well."""


class VoiceMetrics:
    """The service's own series. Labels are names of providers, endpoints, kinds and reasons, never text.

    Calls are counted for each provider apart, by `<provider>_api_calls_total{endpoint,status}` and
    `<provider>_api_duration_seconds{endpoint}`, each with an audit line; `status` is "success", "cancelled" or the kind
    of the failure.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._audits: dict[str, AuditLog] = {}
        self.first_byte = metrics.histogram(
            "voice_provider_first_byte_seconds",
            "Seconds until the first byte of a segment came from a provider",
            ("provider",),
            buckets=_CALL_SECONDS,
        )
        self.characters = metrics.counter(
            "voice_characters", "Characters sent to providers, or billed if they report it", ("provider",)
        )
        self.cost = metrics.counter(
            "voice_cost_usd", "US dollars for speech, by the prices in SPEECH_PRICES", ("provider",)
        )
        self.remaining = metrics.gauge(
            "voice_remaining_characters", "Characters that the plan of a provider has left", ("provider",)
        )
        self.narrations = metrics.counter(
            "voice_narrations", "Narrations that ended", ("provider", "outcome", "reason")
        )
        self.narration_seconds = metrics.histogram(
            "voice_narration_duration_seconds",
            "Seconds that narrations took",
            ("provider", "outcome"),
            buckets=_NARRATION_SECONDS,
        )
        self.narration_first_byte = metrics.histogram(
            "voice_narration_first_byte_seconds",
            "Seconds from the call to the first segment of audio",
            ("provider",),
            buckets=_CALL_SECONDS,
        )
        self.fallbacks = metrics.counter(
            "voice_fallbacks",
            "Fallbacks from one provider to another",
            ("provider", "next_provider", "reason"),
        )
        self.segments_found = metrics.counter("voice_segments_found", "Segments that the segment store had")
        self.segments_made = metrics.counter("voice_segments_made", "Segments that providers made")
        self.hedges = metrics.counter(
            "voice_hedges", "Second calls for segments whose first byte was late", ("provider",)
        )
        self.admitted = metrics.gauge("voice_narrations_admitted", "Narrations that are being made")
        self.waiting = metrics.gauge("voice_narrations_waiting", "Narrations that wait for a place")
        self.probes = metrics.counter(
            "voice_probes", "Probes of providers with an open circuit", ("provider", "answer")
        )

    def audit(self, provider: str) -> AuditLog:
        """Returns the audit log and counters of a provider; its series exist from then on."""
        prefix = _NO_PREFIX.sub("_", provider)
        audit = self._audits.get(prefix)
        if audit is None:
            audit = self._audits[prefix] = AuditLog(self._metrics, prefix=prefix)
        return audit
