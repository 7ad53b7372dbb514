"""The present state of each model: its circuit breaker, its pace, and the key that all of them need."""

import math
from collections.abc import Collection
from typing import Final

from offline_writer import WORDS_PER_MINUTE
from servicekit.resilience.manager import BreakerManager
from story_service.models.catalogue import ModelFacts
from story_service.models.monitor import ProviderMonitor

KEY_REFUSED: Final = "OpenRouter refuses the key in OPENROUTER_API_KEY."

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
    """Collects the state of models for ListModels; creates no circuit breakers and makes no calls."""

    def __init__(
        self,
        *,
        provider: str,
        models: Collection[str],
        breakers: BreakerManager,
        paces: Paces,
        monitor: ProviderMonitor | None = None,
    ) -> None:
        """`models` are the listed ids of `provider`; `monitor` is None without a key."""
        self._prefix = circuit_of(provider, "")
        self._models = tuple(models)
        self._breakers = breakers
        self._paces = paces
        self._monitor = monitor

    def facts(self) -> dict[str, ModelFacts]:
        """Returns the facts by model id."""
        circuits = {snapshot.name.removeprefix(self._prefix): snapshot for snapshot in self._breakers.snapshots()}
        refused = self._monitor is not None and self._monitor.key_refused
        found: dict[str, ModelFacts] = {}
        for model_id in self._models:
            circuit = circuits.get(model_id)
            state = circuit.state if circuit is not None else "closed"
            reason = KEY_REFUSED if refused else ""
            if not reason and circuit is not None and state == "open":
                seconds = math.ceil(circuit.retry_after)
                reason = f"Circuit breaker open: it failed too often, or asked for a pause. Next call in {seconds} s."
            found[model_id] = ModelFacts(
                available=not reason,
                unavailable_reason=reason,
                circuit_state=state,
                typical_seconds=self._paces.typical_seconds(model_id),
            )
        return found
