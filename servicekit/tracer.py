"""Opens the tracer that the environment asks for; without one the SDK of OpenTelemetry is not imported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from servicekit.tracing import EXPORTER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servicekit.tracing import Tracer

_ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DISABLED_VARIABLE: Final = "OTEL_SDK_DISABLED"


def open_tracer(service: str, environ: Mapping[str, str] = os.environ) -> Tracer | None:
    """Returns the tracer that the standard variables of OpenTelemetry (OTEL_*) describe; None where they ask for none.

    Raises ConfigurationError for an exporter or a protocol that there is not.
    """
    if environ.get(_DISABLED_VARIABLE, "").strip().lower() == "true":
        return None
    exporter = environ.get(EXPORTER_VARIABLE, "").strip()
    reached = any(environ.get(name, "").strip() for name in _ENDPOINT_VARIABLES)
    if exporter == "none" or not (exporter or reached):
        return None
    from servicekit.opentelemetry_tracer import OpenTelemetryTracer  # noqa: PLC0415 - costs 0.3 s and 20 MB

    return OpenTelemetryTracer.from_environment(service, environ)
