"""A collector of OpenTelemetry: receives spans by OTLP over HTTP."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class Received:
    """A span as it came, with the name of its service."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]
    events: tuple[str, ...]
    failed: bool
    raw: bytes


@dataclass(slots=True)
class Collector:
    """What has come so far."""

    endpoint: str = ""
    spans: list[Received] = field(default_factory=list)

    def named(self, name: str) -> list[Received]:
        """The spans of that name."""
        return [span for span in self.spans if span.name == name]

    def within(self, parent: Received) -> list[Received]:
        """The spans that are children of `parent`."""
        return [span for span in self.spans if span.parent_id == parent.span_id]

    def tree(self, parent_id: str = "", depth: int = 0) -> Iterator[str]:
        """One line a span, its children below it, in the order of their arrival."""
        known = {span.span_id for span in self.spans}
        for span in self.spans:
            if span.parent_id == parent_id or (not parent_id and span.parent_id not in known):
                yield f"{'  ' * depth}{span.service} {span.name}"
                yield from self.tree(span.span_id, depth + 1)

    async def take(self, request: web.Request) -> web.Response:
        """Answers /v1/traces."""
        message = ExportTraceServiceRequest.FromString(await request.read())
        for group in message.resource_spans:
            service = next(each.value.string_value for each in group.resource.attributes if each.key == "service.name")
            for scope in group.scope_spans:
                for span in scope.spans:
                    values = {
                        each.key: str(getattr(each.value, each.value.WhichOneof("value") or "string_value"))
                        for each in span.attributes
                    }
                    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                    events = tuple(event.name for event in span.events)
                    received = Received(
                        service, span.name, *ids, values, events, span.status.code == 2, span.SerializeToString()
                    )
                    self.spans.append(received)
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Runs a collector on loopback."""
    found = Collector()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/traces", found.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        found.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield found
    finally:
        await runner.cleanup()
