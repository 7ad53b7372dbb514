"""What the service asks of whatever writes, be it the embedded writer or a model behind a network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime

    from story_service.assignment import Assignment
OFFLINE: Final = "offline"
"""Id of the embedded writer, as a model and as a provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """A model has begun."""

    model: str
    provider: str
    embedded: bool = False


@dataclass(frozen=True, slots=True)
class AttemptTitle:
    """The title line, as the model gave it."""

    title: str


@dataclass(frozen=True, slots=True)
class AttemptText:
    """Whole sentences that follow what is out already, with the white space that parts them from it."""

    text: str


class CallOutcome(StrEnum):
    """How a call to a model stands."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Tokens and US dollars; `cost_known` is False where the cost could not be learned."""

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
    """`value`, where it is an amount that somebody can be billed for; else None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One call to a model: a line of the ledger. `call_id` is a UUIDv7, times are in UTC.

    A later line with the same `call_id` replaces an earlier one. `generation_id` is the provider's own id of what it
    was paid for, "" where it gave none: then nothing more can be learned. `completion` is the assembled chat completion
    (of a call that was cut, what there is of it), `generation_info` what the provider reports about it; both are JSON.
    """

    call_id: str
    provider: str
    model: str
    outcome: CallOutcome
    start_time: datetime
    end_time: datetime | None = None
    reason: str = ""
    spending: Spending = field(default_factory=Spending)
    metadata: Mapping[str, str] = field(default_factory=dict)
    generation_id: str = ""
    completion: Mapping[str, Any] = field(default_factory=dict)
    generation_info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """The model says that the story is whole. Comes last, and only then.

    `text` is what the attempt added, assembled apart from what was yielded, so that the two can be compared.
    """

    text: str
    summary: str


AttemptItem: TypeAlias = AttemptStarted | AttemptTitle | AttemptText | ModelCall | AttemptEnded


class ModelWriter(Protocol):
    """Writes one attempt: the story from where it stands to its end, with one model."""

    def write(self, assignment: Assignment, *, model: str) -> AsyncGenerator[AttemptItem, None]:
        """Yields AttemptStarted, AttemptTitle unless `title_so_far` is set, AttemptText…, ModelCalls, AttemptEnded.

        A stream that ends without AttemptEnded is incomplete. Every wait for an upstream is bounded by the writer's own
        timers. Close the generator (`contextlib.aclosing`) when it is left early; that stops the upstream call.
        It is one call upstream at most: who reads it tries again. Raises ProviderError or DomainError, after the
        ModelCall of the call that failed; without a ModelCall no call was made.
        """
