"""The SegmentStore in Supabase, and audio and manifests as the schema stores them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from storage_service import records
from storage_service.messages import narrated_audio
from storage_service.supabase.connection import SupabaseStore
from storage_service.supabase.objects import to_keys
from storage_service.supabase.rows import to_segments
from storage_service.supabase.wire import encoded, from_base64, to_base64, to_text
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

    async def add(self, segment: segment_pb2.StoredSegment, key: records.ObjectKey, story_id: str) -> records.Added:
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
        return records.Added(_segment(answer["segment"]), answer["created"], answer["stored_bytes"])

    async def get(self, segment_key: str) -> records.FoundSegment | None:
        """Returns a segment and where its bytes are."""
        answer = await self._connection.rpc("get_segment", key=segment_key)
        if not answer:
            return None
        segment = _segment(answer["segment"])
        key = records.ObjectKey(records.ObjectKind.SEGMENT, answer["object_id"])
        return records.FoundSegment(segment, records.Blob(key, segment.size_bytes, segment.sha256))

    async def drop(self, segment_key: str, key: records.ObjectKey) -> bool:
        """Removes a segment whose bytes are lost."""
        return bool(await self._connection.timed_rpc("drop_segment", key=segment_key, object_id=key.object_id))

    async def evict(self, down_to: int) -> records.Evicted:
        """Removes segments, least recently used first."""
        answer = await self._connection.timed_rpc("evict_segments", down_to=down_to, most=_MOST_EVICTED)
        return records.Evicted(to_keys(answer["dropped"]), answer["stored_bytes"])


def _segment(text: str) -> segment_pb2.StoredSegment:
    return segment_pb2.StoredSegment.FromString(from_base64(text))


def from_audio(audio: common_pb2.StoryAudio, key: records.ObjectKey) -> dict[str, Any]:
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


def to_audio(row: Mapping[str, Any]) -> records.StoredAudio:
    """Returns finished audio."""
    audio = common_pb2.StoryAudio.FromString(from_base64(row["audio"]))
    return records.StoredAudio(
        audio,
        records.Blob(records.ObjectKey(records.ObjectKind.AUDIO, row["object_id"]), audio.size_bytes, audio.sha256),
    )


def to_unfinished(row: Mapping[str, Any]) -> records.UnfinishedAudio:
    """Returns audio in the making."""
    header = common_pb2.NarrationHeader.FromString(from_base64(row["header"]))
    last = common_pb2.Segment.FromString(from_base64(row["last"]))
    return records.UnfinishedAudio(narrated_audio(header, last, size=last.audio.end), _parts(row["parts"]))


def to_manifest(row: Mapping[str, Any]) -> records.Manifest:
    """Returns a narration to compose."""
    return records.Manifest(
        header=common_pb2.NarrationHeader.FromString(from_base64(row["header"])),
        segments=to_segments(row["segments"]),
        parts=_parts(row["parts"]),
        content_length=row["content_length"],
        content_complete=row["content_complete"],
    )


def _parts(rows: Sequence[Mapping[str, Any]]) -> list[records.Part]:
    ends = [0, *(row["audio_end"] for row in rows)]
    return [_part(row, end - start) for row, (start, end) in zip(rows, pairwise(ends), strict=True)]


def _part(row: Mapping[str, Any], size: int) -> records.Part:
    object_id = row["object_id"]
    if object_id is None:
        return records.Part(row["key"], size, None)
    return records.Part(
        row["key"],
        size,
        records.Blob(records.ObjectKey(records.ObjectKind.SEGMENT, object_id), size, from_base64(row["sha256"])),
    )
