"""What a call to a provider was and what it may have cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from servicekit.ids import new_id
from servicekit.resilience.errors import ProviderErrorKind

if TYPE_CHECKING:
    from servicekit.resilience.errors import ProviderError
    from voice_service.ports import CallFacts


class CallOutcome(Enum):
    """How a call ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True, kw_only=True)
class CallRecord:
    """One call to a provider. Times in nanoseconds since the epoch; `http_status` is 0 where there was none.

    `characters` are those that were sent until the provider says what it bills. `cost_known` is false where the call
    may have been billed and the provider does not say how much in money. `request_id` is the provider's.
    """

    provider: str
    voice_id: str
    model_id: str
    characters: int
    cost_known: bool
    outcome: CallOutcome = CallOutcome.CANCELLED
    reason: str = ProviderErrorKind.CANCELLED.value
    http_status: int = 0
    request_id: str = ""
    started_ns: int = field(default_factory=time.time_ns)
    ended_ns: int = 0
    attempt_id: str = field(default_factory=new_id)

    def note(self, facts: CallFacts) -> None:
        """Takes up what the provider says of the call."""
        self.request_id = facts.request_id or self.request_id
        if facts.characters_billed is not None:
            self.characters = facts.characters_billed

    def failed(self, error: ProviderError) -> None:
        """Takes up how the call failed."""
        self.outcome, self.reason, self.http_status = CallOutcome.FAILED, error.kind.value, error.status
        self.request_id = self.request_id or error.request_id

    def seconds(self) -> float:
        """Returns how long the call has taken so far, or took."""
        return max(0, (self.ended_ns or time.time_ns()) - self.started_ns) / 1e9
