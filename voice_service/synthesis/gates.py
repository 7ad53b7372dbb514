"""What stands before each provider: its circuit breaker, its limits and its budget of retries."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.retry import RetryBudget

if TYPE_CHECKING:
    from collections.abc import Callable

    from servicekit.resilience.breaker import CircuitBreaker
    from servicekit.resilience.manager import BreakerManager
    from voice_service.ports import ProviderMetadata, SegmentRequest

_PROVEN_SECONDS: Final = 600.0
_PROVEN_VOICES: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How much a provider is asked at a time: calls at once, and calls a minute (None: no limit)."""

    concurrency: int
    requests_per_minute: float | None = None


class ProvenVoices:
    """Voices of a provider that have answered within ten minutes, and refused nothing since."""

    def __init__(self) -> None:
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()

    def knows(self, request: SegmentRequest) -> bool:
        """Returns whether the voice of a request, with its model, is one of them."""
        return time.monotonic() < self._until.get((request.voice_id, request.model_id), 0.0)

    def answered(self, request: SegmentRequest) -> None:
        """Adds the voice of a request that was answered with audio."""
        self.refused(request)
        self._until[request.voice_id, request.model_id] = time.monotonic() + _PROVEN_SECONDS
        if len(self._until) > _PROVEN_VOICES:
            self._until.popitem(last=False)

    def refused(self, request: SegmentRequest) -> None:
        """Removes the voice of a request that was refused for good."""
        self._until.pop((request.voice_id, request.model_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a call to one provider passes."""

    breaker: CircuitBreaker
    limits: ProviderLimits
    budget: RetryBudget
    proven: ProvenVoices = field(default_factory=ProvenVoices)


class ProviderGates:
    """A gate for each provider, made when it is first needed."""

    def __init__(self, breakers: BreakerManager, allowance: Callable[[ProviderMetadata], Allowance]) -> None:
        self._breakers = breakers
        self._allowance = allowance
        self._gates: dict[str, Gate] = {}

    def of(self, metadata: ProviderMetadata) -> Gate:
        """Return the gate of the provider."""
        gate = self._gates.get(metadata.name)
        if gate is None:
            allowed = self._allowance(metadata)
            gate = self._gates[metadata.name] = Gate(
                breaker=self._breakers.get(metadata.name, provider=metadata.name),
                limits=ProviderLimits(allowed.concurrency, allowed.requests_per_minute, provider=metadata.name),
                budget=RetryBudget(),
            )
        return gate

    def closed_reason(self, name: str) -> str:
        """Why the provider, though set up, is not called now; "" where it is. Calls are never a circuit's probe."""
        if self.state(name) == "closed":
            return ""
        seconds = self._gates[name].breaker.retry_after
        soon = f"in {seconds:.0f} s" if seconds >= 1 else "shortly"
        return f"it failed too often; it is asked again {soon}"

    def state(self, name: str) -> str:
        """State of the provider's circuit: "closed", "open" or "half_open"."""
        gate = self._gates.get(name)
        return "closed" if gate is None else gate.breaker.state
