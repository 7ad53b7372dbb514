"""The port to what checks a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from servicekit.resilience.circuit_queue import Circuit
    from story_service.ports import ModelCall

Note: TypeAlias = "Callable[[ModelCall], None]"
"""Takes the lines of the ledger of a paid call: one when it starts, one when it has ended."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says of a text: the category for which it is refused, "" where it is fit for a child."""

    category: str = ""


class SafetyCheck(Protocol):
    """Says whether a text is fit for a child. It is fail-closed: what it cannot say is an error."""

    @property
    def circuit(self) -> Circuit:
        """The circuit breaker of its calls."""

    async def check(self, text: str, *, note: Note) -> Verdict:
        """Checks `text` (not empty), within a deadline of its own and with its own retries.

        Raises ProviderError; then nothing is known of the text.
        """

    def most_usd(self, *, checks: int, words: int) -> float | None:
        """Returns what so many checks of so many words may cost in US dollars, None where no price is known."""
