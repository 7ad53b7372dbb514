"""How many tokens an answer may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from story_service.passage import scenes_of

if TYPE_CHECKING:
    from story_service.assignment import Assignment

_TOKENS_PER_WORD: Final = {"en": 1.4, "ru": 3.0, "zh": 2.5, "ja": 3.0, "ko": 3.5}
"""On the high side of the tokenizers of the known models; a Chinese or Japanese word is two characters."""
_OTHER_TOKENS_PER_WORD: Final = 3.5
_ROOM: Final = 1.75
"""A model that exceeds the length by half still reaches the end."""
_FRAME_TOKENS: Final = 400
"""For the title, and for what some models add."""
_ENDING_ROOM: Final = 3
"""As much more has an ending: of one that is too long, the end is of use."""
_ENDING_FRAME_TOKENS: Final = 100
_OUTLINE_WORDS: Final = 60
"""Of the frame of an outline, and of each of its scenes."""
_CHARACTERS_PER_TOKEN: Final = 2.5
_LEAST_TOKENS: Final = 256


def max_tokens(
    assignment: Assignment, *, prompt_characters: int = 0, context_length: int = 0, max_completion_tokens: int = 0
) -> int:
    """Returns the maximum tokens of the answer, with room to spare, where none is set.

    It stays within `max_completion_tokens` and within what `context_length` leaves after a prompt of
    `prompt_characters` (code points); 0 where one is not known.
    """
    passage = assignment.passage
    outline_words = _OUTLINE_WORDS * (1 + scenes_of(assignment.length_minutes))
    tokens = story_tokens(assignment, outline_words if passage.plans else passage.left)
    tokens = tokens * _ENDING_ROOM + _ENDING_FRAME_TOKENS if passage.lacks_only_ending else tokens + _FRAME_TOKENS
    if max_completion_tokens:
        tokens = min(tokens, max_completion_tokens)
    if context_length:
        tokens = min(tokens, max(context_length - int(prompt_characters / _CHARACTERS_PER_TOKEN), _LEAST_TOKENS))
    return tokens


def story_tokens(assignment: Assignment, words: int) -> int:
    """Returns the tokens of so many words of the story, with room to spare."""
    language = assignment.language_code.partition("-")[0].lower()
    return int(words * _TOKENS_PER_WORD.get(language, _OTHER_TOKENS_PER_WORD) * _ROOM)
