"""Writes one story: the chosen model's leg, checked while it streams and before it is called whole."""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from story_service.assignment import MAX_CONTENT_LENGTH, Assignment
from story_service.errors import generation_failed, text_too_long
from story_service.ports import (
    LegEnded,
    LegStarted,
    LegText,
    LegTitle,
    ModelCall,
    ModelWriter,
    Spending,
)
from story_service.selection import ModelSelector, Notice
from story_service.titles import normalise_title

FALLBACK_TITLE: Final = "A Bedtime Story"
"""For a model whose title line holds no title."""


@dataclass(frozen=True, slots=True)
class Title:
    """The title, normalised."""

    title: str


@dataclass(frozen=True, slots=True)
class Delta:
    """Whole sentences; `offset` is in code points of the content, what was written before included."""

    offset: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The text is whole and verified. `content_length` in code points, `content_sha256` of the content in UTF-8."""

    model: str
    provider: str
    embedded: bool
    content_length: int
    content_sha256: bytes
    spending: Spending
    summary: str
    completions: tuple[Mapping[str, Any], ...]
    generation_info: Mapping[str, Any]


StoryItem: TypeAlias = LegStarted | Notice | Title | Delta | ModelCall | Completed


@dataclass(slots=True)
class _Content:
    """What is out: `written` holds the pieces of this call alone."""

    titled: bool
    length: int
    digest: Any
    written: list[str] = field(default_factory=list)
    spending: Spending = field(default_factory=Spending)
    started: LegStarted | None = None

    @classmethod
    def of(cls, assignment: Assignment) -> "_Content":
        so_far = assignment.written_so_far
        return cls(bool(assignment.title_so_far), len(so_far), hashlib.sha256(so_far.encode()))

    def append(self, text: str) -> Delta:
        delta = Delta(self.length, text)
        self.length += len(text)
        if self.length > MAX_CONTENT_LENGTH:
            raise text_too_long()
        self.digest.update(text.encode())
        self.written.append(text)
        return delta


class StoryGenerator:
    """Writes stories with the writers that it is given."""

    def __init__(self, *, selector: ModelSelector, writers: Mapping[str, ModelWriter]) -> None:
        """`writers` has a writer for every model that `selector` may choose."""
        self._selector = selector
        self._writers = dict(writers)

    async def generate(self, assignment: Assignment) -> AsyncGenerator[StoryItem, None]:
        """Write: LegStarted, notices, the title unless it is out, deltas, calls, and Completed last.

        Raises DomainError: MODEL_NOT_FOUND, INVALID_CONFIGURATION, LANGUAGE_UNSUPPORTED, TEXT_TOO_LONG, and
        UPSTREAM_UNAVAILABLE for an answer that is empty, cut, or not what was streamed.
        """
        selection = self._selector.select(assignment)
        content = _Content.of(assignment)
        ended: LegEnded | None = None
        leg = self._writers[selection.model].write(assignment, model=selection.model)
        async with aclosing(leg):
            async for item in leg:
                if isinstance(item, LegEnded):
                    ended = item
                    break
                for told in _told(item, content):
                    yield told
                if isinstance(item, LegStarted):
                    for notice in selection.notices:
                        yield notice
        yield _verified(content, ended)


def _told(item: LegStarted | LegTitle | LegText | ModelCall, content: _Content) -> tuple[StoryItem, ...]:
    """What the caller is told of `item`; notes it in `content`."""
    match item:
        case LegStarted():
            content.started = item
            return (item,)
        case ModelCall():
            content.spending += item.spending
            return (item,)
        case LegTitle() if content.titled:
            return ()
        case LegTitle():
            content.titled = True
            return (Title(normalise_title(item.title) or FALLBACK_TITLE),)
        case LegText() if not item.text:
            return ()
        case LegText() if not content.titled:
            raise generation_failed("TRUNCATED", "The model gave text before a title.")
        case LegText():
            return (content.append(item.text),)


def _verified(content: _Content, ended: LegEnded | None) -> Completed:
    """Call the text whole, or raise: it is there, it was finished, and it is what went out."""
    if ended is None or content.started is None:
        raise generation_failed("TRUNCATED", "The model's answer broke off.")
    if not content.length:
        raise generation_failed("TRUNCATED", "The model's answer was empty.")
    if ended.text != "".join(content.written):
        raise generation_failed("TRUNCATED", "The model's answer was not what it had streamed.")
    return Completed(
        model=content.started.model,
        provider=content.started.provider,
        embedded=content.started.embedded,
        content_length=content.length,
        content_sha256=content.digest.digest(),
        spending=content.spending,
        summary=ended.summary,
        completions=(ended.completion,),
        generation_info=ended.generation_info,
    )
