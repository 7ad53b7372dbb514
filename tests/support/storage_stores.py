"""Every adapter of the stores, for the suites that hold them to their ports."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from servicekit.errors import DomainError
from standins.storage_kit import ManualClock, add_segments, speech
from storage_service.audio.noted import GRACE
from storage_service.embedded.audio import SqliteObjectNotes, SqliteSegmentStore
from storage_service.embedded.database import Database
from storage_service.embedded.profiles import SqliteProfileStore
from storage_service.embedded.removals import SqliteRemovalStore
from storage_service.embedded.stories import SqliteStoryStore
from storage_service.ports import ObjectNotes, ProfileStore, RemovalStore, SegmentStore, StoryStore
from storage_service.records import ObjectKey, ObjectKind
from storage_service.supabase.audio import SupabaseObjectNotes, SupabaseRemovalStore, SupabaseSegmentStore
from storage_service.supabase.connection import Connection
from storage_service.supabase.profiles import SupabaseProfileStore
from storage_service.supabase.stories import SupabaseStoryStore
from support.supabase_lite import Lite
from tale.common.v1 import common_pb2


@dataclass(frozen=True, slots=True)
class Stores:
    """Stores over one database.

    `embedded` are those that name themselves among a story's embedded parts; `fingerprints` returns what is stored of
    the requests.
    """

    stories: StoryStore
    profiles: ProfileStore
    removals: RemovalStore
    segments: SegmentStore
    objects: ObjectNotes
    embedded: bool
    fingerprints: Callable[[], Awaitable[list[bytes]]]

    async def places(self, story_id: str, sizes: Sequence[int] = (10, 10), seed: str = "") -> list[common_pb2.Segment]:
        """Adds segments to the segment store, without bytes; their places in a manifest."""
        spoken = speech(sizes, seed or story_id)
        await add_segments(self.segments, self.objects, spoken, story_id)
        return [one.place for one in spoken]

    async def audio_key(self) -> ObjectKey:
        """An object for audio, without bytes."""
        (key,) = await self.objects.note(ObjectKind.AUDIO, 1)
        return key

    async def deleted(self) -> set[ObjectKey]:
        """Objects whose bytes are to be removed."""
        return set(await self.objects.take_deleted(grace=GRACE, most=1_000))


Adapter: TypeAlias = Callable[[Path, ManualClock], AbstractAsyncContextManager[Stores]]


@asynccontextmanager
async def on_disk(folder: Path, clock: ManualClock) -> AsyncIterator[Stores]:
    """SQLite in a file."""
    async with over_sqlite(Database(folder / "tale.sqlite3", sync="normal", readers=2), clock) as stores:
        yield stores


@asynccontextmanager
async def over_sqlite(database: Database, clock: ManualClock) -> AsyncIterator[Stores]:
    """The embedded stores over a database."""

    async def fingerprints() -> list[bytes]:
        return await database.read(
            lambda connection: [row["fingerprint"] for row in connection.execute("SELECT fingerprint FROM requests")]
        )

    stories = SqliteStoryStore(database, clock)
    await stories.open()
    try:
        yield Stores(
            stories,
            SqliteProfileStore(database, clock),
            SqliteRemovalStore(database, clock),
            SqliteSegmentStore(database, clock),
            SqliteObjectNotes(database, clock),
            embedded=True,
            fingerprints=fingerprints,
        )
    finally:
        await stories.close()


@asynccontextmanager
async def over_supabase(lite: Lite, clock: ManualClock) -> AsyncIterator[Stores]:
    """Supabase, emptied."""
    connection = Connection(lite.config(), clock=clock)
    client = await connection.client()
    await client.rpc("empty", {})

    async def fingerprints() -> list[bytes]:
        return [bytes.fromhex(one) for one in await client.rpc("fingerprints", {})]

    try:
        yield Stores(
            SupabaseStoryStore(connection),
            SupabaseProfileStore(connection),
            SupabaseRemovalStore(connection),
            SupabaseSegmentStore(connection),
            SupabaseObjectNotes(connection),
            embedded=False,
            fingerprints=fingerprints,
        )
    finally:
        await connection.close()


def check_index(connection: sqlite3.Connection) -> None:
    """Compares the full-text index with the stories; sqlite3.DatabaseError where they differ."""
    connection.execute("INSERT INTO story_search (story_search, rank) VALUES ('integrity-check', 1)")


SUPABASE = "supabase"
EMBEDDED = (on_disk,)
ADAPTERS = (*EMBEDDED, SUPABASE)
"""Parameters of a fixture that asks `adapter_of` for its stores."""


def adapter_of(request: pytest.FixtureRequest) -> Adapter:
    """The adapter that a fixture is parametrised with; Supabase is started where it is asked for."""
    if request.param != SUPABASE:
        adapter: Adapter = request.param
        return adapter
    lite: Lite = request.getfixturevalue("supabase_lite")

    def on_supabase(folder: Path, clock: ManualClock) -> AbstractAsyncContextManager[Stores]:
        del folder
        return over_supabase(lite, clock)

    return on_supabase


async def reason_of(call: Awaitable[object]) -> str:
    """The reason that a call fails with."""
    with pytest.raises(DomainError) as caught:
        await call
    return caught.value.reason
