"""Runs calls: counts those in flight, and of each binds the context, maps the errors and logs the end."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import grpc
import structlog

from servicekit.authentication import Authenticator, Metadata, TrustedCaller
from servicekit.context import OWNER_KEY, REQUEST_ID_KEY, STORY_KEY, RequestContext, bind, current
from servicekit.errors import DomainError, reconnect, unavailable
from servicekit.ids import is_id, is_token, new_id
from servicekit.metrics import Metrics
from servicekit.status import abort_within, to_domain_error, to_grpc_status
from servicekit.tracing import REASON, REQUEST_ID, Span, Tracer, rpc_of, trace_of

MOST_CALLS: Final = 4096
"""Maximum number of calls that one server answers at a time; more are OVERLOADED."""
_LONGEST_WAIT: Final = 10.0


class CallTracker:
    """Counts calls in flight, holds calls back while the service starts, and lets a drain await their end.

    At most `most_calls` are in flight.
    """

    def __init__(self, most_calls: int = MOST_CALLS) -> None:
        self._most_calls = most_calls
        self._tasks: dict[asyncio.Task[Any], str] = {}
        self._callers: Counter[str] = Counter()
        self._open = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.interrupted = False
        self.draining = False

    @property
    def in_flight(self) -> int:
        """Calls that are being answered now; health watches and reflection do not count."""
        return len(self._tasks)

    @property
    def full(self) -> bool:
        """True while as many calls are in flight as there may be."""
        return len(self._tasks) >= self._most_calls

    def open(self) -> None:
        """Lets calls in: the service has started."""
        self._open.set()

    async def admitted(self) -> None:
        """Returns once the service has started; UNAVAILABLE / STARTING when that takes too long."""
        if self._open.is_set():
            return
        try:
            async with asyncio.timeout(_LONGEST_WAIT):
                await self._open.wait()
        except TimeoutError:
            raise unavailable("STARTING", "The service is still starting.") from None

    def enter(self, task: asyncio.Task[Any]) -> None:
        """Notes that a call begins, answered by `task`."""
        self._tasks[task] = ""
        self._idle.clear()

    def charge(self, task: asyncio.Task[Any], caller: str) -> bool:
        """Counts the call of `task` as one of `caller`; returns False if it has more than there are places left.

        So one caller alone has half of the places at most, and always leaves as many to others as it has itself.
        """
        if self._callers[caller] > self._most_calls - len(self._tasks):
            return False
        self._tasks[task] = caller
        self._callers[caller] += 1
        return True

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Notes that a call has ended."""
        caller = self._tasks.pop(task, "")
        self._callers[caller] -= 1
        if self._callers[caller] <= 0:
            del self._callers[caller]
        if not self._tasks:
            self._idle.set()

    async def wait_idle(self, deadline: float) -> bool:
        """Returns True when no call is in flight, False when `deadline` (the loop's clock) comes first."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def interrupt(self) -> None:
        """Ends all calls in flight: their callers get UNAVAILABLE / RECONNECT."""
        self.interrupted = True
        for task in tuple(self._tasks):
            task.cancel()


_log: Final = structlog.stdlib.get_logger("servicekit.access")

_HEALTH: Final = "/grpc.health."
_UNCOUNTED: Final = (_HEALTH, "/grpc.reflection.")
# Also answers while the server drains, to report NOT_SERVING.
_STATUS: Final = "/tale.common.v1.StatusService/"
# A caller that reads answers while it writes is seldom in the middle of a write, and waits for the status.
_BRIEF: Final = {"quiet": 0.1, "longest": 0.1}
_FLOOD: Final = {"quiet": 0.1, "longest": 2.0}
_INVALID: Final = "VALIDATION_FAILED"
_CODE_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}

_FAILED: Final = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Codes that are errors of a server (OpenTelemetry's conventions for gRPC); the others are answers."""

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Body: TypeAlias = Callable[[], Awaitable[Any]]
Limit: TypeAlias = Callable[[str], Awaitable[None]]
Answered: TypeAlias = Callable[[str, str, str | None], None]


