"""The right to write to a story, as its holder sees it."""

import time
from collections.abc import Callable


class LeaseLostError(Exception):
    """The story is, or may by now be, another run's: stop, and write nothing more."""


class Lease:
    """A lease on one story.

    Storage's clock decides whether it holds. The holder watches its own monotonic clock (`clock`, seconds) as well,
    counted from *before* the call that renewed it, so that it stops no later than storage would let others in.
    """

    def __init__(
        self, story_id: str, token: int, *, seconds: float, since: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.story_id = story_id
        self.token = token
        self._seconds = seconds
        self._clock = clock
        self._until = since + seconds

    @property
    def remaining(self) -> float:
        """Seconds for which it surely holds."""
        return self._until - self._clock()

    def renewed(self, since: float) -> None:
        """A call that renews it was sent at `since` and succeeded."""
        self._until = max(self._until, since + self._seconds)

    def check(self) -> None:
        """Raises LeaseLostError unless it surely holds."""
        if self.remaining <= 0:
            raise LeaseLostError("the lease ran out before it could be renewed")
