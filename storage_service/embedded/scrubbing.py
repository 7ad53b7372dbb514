"""Leaves nothing of what was removed in the file.

`secure_delete` alone does not: when SQLite moves rows between pages it leaves copies behind in the gaps of pages that
stay in use (measured with 3.40: words of deleted rows in four of eight files), and the write-ahead log holds older
states of pages. Writing the file anew and cutting the log leaves neither. The index of words keeps deleted ones until
its parts are merged (`begin_merging`), so that comes first.
"""

import sqlite3
from pathlib import Path
from typing import Final

from servicekit.errors import unavailable

_PAGES: Final = 2_000
"""Pages of the index that are merged at once: about 8 MB."""


def removed_count(connection: sqlite3.Connection) -> int:
    """Things removed since the file was last written anew."""
    (count,) = connection.execute("SELECT removed_count FROM housekeeping").fetchone()
    return int(count)


def begin_merging(connection: sqlite3.Connection) -> None:
    """Begins to merge all parts that the index has now into one, so that no deleted word is left in it."""
    connection.execute("INSERT INTO story_search (story_search, rank) VALUES ('merge', ?)", (-_PAGES,))


def merge_more(connection: sqlite3.Connection) -> bool:
    """Goes on with that for a moment, so that writers need not wait for all of it; False once it is done."""
    before = connection.total_changes
    connection.execute("INSERT INTO story_search (story_search, rank) VALUES ('merge', ?)", (_PAGES,))
    # https://sqlite.org/fts5.html#the_merge_command
    return connection.total_changes - before >= 2


def scrub(connection: sqlite3.Connection, folder: Path, removed: int) -> None:
    """Writes the file anew, for so many removals, whose words were merged out of the index. Not in a transaction.

    Takes about 0.7 s for 100 MB, and as much room in `folder`. UNAVAILABLE / STORAGE_BUSY where a reader holds the
    log.
    """
    # Not /tmp: it may be small, not ours alone, or not writable.
    quoted = str(folder).replace("'", "''")
    connection.execute(f"PRAGMA temp_store_directory = '{quoted}'")
    connection.execute("VACUUM")
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise unavailable("STORAGE_BUSY", "The store is being read; try again.")
    connection.execute("UPDATE housekeeping SET removed_count = removed_count - ?", (removed,))
