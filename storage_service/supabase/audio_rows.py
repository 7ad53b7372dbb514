"""Audio and manifests as the schema stores them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from storage_service.messages import narrated_audio
from storage_service.records import Blob, Manifest, ObjectKey, ObjectKind, Part, StoredAudio, UnfinishedAudio
from storage_service.supabase.rows import to_segments
from storage_service.supabase.wire import encoded, from_base64, to_base64, to_text
from tale.common.v1 import common_pb2


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
    return StoredAudio(audio, Blob(ObjectKey(ObjectKind.AUDIO, row["object_id"]), audio.size_bytes, audio.sha256))


def to_unfinished(row: Mapping[str, Any]) -> UnfinishedAudio:
    """Returns audio in the making."""
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
    return Part(row["key"], size, Blob(ObjectKey(ObjectKind.SEGMENT, object_id), size, from_base64(row["sha256"])))
