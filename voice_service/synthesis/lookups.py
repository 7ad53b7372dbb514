"""Gathers lookups of segments that come while a request is in flight into the next one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from voice_service.synthesis.store import StoredSegment

_MOST: Final = 1_000
"""Most lookups of one request."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A segment that is wanted, the story that uses it ("": none), and the answer to come."""

    key: str
    story_id: str
    answer: asyncio.Future[StoredSegment | None]


class LookupBatches:
    """Sends a lookup at once where no request is in flight. `send` returns the segments that are stored, by key."""

    def __init__(self, send: Callable[[Sequence[Lookup]], Awaitable[Mapping[str, StoredSegment]]]) -> None:
        self._send = send
        self._waiting: list[Lookup] = []
        self._sending: asyncio.Task[None] | None = None

    async def find(self, keys: Collection[str], story_id: str) -> dict[str, StoredSegment]:
        """Returns those of the segments that are stored. Raises what `send` raises."""
        loop = asyncio.get_running_loop()
        waiting = [Lookup(key, story_id, loop.create_future()) for key in dict.fromkeys(keys)]
        self._waiting += waiting
        if self._sending is None or self._sending.done():
            # A task of its own: the caller that began it may be cancelled.
            self._sending = asyncio.create_task(self._send_all(), name="segment lookups")
        answers = [await each.answer for each in waiting]
        return {found.key: found for found in answers if found is not None}

    async def aclose(self) -> None:
        """Stops what is in flight."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.wait([self._sending])
        for each in self._waiting:
            each.answer.cancel()

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            try:
                found = await self._send(batch)
            except asyncio.CancelledError:
                for each in batch:
                    each.answer.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - raised to all that wait for the answer
                for each in batch:
                    if not each.answer.done():
                        each.answer.set_exception(error)
                        each.answer.exception()  # seen, though a caller of several keys awaits only the first
            else:
                for each in batch:
                    if not each.answer.done():
                        each.answer.set_result(found.get(each.key))
