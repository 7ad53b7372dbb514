"""Stories that come from elsewhere, as `tales.import_story` takes them."""

from typing import Any

from storage_service import states
from storage_service.messages import body_of, generation_of
from storage_service.supabase.rows import KIND, STATE
from storage_service.supabase.wire import encoded, to_base64, to_name
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2


def from_record(record: storage_pb2.StoryRecord) -> dict[str, Any]:
    """The columns of a story. The child and the hero stay in it as they were when it was asked for."""
    story, run = record.story, record.run
    generation, final = generation_of(story), states.is_final(story.state)
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
        "story": encoded(body_of(story)),
        "voice": encoded(story.voice),
        "generation": None if generation is None else encoded(generation),
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
