"""Checkpoints and positions in stories as the schema takes them, and what it answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from storage_service.checkpoints import MENDS
from storage_service.following import Answer
from storage_service.supabase.rows import STATE, from_attempts, from_problems, to_segments, to_state
from storage_service.supabase.wire import encoded, from_base64, to_base64, to_name, to_text, to_timestamp
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2


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
        reason = verdict["refused"]
        result.error.CopyFrom(
            common_pb2.Problem(reason=reason, message=verdict["message"], mend=MENDS[reason], time=now)
        )
    if verdict.get("lease_expires_at") is not None:
        result.lease_expire_time.CopyFrom(to_timestamp(verdict["lease_expires_at"]))
    return result


def from_positions(positions: Sequence[storage_pb2.StoryPosition]) -> list[dict[str, Any]]:
    """Returns positions for `tales.follow_stories`."""
    return [
        {
            "story_id": position.story_id,
            "lease_token": position.lease_token,
            "state": to_name(common_pb2.StoryState.Name, position.state, STATE),
            "text_length": position.text_length,
            "audio_id": position.audio_id,
            "segment_count": position.segment_count,
            "problem_count": position.problem_count,
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
