"""Positions in stories as the schema takes them, and what is new behind them."""

from collections.abc import Mapping, Sequence
from typing import Any

from storage_service.following import Answer
from storage_service.supabase.rows import STATE, to_segments, to_state
from storage_service.supabase.wire import from_base64, to_name
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2


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
