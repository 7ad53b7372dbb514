"""The SegmentStore in Supabase."""

from collections.abc import Sequence
from typing import Final

from storage_service.records import Added, Blob, Evicted, FoundSegment, ObjectKey, ObjectKind
from storage_service.supabase.connection import SupabaseStore
from storage_service.supabase.objects import to_keys
from storage_service.supabase.wire import encoded, from_base64, to_base64
from tale.storage.v1 import segment_pb2

_MOST_EVICTED: Final = 1_000


class SupabaseSegmentStore(SupabaseStore):
    """Stores segments in the schema `tales`; see SegmentStore for the methods."""

    async def find(self, lookups: Sequence[segment_pb2.SegmentLookup]) -> Sequence[segment_pb2.StoredSegment]:
        """Returns the segments that are stored, and notes their use."""
        given = [{"key": lookup.key, "story_id": lookup.story_id or None} for lookup in lookups]
        found = await self._connection.timed_rpc("find_segments", lookups=given)
        return [_segment(one) for one in found]

    async def add(self, segment: segment_pb2.StoredSegment, key: ObjectKey, story_id: str) -> Added:
        """Stores a segment, unless one is stored under its key."""
        answer = await self._connection.timed_rpc(
            "add_segment",
            story_id,
            segment={
                "key": segment.key,
                "object_id": key.object_id,
                "size_bytes": segment.size_bytes,
                "sha256": to_base64(segment.sha256),
                "segment": encoded(segment),
            },
            story_id=story_id or None,
        )
        return Added(_segment(answer["segment"]), answer["created"], answer["stored_bytes"])

    async def get(self, segment_key: str) -> FoundSegment | None:
        """Returns a segment and where its bytes are."""
        answer = await self._connection.rpc("get_segment", key=segment_key)
        if not answer:
            return None
        segment = _segment(answer["segment"])
        key = ObjectKey(ObjectKind.SEGMENT, answer["object_id"])
        return FoundSegment(segment, Blob(key, segment.size_bytes, segment.sha256))

    async def drop(self, segment_key: str, key: ObjectKey) -> bool:
        """Removes a segment whose bytes are lost."""
        return bool(await self._connection.timed_rpc("drop_segment", key=segment_key, object_id=key.object_id))

    async def evict(self, down_to: int) -> Evicted:
        """Removes segments, least recently used first."""
        answer = await self._connection.timed_rpc("evict_segments", down_to=down_to, most=_MOST_EVICTED)
        return Evicted(to_keys(answer["dropped"]), answer["stored_bytes"])


def _segment(text: str) -> segment_pb2.StoredSegment:
    return segment_pb2.StoredSegment.FromString(from_base64(text))
