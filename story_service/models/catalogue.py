"""The models that can be requested."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from story_service.models.known_models import KNOWN_MODELS, ModelInfo
from story_service.ports import OFFLINE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from story_service.chat import UpstreamModel

MAX_MODEL_ID_LENGTH: Final = 200

_MOST_UPSTREAM_MODELS: Final = 10_000
_PASSED_THROUGH: Final = re.compile(r"[A-Za-z0-9~][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(?::[A-Za-z0-9._-]+)?")
_ROUTED_VARIANTS: Final[Mapping[str, float | None]] = {"floor": 1.0, "nitro": 3.0, "exacto": 3.0, "online": None}
"""Routing variants, which OpenRouter accepts with any id and lists with none: factor of their highest price.

None: unknown, since each web search is billed beside the tokens.
"""
_NO_KEY: Final = "OPENROUTER_API_KEY is not set on the story service."
_NOT_OFFERED: Final = "OpenRouter does not offer this model now."

# Ids too, since a known one in other case is the same model.
_NAMES: Final = {name.casefold(): model.id for model in KNOWN_MODELS for name in (model.id, *model.aliases)} | {
    OFFLINE: OFFLINE
}

CircuitState: TypeAlias = Literal["closed", "open", "half_open"]
"""State of a model's circuit breaker."""


def is_model_id(model: str) -> bool:
    """Returns True for the embedded writer and for ids of OpenRouter's form, `vendor/name` or `vendor/name:variant`."""
    return model == OFFLINE or (len(model) <= MAX_MODEL_ID_LENGTH and _PASSED_THROUGH.fullmatch(model) is not None)


def resolve(name: str) -> str:
    """Returns the id of the model that `name` means: a symbolic name such as "GPT_4O" in any case, or an id unchanged.

    ValueError where it is neither known nor of the form `vendor/name`.
    """
    known = _NAMES.get(name.casefold())
    if known is not None:
        return known
    if is_model_id(name):
        return name
    raise ValueError('must be "offline", a known name such as GPT_4O, or of the form vendor/name')


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    prompt: float
    completion: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The state of a model. `typical_seconds`: measured time to write a story of five minutes."""

    available: bool = True
    unavailable_reason: str = ""
    circuit_state: CircuitState = "closed"
    typical_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model and its state."""

    info: ModelInfo
    facts: ModelFacts


@dataclass(frozen=True, slots=True)
class Page:
    """Some models, and the token of the next page; "" on the last. `stale`: the list may be out of date."""

    models: tuple[ListedModel, ...]
    next_token: str
    stale: bool = False


