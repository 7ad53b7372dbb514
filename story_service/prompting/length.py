"""The length of a story, in words and in tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from offline_writer import WORDS_PER_MINUTE
from story_service.answer.reader import NEARLY_WHOLE
from story_service.answer.sentences import count_words

if TYPE_CHECKING:
    from story_service.assignment import Assignment

_ENDING_WORDS: Final = 60
"""A story that has its length but no end needs some words for it."""
_LEAST_WORDS_LEFT: Final = 20

TOO_SHORT: Final = 0.2
"""Models write half of the requested length now and then; a fifth is no story of that length."""
_LONGEST: Final = 1.5
_LACKS_ENDING: Final = 0.9
"""From this share on, a text is continued by its ending alone."""

_TOKENS_PER_WORD: Final = {"en": 1.4, "ru": 3.0, "zh": 2.5, "ja": 3.0, "ko": 3.5}
"""On the high side of the tokenizers of the known models; a Chinese or Japanese word is two characters."""
_OTHER_TOKENS_PER_WORD: Final = 3.5
_ROOM: Final = 1.75
"""A model that exceeds the length by half still reaches the end."""
_FRAME_TOKENS: Final = 400
"""For the title, and for what some models add."""
_ENDING_FRAME_TOKENS: Final = 100
_CHARACTERS_PER_TOKEN: Final = 2.5
_LEAST_TOKENS: Final = 256


def words_asked(assignment: Assignment) -> int:
    """Returns the words of the whole story."""
    return assignment.length_minutes * WORDS_PER_MINUTE


def most_words(assignment: Assignment) -> int:
    """Returns the words that the story never has more of."""
    return int(words_asked(assignment) * _LONGEST)


def lacks_only_ending(assignment: Assignment) -> bool:
    """Returns whether the story so far has about its length, and is continued by its ending alone."""
    return count_words(assignment.written_so_far) >= words_asked(assignment) * _LACKS_ENDING


def words_left(assignment: Assignment) -> int:
    """Returns the words that are still to be written, at least as many as an ending needs and has room for."""
    written = count_words(assignment.written_so_far)
    ending = max(min(_ENDING_WORDS, most_words(assignment) - written), _LEAST_WORDS_LEFT)
    return max(words_asked(assignment) - written, ending)


def max_tokens(
    assignment: Assignment, *, prompt_characters: int = 0, context_length: int = 0, max_completion_tokens: int = 0
) -> int:
    """Returns the maximum tokens of the answer, with room to spare, where none is set.

    It stays within `max_completion_tokens` and within what `context_length` leaves after a prompt of
    `prompt_characters` (code points); 0 where one is not known.
    """
    language = assignment.language_code.partition("-")[0].lower()
    per_word = _TOKENS_PER_WORD.get(language, _OTHER_TOKENS_PER_WORD)
    frame = _ENDING_FRAME_TOKENS if lacks_only_ending(assignment) else _FRAME_TOKENS
    tokens = int(words_left(assignment) * per_word * _ROOM) + frame
    if max_completion_tokens:
        tokens = min(tokens, max_completion_tokens)
    if context_length:
        tokens = min(tokens, max(context_length - int(prompt_characters / _CHARACTERS_PER_TOKEN), _LEAST_TOKENS))
    return tokens


def is_nearly_whole(assignment: Assignment, words_total: int) -> bool:
    """Returns whether `words_total` words can be the whole requested story but for its ending."""
    return words_total >= words_asked(assignment) * NEARLY_WHOLE
