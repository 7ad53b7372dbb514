"""Every adapter of the stores, for the suites that hold them to their ports."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from storage_service.embedded.database import Database
from storage_service.embedded.profile_store import SqliteProfileStore
from storage_service.embedded.removal_store import SqliteRemovalStore
from storage_service.embedded.story_store import SqliteStoryStore
from storage_service.ports import ProfileStore, RemovalStore, StoryStore
from support.storage_kit import ManualClock


@dataclass(frozen=True, slots=True)
class Stores:
    """Stores that know of each other's things."""

    stories: StoryStore
    profiles: ProfileStore
    removals: RemovalStore
    database: Database


@asynccontextmanager
async def on_disk(folder: Path, clock: ManualClock) -> AsyncIterator[Stores]:
    """SQLite in a file."""
    async with _over(Database(folder / "tale.sqlite3", sync="normal", readers=2), clock) as stores:
        yield stores


@asynccontextmanager
async def in_memory(folder: Path, clock: ManualClock) -> AsyncIterator[Stores]:
    """SQLite in memory."""
    del folder
    async with _over(Database(None, sync="full", readers=2), clock) as stores:
        yield stores


@asynccontextmanager
async def _over(database: Database, clock: ManualClock) -> AsyncIterator[Stores]:
    stories = SqliteStoryStore(database, clock)
    await stories.open()
    try:
        yield Stores(stories, SqliteProfileStore(database, clock), SqliteRemovalStore(database, clock), database)
    finally:
        await stories.close()


ADAPTERS = (on_disk, in_memory)