class Catalogue:
    """The models of this server, in the order in which they are listed."""

    def __init__(self, models: Sequence[ModelInfo], *, key_set: bool = True) -> None:
        """Without a key only the embedded model is available."""
        self._configured = tuple(models)
        self._models = self._configured
        self._key_set = key_set
        self._upstream: Mapping[str, UpstreamModel] | None = None
        self._stale = False

    def refresh(self, upstream: Sequence[UpstreamModel]) -> None:
        """Takes over what the provider offers now: prices, lengths, names, and which models exist."""
        self._upstream = {model.id: model for model in upstream[:_MOST_UPSTREAM_MODELS]}
        self._models = tuple(self._merged(model) for model in self._configured)
        self._stale = False

    def refresh_failed(self) -> None:
        """Marks every page as stale from now on."""
        self._stale = True

    def find(self, model_id: str) -> ModelInfo:
        """Returns what is known of a model, listed or not."""
        for model in self._models:
            if model.id == model_id:
                return model
        return self._merged(_known_or_bare(model_id))

    def highest_price_of(self, model_id: str) -> Price | None:
        """Returns what the model may cost at most, whichever company runs it; None where unknown."""
        price, (_, margin) = self.price_of(model_id), _routed(model_id)
        return None if price is None or margin is None else Price(margin * price.prompt, margin * price.completion)

    def price_of(self, model_id: str) -> Price | None:
        """Returns what the model usually costs; None where unknown."""
        model = self.find(model_id)
        prompt, completion = model.prompt_usd_per_million_tokens, model.completion_usd_per_million_tokens
        return None if prompt is None or completion is None else Price(prompt, completion)

    def accepts_prefill(self, model_id: str) -> bool:
        """Returns whether the model continues a trailing assistant message."""
        return self.find(model_id).accepts_prefill

    def page(self, size: int, token: str, facts: Mapping[str, ModelFacts] | None = None) -> Page:
        """Returns at most `size` models after the page whose `next_token` was `token` ("": from the first).

        `facts` is by model id; a model without an entry is available. ValueError for an unknown token.
        """
        start = self._position_after(token) if token else 0
        models = self._models[start : start + size]
        whole = start + len(models) >= len(self._models)
        listed = tuple(ListedModel(model, self._standing(model, facts or {})) for model in models)
        return Page(listed, "" if whole else _token(models[-1].id), self._stale)

    def _standing(self, model: ModelInfo, facts: Mapping[str, ModelFacts]) -> ModelFacts:
        known = facts.get(model.id, ModelFacts())
        if model.embedded:
            return known
        if not self._key_set:
            return replace(known, available=False, unavailable_reason=_NO_KEY)
        if known.available and not self._offered(model.id):
            return replace(known, available=False, unavailable_reason=_NOT_OFFERED)
        return known

    def _offered(self, model_id: str) -> bool:
        return self._upstream is None or model_id in self._upstream or _routed(model_id)[0] in self._upstream

    def _merged(self, model: ModelInfo) -> ModelInfo:
        upstream = self._upstream or {}
        offered = upstream.get(model.id)
        name = offered.name if offered is not None else ""
        offered = offered or upstream.get(_routed(model.id)[0])
        if offered is None:
            return model
        return replace(
            model,
            display_name=name or model.display_name,
            prompt_usd_per_million_tokens=offered.prompt_usd_per_million_tokens,
            completion_usd_per_million_tokens=offered.completion_usd_per_million_tokens,
            context_length=offered.context_length or model.context_length,
            max_completion_tokens=offered.max_completion_tokens or model.max_completion_tokens,
        )

    def _position_after(self, token: str) -> int:
        try:
            last = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode("ascii")
        except (ValueError, binascii.Error):
            raise ValueError("not a page token") from None
        for position, model in enumerate(self._models, start=1):
            if model.id == last:
                return position
        raise ValueError("not a page token of this catalogue")


def listed_models(
    *, default_model: str, fallback_models: Sequence[str], language_codes: Sequence[str], key_set: bool
) -> tuple[ModelInfo, ...]:
    """Returns what ListModels shows: models in the order in which they are tried, the embedded one, the known ones.

    `language_codes` are those of the embedded writer. Without a key it is tried first.
    """
    first = default_model if key_set else OFFLINE
    ids = dict.fromkeys((first, default_model, *fallback_models, OFFLINE, *(model.id for model in KNOWN_MODELS)))
    known = {OFFLINE: embedded_model(language_codes=language_codes, fallback_models=fallback_models)}
    return tuple(
        replace(
            known.get(model_id) or _known_or_bare(model_id),
            is_default=model_id == first,
            fallback_position=fallback_models.index(model_id) + 1 if model_id in fallback_models else 0,
        )
        for model_id in ids
    )


def embedded_model(*, language_codes: Sequence[str], fallback_models: Sequence[str]) -> ModelInfo:
    """Returns the embedded writer as a model."""
    return ModelInfo(
        id=OFFLINE,
        display_name="Embedded writer",
        provider=OFFLINE,
        description="A story grammar inside the service: no key, no network, no cost, the same story for a seed.",
        prompt_usd_per_million_tokens=0.0,
        completion_usd_per_million_tokens=0.0,
        language_codes=tuple(language_codes),
        embedded=True,
        is_default=True,
        fallback_position=fallback_models.index(OFFLINE) + 1 if OFFLINE in fallback_models else 0,
    )


def _routed(model_id: str) -> tuple[str, float | None]:
    """Returns the id of the model behind a routing variant, and its price factor; any other id unchanged."""
    base, _, variant = model_id.partition(":")
    return (base, _ROUTED_VARIANTS[variant]) if variant in _ROUTED_VARIANTS else (model_id, 1.0)


def _known_or_bare(model_id: str) -> ModelInfo:
    """Returns what is known of a model without asking the provider."""
    base, _ = _routed(model_id)
    for model in KNOWN_MODELS:
        if model.id == base:
            return model if base == model_id else replace(model, id=model_id, aliases=(), display_name=model_id)
    return _unknown(model_id)


def _unknown(model_id: str) -> ModelInfo:
    vendor, _, name = model_id.partition("/")
    return ModelInfo(id=model_id, display_name=name or model_id, provider=vendor, description="")


def _token(model_id: str) -> str:
    return base64.urlsafe_b64encode(model_id.encode("ascii")).decode("ascii")
