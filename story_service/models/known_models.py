"""The models that this service knows by name."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model. Prices in US dollars per million tokens, None where unknown; empty `language_codes`: no known limit.

    `aliases` are other accepted names. `provider` is the maker. `context_length` and `max_completion_tokens` are in
    tokens, 0 where unknown. `accepts_prefill`: it continues a trailing assistant message. `fallback_position` counts
    from 1 in the configured order of fallback; 0: not in it.
    """

    id: str
    display_name: str
    provider: str
    description: str
    aliases: tuple[str, ...] = ()
    prompt_usd_per_million_tokens: float | None = None
    completion_usd_per_million_tokens: float | None = None
    context_length: int = 0
    max_completion_tokens: int = 0
    accepts_prefill: bool = False
    language_codes: tuple[str, ...] = ()
    embedded: bool = False
    is_default: bool = False
    fallback_position: int = 0


def _known() -> Iterator[ModelInfo]:
    models = tomllib.loads(files(__package__).joinpath("known_models.toml").read_text("utf-8"))
    for alias, model in models.items():
        prompt, completion = model.pop("prices")
        yield ModelInfo(
            aliases=(alias,),
            prompt_usd_per_million_tokens=prompt,
            completion_usd_per_million_tokens=completion,
            **model,
        )


KNOWN_MODELS: Final = tuple(_known())
