"""What a call to a provider was and what it may have cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from servicekit.ids import new_id

if TYPE_CHECKING:
    from voice_service.ports import CallFacts


class CallOutcome(Enum):
    """How a call ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call to a provider. Times in nanoseconds since the epoch.

    `characters` are what the provider says that it bills, else the code points that were sent. `cost_known` is false
    where the call may have been billed and nobody says how much in money. `request_id` is the provider's.
    """

    provider: str
    voice_id: str
    model_id: str
    outcome: CallOutcome
    started_ns: int
    ended_ns: int
    characters: int
    cost_known: bool
    reason: str = ""
    request_id: str = ""
    attempt_id: str = field(default_factory=new_id)


@dataclass(slots=True, kw_only=True)
class OpenCall:
    """A call that has begun; `characters` are those that were sent until the provider says otherwise."""

    provider: str
    voice_id: str
    model_id: str
    characters: int
    paid: bool
    request_id: str = ""
    started_ns: int = field(default_factory=time.time_ns)

    def note(self, facts: CallFacts) -> None:
        """Take up what the provider says of the call."""
        self.request_id = facts.request_id or self.request_id
        if facts.characters_billed is not None:
            self.characters = facts.characters_billed

    def ended(self, outcome: CallOutcome, reason: str = "") -> CallRecord:
        """Return the record of the call, which has ended now."""
        return CallRecord(
            provider=self.provider,
            voice_id=self.voice_id,
            model_id=self.model_id,
            outcome=outcome,
            started_ns=self.started_ns,
            ended_ns=max(self.started_ns, time.time_ns()),
            characters=self.characters,
            cost_known=not self.paid,
            reason=reason,
            request_id=self.request_id,
        )
