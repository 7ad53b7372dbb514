"""The port to what checks a text."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from servicekit.resilience.circuit_queue import Circuit
    from story_service.ports import ModelCall

T = TypeVar("T")
Note: TypeAlias = "Callable[[ModelCall], None]"
"""Takes the lines of the ledger of a paid call: one when it starts, one when it has ended."""


class Noting(Generic[T]):
    """Does `work`, whose calls are yielded as it notes them: one that is killed with its process is in the ledger."""

    def __init__(self, work: Callable[[Note], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self.result: T
        """What the work returned, once its calls have ended."""

    async def calls(self) -> AsyncGenerator[ModelCall, None]:
        """Yields the calls to the end of the work. Raises what it raises."""
        # It holds two lines a call, and a check has few calls.
        noted = asyncio.Queue["ModelCall | None"]()
        working = asyncio.create_task(self._work(noted.put_nowait), name="a judgement")
        working.add_done_callback(lambda _: noted.put_nowait(None))
        try:
            while (call := await noted.get()) is not None:
                yield call
            self.result = await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


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
