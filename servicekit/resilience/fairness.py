"""Turns in a queue, round robin by owner, so that many calls of one owner do not hold up the few of another."""

from collections.abc import Iterator
from contextlib import contextmanager

from servicekit.context import present_owner


class FairTurns:
    """Numbers the work in progress: what has the lower turn goes first.

    The turns of one owner are consecutive, in order of arrival. An owner that comes begins at the lowest turn in
    progress: its first work is as old as the oldest of all others, its tenth as old as the tenth of each.
    """

    def __init__(self) -> None:
        self._held: dict[str, list[int]] = {}
        """The turns in progress of each owner, in ascending order."""

    def take(self, owner: str) -> int:
        """Returns the turn of a new piece of work; `leave` must follow."""
        held = self._held.get(owner)
        turn = held[-1] + 1 if held else min((turns[0] for turns in self._held.values()), default=0)
        self._held.setdefault(owner, []).append(turn)
        return turn

    def leave(self, owner: str, turn: int) -> None:
        """Notes that the work is done."""
        held = self._held[owner]
        held.remove(turn)
        if not held:
            del self._held[owner]

    @contextmanager
    def held(self) -> Iterator[int]:
        """Yields the turn of work for the owner of the present call, which lasts as long as the block."""
        owner = present_owner()
        turn = self.take(owner)
        try:
            yield turn
        finally:
            self.leave(owner, turn)
