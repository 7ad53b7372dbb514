"""The index of words in the embedded store: in step with the stories, and nothing that is gone stays in it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.storage_stores import check_index

from servicekit.errors import DomainError
from servicekit.settings import ConfigurationError
from standins.storage_kit import LEASE, ManualClock, checkpoint, new_story, write_held
from storage_service.embedded import database as scrubbing
from storage_service.embedded.database import Database, _check_modules
from storage_service.embedded.removals import SqliteRemovalStore
from storage_service.embedded.stories import SqliteStoryStore
from storage_service.records import Cancel, Retry
from storage_service.stories import states
from tale.common.v1 import common_pb2

ME = "mia"
SECRET_WORD = "zyxwinabolt"  # noqa: S105 - a word that is its own stem

IN_INDEX = SECRET_WORD[1:]
"""The index keeps a word less the letters that it shares with the one before."""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty store in a file."""
    it = Database(tmp_path / "data" / "tale.sqlite3", sync="normal", readers=2)
    await it.open()
    yield it
    await it.close()


async def told(store: SqliteStoryStore, text: str, **changes: object) -> str:
    """Id of a story of that text."""
    record, _ = await store.create(ME, new_story(lease=LEASE, narrate=False, **changes))  # type: ignore[arg-type]
    end = checkpoint(record.story.id, state=states.READY, title="T", text=(0, text), content_complete=True)
    await write_held(store, end)
    return record.story.id


async def ids(store: SqliteStoryStore, query: str) -> list[str]:
    """What is found."""
    page = await store.list_page(ME, common_pb2.StoryFilter(query=query), limit=10, after=None)
    return [one.id for one in page]


def files_with(folder: Path, word: str) -> list[str]:
    """The files that a word is in."""
    return [path.name for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


async def test_the_index_is_in_step_with_the_stories(database: Database) -> None:
    """After all that can happen to a story, SQLite's own check finds no difference."""
    store = SqliteStoryStore(database, ManualClock())
    kept, gone = await told(store, "A dragon."), await told(store, "An owl.")
    await store.delete(ME, gone)
    record, _ = await store.create(ME, new_story(lease=LEASE))
    tried = record.story.id
    await write_held(store, checkpoint(tried, state=states.FAILED, text=(0, "A fox.")))
    await store.update(ME, tried, Retry(lease=LEASE), expected_revision=None)
    await write_held(store, checkpoint(tried, title="Fox", text=(6, " A dragon.")))
    await store.update(ME, tried, Cancel(), expected_revision=None)
    await database.write(check_index)
    assert [tried, kept] == await ids(store, "dragon")


async def test_a_difference_would_be_found(database: Database) -> None:
    """The check is not one that always holds."""
    store = SqliteStoryStore(database, ManualClock())
    await told(store, "A dragon.")
    await database.write(lambda connection: connection.execute("UPDATE story_texts SET text = 'An owl.'").close())
    with pytest.raises(DomainError, match="STORAGE_DAMAGED"):
        await database.write(check_index)
    # Stories are not lost with it.
    assert database.sound
    await told(store, "A fox.")


@pytest.mark.parametrize("pages", [1, 2_000])
async def test_words_of_what_was_removed_are_nowhere(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    """Deleted words stand in the index as such until it is merged; after the scrub they are in no file.

    So it is when the merging takes many steps, and for what is removed between them the next scrub does it.
    """
    monkeypatch.setattr(scrubbing, "_PAGES", pages)
    store, removals = SqliteStoryStore(database, ManualClock()), SqliteRemovalStore(database, ManualClock())
    others = [await told(store, f"A dragon and number{number}.") for number in range(50)]
    gone = await told(store, f"Once {SECRET_WORD} met a dragon.")
    assert [gone] == await ids(store, SECRET_WORD)
    await store.delete(ME, gone)
    assert ["tale.sqlite3-wal"] == files_with(tmp_path, IN_INDEX)
    await removals.scrub()
    assert [] == files_with(tmp_path, IN_INDEX)
    late = await told(store, f"Then {SECRET_WORD} met another.")
    await store.delete(ME, others[0])
    await asyncio.gather(removals.scrub(), store.delete(ME, late), removals.scrub())
    await removals.scrub()
    assert [] == files_with(tmp_path, IN_INDEX)
    assert [others[20]] == await ids(store, "number20")
    await database.write(check_index)


class WithoutModules(sqlite3.Connection):
    """A connection of a Python whose SQLite was built with little."""

    def execute(self, *_: Any) -> sqlite3.Cursor:
        """Finds nothing."""
        return super().execute("SELECT 1 WHERE 0")


def test_without_fts5_the_store_does_not_start() -> None:
    """And says what is missing."""
    connection = sqlite3.connect(":memory:", factory=WithoutModules)
    with pytest.raises(ConfigurationError, match="STORAGE_BACKEND=embedded needs SQLite with FTS5"):
        _check_modules(connection)
    connection.close()
