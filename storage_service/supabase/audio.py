"""The SegmentStore and the ObjectNotes in Supabase, and audio and manifests as the schema stores them."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from servicekit.ids import new_id
from storage_service.messages import narrated_audio
from storage_service.records import (
    AddResult,
    Blob,
    EvictResult,
    Manifest,
    ObjectKey,
    ObjectKind,
    Part,
    RemovalResult,
    SegmentBlob,
    StoredAudio,
    UnfinishedAudio,
)
from storage_service.supabase.connection import SupabaseStore
from storage_service.supabase.rows import encoded, from_base64, to_base64, to_segments, to_text, to_time_text
from tale.common.v1 import common_pb2
from tale.storage.v1 import segment_pb2

_MOST_EVICTED: Final = 1_000


class SupabaseSegmentStore(SupabaseStore):
    """Stores segments in the schema `tales`; see SegmentStore for the methods."""

    async def find(self, lookups: Sequence[segment_pb2.SegmentLookup]) -> Sequence[segment_pb2.StoredSegment]:
        """Returns the segments that are stored, and notes their use."""
        given = [{"key": lookup.key, "story_id": lookup.story_id or None} for lookup in lookups]
        found = await self._connection.timed_rpc("find_segments", lookups=given)
        return [_segment(one) for one in found]

    async def add(self, segment: segment_pb2.StoredSegment, key: ObjectKey, story_id: str) -> AddResult:
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
        return AddResult(_segment(answer["segment"]), answer["created"], answer["stored_bytes"])

    async def get(self, segment_key: str) -> SegmentBlob | None:
        """Returns a segment and where its bytes are."""
        answer = await self._connection.rpc("get_segment", key=segment_key)
        if not answer:
            return None
        segment = _segment(answer["segment"])
        key = ObjectKey(ObjectKind.SEGMENT, answer["object_id"])
        return SegmentBlob(segment, Blob(key, segment.size_bytes, segment.sha256))

    async def drop(self, segment_key: str, key: ObjectKey) -> bool:
        """Removes a segment whose bytes are lost."""
        return bool(await self._connection.timed_rpc("drop_segment", key=segment_key, object_id=key.object_id))

    async def evict(self, down_to: int) -> EvictResult:
        """Removes segments, least recently used first."""
        answer = await self._connection.timed_rpc("evict_segments", down_to=down_to, most=_MOST_EVICTED)
        return EvictResult(to_keys(answer["dropped"]), answer["stored_bytes"])


def _segment(text: str) -> segment_pb2.StoredSegment:
    return segment_pb2.StoredSegment.FromString(from_base64(text))


def from_audio(audio: common_pb2.StoryAudio, key: ObjectKey) -> dict[str, Any]:
    """Returns the columns of a story's audio."""
    return {
        "audio_id": audio.audio_id,
        "object_id": key.object_id,
        "sha256": to_base64(audio.sha256),
        "size_bytes": audio.size_bytes,
        "content_type": to_text(audio.content_type),
        "duration_us": audio.duration.ToMicroseconds(),
        "audio": encoded(audio),
    }


def to_audio(row: Mapping[str, Any]) -> StoredAudio:
    """Returns finished audio."""
    audio = common_pb2.StoryAudio.FromString(from_base64(row["audio"]))
    return StoredAudio(
        audio,
        Blob(ObjectKey(ObjectKind.AUDIO, row["object_id"]), audio.size_bytes, audio.sha256),
    )


def to_unfinished(row: Mapping[str, Any]) -> UnfinishedAudio:
    """Returns audio in progress."""
    header = common_pb2.NarrationHeader.FromString(from_base64(row["header"]))
    last = common_pb2.Segment.FromString(from_base64(row["last"]))
    return UnfinishedAudio(narrated_audio(header, last, size=last.audio.end), _parts(row["parts"]))


def to_manifest(row: Mapping[str, Any]) -> Manifest:
    """Returns a narration to compose."""
    return Manifest(
        header=common_pb2.NarrationHeader.FromString(from_base64(row["header"])),
        segments=to_segments(row["segments"]),
        parts=_parts(row["parts"]),
        content_length=row["content_length"],
        content_complete=row["content_complete"],
    )


def _parts(rows: Sequence[Mapping[str, Any]]) -> list[Part]:
    ends = [0, *(row["audio_end"] for row in rows)]
    return [_part(row, end - start) for row, (start, end) in zip(rows, pairwise(ends), strict=True)]


def _part(row: Mapping[str, Any], size: int) -> Part:
    object_id = row["object_id"]
    if object_id is None:
        return Part(row["key"], size, None)
    return Part(
        row["key"],
        size,
        Blob(ObjectKey(ObjectKind.SEGMENT, object_id), size, from_base64(row["sha256"])),
    )


def to_keys(rows: Sequence[Mapping[str, Any]]) -> list[ObjectKey]:
    """Returns the keys of objects that a function of the schema names."""
    return [ObjectKey(ObjectKind(row["kind"]), row["object_id"]) for row in rows]


class SupabaseObjectNotes(SupabaseStore):
    """Notes objects in the schema `tales`; see ObjectNotes for the methods."""

    async def note(self, kind: ObjectKind, count: int) -> Sequence[ObjectKey]:
        """Notes new objects."""
        keys = [ObjectKey(kind, new_id()) for _ in range(count)]
        await self._connection.timed_rpc("note_objects", kind=kind.value, object_ids=[key.object_id for key in keys])
        return keys

    async def mark_deleted(self, keys: Collection[ObjectKey]) -> Collection[ObjectKey]:
        """Marks objects that no record refers to."""
        if not keys:
            return []
        given = [{"kind": key.kind.value, "object_id": key.object_id} for key in keys]
        return to_keys(await self._connection.timed_rpc("mark_deleted", objects=given))

    async def take_deleted(self, *, grace: int, most: int, after: str = "") -> Sequence[ObjectKey]:
        """Returns objects whose bytes are to be removed."""
        return to_keys(await self._connection.timed_rpc("take_deleted", grace_us=grace, most=most, after=after or None))

    async def remove_notes(self, keys: Collection[ObjectKey]) -> None:
        """Removes the notes of objects whose bytes are gone."""
        if keys:
            await self._connection.rpc("remove_notes", object_ids=[key.object_id for key in keys])


class SupabaseRemovalStore(SupabaseStore):
    """Removes from the schema `tales`; see RemovalStore for the methods."""

    async def erase_child(self, owner: str, child_id: str) -> RemovalResult:
        """Removes a child with all its stories.

        Not repeated where it may have been done: the second time it would count no stories.
        """
        answer = await self._connection.timed_rpc("erase_child", child_id, safe=False, owner=owner, child_id=child_id)
        return RemovalResult(answer["story_count"], to_keys(answer["dropped"]))

    async def expire(self, before: int, *, most: int) -> RemovalResult:
        """Removes old stories."""
        answer = await self._connection.timed_rpc("expire_stories", before=to_time_text(before), most=most)
        return RemovalResult(answer["story_count"], to_keys(answer["dropped"]))

    async def scrub(self) -> None:
        """Leaves it to the database, whose autovacuum clears deleted rows; logs and backups are the project's."""
