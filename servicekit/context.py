"""Request id, owner and deadline of the present request, in every task that works for it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field, replace
from typing import Final

from servicekit.tracing import Kind, Span, Trace, Tracer, Value

REQUEST_ID_KEY: Final = "x-request-id"
OWNER_KEY: Final = "x-tale-owner"
STORY_KEY: Final = "x-tale-story-id"
"""The story that a call between services is about, for logs and traces."""
PEER_KEY: Final = "x-tale-service-token"
LOCAL_OWNER: Final = "local"
"""The owner of everything where there is no authentication."""


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom a call is made."""

    owner: str = LOCAL_OWNER
    """Owner of what the call makes or reads."""
    operator: bool = False
    """Whether the caller may see and change the state of the cluster."""
    children: frozenset[str] | None = None
    """Ids of the children that the caller is bound to; None: all of the owner."""
    credential: str = field(default="", compare=False)
    """Names the key or kind of token; no secret."""
    anonymous: bool = False
    """Whether the owner stands for all callers that reach the port."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The request that the present task works for. Tasks started by a handler inherit it."""

    request_id: str
    caller: Caller = Caller()
    deadline: float | None = field(default=None, compare=False)
    """When the caller stops waiting, on the loop's clock; None where it set no deadline."""
    named: dict[str, str] = field(default_factory=dict, compare=False)
    """Ids of what the call is about, such as `story_id`."""
    trace: Trace | None = field(default=None, compare=False)
    """Where the request stands in the trace of its caller, or in its own."""
    span: Span | None = field(default=None, compare=False)
    """What the work is a part of; None where no traces are made."""

    @property
    def owner(self) -> str:
        """Owner of what the call makes or reads."""
        return self.caller.owner


_current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


def current() -> RequestContext:
    """Returns the context of the present task; LookupError if none is bound."""
    context = _current.get()
    if context is None:
        raise LookupError("no request context here: wrap background work in servicekit.context.bound(...)")
    return context


def current_or_none() -> RequestContext | None:
    """Returns the context of the present task, if any."""
    return _current.get()


def present_owner() -> str:
    """Returns the owner of the present call; "local" outside of calls."""
    context = _current.get()
    return LOCAL_OWNER if context is None else context.owner


def bind(context: RequestContext) -> None:
    """Binds `context` for the rest of the present task. For the interceptor; others use `bound`."""
    _current.set(context)


@contextmanager
def bound(context: RequestContext) -> Iterator[RequestContext]:
    """Binds `context` within the block, for background work that no call started."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def without_deadline() -> Context:
    """Returns the present context less the deadline of its request, for a task that outlives its caller."""
    context = copy_context()
    request = _current.get()
    if request is not None and request.deadline is not None:
        context.run(_current.set, replace(request, deadline=None))
    return context


@contextmanager
def traced(
    name: str, kind: Kind, attributes: Mapping[str, Value], *, tracer: Tracer | None = None
) -> Iterator[Span | None]:
    """Makes the block a span within the present one, or the first of a trace by `tracer`; none without either."""
    context = current()
    if context.span is not None:
        span = context.span.child(name, kind, attributes)
    elif tracer is not None:
        span = tracer.start(name, kind, attributes, parent=context.trace)
    else:
        yield None
        return
    error = ""
    try:
        with bound(replace(context, trace=span.trace, span=span)):
            yield span
    except BaseException as failure:
        error = type(failure).__name__
        raise
    finally:
        span.end(error=error)
