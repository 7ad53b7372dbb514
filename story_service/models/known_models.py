"""The models that this service knows by name."""

from dataclasses import dataclass
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


# Prices in US dollars for a million tokens and context lengths as OpenRouter listed them in November 2025; its present
# list replaces them once it could be fetched.
_ROWS: Final = (
    ("GPT_4O_MINI", "openai/gpt-4o-mini", "GPT-4o mini", "OpenAI", (0.15, 0.6), 128_000,
     "Good stories in most languages at a low price: the usual choice."),
    ("GPT_4O", "openai/gpt-4o", "GPT-4o", "OpenAI", (2.5, 10.0), 128_000,
     "Rich language and long stories that hold together, in most languages."),
    ("CLAUDE_3_5_SONNET", "anthropic/claude-3.5-sonnet", "Claude 3.5 Sonnet", "Anthropic", (3.0, 15.0), 200_000,
     "The most careful storytelling, at the highest price."),
    ("CLAUDE_3_HAIKU", "anthropic/claude-3-haiku", "Claude 3 Haiku", "Anthropic", (0.25, 1.25), 200_000,
     "Quick and cheap; short, simple stories."),
    ("LLAMA_3_1_405B", "meta-llama/llama-3.1-405b-instruct", "Llama 3.1 405B Instruct", "Meta", (0.8, 0.8), 32_768,
     "Open weights; long stories, best in English."),
    ("LLAMA_3_1_70B", "meta-llama/llama-3.1-70b-instruct", "Llama 3.1 70B Instruct", "Meta", (0.4, 0.4), 131_072,
     "Open weights; solid stories in English and other western languages."),
    ("LLAMA_3_1_8B", "meta-llama/llama-3.1-8b-instruct", "Llama 3.1 8B Instruct", "Meta", (0.02, 0.03), 16_384,
     "Open weights; the cheapest, for short stories in English."),
    ("GEMMA_2_27B", "google/gemma-2-27b-it", "Gemma 2 27B", "Google", (0.65, 0.65), 8_192,
     "Open weights; short stories, since it holds few tokens."),
    ("MIXTRAL_8X22B", "mistralai/mixtral-8x22b-instruct", "Mixtral 8x22B Instruct", "Mistral AI", (2.0, 6.0), 65_536,
     "Open weights; good in English, French, German, Italian and Spanish."),
    ("GEMINI_20_FREE", "google/gemini-2.0-flash-exp:free", "Gemini 2.0 Flash Experimental (free)", "Google", (0.0, 0.0),
     1_048_576, "Free, for trials: few calls a minute, and it may be withdrawn."),
    ("GROK_41_FREE", "x-ai/grok-4.1-fast:free", "Grok 4.1 Fast (free)", "xAI", (0.0, 0.0), 2_000_000,
     "Free, for trials: few calls a minute, and it may be withdrawn."),
)  # fmt: skip

# Only models whose maker documents it; newer ones of the same maker refuse it.
_TAKE_PREFILL: Final = frozenset({"anthropic/claude-3.5-sonnet", "anthropic/claude-3-haiku"})

KNOWN_MODELS: Final = tuple(
    ModelInfo(
        id=model_id,
        display_name=name,
        provider=maker,
        description=use,
        aliases=(alias,),
        prompt_usd_per_million_tokens=prices[0],
        completion_usd_per_million_tokens=prices[1],
        context_length=context_length,
        accepts_prefill=model_id in _TAKE_PREFILL,
    )
    for alias, model_id, name, maker, prices, context_length, use in _ROWS
)