@dataclass(slots=True)
class _Call:
    """A call on its way; `code` and `reason` are for the log. `refused` as the server is going down or full."""

    method: str
    context: Context
    request_id: str
    metadata: Metadata
    streamed: bool
    answers_stream: bool
    refused: DomainError | None
    code: str = "OK"
    reason: str | None = None


class CallRunner:
    """Runs calls so that nothing a handler raises reaches its caller but DomainErrors, as rich statuses."""

    def __init__(
        self,
        tracker: CallTracker,
        authenticator: Authenticator,
        metrics: Metrics | None = None,
        *,
        limit: Limit | None = None,
        answered: Answered | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """`limit` is called with the caller's name before a request is read, and may raise DomainError.

        `answered` is called with method, code and reason of each call that was admitted, or refused its caller.
        """
        self._tracer = tracer
        self._limit = limit
        self._answered = answered
        self._tracker = tracker
        self._authenticator = authenticator
        # What a peer service calls has been counted at the door.
        self._fair = not isinstance(authenticator, TrustedCaller)
        self._metrics = metrics

    async def run(
        self,
        method: str,
        context: Context,
        body: Body,
        *,
        streamed: bool,
        answers_stream: bool = False,
        known: bool = True,
    ) -> Any:
        """Awaits `body`, the answer to a call of `method`, once the service has started and the caller is known.

        `streamed` says that requests come as a stream, `answers_stream` that responses do, `known` that the server has
        the method.

        Raises grpc.aio.AbortError when a status was sent, CancelledError when the caller is gone.
        """
        began = time.monotonic()
        metadata = tuple(context.invocation_metadata() or ())
        refused = None if method.startswith((*_UNCOUNTED, _STATUS)) else self._refusal()
        call = _Call(method, context, _request_id(metadata), metadata, streamed, answers_stream, refused)
        left: float | None = context.time_remaining()
        deadline = None if left is None else asyncio.get_running_loop().time() + left
        quiet = method.startswith(_UNCOUNTED)
        span = self._begin(call, deadline, quiet=quiet)
        # A drain that waited for calls that it refuses might never end.
        counted = not quiet and refused is None
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call runs in no task")
        if counted:
            self._tracker.enter(task)
        try:
            return await self._answer(call, body, task)
        finally:
            if counted:
                self._tracker.leave(task)
            seconds = time.monotonic() - began
            if self._metrics is not None:
                self._metrics.rpc(method, call.code, seconds, known=known)
            if self._answered is not None and not quiet:
                self._answered(method, call.code, call.reason)
            if span is not None:
                _end(span, call)
            _log.log(
                logging.DEBUG if quiet else logging.INFO,
                "call",
                method=method,
                code=call.code,
                duration_ms=round(seconds * 1000, 3),
                **({} if call.reason is None else {"reason": call.reason}),
            )

    def _begin(self, call: _Call, deadline: float | None, *, quiet: bool) -> Span | None:
        """Binds the context of the call; returns its span, if traces are made."""
        trace, span, named = trace_of(call.metadata), None, _named(call.metadata)
        # Traces begin at the door: the polls of peer services would be traces of their own.
        if self._tracer is not None and not quiet and (self._fair or trace is not None):
            name, facts = rpc_of(call.method)
            span = self._tracer.start(name, "server", {**facts, REQUEST_ID: call.request_id}, parent=trace)
            trace = span.trace
        bind(RequestContext(call.request_id, deadline=deadline, named=named, trace=trace, span=span))
        return span

    def _refusal(self) -> DomainError | None:
        if self._tracker.draining:
            return reconnect()
        return self._overloaded("The server is at its limit of calls.") if self._tracker.full else None

    def _overloaded(self, message: str) -> DomainError:
        if self._metrics is not None:
            self._metrics.overloaded.inc()
        # At random, so that those who are refused together do not come back together.
        return DomainError("OVERLOADED", message, retry_after=random.uniform(1.0, 2.0))

    async def _answer(self, call: _Call, body: Body, task: asyncio.Task[Any]) -> Any:
        try:
            if not any(key == OWNER_KEY for key, _ in call.metadata):
                # A peer service knows its id, and a message of its own for it costs a tenth of a small call.
                await call.context.send_initial_metadata(((REQUEST_ID_KEY, call.request_id),))
            if not call.method.startswith(_HEALTH):
                await self._admit(call, task)
            answer = await body()
        except asyncio.CancelledError as error:
            if task.cancelling() and not self._tracker.interrupted:
                call.code = "CANCELLED"
                raise
            # Either the drain ran out of time, or something that the handler awaited was cancelled. Let out as it is,
            # the latter would send no status at all and leave the caller waiting.
            failure = reconnect() if self._tracker.draining else to_domain_error(error, call.request_id)
        except grpc.aio.InternalError:
            # The connection broke while something was sent on it: the caller is gone.
            call.code = "CANCELLED"
            raise
        except Exception as error:  # noqa: BLE001 - here is where whatever it is becomes a status
            abort = abort_within(error)
            if abort is not None:
                call.code = _code_name(call.context)
                raise abort from None
            failure = to_domain_error(error, call.request_id)
        else:
            call.code = _code_name(call.context)
            return answer
        call.code, call.reason = failure.code.name, failure.reason
        if call.streamed:
            with suppress(DomainError, grpc.aio.BaseError):
                brief = _BRIEF if call.answers_stream or self._tracker.draining else {}
                # One that sends what is not valid is as a rule in the middle of sending more of it.
                await read_away(call.context.read, **(_FLOOD if brief and failure.reason == _INVALID else brief))
        return await _refuse(call.context, failure)

    async def _admit(self, call: _Call, task: asyncio.Task[Any]) -> None:
        if call.refused is not None:
            raise call.refused
        await self._tracker.admitted()
        caller = await self._authenticator.authenticate(call.method, call.metadata)
        bind(replace(current(), caller=caller))
        # Of callers without a name each address is one; without its port, of which a caller has many.
        name = str(call.context.peer()).rpartition(":")[0] if caller.anonymous else caller.owner
        if self._fair and not call.method.startswith((*_UNCOUNTED, _STATUS)) and not self._tracker.charge(task, name):
            raise self._overloaded("This caller has as many calls open as one caller may have now.")
        if self._limit is not None:
            await self._limit(name)


async def _refuse(context: Context, failure: DomainError) -> None:
    try:
        await context.abort_with_status(to_grpc_status(failure))
    except (grpc.aio.UsageError, grpc.aio.InternalError):
        # The handler had sent a status before it failed, or the caller is gone.
        _log.debug("caller gone")


def _request_id(metadata: Metadata) -> str:
    for key, value in metadata:
        if key == REQUEST_ID_KEY and isinstance(value, str) and is_token(value):
            return value
    return new_id()


def _named(metadata: Metadata) -> dict[str, str]:
    for key, value in metadata:
        if key == STORY_KEY and isinstance(value, str) and is_id(value):
            return {"story_id": value}
    return {}


def _end(span: Span, call: _Call) -> None:
    ids = {f"tale.{name}": value for name, value in current().named.items()}
    span.note({"rpc.grpc.status_code": grpc.StatusCode[call.code].value[0], REASON: call.reason or "", **ids})
    span.end(error=call.code if call.code in _FAILED else "")


def _code_name(context: Context) -> str:
    code: object = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _CODE_NAMES.get(code, "UNKNOWN") if isinstance(code, int) else "OK"


_QUIET_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 10.0


async def read_away(
    read: Callable[[], Awaitable[object]], *, quiet: float = _QUIET_SECONDS, longest: float = _LONGEST_SECONDS
) -> None:
    """Returns when `read` returns EOF, or has waited for `quiet` seconds, or after `longest` seconds.

    gRPC #36066: a client of grpc.aio that is writing when the status comes loses it and reports a bare INTERNAL.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(longest):
            while True:
                # What is still sent may break the rules, too.
                async with asyncio.timeout(quiet):
                    with suppress(DomainError):
                        if await read() is grpc.aio.EOF:
                            return
