"""Stories that were forgotten of late, so that what was under way for them does not land in the cache afterwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FORGOTTEN_SECONDS: Final = 3_900.0
"""A narration of an hour, and five minutes for the calls that it leaves behind."""
MAX_FORGOTTEN: Final = 65_536
"""Stories that are remembered at most, some 10 MB; beyond it those that were forgotten first make room."""


class ForgottenStories:
    """Ids of stories, each for `seconds` after it was last forgotten."""

    def __init__(self, seconds: float = FORGOTTEN_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, story_id: str) -> bool:
        return self._until.get(story_id, float("-inf")) > self._clock()

    def add(self, story_ids: Iterable[str]) -> None:
        """Remember these stories from now on, and let go of what was remembered long enough."""
        now = self._clock()
        for story_id in story_ids:
            self._until.pop(story_id, None)
            self._until[story_id] = now + self._seconds
        # The first to be forgotten comes first.
        while self._until:
            first = next(iter(self._until))
            if self._until[first] > now and len(self._until) <= MAX_FORGOTTEN:
                break
            del self._until[first]
