"""Keeps the index of words in step with the stories: called by whoever changes what is in it."""

from typing import Final

from storage_service import states
from storage_service.embedded.transactions import Transaction

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
