"""Classifies failed calls to peer services, and decides whether a run calls again and when."""

import asyncio
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration

from servicekit.errors import DomainError, unavailable
from servicekit.status import connection_broke, from_rpc_error

MAX_TRANSIENT: Final = 3
MAX_PAUSE_SECONDS: Final = 30.0
SILENT_SECONDS: Final = 50.0
"""Seconds without a report after which a service does not wait any more; while it waits, it reports that every 20."""

_AWAY: Final = frozenset({"OVERLOADED", "RECONNECT", "STARTING", "STORAGE_UNAVAILABLE"})
"""Reasons of a peer service that has not begun the work, or waits for one that is away: no fault of a provider."""
_OF_PROVIDERS: Final = frozenset({
    "AUDIO_GENERATION_FAILED", "CIRCUIT_OPEN", "FALLBACK_FAILURE", "NETWORK_ERROR", "NO_PROVIDERS_AVAILABLE",
    "RATE_LIMITED", "UPSTREAM_UNAVAILABLE",
})  # fmt: skip
"""Reasons with which a peer service reports that its providers cannot do it now."""

PEER_ERRORS = (grpc.aio.AioRpcError, DomainError, TimeoutError)
"""The exceptions of a failed call to a peer service."""


class FailureKind(Enum):
    """Whether the call is worth repeating."""

    UNREACHABLE = "unreachable"
    """No response: the service is down, starting, draining or overloaded. Repeating the call costs nothing."""
    TRANSIENT = "transient"
    """The service cannot do it now. Repeat the call, a few times."""
    PERMANENT = "permanent"
    """The service refuses. Repeating the call changes nothing."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call: its kind and its error."""

    kind: FailureKind
    error: DomainError
    of_provider: bool = False
    """True if a peer service reports that its providers cannot do it now; it has called them as often, and waited for
    them as long, as it may.
    """

    @property
    def reason(self) -> str:
        """The reason of the error."""
        return self.error.reason


def classify(error: grpc.aio.AioRpcError | DomainError | TimeoutError) -> Failure:
    """Returns whether the service cannot be reached, cannot do it now, or refuses."""
    if isinstance(error, TimeoutError):
        return Failure(FailureKind.TRANSIENT, unavailable("UPSTREAM_UNAVAILABLE", "A service stopped responding."))
    known = from_rpc_error(error) if isinstance(error, grpc.aio.AioRpcError) else error
    if isinstance(error, grpc.aio.AioRpcError) and (known.reason in _AWAY or connection_broke(error)):
        return Failure(FailureKind.UNREACHABLE, known)
    # A defect may be met once, as when a replica dies.
    passing = known.retryable or known.code is grpc.StatusCode.INTERNAL
    of_provider = isinstance(error, grpc.aio.AioRpcError) and known.reason in _OF_PROVIDERS
    return Failure(FailureKind.TRANSIENT if passing else FailureKind.PERMANENT, known, of_provider)


class ProviderWait:
    """How long the text or the narration of a story may wait for providers, and whether it waits.

    Progress starts the time again, and so does waiting for a place, which is no provider that is down.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self.progressed()

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self._since + self._seconds - self._clock())

    def fill(self, wait: Duration) -> None:
        """Sets how long a service may wait; nothing is set where it may not."""
        if left := self.left:
            wait.FromNanoseconds(int(left * 1e9))

    @property
    def waits_since(self) -> float:
        """Since when its service has reported nothing but that it waits; infinity: it does not wait."""
        return self._waits_since if self._clock() < self._reported + SILENT_SECONDS else math.inf

    def waits(self, *, for_place: bool) -> None:
        """Notes that its service reports that it waits."""
        self._waits_since = min(self.waits_since, self._clock())
        self._reported = self._clock()
        if for_place:
            self._since = self._reported

    def progressed(self) -> None:
        """Notes that the story made progress."""
        self._since = self._clock()
        self._waits_since, self._reported = math.inf, -math.inf


class AttemptRetry:
    """Decides after a failed attempt whether there is another one, and waits until it may start.

    A service that cannot be reached is waited for (`wait_seconds`); one that cannot do it now is called three more
    times, since it has its own retries; one that refuses is not called again. Progress resets the counts.
    """

    def __init__(self, *, wait_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._wait_seconds = wait_seconds
        self._clock = clock
        self.progressed()

    def progressed(self) -> None:
        """Notes that the last attempt made progress."""
        self._away_seconds = 0.0
        self._away = 0
        self._transient = 0
        self.begin()

    def begin(self) -> None:
        """Notes that an attempt begins now; what the caller waited for before is no absence of the service."""
        self._began = self._clock()

    async def after(self, failure: Failure, *, waits: Callable[[str, float], None] | None = None) -> None:
        """Returns when the next attempt may start. Raises the error of `failure` when there is none.

        `waits` is called with the reason and the seconds of the pause.
        """
        error = failure.error
        if failure.kind is FailureKind.PERMANENT:
            raise error
        hint = 0.0
        if failure.kind is FailureKind.UNREACHABLE:
            # The hint of a service that is away means nothing: it may be back soon.
            hint = error.retry_after or 0.0 if failure.reason == "OVERLOADED" else 0.0
            self._away_seconds = self._away_seconds + self._clock() - self._began if self._away else 0.0
            self._away += 1
            if self._away_seconds > self._wait_seconds:
                raise error
        else:
            # It responded, so it can be reached again.
            self._away_seconds, self._away = 0.0, 0
            self._transient += 1
            hint = error.retry_after or 0.0
            if self._transient > MAX_TRANSIENT:
                raise error
        backoff = min(2.0, 0.1 * 2 ** min(self._away + self._transient, 6)) * random.uniform(0.5, 1.0)
        pause = min(MAX_PAUSE_SECONDS, max(backoff, hint))
        self._away_seconds += pause
        if waits is not None:
            waits(failure.reason, pause)
        await asyncio.sleep(pause)
        self.begin()
