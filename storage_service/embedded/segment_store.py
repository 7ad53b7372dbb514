"""The SegmentStore in SQLite."""

from collections.abc import Sequence

from storage_service.embedded import segment_rows
from storage_service.embedded.database import Database
from storage_service.ports import Clock
from storage_service.records import Added, Evicted, FoundSegment, ObjectKey
from tale.storage.v1 import segment_pb2


class SqliteSegmentStore:
    """Stores what is known of segments in a database of SQLite that is open; see SegmentStore for the methods."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, lookups: Sequence[segment_pb2.SegmentLookup]) -> Sequence[segment_pb2.StoredSegment]:
        """Stored segments."""
        now = self._clock.now()
        found, to_note = await self._database.read(lambda connection: segment_rows.look_up(connection, lookups, now))
        if to_note:
            gone = await self._database.write(lambda connection: segment_rows.note_uses(connection, to_note, now))
            found = {key: segment for key, segment in found.items() if key not in gone}
        return [segment_pb2.StoredSegment.FromString(segment) for segment in found.values()]

    async def add(self, segment: segment_pb2.StoredSegment, key: ObjectKey, story_id: str) -> Added:
        """Adds a segment."""
        return await self._database.write(
            lambda connection: segment_rows.add_segment(connection, segment, key, story_id, self._clock.now())
        )

    async def get(self, segment_key: str) -> FoundSegment | None:
        """A segment and its bytes."""
        return await self._database.read(lambda connection: segment_rows.find_segment(connection, segment_key))

    async def drop(self, segment_key: str, key: ObjectKey) -> bool:
        """Removes a lost segment."""
        return await self._database.write(lambda connection: segment_rows.drop_segment(connection, segment_key, key))

    async def evict(self, down_to: int) -> Evicted:
        """Makes room."""
        return await self._database.write(lambda connection: segment_rows.evict_segments(connection, down_to))
