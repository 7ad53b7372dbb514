"""Calls to one provider: within its limits, behind its circuit breakers, repeated, counted and audited.

A call that is made again after a failure, and a stream, which is made once::

    calls = OutgoingCalls("supabase", breakers=breakers, policy=RetryPolicy(), audit=AuditLog(metrics))
    rows = await calls.call("rpc/claim", lambda attempt: client.rpc("claim"), circuit="supabase:database")

    async with calls.attempt("chat/completions", circuit="openrouter:model") as attempt:
        async for event in stream:
            attempt.answered()
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import structlog

from servicekit.context import current_or_none
from servicekit.resilience.errors import OF_THE_PACE, CircuitOpenError, ProviderError, ProviderErrorKind
from servicekit.resilience.hedging import race
from servicekit.resilience.limits import FIRST
from servicekit.resilience.retry import RetryBudget, RetryPolicy, log_retry
from servicekit.tracing import STORY_ID
from servicekit.waiting import Finisher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
    from contextlib import AbstractAsyncContextManager

    from tenacity import AsyncRetrying

    from servicekit.metrics import Metrics
    from servicekit.resilience.breaker import Call, CircuitBreaker
    from servicekit.resilience.hedging import Hedge, Racer
    from servicekit.resilience.limits import ProviderLimits
    from servicekit.tracing import Span, Value

T = TypeVar("T")

_audit: Final = structlog.stdlib.get_logger("servicekit.audit")
_log: Final = structlog.stdlib.get_logger("servicekit.circuits")

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
_USUAL_LIMIT: Final = 64
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

    def record(
        self, provider: str, endpoint: str, status: int | str, duration: float, *, said: str = "", **ids: str
    ) -> None:
        """Records a call that has ended. `said` is what the provider said of its failure (ProviderError.said).

        `endpoint` is the operation ("chat/completions"), without ids in it; `status` the HTTP status, or the kind of
        the error where there was none; `duration` in seconds. `ids` are what the call is known by (request_id,
        generation_id, model, voice): what does not look like an id is left out, and empty ones as well.
        """
        known = {name: value if _ID.fullmatch(value) else "(no id)" for name, value in ids.items() if value}
        # Under names of their own: "request_id" is the caller's on every line.
        upstream = {("upstream_request_id" if name == "request_id" else name): value for name, value in known.items()}
        _audit.info(
            "upstream call",
            provider=provider,
            endpoint=endpoint,
            status=status,
            duration_ms=round(duration * 1000, 3),
            **upstream,
            **({"said": said} if said else {}),
        )
        if self._calls is not None and self._seconds is not None:
            label = self._endpoints.of(endpoint)
            self._calls.labels(label, self._statuses.of(str(status))).inc()
            self._seconds.labels(label).observe(duration)


class Breakers(Protocol):
    """Circuit breakers by name, such as a BreakerManager."""

    def get(self, name: str, *, provider: str = "") -> CircuitBreaker:
        """Returns the breaker of that name."""


@dataclass(slots=True)
class Attempt:
    """One attempt at a call. `ids` go to its audit line; `status`, where it is set, replaces what the outcome says.

    While `sent` is False there was no call that could be audited.
    """

    passage: Call
    release: Callable[[], Awaitable[None]]
    """Makes room for the next call before this one has ended: what is left to do needs the provider no more."""
    on_answer: Callable[[], None]
    on_begin: Callable[[], None] = lambda: None
    ids: dict[str, str] = field(default_factory=dict)
    status: int | str = ""
    sent: bool = True
    span: Span | None = None
    facts: Callable[[], Mapping[str, Value]] = dict
    """Returns what its span says of it at its end: numbers and ids."""

    def answered(self) -> None:
        """Notes the first token or byte, to which the slowness of a call is measured."""
        if self.passage.answered_at is None:
            if self.span is not None:
                self.span.event("first answer")
            self.passage.answered()
            self.on_answer()
            self.on_begin()


@dataclass(slots=True)
class _Progress:
    """What has become of a call: the error of its last attempt, whether this attempt has begun, and attempts made.

    At `most` so many are made. `reserved`: a retry is taken from the budget for a second call that is not sent yet.
    """

    most: float
    last: ProviderError | None = None
    begun: bool = False
    made: int = 0
    reserved: bool = False


class OutgoingCalls:
    """Makes the calls of one service to one provider.

    Each attempt waits for its turn in `limits`, passes a circuit breaker and leaves one audit line with its count. A
    retry is a warning, an end without success an error in the log. No attempt begins after the deadline of the present
    request or after its caller has left. After a circuit was open one call at a time is let through, and one more with
    each that is answered, until that is the usual limit. Statuses are those of HTTP where there was one (200 for a
    success), else the kind of the failure; with `http` False "success" or the kind.
    """

    def __init__(
        self,
        provider: str,
        *,
        breakers: Breakers,
        policy: RetryPolicy,
        audit: AuditLog | None = None,
        limits: ProviderLimits | None = None,
        http: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is that of the retry budget, in seconds."""
        self.provider: Final = provider
        self._breakers = breakers
        self._policy = policy
        self._audit = audit or AuditLog()
        self._limits = limits
        self._http = http
        self._budget = RetryBudget(concurrency=limits.ceiling if limits is not None else 0, clock=clock)
        self._finisher = Finisher()
        self.settle = self._finisher.settle

    async def call(
        self,
        endpoint: str,
        work: Callable[[Attempt], Awaitable[T]],
        *,
        circuit: str = "",
        deadline: float | None = None,
        may_repeat: Callable[[ProviderError], bool] = lambda _: True,
        on_retry: Callable[[], None] = lambda: None,
        finished: bool = False,
        has_fallback: bool = False,
        order: float = 0.0,
        hedge: Hedge | None = None,
        within: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
        most: float = math.inf,
    ) -> T:
        """Returns what `work` returns, which is done again after passing failures that `may_repeat`.

        With `finished`, an attempt that has started is not cancelled when the caller leaves or the deadline passes; it
        is not retried then. With `has_fallback` an end without success is the caller's to log. Of those that wait for
        the limits the lower `order` goes first. With `hedge` a call whose first token or byte is late is made once
        more, in the next free place; it counts as a retry. `within` is entered by each attempt when the limits let it
        through and before its circuit breaker: what an attempt waits for there says nothing about the provider. No
        more than `most` attempts are made, second calls included.

        Raises the ProviderError of the last attempt that was made; CircuitOpenError where none was.
        """
        # An attempt that continues without its caller started within the caller's deadline.
        due = _earlier(deadline)
        progress = _Progress(most=min(most, self._policy.retries + 1))
        breaker = self._breakers.get(circuit or self.provider, provider=self.provider)
        answers = breaker.answers

        async def make(limit: asyncio.Timeout, racer: Racer | None = None, *, second: bool = False) -> T:
            place = FIRST if second else order
            async with self.attempt(endpoint, circuit=circuit, deadline=due, order=place, within=within) as attempt:
                progress.begun = True
                progress.made += 1
                limit.reschedule(None if finished else due)
                progress.reserved &= not second
                if racer is not None:
                    racer.sent()
                    attempt.on_begin = racer.answered
                value = await work(attempt)
                attempt.answered()
                return value

        def may_wait(error: ProviderError) -> bool:
            # First, since it may count the errors.
            return may_repeat(error) and progress.made < progress.most

        def retried(error: ProviderError, number: int, wait: float) -> None:
            log_retry(error, number, wait)
            on_retry()

        def attempts() -> AsyncRetrying:
            return self._policy.attempts(budget=self._budget, deadline=due, may_wait=may_wait, on_retry=retried)

        async def once() -> T:
            return await self._once(make, progress, hedge)

        try:
            return await self._repeated(
                (lambda: self._to_the_end(once(), progress)) if finished else once,
                attempts,
            )
        except ProviderError as error:
            # What the call itself failed for says more than that no other could be made afterwards.
            cause = progress.last or error
            if progress.last is not None:
                breaker.tries_ended(cause, answers=answers, used_up=progress.made > self._policy.retries)
            if cause.retryable and not has_fallback:
                _log.error("all attempts failed", provider=self.provider, endpoint=endpoint, kind=cause.kind.value)
            raise cause from None

    async def _once(self, make: Callable[..., Coroutine[Any, Any, T]], progress: _Progress, hedge: Hedge | None) -> T:
        """Makes one attempt, or a second one as well where the first is late."""
        progress.begun = False

        def may_hedge() -> bool:
            progress.reserved = progress.made < progress.most and self._budget.spend()
            return progress.reserved

        try:
            # The attempt is within: that its caller has no more time says nothing about the provider.
            async with self._in_time() as limit:
                if hedge is None:
                    return await make(limit)
                return await race(lambda racer, second: make(limit, racer, second=second), hedge, may_hedge)
        except ProviderError as error:
            if progress.begun and not isinstance(error, CircuitOpenError):
                progress.last = error
            raise
        finally:
            if progress.reserved:
                # The first call began, or failed, before there was a place for the second.
                progress.reserved = False
                self._budget.give_back()

    async def _to_the_end(self, work: Coroutine[Any, Any, T], progress: _Progress) -> T:
        task = self._finisher.start(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not progress.begun:
                task.cancel()
            raise

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[asyncio.Timeout]:
        try:
            async with asyncio.timeout(None) as limit:
                yield limit
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._too_late() from None

    async def _repeated(self, make: Callable[[], Awaitable[T]], attempts: Callable[[], AsyncRetrying]) -> T:
        try:
            value = await make()
        except ProviderError as error:
            if not error.retryable:
                raise
            failed = [error]
        else:
            self._budget.earn()
            return value

        async def again() -> T:
            if failed:
                raise failed.pop()
            return await make()

        # Prepared only after a failure: it takes longer than the rest of a call that succeeds.
        repeated: T = await attempts()(again)
        return repeated

    @asynccontextmanager
    async def attempt(
        self,
        endpoint: str,
        *,
        circuit: str = "",
        deadline: float | None = None,
        order: float = 0.0,
        within: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
    ) -> AsyncIterator[Attempt]:
        """Makes one attempt, which lasts as long as the block.

        Raises CircuitOpenError, or ProviderError CONCURRENCY where there is no room by `deadline` (the loop's clock),
        TIMEOUT where that is over.
        """
        due = _earlier(deadline)
        async with AsyncExitStack() as stack:
            place = await stack.enter_async_context(AsyncExitStack())
            breaker = self._breakers.get(circuit or self.provider, provider=self.provider)
            # One that is not closed answers without a wait; a second call is of use only beside the first.
            if breaker.ramp is not None and breaker.state == "closed" and order != FIRST:
                await place.enter_async_context(breaker.ramp.slot(due, order=order))
            if self._limits is not None:
                await place.enter_async_context(self._limits.slot(due, order=order))
            await stack.enter_async_context(within())
            if due is not None and asyncio.get_running_loop().time() >= due:
                raise self._too_late()
            attempt = Attempt(stack.enter_context(breaker.call()), place.aclose, lambda: self._grow(breaker))
            _log.debug("attempt", circuit=breaker.name)
            attempt.span = _span(self.provider, endpoint)
            began = time.monotonic()
            failure: BaseException | None = None
            try:
                yield attempt
            except BaseException as error:
                failure = error
                if breaker.ramp is not None and isinstance(error, ProviderError) and error.kind in OF_THE_PACE:
                    breaker.ramp.note_too_many()
                raise
            finally:
                self._ended(endpoint, attempt, failure, time.monotonic() - began)

    def _grow(self, breaker: CircuitBreaker) -> None:
        """Raises the limit of a circuit that was open; it goes when it is the usual one."""
        if breaker.ramp is not None:
            breaker.ramp.note_answered()
            if breaker.ramp.limit >= (_USUAL_LIMIT if self._limits is None else self._limits.limit):
                breaker.ramp.lift()
                breaker.ramp = None

    def _too_late(self) -> ProviderError:
        return ProviderError(ProviderErrorKind.TIMEOUT, "the deadline of the call is over", provider=self.provider)

    def _ended(self, endpoint: str, attempt: Attempt, failure: BaseException | None, seconds: float) -> None:
        if attempt.span is not None:
            status = attempt.status or self._status(failure)
            attempt.span.note(
                {**_ids(attempt.ids), **attempt.facts(), "tale.status": status, "tale.sent": attempt.sent}
            )
            attempt.span.end(error="" if failure is None else str(status))
        if not attempt.sent:
            return
        ids: dict[str, Any] = dict(attempt.ids)
        if isinstance(failure, ProviderError):
            if failure.kind is ProviderErrorKind.CONCURRENCY and self._limits is not None:
                self._limits.note_too_many()
            ids.setdefault("request_id", failure.request_id)
            if not self._http:
                ids.setdefault("http_status", str(failure.status or ""))
        said = failure.said if isinstance(failure, ProviderError) else ""
        self._audit.record(self.provider, endpoint, attempt.status or self._status(failure), seconds, said=said, **ids)

    def _status(self, failure: BaseException | None) -> int | str:
        if isinstance(failure, ProviderError):
            return (failure.status or failure.kind.name) if self._http else failure.kind.value
        if isinstance(failure, (asyncio.CancelledError, GeneratorExit)):
            return ProviderErrorKind.CANCELLED.name if self._http else ProviderErrorKind.CANCELLED.value
        if failure is not None:
            return "error"
        return 200 if self._http else "success"


_ATTRIBUTES: Final = {"model": "gen_ai.request.model", "generation_id": "gen_ai.response.id"}


def _span(provider: str, endpoint: str) -> Span | None:
    """Starts the span of an attempt, if traces are made."""
    context = current_or_none()
    if context is None or context.span is None:
        return None
    story = {STORY_ID: context.named["story_id"]} if "story_id" in context.named else {}
    facts = {"gen_ai.provider.name": provider, "gen_ai.operation.name": endpoint, **story}
    return context.span.child(f"{endpoint} {provider}", "client", facts)


def _ids(ids: Mapping[str, str]) -> dict[str, Value]:
    return {_ATTRIBUTES.get(name, f"tale.{name}"): value for name, value in ids.items() if _ID.fullmatch(value)}


def _earlier(deadline: float | None) -> float | None:
    """Returns the earlier of a deadline and that of the present request."""
    context = current_or_none()
    given = [each for each in (deadline, context.deadline if context is not None else None) if each is not None]
    return min(given, default=None)
