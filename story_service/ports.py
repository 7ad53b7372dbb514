"""The port to what writes: the embedded writer, or models behind a network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from offline_writer import Outline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime

    from story_service.assignment import Assignment
    from tale.common.v1.common_pb2 import AttemptOutcome

OFFLINE: Final = "offline"
"""Id of the embedded writer, as a model and as a provider."""
OPENROUTER: Final = "openrouter"
CHAT: Final = "chat"
SAFETY: Final = "safety"
"""Names of the providers behind OPENROUTER_BASE_URL, CHAT_BASE_URL and STORY_SAFETY_BASE_URL."""
PURPOSE: Final = "purpose"
"""Metadata of a call that writes no text of the story: what it is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """A model has started."""

    model: str
    provider: str
    embedded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLoading:
    """The server of the model is up and loads it: text comes later."""

    model: str
    provider: str


@dataclass(frozen=True, slots=True)
class AttemptTitle:
    """The title line, as the model wrote it."""

    title: str


@dataclass(frozen=True, slots=True)
class AttemptText:
    """Whole sentences that follow the released text, with the white space that separates them from it."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Tokens and US dollars; `cost_known` is False where the cost is an estimate or unknown."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    cost_known: bool = True

    def __add__(self, other: Spending) -> Spending:
        return Spending(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost_usd=self.cost_usd + other.cost_usd,
            cost_known=self.cost_known and other.cost_known,
        )


def money(value: object) -> float | None:
    """Returns `value` where it is an amount that can be billed, else None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """A call to a model: a line of the ledger. `call_id` is a UUIDv7, times are in UTC.

    A later line with the same `call_id` replaces an earlier one. `generation_id` is the provider's id of the call, ""
    where it gave none: then nothing more can be known. `characters` are those of the released text. `completion` is the
    assembled chat completion (of a cut call, what there is of it), `generation_info` what the provider reports about
    it; both are JSON.
    """

    call_id: str
    provider: str
    model: str
    outcome: AttemptOutcome.ValueType
    start_time: datetime
    end_time: datetime | None = None
    reason: str = ""
    spending: Spending = field(default_factory=Spending)
    metadata: Mapping[str, str] = field(default_factory=dict)
    generation_id: str = ""
    characters: int = 0
    completion: Mapping[str, Any] = field(default_factory=dict)
    generation_info: Mapping[str, Any] = field(default_factory=dict)


class Missing(Enum):
    """What a story lacks after an attempt."""

    NOTHING = "nothing"
    SCENE = "scene"
    """Its next scene, of an outline that is made or continued."""
    WORDS = "words"
    """Words before the ending of its passage."""
    ENDING = "ending"
    """Its ending: the answer had its length without one."""


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """What was asked for is written. The last item of a successful attempt.

    `text` is what the attempt added, assembled apart from what was yielded, so that the two can be compared. With
    `ending_missing` the story ends with the last whole sentence that there is. `missing` is for the next attempt;
    `ending` is the end of a passage that lacks words, which was not yielded and is used where no attempt adds any.
    """

    text: str
    ending_missing: bool = False
    missing: Missing = Missing.NOTHING
    ending: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that the caller should know but that stops nothing. The remedy follows from `reason`."""

    reason: str
    message: str
    metadata: dict[str, str] = field(default_factory=dict)


AttemptItem: TypeAlias = (
    AttemptStarted | AttemptLoading | Outline | Notice | AttemptTitle | AttemptText | ModelCall | AttemptEnded
)


class RequestCheck(Protocol):
    """Checks what people wrote, before a model is called for it."""

    def request(self, assignment: Assignment) -> AsyncGenerator[Notice | ModelCall, None]:
        """Yields the calls that it makes, and a notice while it waits. Raises DomainError where it does not pass."""


class ModelWriter(Protocol):
    """Writes one attempt: the outline, a scene, or the story from where it stands to its end, with one model."""

    def write(self, assignment: Assignment, *, model: str) -> AsyncGenerator[AttemptItem, None]:
        """Yields AttemptStarted, the title unless `title_so_far` is set, AttemptText…, ModelCalls, AttemptEnded.

        An Outline comes before the text where it made one, and a Notice for what the caller should know.
        AttemptLoading comes as often as the provider reports it.

        It is at most one call upstream, bounded by the writer's own timeouts; a stream without AttemptEnded is
        incomplete. Close the generator (`contextlib.aclosing`) to leave it early; that ends the call upstream. Raises
        ProviderError or DomainError, after the ModelCall of a failed call; without one, none was made.
        """
