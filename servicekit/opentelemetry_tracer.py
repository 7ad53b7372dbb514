"""Spans by the SDK of OpenTelemetry, exported as OTLP over HTTP, or to standard output for a look at them."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from servicekit.settings import ConfigurationError
from servicekit.tracing import EXPORTER_VARIABLE, PROTOCOL_VARIABLES, TRACEPARENT_KEY, TRACESTATE_KEY, Trace
from servicekit.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from servicekit.tracing import Kind, Value

_log: Final = structlog.stdlib.get_logger("servicekit.tracing")

_PROTOCOL: Final = "http/protobuf"
_KINDS: Final = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_CLOSE_SECONDS: Final = 3.0
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class OpenTelemetryTracer:
    """Starts spans; a thread of the SDK exports them in batches, from a queue of bounded length (OTEL_BSP_*).

    Spans that do not fit into the queue, or that no collector takes, are dropped: a story never waits for them.
    """

    def __init__(self, service: str, exporter: SpanExporter) -> None:
        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before the service's own name.
        named = Resource({SERVICE_NAME: f"tale-{service}", SERVICE_VERSION: VERSION})
        resource = Resource.create().merge(named).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Noted(exporter)))
        self._tracer = self._provider.get_tracer("tale", VERSION)

    @classmethod
    def from_environment(cls, service: str, environ: Mapping[str, str]) -> Self:
        """Returns the tracer with the exporter that `environ` names; the SDK reads the other variables itself.

        Raises ConfigurationError for an exporter or a protocol that there is not.
        """
        exporter = environ.get(EXPORTER_VARIABLE, "").strip() or "otlp"
        if exporter not in {"otlp", "console"}:
            raise ConfigurationError(f"{EXPORTER_VARIABLE}: {exporter!r} is not supported; set otlp, console or none")
        for name in PROTOCOL_VARIABLES:
            if (protocol := environ.get(name, "").strip() or _PROTOCOL) != _PROTOCOL:
                raise ConfigurationError(
                    f"{name}: {protocol!r} is not supported; set {_PROTOCOL}, and the endpoint to the port of the"
                    " collector for it (4318 by default)"
                )
        for library in ("opentelemetry", "urllib3"):
            logging.getLogger(library).setLevel(logging.CRITICAL)
        return cls(service, OTLPSpanExporter() if exporter == "otlp" else ConsoleSpanExporter())

    def start(
        self, name: str, kind: Kind, attributes: Mapping[str, Value], *, parent: Trace | None = None
    ) -> OpenTelemetrySpan:
        """Starts a span: the first of this process in its trace."""
        carrier = dict(parent.metadata) if parent is not None else {}
        context = _PROPAGATOR.extract(carrier) if carrier else None
        span = self._tracer.start_span(name, context, kind=_KINDS[kind], attributes=dict(attributes))
        return OpenTelemetrySpan(self._tracer, span)

    async def close(self) -> None:
        """Exports the rest, for at most 3 seconds."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self._provider.force_flush()
            with suppress(RuntimeError):  # the loop is closed by now
                loop.call_soon_threadsafe(done.set)

        # A daemon: the end of the process would wait for a thread of the loop's executor.
        threading.Thread(target=flush, name="last spans", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await done.wait()


class OpenTelemetrySpan:
    """A span of the SDK."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
        self.trace: Final = Trace(carrier.get(TRACEPARENT_KEY, ""), carrier.get(TRACESTATE_KEY, ""))

    def child(self, name: str, kind: Kind, attributes: Mapping[str, Value]) -> OpenTelemetrySpan:
        """Starts a span within this one."""
        context = trace.set_span_in_context(self._span)
        span = self._tracer.start_span(name, context, kind=_KINDS[kind], attributes=dict(attributes))
        return OpenTelemetrySpan(self._tracer, span)

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Adds facts; empty texts are left out."""
        for name, value in attributes.items():
            if value != "":
                self._span.set_attribute(name, value)

    def event(self, name: str) -> None:
        """Notes that something happened now."""
        self._span.add_event(name)

    def end(self, *, error: str = "") -> None:
        """Ends it; `error` is the reason or code of a failure."""
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class _Noted(SpanExporter):
    """Exports by another exporter; logs once that no collector takes the spans, and once that one does again.

    The SDK would write several lines for each batch.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Returns what became of the spans; a failure is no exception."""
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            _log.warning("traces not exported")
        if self._failing and not failed:
            _log.info("traces exported again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """Closes the connection."""
        self._exporter.shutdown()
