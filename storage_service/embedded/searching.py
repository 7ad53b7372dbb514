"""The full-text index: stories enter and leave it, and what a caller types is an expression of FTS5."""

import re
from typing import Final

from storage_service.embedded.database import Transaction
from storage_service.embedded.russian_forms import forms, is_cyrillic
from storage_service.stories import states

_PIECES: Final = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')
_WORDS: Final = re.compile(r"[^\W_]+")
_MOST_WORDS: Final = 32

# The view gives a row only of a story that is found.
_ROW: Final = "SELECT search_id, owner, title, content FROM story_search_source WHERE search_id ="
_ID: Final = "(SELECT search_id FROM stories WHERE id = ?)"


def is_found(state: states.State, *, content_complete: bool) -> bool:
    """True where a story is in the index: its text is whole, or its run has ended without."""
    return content_complete or state in {states.FAILED, states.CANCELLED}


def leave(tx: Transaction, story_id: str) -> None:
    """Takes a story out, before it is changed or removed. One that is not in it is passed over."""
    tx.execute(
        "INSERT INTO story_search (story_search, rowid, owner, title, content)"  # noqa: S608 - our own text
        f" SELECT 'delete', * FROM ({_ROW} {_ID})",
        (story_id,),
    )


def enter(tx: Transaction, story_id: str) -> None:
    """Puts a story in that is not in it, after it was changed. One that is not to be found is passed over."""
    tx.execute(
        f"INSERT INTO story_search (rowid, owner, title, content) {_ROW} {_ID}",
        (story_id,),
    )


def to_expression(owner: str, query: str) -> str | None:
    """The expression that finds what `owner` stores with these words; None where there is no word in it.

    Whatever is typed, it is never an error of syntax.

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
