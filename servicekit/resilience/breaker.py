"""A circuit breaker: stops calls to a provider that fails, and probes with one call at a time whether it is back."""

from __future__ import annotations

import math
import random as randomness
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

from servicekit.resilience.circuit_queue import CircuitQueue
from servicekit.resilience.config import BreakerConfig, Outcome
from servicekit.resilience.errors import OF_THE_PACE, TREATMENTS, CircuitOpenError, ProviderError, ProviderErrorKind
from servicekit.resilience.limits import ProviderLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

State: TypeAlias = Literal["closed", "open", "half_open"]

STATES: Final[tuple[State, ...]] = ("closed", "open", "half_open")

_PROBE_SECONDS: Final = 1.0
"""Suggested wait while a probe is in flight, whose duration is unknown."""

_REFUSED_SECONDS: Final = 5.0
"""Time without an answer after which a call that is refused for its pace lets the circuit rest, whatever its tries."""

_SLICES: Final = 10
_LARGEST_RAMP: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSnapshot:
    """State and counts since the process began; `total_calls` are those let through, in flight ones included.

    `ignored_calls` ended in a way that says nothing about the provider, `rejected_calls` were not let through,
    `fallback_calls` were answered from a cache or by a fixed answer. `transitions` counts the changes by the state
    that they led to. `retry_time` is when an open circuit will let a probe through, in `retry_after` seconds.
    """

    name: str
    provider: str
    state: State
    total_calls: int
    successful_calls: int
    failed_calls: int
    ignored_calls: int
    rejected_calls: int
    slow_calls: int
    fallback_calls: int
    in_flight: int
    consecutive_failures: int
    transitions: Mapping[State, int]
    last_failure_time: datetime | None
    last_success_time: datetime | None
    retry_time: datetime | None
    retry_after: float

    @property
    def state_changes(self) -> int:
        """Changes of state."""
        return sum(self.transitions.values())

    @property
    def success_rate(self) -> float:
        """The part of the calls that count which succeeded; 1.0 while there is none."""
        counted = self.successful_calls + self.failed_calls
        return self.successful_calls / counted if counted else 1.0


