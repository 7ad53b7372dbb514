"""English: the stock of prose, and what turns a brief into an arc of it."""

from story_service.offline.english.language import English

__all__ = ["English"]
