"""How each model stands now: its circuit, its pace, and the key that all of them need."""

import math
from collections.abc import Collection
from typing import Final

from servicekit.resilience.manager import BreakerManager
from story_service.generation.chat_writer import circuit_of
from story_service.generation.pace import Paces
from story_service.models.catalogue import ModelFacts
from story_service.models.monitor import ProviderMonitor

KEY_REFUSED: Final = "OpenRouter refuses the key in OPENROUTER_API_KEY."


class ModelsNow:
    """Gathers the facts for ListModels; makes no breakers and asks nobody."""

    def __init__(
        self,
        *,
        provider: str,
        models: Collection[str],
        breakers: BreakerManager,
        paces: Paces,
        upkeep: ProviderMonitor | None = None,
    ) -> None:
        """`models` are the ids that are listed, those of `provider` alone; `upkeep` is None where there is no key."""
        self._prefix = circuit_of(provider, "")
        self._models = tuple(models)
        self._breakers = breakers
        self._paces = paces
        self._upkeep = upkeep

    def facts(self) -> dict[str, ModelFacts]:
        """By model id."""
        circuits = {snapshot.name.removeprefix(self._prefix): snapshot for snapshot in self._breakers.snapshots()}
        refused = self._upkeep is not None and self._upkeep.key_refused
        found: dict[str, ModelFacts] = {}
        for model_id in self._models:
            circuit = circuits.get(model_id)
            state = circuit.state if circuit is not None else "closed"
            reason = KEY_REFUSED if refused else ""
            if not reason and circuit is not None and state == "open":
                seconds = math.ceil(circuit.retry_after)
                reason = f"It failed too often, or asked to be left alone; it is asked again in {seconds} s."
            found[model_id] = ModelFacts(
                available=not reason,
                unavailable_reason=reason,
                circuit_state=state,
                typical_seconds=self._paces.typical_seconds(model_id),
            )
        return found
