"""Pages of stories."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from storage_service.embedded.rows import to_summary
from storage_service.errors import field_error
from storage_service.records import Position
from tale.common.v1 import common_pb2

_COLUMNS: Final = """
s.id, s.state, s.title, s.kind, s.child_id, s.hero_id, s.child_name, s.language_code, s.length_minutes, s.rating,
s.create_time, s.update_time, s.revision, a.duration
"""


def list_stories(
    connection: sqlite3.Connection, owner: str, chosen: common_pb2.StoryFilter, limit: int, after: Position | None
) -> Sequence[common_pb2.StorySummary]:
    """At most `limit` summaries, newest first, from the one behind `after` on."""
    if chosen.query:
        raise field_error("filter.query", "is not supported by the embedded store in this version yet")
    terms, values = _conditions(chosen)
    if after is not None:
        terms.append("(s.create_time, s.id) < (?, ?)")
        values += [after.create_time, after.resource_id]
    where = " AND ".join(["s.owner = ?", *terms])
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM stories s LEFT JOIN story_audio a ON a.story_id = s.id"  # noqa: S608 - our own terms
        f" WHERE {where} ORDER BY s.create_time DESC, s.id DESC LIMIT ?",
        (owner, *values, limit),
    )
    return [to_summary(row) for row in rows]


def _conditions(chosen: common_pb2.StoryFilter) -> tuple[list[str], list[str | int]]:
    asked: list[tuple[object, str, str | int]] = [
        (chosen.child_id, "s.child_id = ?", chosen.child_id),
        (chosen.hero_id, "s.hero_id = ?", chosen.hero_id),
        (chosen.child_name, "s.child_name = ?", chosen.child_name),
        (chosen.language_code, "s.language_code = ?", chosen.language_code),
        (chosen.kind, "s.kind = ?", chosen.kind),
        (chosen.HasField("min_rating"), "s.rating >= ?", chosen.min_rating),
        (chosen.HasField("max_rating"), "s.rating <= ?", chosen.max_rating),
        (chosen.HasField("created_after"), "s.create_time >= ?", _microseconds(chosen.created_after)),
        (chosen.HasField("created_before"), "s.create_time < ?", _microseconds(chosen.created_before)),
    ]
    terms = [term for given, term, _ in asked if given]
    values = [value for given, _, value in asked if given]
    if chosen.states:
        terms.append(f"s.state IN ({','.join('?' * len(chosen.states))})")
        values += list(chosen.states)
    return terms, values


def _microseconds(time: Timestamp) -> int:
    # Kept times are whole microseconds: "at or after" and "before" hold for a bound between two of them when it is
    # rounded up.
    return time.seconds * 1_000_000 - (-time.nanos // 1_000)
