"""The models that can be requested."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from story_service.models.known_models import KNOWN_MODELS, ModelInfo
from story_service.models.names import ModelNames, id_at_provider, name_of, provider_of
from story_service.ports import CHAT, OFFLINE, OPENROUTER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from story_service.chat import UpstreamModel

_MOST_UPSTREAM_MODELS: Final = 10_000
_ROUTED_VARIANTS: Final[Mapping[str, float | None]] = {"floor": 1.0, "nitro": 3.0, "exacto": 3.0, "online": None}
"""Routing variants, which OpenRouter accepts with any id and lists with none: factor of their highest price.

None: unknown, since each web search is billed beside the tokens.
"""
_NOT_CONFIGURED: Final = "Neither OPENROUTER_API_KEY nor CHAT_BASE_URL is set on the story service."
_NOT_OFFERED: Final[Mapping[str, str]] = {
    OPENROUTER: "OpenRouter does not offer this model now.",
    CHAT: "The server at CHAT_BASE_URL does not list this model.",
}
_LATEST: Final = ":latest"
"""The tag that Ollama adds to an id without one."""

CircuitState: TypeAlias = Literal["closed", "open", "half_open"]
"""State of a model's circuit breaker."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Returns the cost of a call in US dollars."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


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
    """The models of one provider, by the ids by which it knows them: what is known, and what it offers now."""

    def __init__(self, provider: str = OPENROUTER, *, free: bool = False) -> None:
        """`free`: a call costs nothing where the provider names no price."""
        self.provider: Final = provider
        self.stale = False
        """True while the list is an older one, or could not be fetched yet."""
        self._free = free
        self._upstream: Mapping[str, UpstreamModel] | None = None

    @property
    def offered(self) -> tuple[str, ...] | None:
        """The ids of the models that write stories, as the provider lists them; None before the first list."""
        return None if self._upstream is None else tuple(each.id for each in self._upstream.values() if each.writes)

    def refresh(self, upstream: Sequence[UpstreamModel]) -> None:
        """Takes over what the provider offers now: prices, lengths, names, and which models exist."""
        self._upstream = {model.id: model for model in upstream[:_MOST_UPSTREAM_MODELS]}
        self.stale = False

    def refresh_failed(self) -> None:
        """Marks the list as stale from now on."""
        self.stale = True

    def offers(self, model_id: str) -> bool:
        """Returns False only where the provider's list is there, and the model is not in it."""
        upstream = self._upstream
        return upstream is None or any(
            each in upstream for each in (model_id, _routed(model_id)[0], model_id + _LATEST)
        )

    def find(self, model_id: str) -> ModelInfo:
        """Returns what is known of a model, listed or not."""
        model = self._merged(_known_or_bare(self.provider, model_id))
        if not self._free or model.prompt_usd_per_million_tokens is not None:
            return model
        return replace(model, prompt_usd_per_million_tokens=0.0, completion_usd_per_million_tokens=0.0)

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


class ModelList:
    """What ListModels shows: models in the order in which they are tried, then the others that can be named.

    Those are the models that the chat server lists, the embedded writer, and the known ones of OpenRouter. Without a
    provider the embedded writer is tried first, and the known ones show what is missing.
    """

    def __init__(
        self,
        catalogues: Sequence[Catalogue],
        *,
        default: Callable[[], str],
        fallback_models: Sequence[str],
        language_codes: Sequence[str],
        facts: Callable[[str], ModelFacts] = lambda _: ModelFacts(),
    ) -> None:
        """`catalogues` are those of the configured providers; `language_codes` those of the embedded writer.

        `default` returns the default model, "" while it is not known; `facts` the state of a model. Models are given as
        they are named inside the service.
        """
        self._catalogues = {each.provider: each for each in catalogues}
        self._names = ModelNames(self._catalogues)
        self._default = default
        self._fallback_models = tuple(fallback_models)
        self._language_codes = tuple(language_codes)
        self._facts = facts

    def page(self, size: int, token: str) -> Page:
        """Returns at most `size` models after the page whose `next_token` was `token` ("": from the first).

        ValueError for an unknown token.
        """
        models = self._models()
        start = 0
        if token:
            start = next((place for place, model in enumerate(models, 1) if _token(model) == token), 0)
            if not start:
                raise ValueError("not a page token of this catalogue")
        shown = models[start : start + size]
        whole = start + len(shown) >= len(models)
        stale = any(each.stale for each in self._catalogues.values())
        return Page(tuple(map(self._listed, shown)), "" if whole else _token(shown[-1]), stale)

    def _models(self) -> list[str]:
        chat, openrouter = self._catalogues.get(CHAT), self._catalogues.get(OPENROUTER)
        listed = (chat.offered or ()) if chat is not None else ()
        known = KNOWN_MODELS if openrouter is not None or chat is None else ()
        first = self._default() if self._catalogues else OFFLINE
        models = (
            *(first, self._default(), *self._fallback_models),
            *(name_of(CHAT, model_id) for model_id in listed),
            *(OFFLINE, *(model.id for model in known)),
        )
        return [model for model in dict.fromkeys(models) if model]

    def _listed(self, model: str) -> ListedModel:
        first = self._default() if self._catalogues else OFFLINE
        info = replace(
            self._info(model),
            id=self._names.shown(model),
            is_default=model == first,
            fallback_position=self._fallback_models.index(model) + 1 if model in self._fallback_models else 0,
        )
        return ListedModel(info, self._standing(model))

    def _info(self, model: str) -> ModelInfo:
        if model == OFFLINE:
            return embedded_model(self._language_codes)
        catalogue = self._catalogues.get(provider_of(model)) or Catalogue(provider_of(model))
        return catalogue.find(id_at_provider(model))

    def _standing(self, model: str) -> ModelFacts:
        known = self._facts(model)
        if model == OFFLINE:
            return known
        catalogue = self._catalogues.get(provider_of(model))
        if catalogue is None:
            return replace(known, available=False, unavailable_reason=_NOT_CONFIGURED)
        if known.available and not catalogue.offers(id_at_provider(model)):
            return replace(known, available=False, unavailable_reason=_NOT_OFFERED[catalogue.provider])
        return known


def embedded_model(language_codes: Sequence[str]) -> ModelInfo:
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
    )


def _routed(model_id: str) -> tuple[str, float | None]:
    """Returns the id of the model behind a routing variant, and its price factor; any other id unchanged."""
    base, _, variant = model_id.partition(":")
    return (base, _ROUTED_VARIANTS[variant]) if variant in _ROUTED_VARIANTS else (model_id, 1.0)


def _known_or_bare(provider: str, model_id: str) -> ModelInfo:
    """Returns what is known of a model without asking the provider."""
    if provider == CHAT:
        return ModelInfo(id=model_id, display_name=model_id, provider=CHAT, description="")
    base, _ = _routed(model_id)
    for model in KNOWN_MODELS:
        if model.id == base:
            return model if base == model_id else replace(model, id=model_id, aliases=(), display_name=model_id)
    vendor, _, name = model_id.partition("/")
    return ModelInfo(id=model_id, display_name=name or model_id, provider=vendor, description="")


def _token(model: str) -> str:
    return hashlib.sha256(model.encode()).hexdigest()[:32]
