"""Stories that come from elsewhere, as `tales.import_story` takes them."""

from typing import Any, Final

from storage_service import states
from storage_service.supabase.rows import KIND, STATE, encoded
from storage_service.supabase.wire import to_base64, to_name
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_STORED_APART: Final = (
    "id",
    "state",
    "revision",
    "title",
    "content",
    "content_complete",
    "narrate",
    "rating",
    "voice",
    "problems",
    "attempts",
    "embedded_parts",
    "audio",
    "model_used",
    "summary",
    "usage",
    "full_response",
    "generation_info",
    "create_time",
    "update_time",
    "end_time",
)
"""Fields of a story that have columns or tables of their own."""


def from_record(record: storage_pb2.StoryRecord) -> dict[str, Any]:
    """The columns of a story. The child and the hero stay in it as they were when it was asked for."""
    story, run = record.story, record.run
    begun = common_pb2.Story()
    begun.CopyFrom(story)
    for field in _STORED_APART:
        begun.ClearField(field)
    final = states.is_final(story.state)
    return {
        "id": story.id,
        "owner": record.owner,
        "state": to_name(common_pb2.StoryState.Name, story.state, STATE),
        "revision": story.revision,
        "kind": to_name(common_pb2.StoryKind.Name, story.kind or common_pb2.STORY_KIND_CHILD, KIND),
        "child_id": story.child_id or None,
        "child_name": story.child.name,
        "hero_id": story.hero_id or None,
        "parent_story_id": story.parent_story_id or None,
        "language_code": story.language_code,
        "length_minutes": story.length_minutes,
        "narrate": story.narrate,
        "rating": story.rating if story.HasField("rating") else None,
        "title": story.title,
        "content": story.content,
        "content_complete": story.content_complete,
        "embedded_parts": list(story.embedded_parts),
        "created_at": story.create_time.ToJsonString(),
        "updated_at": story.update_time.ToJsonString(),
        "ended_at": (story.end_time if story.HasField("end_time") else story.update_time).ToJsonString()
        if final
        else None,
        "lease_token": run.lease_token,
        "started_at": run.start_time.ToJsonString() if run.HasField("start_time") else None,
        "pickup_count": run.pickup_count,
        # Its run is elsewhere: the next claim counts as one after a hand-over.
        "handed_over": not final and run.HasField("start_time"),
        "spec": encoded(record.spec),
        "story": encoded(begun),
        "voice": encoded(story.voice),
        "generation": _generation(story),
    }


def segments_of(audio: common_pb2.StoryAudio) -> list[dict[str, Any]]:
    """Returns the manifest that stored audio was composed from."""
    return [
        {
            "audio_id": audio.audio_id,
            "index": segment.index,
            "key": segment.key,
            "sha256": to_base64(segment.sha256),
            "text_end": segment.text.end,
            "audio_end": segment.audio.end,
            "segment": encoded(segment),
        }
        for segment in audio.segments
    ]


def _generation(story: common_pb2.Story) -> str | None:
    generation = storage_pb2.GenerationRecord(
        model_used=story.model_used,
        summary=story.summary,
        usage=story.usage if story.HasField("usage") else None,
        full_response=story.full_response,
        generation_info=story.generation_info if story.HasField("generation_info") else None,
    )
    return encoded(generation) if generation.ListFields() else None
