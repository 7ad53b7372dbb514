"""The StoryStore in SQLite."""

import sqlite3
from collections.abc import Collection, Sequence

from storage_service.embedded import (
    audio_rows,
    checkpointing,
    creating,
    leasing,
    listing,
    removing,
    story_changes,
    updating,
)
from storage_service.embedded.database import Database
from storage_service.embedded.rows import load_record
from storage_service.ports import Clock
from storage_service.records import (
    Attached,
    Change,
    Lease,
    Manifest,
    NewStory,
    ObjectKey,
    Position,
    Removed,
    StoredAudio,
    UnfinishedAudio,
)
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2


class SqliteStoryStore:
    """Keeps stories in a database of SQLite; see StoryStore for the methods.

    The time is taken inside the transaction, so that it never runs behind what others have done.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def open(self) -> None:
        """Opens the database."""
        await self._database.open()

    async def close(self) -> None:
        """Closes the database."""
        await self._database.close()

    async def create(self, owner: str, new: NewStory) -> tuple[storage_pb2.StoryRecord, bool]:
        """Keeps a new story, or finds the kept one."""

        def work(connection: sqlite3.Connection) -> tuple[storage_pb2.StoryRecord, bool]:
            story_id, created = creating.create_story(connection, owner, new, self._clock.now())
            return load_record(connection, owner, story_id, full=False), created

        return await self._database.write(work)

    async def get(self, owner: str, story_id: str, *, full: bool) -> storage_pb2.StoryRecord:
        """A story."""
        return await self._database.read(lambda connection: load_record(connection, owner, story_id, full=full))

    async def list_page(
        self, owner: str, chosen: common_pb2.StoryFilter, *, limit: int, after: Position | None
    ) -> Sequence[common_pb2.StorySummary]:
        """A page of stories."""
        return await self._database.read(
            lambda connection: listing.list_stories(connection, owner, chosen, limit, after)
        )

    async def update(
        self, owner: str, story_id: str, change: Change, *, expected_revision: int | None
    ) -> tuple[storage_pb2.StoryRecord, bool]:
        """Makes a change."""

        def work(connection: sqlite3.Connection) -> tuple[storage_pb2.StoryRecord, bool]:
            now = self._clock.now()
            changed = updating.update_story(connection, owner, story_id, change, expected_revision, now)
            return load_record(connection, owner, story_id, full=False), changed

        return await self._database.write(work)

    async def delete(self, owner: str, story_id: str) -> Removed:
        """Removes a story."""
        return await self._database.write(
            lambda connection: removing.delete_story(connection, owner, story_id, self._clock.now())
        )

    async def follow(
        self, positions: Sequence[storage_pb2.StoryPosition], *, max_bytes: int
    ) -> tuple[Sequence[storage_pb2.StoryChange], bool]:
        """What is new in stories."""
        return await self._database.read(
            lambda connection: story_changes.follow_stories(connection, positions, max_bytes, self._clock.now())
        )

    async def claim(self, lease: Lease, *, most: int, story_ids: Collection[str]) -> Sequence[storage_pb2.ClaimedStory]:
        """Takes leases."""
        return await self._database.write(
            lambda connection: leasing.claim_stories(
                connection, lease, most=most, story_ids=story_ids, now=self._clock.now()
            )
        )

    async def checkpoint(
        self, lease_duration: int, checkpoints: Sequence[storage_pb2.StoryCheckpoint]
    ) -> Sequence[storage_pb2.CheckpointResult]:
        """Keeps what runs have made."""
        return await self._database.write(
            lambda connection: checkpointing.checkpoint_stories(
                connection, lease_duration, checkpoints, self._clock.now()
            )
        )

    async def release(self, leases: Sequence[storage_pb2.HeldLease]) -> int:
        """Gives leases back."""
        return await self._database.write(lambda connection: leasing.release_stories(connection, leases))

    async def manifest(self, story_id: str, lease_token: int, audio_id: str) -> Manifest | StoredAudio:
        """A narration to compose."""
        return await self._database.read(
            lambda connection: audio_rows.load_manifest(connection, story_id, lease_token, audio_id)
        )

    async def attach_audio(
        self, story_id: str, lease_token: int, audio: common_pb2.StoryAudio, key: ObjectKey
    ) -> Attached:
        """Gives a story its audio."""
        return await self._database.write(
            lambda connection: audio_rows.attach_audio(connection, story_id, lease_token, audio, key, self._clock.now())
        )

    async def find_audio(self, owner: str, story_id: str, audio_id: str) -> StoredAudio | UnfinishedAudio | None:
        """The audio of a story."""
        return await self._database.read(
            lambda connection: audio_rows.find_audio(connection, owner, story_id, audio_id)
        )
