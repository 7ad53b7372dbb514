"""The models that can be asked for."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

OFFLINE: Final = "offline"
"""Id of the embedded writer, as a model and as a provider."""

MAX_MODEL_ID_LENGTH: Final = 200

_PASSED_THROUGH: Final = re.compile(r"[A-Za-z0-9~][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(?::[A-Za-z0-9._-]+)?")


def is_model_id(model: str) -> bool:
    """True for the embedded writer and for every id of OpenRouter's form, `vendor/name` or `vendor/name:variant`."""
    return model == OFFLINE or (len(model) <= MAX_MODEL_ID_LENGTH and _PASSED_THROUGH.fullmatch(model) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model. Prices in US dollars for a million tokens, None where unknown; no `language_codes`: no known limit.

    `fallback_position` counts from 1 in the configured order of fallback; 0 is not in it.
    """

    id: str
    display_name: str
    provider: str
    description: str
    prompt_usd_per_million_tokens: float | None = None
    completion_usd_per_million_tokens: float | None = None
    language_codes: tuple[str, ...] = ()
    embedded: bool = False
    is_default: bool = False
    fallback_position: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Some models, and the token of what follows; "" on the last page."""

    models: tuple[ModelInfo, ...]
    next_token: str


class Catalogue:
    """The models of this server, in the order in which they are shown."""

    def __init__(self, models: Sequence[ModelInfo]) -> None:
        self._models = tuple(models)

    def page(self, size: int, token: str) -> Page:
        """At most `size` models behind those of the page whose `next_token` was `token` ("": from the first).

        ValueError for a token that was never given out.
        """
        start = self._position_after(token) if token else 0
        models = self._models[start : start + size]
        whole = start + len(models) >= len(self._models)
        return Page(models, "" if whole else _token(models[-1].id))

    def _position_after(self, token: str) -> int:
        try:
            last = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode("ascii")
        except (ValueError, binascii.Error):
            raise ValueError("not a page token") from None
        for position, model in enumerate(self._models, start=1):
            if model.id == last:
                return position
        raise ValueError("not a page token of this catalogue")


def embedded_model(*, language_codes: Sequence[str], fallback_models: Sequence[str]) -> ModelInfo:
    """The embedded writer, which is tried first as long as nothing else can be called."""
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


def _token(model_id: str) -> str:
    return base64.urlsafe_b64encode(model_id.encode("ascii")).decode("ascii")
