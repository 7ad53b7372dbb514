"""What a list is about, as the schema takes it."""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from storage_service.records import Position
from storage_service.supabase.rows import KIND, STATE
from storage_service.supabase.wire import to_time_text
from tale.common.v1 import common_pb2


def from_filter(chosen: common_pb2.StoryFilter) -> dict[str, Any]:
    """What is set in a filter."""
    given: dict[str, Any] = {
        "child_id": chosen.child_id,
        "hero_id": chosen.hero_id,
        "child_name": chosen.child_name,
        "language_code": chosen.language_code,
        "kind": common_pb2.StoryKind.Name(chosen.kind).removeprefix(KIND) if chosen.kind else "",
        "states": [common_pb2.StoryState.Name(state).removeprefix(STATE) for state in chosen.states],
        "min_rating": chosen.min_rating,
        "max_rating": chosen.max_rating,
        "created_from": _rounded_up(chosen.created_after) if chosen.HasField("created_after") else "",
        "created_before": _rounded_up(chosen.created_before) if chosen.HasField("created_before") else "",
        "query": chosen.query,
    }
    return {name: value for name, value in given.items() if value}


def from_position(after: Position | None) -> dict[str, str] | None:
    """Where a list goes on."""
    return None if after is None else {"created_at": to_time_text(after.create_time), "id": after.resource_id}


def _rounded_up(time: Timestamp) -> str:
    # Stored times are whole microseconds: "at or after" and "before" hold for a bound between two of them when it is
    # rounded up.
    return to_time_text(time.seconds * 1_000_000 - (-time.nanos // 1_000))
