"""The models that this service knows by name."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model. Prices in US dollars for a million tokens, None where unknown; no `language_codes`: no known limit.

    `aliases` are names that are accepted too. `provider` is who makes it. `context_length` is in tokens, 0 where
    unknown, and so is `max_completion_tokens`. `accepts_prefill`: an answer may be begun for it by a trailing
    assistant message. `fallback_position` counts from 1 in the configured order of fallback; 0 is not in it.
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


def _known(
    alias: str,
    model_id: str,
    display_name: str,
    provider: str,
    use: str,
    prices: tuple[float, float],
    context_length: int,
    *,
    accepts_prefill: bool = False,
) -> ModelInfo:
    return ModelInfo(
        id=model_id,
        display_name=display_name,
        provider=provider,
        description=use,
        aliases=(alias,),
        prompt_usd_per_million_tokens=prices[0],
        completion_usd_per_million_tokens=prices[1],
        context_length=context_length,
        accepts_prefill=accepts_prefill,
    )


# Prices and context lengths as OpenRouter listed them in November 2025; what it lists today takes their place once it
# could be asked. A prefill is only for models whose maker documents it, and newer ones of the same maker refuse it.
KNOWN_MODELS: Final[tuple[ModelInfo, ...]] = (
    _known(
        "GPT_4O_MINI",
        "openai/gpt-4o-mini",
        "GPT-4o mini",
        "OpenAI",
        "Good stories in most languages for little money: the usual choice.",
        (0.15, 0.6),
        128_000,
    ),
    _known(
        "GPT_4O",
        "openai/gpt-4o",
        "GPT-4o",
        "OpenAI",
        "Rich language and long stories that hold together, in most languages.",
        (2.5, 10.0),
        128_000,
    ),
    _known(
        "CLAUDE_3_5_SONNET",
        "anthropic/claude-3.5-sonnet",
        "Claude 3.5 Sonnet",
        "Anthropic",
        "The most careful storytelling, at the highest price.",
        (3.0, 15.0),
        200_000,
        accepts_prefill=True,
    ),
    _known(
        "CLAUDE_3_HAIKU",
        "anthropic/claude-3-haiku",
        "Claude 3 Haiku",
        "Anthropic",
        "Quick and cheap; short, simple stories.",
        (0.25, 1.25),
        200_000,
        accepts_prefill=True,
    ),
    _known(
        "LLAMA_3_1_405B",
        "meta-llama/llama-3.1-405b-instruct",
        "Llama 3.1 405B Instruct",
        "Meta",
        "Open weights; long stories, best in English.",
        (0.8, 0.8),
        32_768,
    ),
    _known(
        "LLAMA_3_1_70B",
        "meta-llama/llama-3.1-70b-instruct",
        "Llama 3.1 70B Instruct",
        "Meta",
        "Open weights; solid stories in English and other western languages.",
        (0.4, 0.4),
        131_072,
    ),
    _known(
        "LLAMA_3_1_8B",
        "meta-llama/llama-3.1-8b-instruct",
        "Llama 3.1 8B Instruct",
        "Meta",
        "Open weights; the cheapest, for short stories in English.",
        (0.02, 0.03),
        16_384,
    ),
    _known(
        "GEMMA_2_27B",
        "google/gemma-2-27b-it",
        "Gemma 2 27B",
        "Google",
        "Open weights; short stories, since it holds few tokens.",
        (0.65, 0.65),
        8_192,
    ),
    _known(
        "MIXTRAL_8X22B",
        "mistralai/mixtral-8x22b-instruct",
        "Mixtral 8x22B Instruct",
        "Mistral AI",
        "Open weights; good in English, French, German, Italian and Spanish.",
        (2.0, 6.0),
        65_536,
    ),
    _known(
        "GEMINI_20_FREE",
        "google/gemini-2.0-flash-exp:free",
        "Gemini 2.0 Flash Experimental (free)",
        "Google",
        "Free, for trying things out: few calls a minute, and it may be withdrawn.",
        (0.0, 0.0),
        1_048_576,
    ),
    _known(
        "GROK_41_FREE",
        "x-ai/grok-4.1-fast:free",
        "Grok 4.1 Fast (free)",
        "xAI",
        "Free, for trying things out: few calls a minute, and it may be withdrawn.",
        (0.0, 0.0),
        2_000_000,
    ),
)
