"""Decides when a call is repeated, and after which wait."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tale_client.errors import TaleError


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter; seconds."""

    initial: float = 0.1
    """Mean of the first wait."""
    maximum: float = 5.0
    """Maximum wait, unless the server sets a longer one."""
    max_retry_after: float = 30.0
    """Maximum wait that a server may set."""

    def delay(
        self, attempt: int, retry_after: float | None = None, uniform: Callable[[], float] = random.random
    ) -> float:
        """Returns the seconds to wait after failed attempt number `attempt` (from 1)."""
        ceiling = min(self.maximum, self.initial * 2.0 ** min(attempt, 30))
        return max(ceiling * uniform(), min(retry_after or 0.0, self.max_retry_after))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How unary calls are repeated on UNAVAILABLE."""

    attempts: int = 4
    """Maximum number of attempts, with the first one."""
    backoff: Backoff = field(default_factory=lambda: Backoff(maximum=2.0))
    """Waits between them."""


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """How streams are resumed. A stream fails when both limits, `attempts` and `timeout`, are passed."""

    attempts: int = 8
    """Maximum number of connections in a row without progress."""
    timeout: float = 60.0
    """Maximum number of seconds without progress."""
    idle_timeout: float = 30.0
    """Seconds without an event after which a connection counts as lost; the gateway sends a heartbeat every 5 s."""
    stream_deadline: float = 3600.0
    """Seconds after which a connection is replaced."""
    backoff: Backoff = field(default_factory=Backoff)
    """Waits between connections."""


class Reconnects:
    """Counts connections without progress of one stream, and ends the stream past the limits."""

    def __init__(self, policy: ReconnectPolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._attempts = 0
        self._since = 0.0

    @property
    def attempts(self) -> int:
        """Number of connections in a row without progress."""
        return self._attempts

    def progressed(self) -> None:
        """Resets the count."""
        self._attempts = 0

    def lost(self, error: TaleError) -> float:
        """Counts a lost connection; returns the seconds to wait before the next, or raises `error` past the limits."""
        now = self._clock()
        if self._attempts == 0:
            self._since = now
        self._attempts += 1
        if self._attempts > self._policy.attempts and now - self._since >= self._policy.timeout:
            raise error
        return self._policy.backoff.delay(self._attempts, error.retry_after)
