"""The embedded writer behind the port."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from offline_writer import LanguageUnsupported, OfflineBrief, Piece, StoryUnsupported
from servicekit.ids import new_id
from story_service.assignment import MAX_CONTENT_LENGTH, Assignment
from story_service.errors import generation_failed, language_unsupported, story_unsupported
from story_service.ports import (
    OFFLINE,
    AttemptEnded,
    AttemptItem,
    AttemptStarted,
    AttemptText,
    AttemptTitle,
    CallOutcome,
    ModelCall,
)


class Engine(Protocol):
    """What writes: deterministic for a brief, pure computation, free of I/O."""

    @property
    def languages(self) -> Sequence[str]:
        """BCP-47 codes that it can write."""

    def write(self, brief: OfflineBrief, *, title_so_far: str = "", written_so_far: str = "") -> Iterator[Piece]:
        """Yield the title unless it is out, then the sentences that follow `written_so_far`."""

    def summary(self, brief: OfflineBrief) -> str:
        """Say in a few sentences what happens."""


@dataclass(frozen=True, slots=True)
class _Draft:
    title: str
    sentences: tuple[str, ...]
    summary: str


class EmbeddedWriter:
    """A ModelWriter that needs no key and no network. The computing is done in a thread."""

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
        """Write an attempt; see ModelWriter. Raises LANGUAGE_UNSUPPORTED, and UPSTREAM_UNAVAILABLE when it is stuck."""
        brief = _brief(assignment)
        call_id, start_time = new_id(), self._now()
        draft = await self._drafted(brief, assignment)
        yield AttemptStarted(model=model, provider=OFFLINE, embedded=True)
        call = ModelCall(
            call_id=call_id,
            provider=OFFLINE,
            model=model,
            outcome=CallOutcome.STARTED,
            start_time=start_time,
            generation_info={"id": call_id, "seed": str(brief.seed), "engine_version": self._engine_version},
        )
        yield call
        if draft.title:
            yield AttemptTitle(draft.title)
        for sentences in draft.sentences:
            if self._words_per_second is not None:
                await self._sleep(len(sentences.split()) / self._words_per_second)
            yield AttemptText(sentences)
        text = "".join(draft.sentences)
        yield replace(
            call,
            outcome=CallOutcome.SUCCEEDED,
            end_time=self._now(),
            completion=_completion(call_id, model, draft.title, text, start_time),
            generation_info={**call.generation_info, "words": len(text.split())},
        )
        yield AttemptEnded(text=text, summary=draft.summary)

    async def _drafted(self, brief: OfflineBrief, assignment: Assignment) -> _Draft:
        stop = threading.Event()
        try:
            async with asyncio.timeout(self._idle_timeout):
                return await asyncio.to_thread(self._draft, brief, assignment, stop)
        except LanguageUnsupported as error:
            raise language_unsupported(tuple(error.supported)) from None
        except StoryUnsupported as error:
            raise story_unsupported(error.language, error.missing, error.supported) from None
        except TimeoutError:
            raise generation_failed("TIMEOUT", "The embedded writer did not answer in time.") from None
        finally:
            stop.set()

    def _draft(self, brief: OfflineBrief, assignment: Assignment, stop: threading.Event) -> _Draft:
        title, length = "", len(assignment.written_so_far)
        sentences: list[str] = []
        for piece in self._engine.write(
            brief, title_so_far=assignment.title_so_far, written_so_far=assignment.written_so_far
        ):
            if piece.kind == "title":
                title = piece.text
            else:
                sentences.append(piece.text)
                length += len(piece.text)
            # One sentence too long is enough for whoever counts, and a bound for whoever does not stop.
            if stop.is_set() or length > MAX_CONTENT_LENGTH:
                break
        return _Draft(title, tuple(sentences), self._engine.summary(brief))


def seed_of(assignment: Assignment) -> int:
    """The seed that was given, or else one that stays the same for the story: 63 bits of its id's SHA-256."""
    if assignment.seed is not None:
        return assignment.seed
    return int.from_bytes(hashlib.sha256(assignment.story_id.encode()).digest()[:8]) >> 1


def _brief(assignment: Assignment) -> OfflineBrief:
    child = assignment.child
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
    )


def _completion(call_id: str, model: str, title: str, text: str, created: datetime) -> dict[str, Any]:
    """The attempt in the form of a chat completion: the title line first where the attempt wrote it."""
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
