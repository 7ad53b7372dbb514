"""What a caller types, as an expression of FTS5. Whatever it is, it is never an error of syntax."""

import re
from typing import Final

from storage_service.embedded.russian_forms import forms, is_cyrillic

_PIECES: Final = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')
_WORDS: Final = re.compile(r"[^\W_]+")
_MOST_WORDS: Final = 32


def to_expression(owner: str, query: str) -> str | None:
    """The expression that finds what `owner` keeps with these words; None where there is no word in it.

    All words must be there, "in quotes" next to each other, and those after "-" must not. At most 32 words count.
    """
    wanted: list[str] = []
    unwanted: list[str] = []
    room = _MOST_WORDS
    for minus, quoted, plain in _PIECES.findall(query):
        words = _WORDS.findall(quoted or plain)[:room]
        room -= len(words)
        if words:
            (unwanted if minus else wanted).append(_together(words))
    if not wanted and not unwanted:
        return None
    terms = [f'owner : "{owner_word(owner)}"', *(f"{{title content}} : ({term})" for term in wanted)]
    expression = " AND ".join(terms)
    if unwanted:
        expression = f"({expression}) NOT ({{title content}} : ({' OR '.join(unwanted)}))"
    return expression


def owner_word(owner: str) -> str:
    """An owner as one word of the index, as the view `story_search_source` has it."""
    return f"z{owner.encode().hex()}z"


def _together(words: list[str]) -> str:
    if len(words) == 1 and is_cyrillic(words[0]):
        return " OR ".join(f'"{form}"' for form in forms(words[0]))
    return f'"{" ".join(words)}"'
