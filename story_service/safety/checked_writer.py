"""A ModelWriter that releases what another one writes passage by passage, each once it is known to be fit for a child.

Three tasks: one reads the writer and cuts passages, each is checked in a task of its own, and one releases them in
order. So checks run while the text is written, and a check that is down stops neither the reading of what is paid for
nor any text that was checked before.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from offline_writer import Outline
from servicekit.resilience.circuit_queue import WaitBudget
from servicekit.resilience.errors import ProviderError
from story_service.answer.sentences import count_words
from story_service.errors import PassageRefusedError, StoryStoppedError
from story_service.ports import AttemptEnded, AttemptItem, AttemptStarted, AttemptText, AttemptTitle
from story_service.safety.checks import LEAST_WORDS
from story_service.safety.ports import Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from story_service.assignment import Assignment
    from story_service.ports import ModelWriter
    from story_service.safety.checks import Checks

_SIZES: Final = (1, LEAST_WORDS, 2 * LEAST_WORDS, 4 * LEAST_WORDS)
"""Words of the first passages of an attempt, at least, and of all that follow. The first sentence is heard at once."""
_MOST_WAITING: Final = 128
"""Passages that are read and not released yet."""
_AT_ONCE: Final = 4
"""Checks of one story at a time."""


@dataclass(frozen=True, slots=True)
class _Passage:
    """What is released together; `verdict` is that of the check, or its failure."""

    items: tuple[AttemptItem, ...]
    text: str
    subject: str
    verdict: asyncio.Task[Verdict | ProviderError]


_Entry: TypeAlias = "_Passage | AttemptItem | None"


class CheckedWriter:
    """Has the passages of `writer` checked. A refused one ends the attempt, with a PassageRefusedError."""

    def __init__(self, writer: ModelWriter, checks: Checks) -> None:
        self._writer = writer
        self._checks = checks

    async def write(self, assignment: Assignment, *, model: str) -> AsyncGenerator[AttemptItem, None]:
        """Writes an attempt; see ModelWriter. Raises the error of a check that fails as well."""
        attempt = _Attempt(
            self._writer.write(self._checks.reserved(assignment), model=model),
            self._checks,
            WaitBudget(assignment.provider_wait),
        )
        working = asyncio.create_task(attempt.work(), name="safety checks")
        try:
            while (item := await attempt.released.get()) is not None:
                yield item
            await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        if attempt.failure is not None:
            raise attempt.failure


class _Attempt:
    """One attempt, on its way from the writer to `released`, which ends with None."""

    def __init__(self, writing: AsyncGenerator[AttemptItem, None], checks: Checks, waits: WaitBudget) -> None:
        self._writing = writing
        self._checks = checks
        self._waits = waits
        # It holds no more than one answer, which its provider bounds.
        self.released = asyncio.Queue[AttemptItem | None]()
        self.failure: Exception | None = None
        """Why the attempt failed: what the writer raised, or why its text is not released."""
        self._stopped: PassageRefusedError | StoryStoppedError | None = None
        """Why no more text is released."""
        self._entries = asyncio.Queue[_Entry](_MOST_WAITING)
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._checking = set[asyncio.Task[Verdict | ProviderError]]()
        self._provider = ""
        self._held: list[AttemptText] = []
        self._words = 0
        self._passages = 0
        self._planned = ""

    async def work(self) -> None:
        """Reads, checks and releases to the end."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read())
                group.create_task(self._release())
        finally:
            for check in self._checking:
                check.cancel()
            await asyncio.gather(*self._checking, return_exceptions=True)
            self.released.put_nowait(None)

    async def _read(self) -> None:
        failure: Exception | None = None
        try:
            async with aclosing(self._writing) as items:
                async for item in items:
                    await self._take(item)
                    if self._stopped is not None:
                        # The writer itself ends its call, with a line for the ledger.
                        await self._take(await items.athrow(self._stopped))
        except StopAsyncIteration:
            pass
        except Exception as error:  # noqa: BLE001 - raised when what was written before is released
            failure = error
        await self._close_passage()
        await self._entries.put(None)
        self.failure = self.failure or failure

    async def _take(self, item: AttemptItem) -> None:
        match item:
            case AttemptText():
                if item.text[:1].isspace() and "\n" in item.text[: -len(item.text.lstrip())] and self._is_long(2):
                    await self._close_passage()
                self._held.append(item)
                self._words += count_words(item.text)
                if self._is_long(1):
                    await self._close_passage()
            case AttemptTitle():
                await self._check((item,), item.title, "title")
            case Outline() if (plan := _plan(item)) != self._planned:
                self._planned = plan
                await self._check((item,), plan, "outline")
            case AttemptEnded() if item.ending:
                # It may be released later.
                await self._close_passage()
                await self._check((item,), item.ending.strip(), "text")
            case _:
                if isinstance(item, AttemptStarted):
                    self._provider = item.provider
                await self._close_passage()
                await self._entries.put(item)

    def _is_long(self, part: int) -> bool:
        """Returns whether the passage has its size, or a part of it."""
        return part * self._words >= _SIZES[min(self._passages, len(_SIZES) - 1)]

    async def _close_passage(self) -> None:
        held, self._held, self._words = self._held, [], 0
        if held:
            self._passages += 1
            await self._check(tuple(held), "".join(item.text for item in held).strip(), "text")

    async def _check(self, items: tuple[AttemptItem, ...], text: str, subject: str) -> None:
        if not text.strip():
            for item in items:
                await self._entries.put(item)
            return
        check = asyncio.create_task(self._verdict(text, subject), name=f"check of {subject}")
        self._checking.add(check)
        check.add_done_callback(self._checking.discard)
        await self._entries.put(_Passage(items, text, subject, check))

    async def _verdict(self, text: str, subject: str) -> Verdict | ProviderError:
        async with self._places:
            return await self._checks.verdict(text, subject, note=self.released.put_nowait)

    async def _release(self) -> None:
        while (entry := await self._entries.get()) is not None:
            if isinstance(entry, _Passage):
                if self._stopped is None:
                    await self._decide(entry)
                else:
                    entry.verdict.cancel()
            elif self._stopped is None or not isinstance(entry, AttemptEnded):
                self.released.put_nowait(entry)
        self.failure = self._stopped or self.failure

    async def _decide(self, passage: _Passage) -> None:
        """Releases the passage, or stops the attempt."""
        deciding = self._checks.decided(passage.text, passage.subject, self._waits, first=await passage.verdict)
        try:
            async with aclosing(deciding) as said:
                async for each in said:
                    if not isinstance(each, Verdict):
                        self.released.put_nowait(each)
                    elif each.category:
                        self._stopped = PassageRefusedError(each.category, provider=self._provider)
                    else:
                        for item in passage.items:
                            self.released.put_nowait(item)
        except StoryStoppedError as error:
            self._stopped = error


def _plan(outline: Outline) -> str:
    """Returns what a writer made up of a plan, "" where all of it was drawn from the lists of the service."""
    written = (outline.title, outline.companion, outline.gift, *(scene.purpose for scene in outline.scenes))
    return "\n".join(filter(None, (outline.setting, *written))) if any(written) else ""
