"""The embedded writer as a ModelWriter."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from offline_writer import LanguageUnsupported, OfflineBrief, Outline, Piece, Plan, StoryUnsupported
from servicekit.ids import new_id
from story_service.assignment import MAX_CONTENT_LENGTH, Assignment, seed_of
from story_service.errors import generation_failed, language_unsupported, story_unsupported
from story_service.ports import (
    OFFLINE,
    AttemptEnded,
    AttemptItem,
    AttemptStarted,
    AttemptText,
    AttemptTitle,
    ModelCall,
    Notice,
)
from tale.common.v1.common_pb2 import ATTEMPT_OUTCOME_STARTED, ATTEMPT_OUTCOME_SUCCEEDED

_NOT_UNDERSTOOD = (
    "The embedded writer did not understand the wish, or it is not for children: the story is another one. Configure a "
    "model, or say who the story is about and what they do."
)


class Engine(Protocol):
    """The writer: deterministic for a brief, pure computation, no I/O."""

    @property
    def languages(self) -> Sequence[str]:
        """BCP-47 codes that it can write."""

    def plan(self, brief: OfflineBrief) -> Plan:
        """Returns what `write` is going to tell."""

    def write(self, brief: OfflineBrief, *, title_so_far: str = "", written_so_far: str = "") -> Iterator[Piece]:
        """Yields the title unless it is released, then the sentences that follow `written_so_far`."""


@dataclass(frozen=True, slots=True)
class _Written:
    outline: Outline | None
    """None where text that is there already decides, or where an outline is given."""
    understood: bool
    title: str
    sentences: tuple[str, ...]


class EmbeddedWriter:
    """A ModelWriter that needs no key and no network. It computes in a thread."""

    def __init__(
        self,
        engine: Engine,
        *,
        engine_version: str,
        idle_timeout: float,
        words_per_second: float | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`words_per_second` paces the sentences (None: at once); `idle_timeout` bounds the computing, in seconds."""
        self._engine = engine
        self._engine_version = engine_version
        self._idle_timeout = idle_timeout
        self._words_per_second = words_per_second
        self._sleep = sleep
        self._now = now

    async def write(self, assignment: Assignment, *, model: str) -> AsyncGenerator[AttemptItem, None]:
        """Writes an attempt; see ModelWriter. Raises LANGUAGE_UNSUPPORTED, and UPSTREAM_UNAVAILABLE on a timeout."""
        brief = _brief(assignment)
        call_id, start_time = new_id(), self._now()
        written = await self._compute(brief, assignment)
        yield AttemptStarted(model=model, provider=OFFLINE, embedded=True)
        call = ModelCall(
            call_id=call_id,
            provider=OFFLINE,
            model=model,
            outcome=ATTEMPT_OUTCOME_STARTED,
            start_time=start_time,
            generation_info={"id": call_id, "seed": str(brief.seed), "engine_version": self._engine_version},
        )
        yield call
        if not written.understood:
            yield Notice(reason="WISH_NOT_UNDERSTOOD", message=_NOT_UNDERSTOOD)
        if written.outline is not None:
            yield written.outline
        if written.title:
            yield AttemptTitle(written.title)
        for sentences in written.sentences:
            if self._words_per_second is not None:
                await self._sleep(len(sentences.split()) / self._words_per_second)
            yield AttemptText(sentences)
        text = "".join(written.sentences)
        yield replace(
            call,
            outcome=ATTEMPT_OUTCOME_SUCCEEDED,
            end_time=self._now(),
            completion=_completion(call_id, model, written.title, text, start_time),
            generation_info={**call.generation_info, "words": len(text.split())},
        )
        yield AttemptEnded(text)

    async def _compute(self, brief: OfflineBrief, assignment: Assignment) -> _Written:
        stop = threading.Event()
        try:
            async with asyncio.timeout(self._idle_timeout):
                return await asyncio.to_thread(self._write_whole, brief, assignment, stop)
        except LanguageUnsupported as error:
            raise language_unsupported(tuple(error.supported)) from None
        except StoryUnsupported as error:
            raise story_unsupported(error.language, error.missing, error.supported) from None
        except TimeoutError:
            raise generation_failed("TIMEOUT", "The embedded writer did not answer in time.") from None
        finally:
            stop.set()

    def _write_whole(self, brief: OfflineBrief, assignment: Assignment, stop: threading.Event) -> _Written:
        title, length = "", len(assignment.written_so_far)
        if not assignment.written_so_far and not _has_keys(brief.outline):
            # The outline of a model says nothing to the engine, and nothing of it is written yet.
            brief = replace(brief, outline=None)
        plan = self._engine.plan(brief)
        outline = plan.outline if brief.outline is None else None
        sentences: list[str] = []
        for piece in self._engine.write(
            brief, title_so_far=assignment.title_so_far, written_so_far=assignment.written_so_far
        ):
            if piece.kind == "title":
                title = piece.text
            else:
                sentences.append(piece.text)
                length += len(piece.text)
            # One sentence too many is enough to be noticed, and bounds an engine that does not end.
            if stop.is_set() or length > MAX_CONTENT_LENGTH:
                break
        return _Written(outline, plan.understood, title, tuple(sentences))


def _has_keys(outline: Outline | None) -> bool:
    return outline is not None and any(scene.key for scene in outline.scenes)


def _brief(assignment: Assignment) -> OfflineBrief:
    child = assignment.child
    if assignment.gentle:
        # What follows is another stock story's: nothing of what was asked for is in it.
        child = replace(child, interests=())
        assignment = replace(
            assignment, child=child, wish="", theme="", moral="", outline=None, seed=seed_of(assignment) ^ 1
        )
    return OfflineBrief(
        name=child.name,
        age=child.age,
        gender=child.gender,
        interests=child.interests,
        wish=assignment.wish,
        moral=assignment.moral,
        theme=assignment.theme,
        language_code=assignment.language_code,
        length_minutes=assignment.length_minutes,
        seed=seed_of(assignment),
        kind=assignment.kind,
        hero=assignment.hero,
        sequel=assignment.parent,
        heard=assignment.heard,
        avoid=assignment.avoid,
        audience_note=assignment.audience_note,
        outline=assignment.outline,
    )


def _completion(call_id: str, model: str, title: str, text: str, created: datetime) -> dict[str, Any]:
    """Returns the attempt as a chat completion: the title line first if the attempt wrote it."""
    return {
        "id": call_id,
        "object": "chat.completion",
        "created": int(created.timestamp()),
        "provider": OFFLINE,
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": f"{title}\n\n{text}" if title else text},
            }
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": 0},
    }
