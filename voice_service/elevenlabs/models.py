"""What the models of ElevenLabs take.

Limits and languages come from their list of models; the tables here stand in while it cannot be had
(https://elevenlabs.io/docs/models).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voice_service.elevenlabs.languages import ENGLISH, FLASH_V2_5, MULTILINGUAL_V2, V3, bare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elevenlabs.types import Model


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model: `max_characters` of one request, and its languages (ISO 639)."""

    max_characters: int
    languages: tuple[str, ...]


BUILT_IN: Final[Mapping[str, ModelFacts]] = {
    "eleven_multilingual_v2": ModelFacts(10_000, MULTILINGUAL_V2),
    "eleven_flash_v2_5": ModelFacts(40_000, FLASH_V2_5),
    "eleven_turbo_v2_5": ModelFacts(40_000, FLASH_V2_5),
    "eleven_flash_v2": ModelFacts(30_000, ENGLISH),
    "eleven_turbo_v2": ModelFacts(30_000, ENGLISH),
    "eleven_v3": ModelFacts(5_000, V3),
    "eleven_multilingual_v1": ModelFacts(10_000, ("en", "de", "pl", "es", "it", "fr", "pt", "hi")),
    "eleven_monolingual_v1": ModelFacts(10_000, ENGLISH),
}
_UNKNOWN: Final = ModelFacts(5_000, MULTILINGUAL_V2)
"""The least of all limits, for a model that nobody tells of."""

_BEFORE_V3: Final = re.compile(r"eleven_[a-z]+_v[12](_|$)")
_NO_LANGUAGE_CODE: Final = re.compile(r"eleven_[a-z]+_v[12]$")


def takes_previous_text(model_id: str) -> bool:
    """Tell whether the model may be given the text before; v3 answers it with 400 (`unsupported_model`)."""
    return _BEFORE_V3.match(model_id) is not None


def takes_language_code(model_id: str) -> bool:
    """Tell whether the model may be told the language; those up to v2 answer it with 400 or do not heed it."""
    return _NO_LANGUAGE_CODE.match(model_id) is None


def stability_of(model_id: str, stability: float | None) -> float | None:
    """Return a stability that the model takes: v3 knows 0 (creative), 0.5 (natural) and 1 (robust) alone."""
    if stability is None or takes_previous_text(model_id) or not model_id.startswith("eleven_v3"):
        return stability
    return round(stability * 2) / 2


def facts_of(model_id: str, listed: Mapping[str, ModelFacts] | None) -> ModelFacts:
    """Return what is known of a model: from ElevenLabs' list, else built in, else a careful guess."""
    if listed is not None and model_id in listed:
        return listed[model_id]
    return BUILT_IN.get(model_id, _UNKNOWN)


def listed_models(models: Sequence[Model]) -> dict[str, ModelFacts]:
    """Return the models of a list that speak; what the list leaves open is as it is built in."""
    return {model.model_id: _facts(model) for model in models if model.can_do_text_to_speech is not False}


def _facts(model: Model) -> ModelFacts:
    """Read a model, of which the SDK has checked nothing but that it has an id."""
    known = BUILT_IN.get(model.model_id, _UNKNOWN)
    longest = model.maximum_text_length_per_request
    listed: Sequence[object] = model.languages if isinstance(model.languages, list) else ()
    codes = (getattr(each, "language_id", None) for each in listed)
    languages = tuple(dict.fromkeys(bare(code) for code in codes if isinstance(code, str) and code))
    return ModelFacts(
        longest if isinstance(longest, int) and longest > 0 else known.max_characters, languages or known.languages
    )
