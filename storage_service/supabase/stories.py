"""Stories, checkpoints and positions as the schema takes them, and what it answers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.reasons import explained
from storage_service.messages import body_of, generation_of
from storage_service.records import NewStory
from storage_service.stories import states
from storage_service.stories.following import Answer
from storage_service.supabase.rows import KIND, STATE, from_attempts, from_problems, to_segments, to_state
from storage_service.supabase.wire import encoded, from_base64, to_base64, to_name, to_text, to_timestamp
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_POSITION: Final = ("story_id", "lease_token", "text_length", "audio_id", "segment_count", "problem_count")


def from_new(new: NewStory) -> dict[str, Any]:
    """The columns of a new story. The database adds the stored child and hero."""
    story = common_pb2.Story()
    story.CopyFrom(new.story)
    story.id, story.state = new.story_id, common_pb2.STORY_STATE_PENDING
    if story.child_id:
        story.ClearField("child")
    if story.hero_id:
        story.ClearField("hero")
    return from_record(storage_pb2.StoryRecord(spec=new.spec, story=story))


def created_by(record: storage_pb2.StoryRecord, new: NewStory) -> bool:
    """True where a record is just what this call would have made."""
    untouched = record.story.state == common_pb2.STORY_STATE_PENDING and record.story.revision == 1
    return record.story.id == new.story_id and untouched and record.run.lease_token == int(new.lease is not None)


def from_record(record: storage_pb2.StoryRecord) -> dict[str, Any]:
    """The columns of a story. The child and the hero stay in it as they were when it was asked for."""
    story, run = record.story, record.run
    generation, final = generation_of(story), states.is_final(story.state)
    return {
        "id": story.id,
        "revision": story.revision,
        "language_code": story.language_code,
        "length_minutes": story.length_minutes,
        "narrate": story.narrate,
        "title": story.title,
        "content": story.content,
        "content_complete": story.content_complete,
        **{name: getattr(story, name) or None for name in ("child_id", "hero_id", "parent_story_id")},
        "owner": record.owner,
        "state": to_name(common_pb2.StoryState.Name, story.state, STATE),
        "kind": to_name(common_pb2.StoryKind.Name, story.kind or common_pb2.STORY_KIND_CHILD, KIND),
        "child_name": story.child.name,
        "rating": story.rating if story.HasField("rating") else None,
        "embedded_parts": list(dict.fromkeys(story.embedded_parts)),
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


def to_item(checkpoint: storage_pb2.StoryCheckpoint) -> dict[str, Any]:
    """One item of `tales.checkpoint_stories`, with what the checkpoint brings and nothing else."""
    state, text, narration = checkpoint.state, checkpoint.text, checkpoint.narration
    brought: dict[str, Any] = {
        "state": common_pb2.StoryState.Name(state).removeprefix(STATE) if state else None,
        "title": checkpoint.title,
        "text": {"offset": text.offset, "text": text.text} if checkpoint.HasField("text") else None,
        "content_complete": checkpoint.content_complete,
        "generation": {"record": encoded(checkpoint.generation)} if checkpoint.HasField("generation") else None,
        "narration": {"audio_id": narration.audio_id, "header": encoded(narration)} if narration.audio_id else None,
        "segments": [
            {
                "index": segment.index,
                "key": to_text(segment.key),
                "sha256": to_base64(segment.sha256),
                "text_start": segment.text.start,
                "text_end": segment.text.end,
                "audio_start": segment.audio.start,
                "audio_end": segment.audio.end,
                "segment": encoded(segment),
            }
            for segment in checkpoint.segments
        ],
        "attempts": from_attempts(checkpoint.attempts),
        "problems": from_problems(checkpoint.problems),
        "embedded_parts": list(checkpoint.embedded_parts),
    }
    given = {name: value for name, value in brought.items() if value}
    return {"id": checkpoint.story_id, "lease_token": checkpoint.lease_token, **given}


def to_result(verdict: Mapping[str, Any]) -> storage_pb2.CheckpointResult:
    """How one item went."""
    result = storage_pb2.CheckpointResult(story_id=verdict["id"])
    if verdict.get("refused") is not None:
        now = Timestamp()
        now.GetCurrentTime()
        problem = common_pb2.Problem(reason=verdict["refused"], message=verdict["message"], time=now)
        result.error.CopyFrom(explained(problem))
    if verdict.get("lease_expires_at") is not None:
        result.lease_expire_time.CopyFrom(to_timestamp(verdict["lease_expires_at"]))
    return result


def from_positions(positions: Sequence[storage_pb2.StoryPosition]) -> list[dict[str, Any]]:
    """Returns positions for `tales.follow_stories`."""
    return [
        {
            **{name: getattr(position, name) for name in _POSITION},
            "state": to_name(common_pb2.StoryState.Name, position.state, STATE),
        }
        for position in positions
    ]


def to_answer(
    positions: Sequence[storage_pb2.StoryPosition], answer: Mapping[str, Any], *, max_bytes: int
) -> tuple[Sequence[storage_pb2.StoryChange], bool]:
    """Returns as many changes as fit into `max_bytes`, and whether there are more."""
    known = {position.story_id: position.text_length for position in positions}
    taken = Answer(max_bytes)
    for row in answer["changes"]:
        taken.add(_change(row, known[row["id"]]), to_segments(row.get("segments", ())))
    return taken.changes, taken.truncated or answer["more"]


def _change(row: Mapping[str, Any], text_length: int) -> storage_pb2.StoryChange:
    if "state" not in row:
        return storage_pb2.StoryChange(story_id=row["id"], deleted=True)
    change = storage_pb2.StoryChange(
        story_id=row["id"],
        state=to_state(row["state"]),
        leased=row["leased"],
        title=row.get("title", ""),
        content_complete=row.get("content_complete", False),
        problems=[common_pb2.Problem.FromString(from_base64(one)) for one in row.get("problems", ())],
    )
    if row.get("text"):
        change.text.offset, change.text.text = text_length, row["text"]
    if row.get("narration"):
        change.narration.ParseFromString(from_base64(row["narration"]))
    return change
