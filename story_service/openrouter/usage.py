"""Tokens and money, as an answer tells them."""

from collections.abc import Mapping
from typing import Any, Final

from story_service.ports import Spending, money

_MAX_TOKENS: Final = 2**31 - 1


def spending_of(usage: Mapping[str, Any]) -> Spending:
    """What `usage` of a chat completion says; the cost is unknown where it names none.

    With a key of one's own at the company that ran the model, `cost` is OpenRouter's fee alone and that company's price
    stands beside it (openrouter.ai/docs, Usage Accounting).
    """
    cost = money(usage.get("cost"))
    details = usage.get("cost_details")
    if cost is not None and usage.get("is_byok") and isinstance(details, dict):
        cost += money(details.get("upstream_inference_cost")) or 0.0
    return Spending(
        prompt_tokens=_tokens(usage.get("prompt_tokens")),
        completion_tokens=_tokens(usage.get("completion_tokens")),
        cost_usd=cost or 0.0,
        cost_known=cost is not None,
    )


def _tokens(value: object) -> int:
    return min(value, _MAX_TOKENS) if isinstance(value, int) and value > 0 else 0
