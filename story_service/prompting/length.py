"""The length of a story, in words and in tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from offline_writer import WORDS_PER_MINUTE
from story_service.answer.sentences import count_words

if TYPE_CHECKING:
    from story_service.assignment import Assignment

_LEAST_WORDS_LEFT: Final = 60
"""A story that has its length but no end needs some words for it."""

_SHORTEST_SHARE: Final = 0.2
"""Models write half of the requested length now and then; a fifth is no story of that length."""

_NEARLY_WHOLE: Final = 0.8

_TOKENS_PER_WORD: Final = {"en": 1.4, "ru": 3.0, "zh": 2.5, "ja": 3.0, "ko": 3.5}
"""On the high side of the tokenizers of the known models; a Chinese or Japanese word is two characters."""
_OTHER_TOKENS_PER_WORD: Final = 3.5
_ROOM: Final = 1.75
"""A model that exceeds the length by half still reaches the end."""
_FRAME_TOKENS: Final = 400
"""For the title, and for what some models add."""
_CHARACTERS_PER_TOKEN: Final = 2.5
_LEAST_TOKENS: Final = 256


def words_asked(assignment: Assignment) -> int:
    """Returns the words of the whole story."""
    return assignment.length_minutes * WORDS_PER_MINUTE


def words_left(assignment: Assignment) -> int:
    """Returns the words that are still to be written, at least as many as an ending needs."""
    return max(words_asked(assignment) - count_words(assignment.written_so_far), _LEAST_WORDS_LEFT)


def max_tokens(
    assignment: Assignment, *, prompt_characters: int = 0, context_length: int = 0, max_completion_tokens: int = 0
) -> int:
    """Returns the maximum tokens of the answer, with room to spare, where none is set.

    It stays within `max_completion_tokens` and within what `context_length` leaves after a prompt of
    `prompt_characters` (code points); 0 where one is not known.
    """
    language = assignment.language_code.partition("-")[0].lower()
    per_word = _TOKENS_PER_WORD.get(language, _OTHER_TOKENS_PER_WORD)
    tokens = int(words_left(assignment) * per_word * _ROOM) + _FRAME_TOKENS
    if max_completion_tokens:
        tokens = min(tokens, max_completion_tokens)
    if context_length:
        tokens = min(tokens, max(context_length - int(prompt_characters / _CHARACTERS_PER_TOKEN), _LEAST_TOKENS))
    return tokens


def is_nearly_whole(assignment: Assignment, words_total: int) -> bool:
    """Returns whether `words_total` words can be the whole requested story but for its ending."""
    return words_total >= words_asked(assignment) * _NEARLY_WHOLE


def too_short(assignment: Assignment, words_total: int) -> bool:
    """Returns whether `words_total` words cannot be the whole requested story."""
    return words_total < words_asked(assignment) * _SHORTEST_SHARE
