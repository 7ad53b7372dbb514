"""Keeps the index of words in step with the stories: called by whoever changes what is in it."""

import sqlite3
from typing import Final

from storage_service import states

# The view gives a row only of a story that is found.
_ROW: Final = "SELECT search_id, owner, title, content FROM story_search_source WHERE search_id ="
_ID: Final = "(SELECT search_id FROM stories WHERE id = ?)"
_PAGES: Final = 2_000
"""Pages of the index that are merged at once: about 8 MB."""


def is_found(state: states.State, *, content_complete: bool) -> bool:
    """True where a story is in the index: its text is whole, or its run has ended without."""
    return content_complete or state in {states.FAILED, states.CANCELLED}


def leave(connection: sqlite3.Connection, story_id: str) -> None:
    """Takes a story out, before it is changed or removed. One that is not in it is passed over."""
    connection.execute(
        "INSERT INTO story_search (story_search, rowid, owner, title, content)"  # noqa: S608 - our own text
        f" SELECT 'delete', * FROM ({_ROW} {_ID})",
        (story_id,),
    )


def enter(connection: sqlite3.Connection, story_id: str) -> None:
    """Puts a story in that is not in it, after it was changed. One that is not to be found is passed over."""
    connection.execute(
        f"INSERT INTO story_search (rowid, owner, title, content) {_ROW} {_ID}",
        (story_id,),
    )


def begin_merging(connection: sqlite3.Connection) -> None:
    """Begins to merge all parts that the index has now into one, so that no deleted word is left in it."""
    connection.execute("INSERT INTO story_search (story_search, rank) VALUES ('merge', ?)", (-_PAGES,))


def merge_more(connection: sqlite3.Connection) -> bool:
    """Goes on with that for a moment, so that writers need not wait for all of it; False once it is done."""
    before = connection.total_changes
    connection.execute("INSERT INTO story_search (story_search, rank) VALUES ('merge', ?)", (_PAGES,))
    # https://sqlite.org/fts5.html#the_merge_command
    return connection.total_changes - before >= 2


def check(connection: sqlite3.Connection) -> None:
    """Compares the index with the stories; sqlite3.DatabaseError where they differ."""
    connection.execute("INSERT INTO story_search (story_search, rank) VALUES ('integrity-check', 1)")
