"""How often a run asks a sibling again."""

import asyncio
import random
from collections.abc import Callable
from typing import Final

from gateway.siblings import Failure, FailureKind

MAX_TRANSIENT: Final = 3
MAX_PAUSE_SECONDS: Final = 30.0


class Persistence:
    """Decides after a failed leg whether there is another, and waits until it is time.

    A sibling that cannot be reached is waited for (`wait_seconds`); one that answers "not now" is asked three more
    times, since it has retries of its own; one that answers "no" is not asked again. Progress begins the count anew.
    """

    def __init__(self, *, wait_seconds: float, clock: Callable[[], float]) -> None:
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._unreachable_since: float | None = None
        self._away = 0
        self._transient = 0

    def progressed(self) -> None:
        """The last leg brought something."""
        self._unreachable_since = None
        self._away = 0
        self._transient = 0

    async def after(self, failure: Failure) -> None:
        """Returns when the next leg may start; raises the failure's error when there is to be none."""
        if failure.kind is FailureKind.PERMANENT:
            raise failure.error
        if failure.kind is FailureKind.UNREACHABLE:
            self._away += 1
            since = self._unreachable_since = self._unreachable_since or self._clock()
            if self._clock() - since > self._wait_seconds:
                raise failure.error
        else:
            # It answered, so it is not away any more.
            self._unreachable_since, self._away = None, 0
            self._transient += 1
            if self._transient > MAX_TRANSIENT:
                raise failure.error
        backoff = min(2.0, 0.1 * 2 ** min(self._away + self._transient, 6)) * random.uniform(0.5, 1.0)
        await asyncio.sleep(min(MAX_PAUSE_SECONDS, max(backoff, self._hint(failure))))

    @staticmethod
    def _hint(failure: Failure) -> float:
        # A sibling that is away gives no meaningful hint: it is looked for again soon.
        return failure.error.retry_after or 0.0 if failure.kind is FailureKind.TRANSIENT else 0.0
