"""The order in which the segments of a narration reach a provider: that of the text, whatever is looked up first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Turn:
    """The place of one segment.

    It is due once every segment before it has passed on: has sent its first call, had an answer, or needs no call.
    """

    def __init__(self, *, due: bool = True) -> None:
        self._due = due
        self._passed = False
        self._next: Turn | None = None
        self._when_due: list[Callable[[], None]] = []

    def following(self) -> Turn:
        """Returns the turn of the segment behind this one."""
        self._next = Turn(due=self._due and self._passed)
        return self._next

    def when_due(self, go: Callable[[], None]) -> None:
        """Calls `go` once the turn is due, at once where it is."""
        if self._due:
            go()
        else:
            self._when_due.append(go)

    def pass_on(self) -> None:
        """Says that this segment holds up no other. Can be repeated."""
        if self._passed:
            return
        self._passed = True
        turn: Turn = self
        while turn._due and turn._passed and turn._next is not None:
            turn = turn._next
            turn._become_due()  # noqa: SLF001 - a turn of the same row

    def _become_due(self) -> None:
        self._due = True
        waiting, self._when_due = self._when_due, []
        for go in waiting:
            go()
