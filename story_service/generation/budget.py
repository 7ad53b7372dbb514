"""The budget of calls for one story: how often which model may still be called."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from servicekit.errors import DomainError
from servicekit.resilience.errors import ProviderError
from story_service.chat import OutOfTimeError
from story_service.errors import UnfitError
from story_service.passage import scenes_of

USELESS: Final = (OutOfTimeError, UnfitError)
"""Errors of an answer that came, was billed, and is no story: the next one is likely to be none, too."""
_MOST_USELESS: Final = 2


def calls_of(length_minutes: int) -> int:
    """Returns how many calls a story of that length takes beyond one: those for its outline and its scenes."""
    scenes = scenes_of(length_minutes)
    return scenes + 1 if scenes else 0


class CallBudget:
    """Counts the calls for one story since it was requested last, in all attempts, hand-overs and restarts.

    All models together are called at most `most` times: STORY_MAX_CALLS, and once more for the outline and each scene
    (`calls_of`). One is called at most `in_a_row` times in a row without new
    text of it, as far as the calls may have been billed; twice where an answer came that is of no use. A call counts
    from its start; a probe, which follows a wait, counts only where it may have been billed.
    """

    def __init__(
        self, most: int, in_a_row: int, *, made: int = 0, without_text: Mapping[str, int] | None = None
    ) -> None:
        """`made` and `without_text` (by model) are the calls of earlier attempts."""
        self._most = most
        self._in_a_row = in_a_row
        self._made = made
        self._without_text = Counter(without_text or {})
        self._useless: set[str] = set()
        self._tries: Counter[str] = Counter()

    @property
    def any_made(self) -> bool:
        """True where a model was called, now or in an earlier attempt."""
        return self._made > 0

    @property
    def left(self) -> int:
        """Calls that are left."""
        return self._most - self._made

    @property
    def used_up(self) -> bool:
        """True where no model may be called any more."""
        return self.left <= 0

    def may_call(self, model: str) -> bool:
        """Returns whether `model` may be called."""
        most = min(_MOST_USELESS, self._in_a_row) if model in self._useless else self._in_a_row
        return not self.used_up and self._without_text[model] < most

    def tries(self, model: str) -> int:
        """Returns the failed calls of `model` here since its last text."""
        return self._tries[model]

    def tries_used_up(self, model: str) -> bool:
        """Returns whether `model` is called again only after a wait."""
        return self._tries[model] >= self._in_a_row

    def began(self) -> None:
        """Notes a call."""
        self._made += 1

    def succeeded(self, model: str) -> None:
        """Notes that the call gave what was asked for."""
        self._tries[model] = self._without_text[model] = 0
        self._useless.discard(model)

    def failed(self, model: str, error: ProviderError | DomainError, *, text: bool, probe: bool) -> None:
        """Notes that the call failed, with new `text` or without any; `probe`: it followed a wait."""
        billed = not isinstance(error, ProviderError) or error.billed
        self._made -= probe and not billed
        if text:
            self.succeeded(model)
            return
        self._tries[model] += 1
        self._without_text[model] += billed
        if isinstance(error, USELESS):
            self._useless.add(model)
