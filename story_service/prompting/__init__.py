"""What a model is asked, and how much of it is expected."""

from story_service.prompting.builder import PromptBuilder

__all__ = ["PromptBuilder"]
