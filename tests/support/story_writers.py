"""Writers for tests of whatever stands on the ModelWriter port."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

from story_service.assignment import Assignment
from story_service.ports import (
    AttemptEnded,
    AttemptItem,
    AttemptStarted,
    AttemptText,
    AttemptTitle,
    ModelCall,
    Spending,
)
from tale.common.v1.common_pb2 import ATTEMPT_OUTCOME_SUCCEEDED

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CALL = ModelCall(
    call_id="01890000-0000-7000-8000-000000000000",
    provider="scripted",
    model="offline",
    outcome=ATTEMPT_OUTCOME_SUCCEEDED,
    start_time=MOMENT,
    end_time=MOMENT,
    spending=Spending(prompt_tokens=3, completion_tokens=5, cost_usd=0.25, cost_known=True),
    completion={"id": "1"},
)


def attempt(title: str, *sentences: str, text: str | None = None) -> list[AttemptItem]:
    """What a good attempt yields; `text` is what it claims to have written, where that is to differ."""
    return [
        AttemptStarted(model="offline", provider="scripted", embedded=True),
        *([AttemptTitle(title)] if title else []),
        *map(AttemptText, sentences),
        CALL,
        AttemptEnded("".join(sentences) if text is None else text),
    ]


class ScriptedWriter:
    """Yields what it is told to, then raises `failure` or, being `endless`, waits until it is closed.

    With a `gate`, everything behind the first item waits until `open` is called.
    """

    def __init__(
        self,
        items: Sequence[AttemptItem],
        *,
        failure: Exception | None = None,
        endless: bool = False,
        gate: asyncio.Event | None = None,
    ) -> None:
        self._items = items
        self._failure = failure
        self._endless = endless
        self._gate = gate
        self.asked: list[tuple[Assignment, str]] = []
        self.closed = asyncio.Event()

    def open(self) -> None:
        """Let what the gate holds go on."""
        if self._gate is not None:
            self._gate.set()

    async def write(self, assignment: Assignment, *, model: str) -> AsyncGenerator[AttemptItem, None]:
        """Play the script."""
        self.asked.append((assignment, model))
        try:
            for position, item in enumerate(self._items):
                if position and self._gate is not None:
                    await self._gate.wait()
                yield item
            if self._endless:
                await asyncio.Event().wait()
            if self._failure is not None:
                raise self._failure
        finally:
            self.closed.set()
