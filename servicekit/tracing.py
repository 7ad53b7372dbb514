"""Places in a trace, and the spans of a tracer.

The SDK of OpenTelemetry is imported only where the environment asks for it (`tracer.py`). Attributes hold ids, names of
methods, providers and models, and numbers; never a text, a name or the message of an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind: TypeAlias = Literal["internal", "server", "client"]
Value: TypeAlias = str | int | float | bool

TRACEPARENT_KEY: Final = "traceparent"
TRACESTATE_KEY: Final = "tracestate"

STORY_ID: Final = "tale.story_id"
REQUEST_ID: Final = "tale.request_id"
REASON: Final = "tale.reason"

EXPORTER_VARIABLE: Final = "OTEL_TRACES_EXPORTER"
PROTOCOL_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_PARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.{0,64})?")
_LONGEST_STATE: Final = 512
"""Characters of a tracestate that must be passed on (W3C Trace Context, 3.3.1.5)."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A place in a trace, as W3C Trace Context writes it."""

    parent: str
    """Value of `traceparent`."""
    state: str = ""
    """Value of `tracestate`."""

    @property
    def trace_id(self) -> str:
        """Id of the trace: 32 hexadecimal digits."""
        return self.parent[3:35]

    @property
    def span_id(self) -> str:
        """Id of the span: 16 hexadecimal digits."""
        return self.parent[36:52]

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of calls that belong to it."""
        found = ((TRACEPARENT_KEY, self.parent),)
        return (*found, (TRACESTATE_KEY, self.state)) if self.state else found


class Span(Protocol):
    """A part of the work, from its start to `end`."""

    @property
    def trace(self) -> Trace:
        """Its place in the trace."""

    def child(self, name: str, kind: Kind, attributes: Mapping[str, Value]) -> Span:
        """Starts a span within this one."""

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Adds facts; empty texts are left out."""

    def event(self, name: str) -> None:
        """Notes that something happened now."""

    def end(self, *, error: str = "") -> None:
        """Ends it; `error` is the reason or code of a failure."""


class Tracer(Protocol):
    """Starts spans and exports them."""

    def start(self, name: str, kind: Kind, attributes: Mapping[str, Value], *, parent: Trace | None = None) -> Span:
        """Starts a span: the first of this process in its trace."""

    async def close(self) -> None:
        """Exports the rest, within a bounded time."""


def rpc_of(path: str) -> tuple[str, dict[str, Value]]:
    """Returns the name of the span of an RPC with the path "/package.Service/Method", and its attributes."""
    service, _, method = path.strip("/").rpartition("/")
    return f"{service}/{method}", {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}


def trace_of(metadata: Iterable[tuple[str, str | bytes]]) -> Trace | None:
    """Returns the place in a trace that `metadata` names; None if it names none, or a malformed one."""
    parent = state = ""
    for key, value in metadata:
        if key == TRACEPARENT_KEY and isinstance(value, str):
            parent = value
        elif key == TRACESTATE_KEY and isinstance(value, str):
            state = value
    if not parent or _PARENT.fullmatch(parent) is None:
        return None
    return Trace(parent[:55], state if len(state) <= _LONGEST_STATE else "")
