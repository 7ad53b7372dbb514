"""When a call is made again, and after how long."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tale_client.errors import TaleError


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter; seconds."""

    first: float = 0.1
    """Mean of the first wait, roughly."""
    longest: float = 5.0
    """No wait is longer, unless the server asks for it."""
    longest_asked: float = 30.0
    """What a server may ask for at most."""

    def delay(
        self, attempt: int, retry_after: float | None = None, uniform: Callable[[], float] = random.random
    ) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1)."""
        ceiling = min(self.longest, self.first * 2.0 ** min(attempt, 30))
        return max(ceiling * uniform(), min(retry_after or 0.0, self.longest_asked))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How unary calls are made again when the gateway can not be reached (UNAVAILABLE)."""

    attempts: int = 4
    """Calls made at most, the first one included."""
    backoff: Backoff = field(default_factory=lambda: Backoff(longest=2.0))
    """Waits between them."""


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """How streams are taken up again. Both bounds must be passed before one is given up."""

    fruitless: int = 8
    """Connections in a row that brought nothing new."""
    patience: float = 60.0
    """Seconds since the first of them."""
    idle: float = 30.0
    """Seconds without any event after which a connection counts as lost; the gateway's heartbeat is 5 s."""
    stream_deadline: float = 3600.0
    """Seconds that one connection may last before it is replaced."""
    backoff: Backoff = field(default_factory=Backoff)
    """Waits between connections."""


class Reconnects:
    """Counts fruitless connections of one stream and says when it is time to give up."""

    def __init__(self, policy: ReconnectPolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._fruitless = 0
        self._since = 0.0

    @property
    def fruitless(self) -> int:
        """Connections in a row that brought nothing new."""
        return self._fruitless

    def progressed(self) -> None:
        """Something new came."""
        self._fruitless = 0

    def lost(self, error: TaleError) -> float:
        """A connection ended early: seconds to wait before the next; raises `error` when it is time to give up."""
        now = self._clock()
        if self._fruitless == 0:
            self._since = now
        self._fruitless += 1
        if self._fruitless > self._policy.fruitless and now - self._since >= self._policy.patience:
            raise error
        return self._policy.backoff.delay(self._fruitless, error.retry_after)
