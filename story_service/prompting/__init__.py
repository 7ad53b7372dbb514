"""The prompt for a model, and the expected length of its answer."""

from story_service.prompting.builder import PromptBuilder

__all__ = ["PromptBuilder"]
