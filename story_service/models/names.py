"""What a model's name means.

Inside the service a model of OpenRouter has its bare id, one of CHAT_BASE_URL the prefix "chat:", and the embedded
writer is "offline".
"""

import re
from collections.abc import Collection
from typing import Final

from story_service.models.known_models import KNOWN_MODELS
from story_service.ports import CHAT, OFFLINE, OPENROUTER

MAX_MODEL_ID_LENGTH: Final = 200
VARIABLES: Final = {OPENROUTER: "OPENROUTER_API_KEY", CHAT: "CHAT_BASE_URL"}
"""The providers, in the order in which they are shown, and the settings that bring their models."""

_CHAT_PREFIX: Final = f"{CHAT}:"
_OPENROUTER_PREFIX: Final = f"{OPENROUTER}:"
_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_OF_OPENROUTER: Final = re.compile(
    rf"@preset/{_PART}|~?{_PART}(?:/{_PART}){{1,2}}(?::[A-Za-z0-9._-]+)*(?:@preset/{_PART})?"
)
_HOST: Final = re.compile(r"[^/]*\.[^/]*/")
"""Begins an id such as hf.co/vendor/name:Q4_K_M: makers of models on OpenRouter have no dot in their names."""

# Ids too, since a known one in other case is the same model.
_NAMES: Final = {name.casefold(): model.id for model in KNOWN_MODELS for name in (model.id, *model.aliases)}


def provider_of(model: str) -> str:
    """Returns the provider of a model as it is named inside the service."""
    if model == OFFLINE:
        return OFFLINE
    return CHAT if model.startswith(_CHAT_PREFIX) else OPENROUTER


def id_at_provider(model: str) -> str:
    """Returns the id by which its provider knows a model."""
    return model.removeprefix(_CHAT_PREFIX)


def name_of(provider: str, model_id: str) -> str:
    """Returns how a model of a provider is named inside the service."""
    return f"{_CHAT_PREFIX}{model_id}" if provider == CHAT else model_id


class ModelNames:
    """Resolves the names that people write, where these providers are configured."""

    def __init__(self, providers: Collection[str]) -> None:
        self._providers = frozenset(providers)

    def resolve(self, name: str) -> str:
        """Returns the model that `name` means, as it is named inside the service.

        A prefix decides. Without one it is of the only provider; where both are configured, an id of OpenRouter's form
        or a known name such as "GPT_4O" (in any case) is OpenRouter's, and any other the chat server's. Raises
        ValueError where it can be neither.
        """
        kind, model_id = name[: name.find(":") + 1].casefold(), name[name.find(":") + 1 :]
        if kind == _CHAT_PREFIX:
            return name_of(CHAT, _checked(model_id))
        if kind == _OPENROUTER_PREFIX:
            return self._openrouters(model_id)
        if name.casefold() == OFFLINE:
            return OFFLINE
        if CHAT not in self._providers:
            return self._openrouters(name)
        if OPENROUTER in self._providers and not _HOST.match(name):
            known = _openrouter_id(name)
            if known:
                return known
        return name_of(CHAT, _checked(name))

    def shown(self, model: str) -> str:
        """Returns how a model is named to people: without a prefix where only the chat server is configured."""
        return id_at_provider(model) if OPENROUTER not in self._providers else model

    def _openrouters(self, name: str) -> str:
        known = _openrouter_id(name)
        if known:
            return known
        others = "" if CHAT in self._providers else "; any other id needs CHAT_BASE_URL"
        raise ValueError(f'must be "offline", a known name such as GPT_4O, or of the form vendor/name{others}')


def _openrouter_id(name: str) -> str:
    """Returns "" where it is none."""
    known = _NAMES.get(name.casefold(), "")
    return known or (name if len(name) <= MAX_MODEL_ID_LENGTH and _OF_OPENROUTER.fullmatch(name) else "")


def _checked(model_id: str) -> str:
    if model_id and len(model_id) <= MAX_MODEL_ID_LENGTH and model_id.isprintable() and model_id.strip() == model_id:
        return model_id
    raise ValueError(f"must have at most {MAX_MODEL_ID_LENGTH} printable characters, and no blank at its ends")
