"""Writes one log line and one count for each call to a provider: outcome and duration, never text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from servicekit.metrics import Metrics

_log: Final = structlog.stdlib.get_logger("servicekit.audit")

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class AuditLog:
    """Writes an audit line at INFO, by the logger `servicekit.audit`, for each upstream call.

    With `metrics` it also counts `<prefix>_api_calls_total{endpoint,status}` and measures
    `<prefix>_api_duration_seconds{endpoint}`; one audit log a prefix.
    """

    def __init__(self, metrics: Metrics | None = None, *, prefix: str = "provider") -> None:
        self._calls = self._seconds = None
        if metrics is not None:
            self._endpoints = metrics.labels(most=50)
            self._statuses = metrics.labels(most=50)
            self._calls = metrics.counter(f"{prefix}_api_calls", "Calls to the provider", ("endpoint", "status"))
            self._seconds = metrics.histogram(
                f"{prefix}_api_duration_seconds", "Seconds that calls took", ("endpoint",), buckets=_SECONDS
            )

    def record(self, provider: str, endpoint: str, status: int | str, duration: float, **ids: str) -> None:
        """Records a call that has ended.

        `endpoint` is the operation ("chat/completions"), without ids in it; `status` the HTTP status, or the kind of
        the error where there was none; `duration` in seconds. `ids` are what the call is known by (request_id,
        generation_id, model, voice): what does not look like an id is left out, and empty ones as well.
        """
        known = {name: value if _ID.fullmatch(value) else "(no id)" for name, value in ids.items() if value}
        # Under names of their own: "request_id" is the caller's on every line.
        upstream = {("upstream_request_id" if name == "request_id" else name): value for name, value in known.items()}
        _log.info(
            "upstream call",
            provider=provider,
            endpoint=endpoint,
            status=status,
            duration_ms=round(duration * 1000, 3),
            **upstream,
        )
        if self._calls is not None and self._seconds is not None:
            label = self._endpoints.of(endpoint)
            self._calls.labels(label, self._statuses.of(str(status))).inc()
            self._seconds.labels(label).observe(duration)