class _Window:
    """The calls of the last `seconds`, to a tenth of it: all, and those that failed or were slow.

    `now` is any clock that never goes back, in seconds. The memory is fixed.
    """

    def __init__(self, seconds: float) -> None:
        self._slice_seconds = seconds / _SLICES
        self._slices: dict[int, Counter[str]] = {}

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        """Counts a call that ended now."""
        self._slices.setdefault(self._forget(now), Counter()).update(calls=1, failed=failed, slow=slow)

    def total(self, now: float) -> Counter[str]:
        """Returns the sums."""
        self._forget(now)
        return sum(self._slices.values(), Counter())

    def clear(self) -> None:
        """Starts over."""
        self._slices.clear()

    def _forget(self, now: float) -> int:
        index = int(now // self._slice_seconds)
        for old in [each for each in self._slices if each <= index - _SLICES]:
            del self._slices[old]
        return index


class CircuitBreaker:
    """One circuit. For one event loop; nothing here waits.

    Closed, it counts. Open, it lets nothing through until its time is over. Half-open, it lets one call through at a
    time: its first token or byte closes it (a long stream does not keep others waiting), failure or a slow answer
    opens it again, and a call that says nothing about the provider makes room for the next. What happens to the
    probe behind its first token counts as any other call's end. A probe that is refused for too many calls opens it
    again as well, and so do the tries of a call that all end so (`tries_ended`), or a pause that its provider names.

    `queue` holds the calls that wait for it. After it was open, `ramp` limits the calls at once, until the limit has
    grown to the usual one.

    Calls that began in an earlier state are counted, but no longer decide anything.

    `clock` gives seconds that never go back, `now` the time of day in UTC, `random` numbers from 0 to 1; `on_change`
    is called at each change of state, with the state before and after. `probe_wait` returns the seconds until this
    replica may probe the half-open circuit; it is called only when there is a call to make.
    """

    def __init__(
        self,
        config: BreakerConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Callable[[], float] = randomness.random,
        on_change: Callable[[CircuitBreaker, State, State], None] | None = None,
        probe_wait: Callable[[CircuitBreaker], float] = lambda _: 0.0,
    ) -> None:
        self.config: Final = config
        self._clock = clock
        self._now = now
        self._random = random
        self._on_change = on_change
        self._probe_wait = probe_wait
        self._state: State = "closed"
        self._epoch = 0
        self._until = 0.0
        self._cause = ProviderErrorKind.OVERLOAD
        self._why = ""
        self._probe: Call | None = None
        self._in_a_row = 0
        self._one_by_one = 0
        self._counted_at = 0
        self._unanswered = 0
        self._since_answer = 0
        self._answers = 0
        self._refused_from = self._refused_at = -math.inf
        self._window = _Window(config.window_seconds)
        self._outcomes: Counter[Outcome] = Counter()
        self._total = self._rejected = self._slow = self._fallbacks = 0
        self._transitions: Counter[State] = Counter()
        self._last: dict[Outcome, datetime] = {}
        self.queue = CircuitQueue(self)
        self.ramp: ProviderLimits | None = None

    @property
    def name(self) -> str:
        """Its name, unique within the service."""
        return self.config.name

    @property
    def provider(self) -> str:
        """Name of the provider."""
        return self.config.provider or self.name

    @property
    def state(self) -> State:
        """How it is now; an open circuit whose time is over is half-open."""
        self._advance()
        return self._state

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be let through; 0 where one would be now."""
        self._advance()
        return self._wait()

    @property
    def cause(self) -> ProviderErrorKind:
        """The kind of the failure that opened it last."""
        return self._cause

    @property
    def answers(self) -> int:
        """Calls that were answered so far."""
        return self._answers

    @property
    def openings(self) -> int:
        """How often it has opened."""
        return self._transitions["open"]

    @property
    def probing(self) -> bool:
        """True while a probe is in flight."""
        return self._probe is not None

    @property
    def in_flight(self) -> int:
        """Calls that were let through and have not ended."""
        return self._total - self._outcomes.total()

    def refusal(self) -> CircuitOpenError | None:
        """Returns the error of a call that may not be a probe; None where the circuit is closed."""
        return None if self.state == "closed" else self._refused(self.retry_after)

    def call(self) -> Call:
        """Returns one call to the provider, a context manager; see `Call`."""
        return Call(self)

    def tries_ended(self, error: ProviderError, *, answers: int, used_up: bool) -> None:
        """Notes that a call is not made again: it opens if that was refused for too many calls, and none is answered.

        `answers` were there before the first try. Where the tries are not `used_up`, it opens only if calls have been
        refused for a while already: others that were sent with this one may still be answered.
        """
        if not self.config.opens_when_refused or error.kind not in OF_THE_PACE:
            return
        if self._answers != answers or self.state != "closed":
            return
        if used_up or self._refused_at - self._refused_from >= _REFUSED_SECONDS:
            self._rest(error)

    def open_until(self, seconds: float, cause: ProviderErrorKind = ProviderErrorKind.OVERLOAD) -> None:
        """Opens for `seconds`, as the provider asked with an error of the kind `cause`; never shortens a time."""
        # Written so that a NaN opens nothing.
        if not seconds > 0:
            return
        self._advance()
        until = self._clock() + min(seconds, self.config.longest_cooldown)
        self._note_cause(cause)
        self._why = ""
        if self._state == "open":
            self._until = max(self._until, until)
        else:
            self._until = until
            self._change("open")

    def reset(self) -> None:
        """Closes it by hand and clears the failures; the counts stay."""
        self._advance()
        if self._state != "closed":
            self._change("closed")
        self._begin_anew()

    def count_fallback(self) -> None:
        """Counts a call that was answered from a cache, by another provider or by a fixed answer."""
        self._fallbacks += 1

    def snapshot(self) -> BreakerSnapshot:
        """Returns state and counts now."""
        state, retry_after = self.state, self.retry_after
        return BreakerSnapshot(
            name=self.config.name,
            provider=self.config.provider,
            state=state,
            total_calls=self._total,
            successful_calls=self._outcomes[Outcome.SUCCESS],
            failed_calls=self._outcomes[Outcome.FAILURE],
            ignored_calls=self._outcomes[Outcome.IGNORED],
            rejected_calls=self._rejected,
            slow_calls=self._slow,
            fallback_calls=self._fallbacks,
            in_flight=self.in_flight,
            consecutive_failures=self._in_a_row,
            transitions=dict(self._transitions),
            last_failure_time=self._last.get(Outcome.FAILURE),
            last_success_time=self._last.get(Outcome.SUCCESS),
            retry_time=self._now() + timedelta(seconds=retry_after) if state == "open" else None,
            retry_after=retry_after,
        )

    def _admit(self, call: Call) -> tuple[int, int, float]:
        """Lets `call` through or raises CircuitOpenError; returns the epoch, the number and the time of its begin."""
        self._advance()
        wait = self._wait(wanted=True)
        if wait > 0:
            self._rejected += 1
            raise self._refused(wait)
        if self._state == "half_open":
            self._probe = call
        self._total += 1
        self._unanswered += 1
        return self._epoch, self._total, self._clock()

    def _wait(self, *, wanted: bool = False) -> float:
        """Returns the seconds until a call may be let through; `wanted`: there is one beside those that wait."""
        if self._state == "open":
            return self._until - self._clock()
        if self._state == "closed":
            return 0.0
        if self._probe is not None:
            return _PROBE_SECONDS
        # Thousands may wait, so they are looked at only where it matters.
        return self._probe_wait(self) if wanted or self.queue.has_probe else 0.0

    def _refused(self, wait: float) -> CircuitOpenError:
        return CircuitOpenError(self.name, provider=self.provider, retry_after=wait, cause=self._cause, why=self._why)

    def _answered(self, call: Call) -> None:
        """Notes a first token, and decides by that of a probe."""
        self._unanswered -= 1
        self._note_answer()
        if self._probe is not call:
            return
        self._probe = None
        self._advance()
        if call.epoch == self._epoch:
            self._decide(call, None, slow=self._is_slow(call, self._clock()))
            if self._state == "closed":
                # How it ends is for the closed circuit to count.
                call.epoch = self._epoch

    def _ended(self, call: Call, error: BaseException | None) -> None:
        now = self._clock()
        outcome = self.config.outcome(error)
        slow = outcome is not Outcome.IGNORED and self._is_slow(call, now)
        self._outcomes[outcome] += 1
        self._slow += slow
        self._unanswered -= call.answered_at is None
        if outcome is not Outcome.IGNORED:
            self._last[outcome] = self._now()
        # Freed here and not with the state, so that two probes are never out at the same time.
        was_probe = self._probe is call
        if was_probe:
            self._probe = None
        self._advance()
        if outcome is Outcome.SUCCESS and call.answered_at is None:
            self._note_answer()
        if isinstance(error, ProviderError) and error.kind in OF_THE_PACE:
            self._note_refused(call, now)
            if was_probe and call.epoch == self._epoch:
                self._rest(error)
        elif call.epoch == self._epoch and outcome is not Outcome.IGNORED:
            self._decide(call, error, slow=slow)
        asked = self.config.pause_of(error)
        if asked is not None:
            self.open_until(asked.retry_after or 0.0, asked.kind)
        if was_probe:
            self.queue.serve()

    def _is_slow(self, call: Call, now: float) -> bool:
        limit = self.config.slow_call_seconds
        return limit is not None and (now if call.answered_at is None else call.answered_at) - call.began >= limit

    def _decide(self, call: Call, error: BaseException | None, *, slow: bool) -> None:
        """Counts the end of a call, or the first token of a probe: `error` speaks against the provider, None for it."""
        now, failed = self._clock(), error is not None
        if not failed:
            self._in_a_row = self._one_by_one = 0
        else:
            self._in_a_row += 1
            self._since_answer += 1
            # Calls that were in flight together fail together: that is one sign, not many.
            if call.number > self._counted_at:
                self._counted_at = self._total
                self._one_by_one += 1
        if self._state == "half_open":
            if failed or slow:
                self._open(now, error)
            else:
                self._change("closed")
                self._begin_anew()
            return
        self._window.add(now, failed=failed, slow=slow)
        if self._is_down(now):
            self._open(now, error)

    def _is_down(self, now: float) -> bool:
        config, window = self.config, self._window.total(now)
        ended, row = window["calls"], self._in_a_row
        if ended >= config.minimum_slow_calls and window["slow"] >= config.slow_call_rate * ended:
            return True
        # Failures return sooner than successes: those in flight may still succeed.
        seen = ended + self.in_flight
        if seen < config.minimum_calls:
            return self._one_by_one >= config.failure_threshold
        # A provider that has gone need not fail as often as it succeeded before, and long streams may still end well.
        silent, enough = self._since_answer, max(config.minimum_calls, config.failure_threshold)
        if silent >= enough and silent >= config.failure_rate * (silent + self._unanswered):
            return True
        return row >= config.failure_threshold and window["failed"] >= config.failure_rate * seen

    def _open(self, now: float, error: BaseException | None) -> None:
        known = error if isinstance(error, ProviderError) else None
        self._note_cause(known.kind if known is not None else ProviderErrorKind.OVERLOAD)
        self._why = known.message if known is not None else ""
        self._until = now + self._window_seconds()
        self._change("open")

    def _rest(self, error: ProviderError) -> None:
        """Opens since calls are refused for their pace, for a whole window even if a shorter pause is named."""
        self.open_until(max(error.retry_after or 0.0, self._window_seconds()), error.kind)

    def _window_seconds(self) -> float:
        return self.config.recovery_timeout * (1 + self.config.jitter * self._random())

    def _note_answer(self) -> None:
        self._answers += 1
        self._since_answer = 0
        self._refused_from = math.inf

    def _note_refused(self, call: Call, now: float) -> None:
        """Notes since when calls are refused for their pace without an answer between them."""
        if self._refused_from == math.inf or now - self._refused_at > self.config.window_seconds:
            self._refused_from = call.began
        self._refused_at = now

    def _note_cause(self, cause: ProviderErrorKind) -> None:
        """Notes why it is open; while it is, a failure never hides a quota that is used up or a rate limit."""
        if self._state != "open" or TREATMENTS[self._cause].break_circuit:
            self._cause = cause

    def _advance(self) -> None:
        """Leaves the open state when its time is over."""
        if self._state == "open" and self._clock() >= self._until:
            self._change("half_open")

    def _change(self, state: State) -> None:
        before, self._state = self._state, state
        self._epoch += 1
        self._transitions[state] += 1
        if state == "open":
            if self.ramp is not None:
                self.ramp.lift()
            self.ramp = ProviderLimits(_LARGEST_RAMP, provider=self.provider, ramped=True, clock=self._clock)
        if self._on_change is not None:
            self._on_change(self, before, state)
        self.queue.serve()

    def _begin_anew(self) -> None:
        self._in_a_row = self._one_by_one = self._since_answer = 0
        self._window.clear()
        # What is in flight was sent before, and is no news.
        self._epoch += 1


class Call:
    """One call to a provider, from entering the block to leaving it.

    Entering raises CircuitOpenError where the circuit lets none through. `answered()` marks the first token or byte:
    how slow a call is, is measured to there, or to its end. What leaves the block decides: nothing is a success; an
    exception that speaks against the provider a failure; any other, and a cancellation, nothing at all.
    """

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self.epoch = -1
        self.number = 0
        self.began = 0.0
        self.answered_at: float | None = None

    def answered(self) -> None:
        """Notes the first token or byte, which is what a probe is for; later ones change nothing."""
        if self.answered_at is None:
            self.answered_at = self._breaker._clock()  # noqa: SLF001 - two halves of one thing
            self._breaker._answered(self)  # noqa: SLF001 - two halves of one thing

    def __enter__(self) -> Self:
        if self.epoch != -1:
            raise RuntimeError("a Call is used once: get another from the breaker")
        self.epoch, self.number, self.began = self._breaker._admit(self)  # noqa: SLF001 - two halves of one thing
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._breaker._ended(self, error)  # noqa: SLF001 - two halves of one thing
