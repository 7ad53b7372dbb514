"""Voice providers that others bring: entry points of the group `tale.voice_providers`.

An entry point names a factory: `factory(environment) -> VoiceProvider`, `environment` being the process's variables.
It is quick and opens nothing; where a variable is missing it raises ValueError with the mend ("set ACME_KEY").
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

import structlog

from voice_service.registry import Announced

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from importlib.metadata import EntryPoint

    from voice_service.ports import VoiceProvider

GROUP: Final = "tale.voice_providers"

_log: Final = structlog.stdlib.get_logger(__name__)


def load_plugins(
    environment: Mapping[str, str], found: Iterable[EntryPoint] | None = None
) -> list[VoiceProvider | Announced]:
    """Make every provider that an installed package brings; one that can not be made is announced with the reason.

    The entry point's name is the provider's: one whose metadata says another is announced as wrong.
    """
    made: list[VoiceProvider | Announced] = []
    for entry in sorted(entry_points(group=GROUP) if found is None else found, key=lambda entry: entry.name):
        provider = _make(entry, environment)
        if isinstance(provider, Announced):
            _log.warning("voice provider can not be used", provider=entry.name, why=provider.reason)
        made.append(provider)
    return made


def _make(entry: EntryPoint, environment: Mapping[str, str]) -> VoiceProvider | Announced:
    try:
        factory = entry.load()
    except Exception as error:  # noqa: BLE001 - whatever a stranger's module does, the service runs without it
        return Announced(
            entry.name, entry.name, f"{entry.value} can not be loaded ({type(error).__name__})", is_set=True
        )
    try:
        provider: VoiceProvider = factory(environment)
        name = provider.metadata.name
    except ValueError as error:
        return Announced(entry.name, entry.name, str(error))
    except Exception as error:  # noqa: BLE001 - likewise
        return Announced(entry.name, entry.name, f"{entry.value} failed ({type(error).__name__})", is_set=True)
    if name != entry.name:
        return Announced(entry.name, entry.name, f"its metadata say {name}, its entry point {entry.name}", is_set=True)
    return provider
