"""Chat models of OpenRouter, or of any server that speaks its dialect of OpenAI's API."""

from story_service.providers.openrouter.model import OpenRouterChatModel
from story_service.providers.openrouter.options import OpenRouterOptions, ProviderRouting, check_key_format

__all__ = ["OpenRouterChatModel", "OpenRouterOptions", "ProviderRouting", "check_key_format"]
