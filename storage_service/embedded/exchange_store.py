"""The ExchangeStore in SQLite."""

import sqlite3
from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Final

from servicekit.errors import DomainError
from storage_service.embedded.audio_rows import stored_blob
from storage_service.embedded.database import Database
from storage_service.embedded.exchange_rows import FIRST, LAST, Table, keep_line, page_of
from storage_service.embedded.exchange_stories import keep_story
from storage_service.embedded.rows import load_record
from storage_service.exchange.ports import Line
from storage_service.records import Blob, ObjectKey
from tale.storage.v1 import storage_pb2

_PAGE: Final = 500


class SqliteExchangeStore:
    """Carries over what a database of SQLite keeps; see ExchangeStore for the methods."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lines(self) -> AsyncGenerator[Sequence[Line], None]:
        """Children, heroes and requests."""
        return self._lines(FIRST)

    def last_lines(self) -> AsyncGenerator[Sequence[Line], None]:
        """Tombstones."""
        return self._lines(LAST)

    async def _lines(self, tables: Sequence[Table]) -> AsyncGenerator[Sequence[Line], None]:
        for table in tables:
            after: sqlite3.Row | None = None
            while page := await self._database.read(
                lambda connection, table=table, after=after: page_of(connection, table, after, _PAGE)  # type: ignore[misc]
            ):
                yield [table.to_line(row) for row in page]
                after = page[-1]

    async def stories(self) -> AsyncGenerator[tuple[storage_pb2.StoryRecord, Blob | None], None]:
        """All stories, by id."""
        after = ""
        while page := await self._database.read(lambda connection, after=after: _owners(connection, after)):  # type: ignore[misc]
            for story_id, owner in page:
                whole = await self.story(owner, story_id)
                if whole is not None:
                    yield whole
            after = page[-1][0]

    async def story(self, owner: str, story_id: str) -> tuple[storage_pb2.StoryRecord, Blob | None] | None:
        """A story, None where it is gone."""
        try:
            return await self._database.read(lambda connection: _whole(connection, owner, story_id))
        except DomainError as error:
            if error.reason != "STORY_NOT_FOUND":
                raise
        return None

    async def keep_lines(self, lines: Sequence[Line]) -> int:
        """Keeps what is new."""
        return await self._database.write(lambda connection: sum(keep_line(connection, line) for line in lines))

    async def missing(self, story_ids: Collection[str]) -> Collection[str]:
        """Those that are neither kept nor deleted."""
        return await self._database.read(lambda connection: _missing(connection, story_ids))

    async def keep_story(self, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> bool:
        """Keeps a story."""
        return await self._database.write(lambda connection: keep_story(connection, record, key))


def _owners(connection: sqlite3.Connection, after: str) -> list[tuple[str, str]]:
    rows = connection.execute("SELECT id, owner FROM stories WHERE id > ? ORDER BY id LIMIT ?", (after, _PAGE))
    return [(row["id"], row["owner"]) for row in rows]


def _whole(connection: sqlite3.Connection, owner: str, story_id: str) -> tuple[storage_pb2.StoryRecord, Blob | None]:
    record = load_record(connection, owner, story_id, full=True)
    return record, stored_blob(connection, story_id)


def _missing(connection: sqlite3.Connection, story_ids: Collection[str]) -> set[str]:
    marks = ", ".join("?" * len(story_ids))
    known = connection.execute(
        f"SELECT id FROM stories WHERE id IN ({marks}) UNION"  # noqa: S608 - marks only
        f" SELECT resource_id FROM tombstones WHERE resource_id IN ({marks})",
        [*story_ids, *story_ids],
    )
    return set(story_ids).difference(row["id"] for row in known)
