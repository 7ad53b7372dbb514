"""The present state of each model: its circuit breaker, its pace, and the server that it needs."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from offline_writer import WORDS_PER_MINUTE
from servicekit.resilience.manager import BreakerManager
from story_service.models.catalogue import ModelFacts
from story_service.models.monitor import ProviderMonitor
from story_service.models.names import id_at_provider, provider_of

_TYPICAL_WORDS: Final = 5 * WORDS_PER_MINUTE
_WEIGHT: Final = 0.2
_MOST_MODELS: Final = 256


class Paces:
    """A moving average of writing speed for each model; of too many models, the last ones."""

    def __init__(self) -> None:
        self._seconds_per_word: dict[str, float] = {}

    def note(self, model: str, *, words: int, seconds: float) -> None:
        """Records that `model` has written a whole story."""
        if words <= 0:
            return
        seen = seconds / words
        known = self._seconds_per_word.pop(model, seen)
        if len(self._seconds_per_word) >= _MOST_MODELS:
            del self._seconds_per_word[next(iter(self._seconds_per_word))]
        self._seconds_per_word[model] = known + _WEIGHT * (seen - known)

    def typical_seconds(self, model: str) -> float | None:
        """Returns the seconds for a story of five minutes; None where it was not measured."""
        pace = self._seconds_per_word.get(model)
        return None if pace is None else pace * _TYPICAL_WORDS


def circuit_of(provider: str, model: str) -> str:
    """Returns the name of a model's circuit breaker."""
    return f"{provider}:{model}"


class ModelStates:
    """Returns the state of models for ListModels; creates no circuit breakers and makes no calls."""

    def __init__(
        self, breakers: BreakerManager, monitors: Sequence[ProviderMonitor], paces: Mapping[str, Paces]
    ) -> None:
        """`monitors` are those of the configured providers; `paces` is by provider."""
        self._breakers = breakers
        self._monitors = {monitor.server.provider: monitor for monitor in monitors}
        self._paces = paces

    def facts(self, model: str) -> ModelFacts:
        """Returns the facts of a model, as it is named inside the service."""
        provider, model_id = provider_of(model), id_at_provider(model)
        monitor = self._monitors.get(provider)
        if monitor is None:
            return ModelFacts()
        circuit = self._breakers.snapshot(circuit_of(provider, model_id))
        state = circuit.state if circuit is not None else "closed"
        reason = monitor.trouble
        if not reason and circuit is not None and state == "open":
            seconds = math.ceil(circuit.retry_after)
            reason = f"Circuit breaker open: it failed too often, or asked for a pause. Next call in {seconds} s."
        return ModelFacts(
            available=not reason,
            unavailable_reason=reason,
            circuit_state=state,
            typical_seconds=self._paces[provider].typical_seconds(model_id),
        )
