"""What the tests of circuit breakers share: a clock that stands still until it is told, and breakers on it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from servicekit.resilience.breaker import Call, CircuitBreaker, State
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind

BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class FakeClock:
    """Seconds since some moment, and the time of day that belongs to them."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        """The time of day: BEGIN, and the seconds that passed."""
        return BEGIN + timedelta(seconds=self.seconds - 1000)

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.seconds += seconds


def provider_error(
    kind: ProviderErrorKind = ProviderErrorKind.TIMEOUT, *, retry_after: float | None = None
) -> ProviderError:
    """An error of the provider "demo"."""
    return ProviderError(kind, "it failed", provider="demo", retry_after=retry_after)


class Bench:
    """A breaker on a clock of its own, without jitter unless `random` says so; `changes` are the states it took."""

    def __init__(self, *, random: float = 0.0, **config: Any) -> None:
        self.clock = FakeClock()
        self.changes: list[tuple[State, State]] = []
        self.breaker = CircuitBreaker(
            BreakerConfig(**{"name": "demo", "provider": "demo", **config}),
            clock=self.clock,
            now=self.clock.now,
            random=lambda: random,
            on_change=lambda _, before, after: self.changes.append((before, after)),
        )

    def call(self, error: BaseException | None = None, *, first_token: float | None = None, end: float = 0.0) -> None:
        """A call that ends with `error` after `end` seconds, its first token `first_token` seconds after its begin."""
        call = self.begin()
        if first_token is not None:
            self.clock.advance(first_token)
            call.answered()
        self.clock.advance(end - (first_token or 0.0))
        self.end(call, error)

    def begin(self) -> Call:
        """A call that is on its way."""
        return self.breaker.call().__enter__()

    def end(self, call: Call, error: BaseException | None = None) -> None:
        """Ends a call that is on its way, with `error`."""
        call.__exit__(None if error is None else type(error), error, None)

    def fail(self, times: int = 1) -> None:
        """So many calls that fail."""
        for _ in range(times):
            self.call(provider_error())

    def admits(self) -> bool:
        """True where a call gets through; it says nothing of the provider."""
        try:
            self.call(provider_error(ProviderErrorKind.INVALID_INPUT))
        except CircuitOpenError:
            return False
        return True
