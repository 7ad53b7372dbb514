"""Pages of stories."""

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from storage_service.embedded.database import Transaction
from storage_service.embedded.rows import to_summary
from storage_service.embedded.searching import to_expression
from storage_service.records import Position
from tale.common.v1 import common_pb2

_COLUMNS: Final = """
s.id, s.state, s.title, s.kind, s.child_id, s.hero_id, s.child_name, s.language_code, s.length_minutes, s.rating,
s.create_time, s.update_time, s.revision, a.duration
"""
_LATEST: Final = (1 << 63) - 1


def list_stories(
    tx: Transaction, owner: str, chosen: common_pb2.StoryFilter, *, limit: int, after: Position | None
) -> Sequence[common_pb2.StorySummary]:
    """At most `limit` summaries, newest first, from the one behind `after` on."""
    terms, values = _conditions(chosen)
    if after is not None:
        terms.append("(s.create_time, s.id) < (?, ?)")
        values += [after.create_time, after.resource_id]
    where = " AND ".join(["s.owner = ?", *terms])
    if chosen.query:
        expression = to_expression(owner, chosen.query)
        return [] if expression is None else _search(tx, expression, where, (owner, *values), limit, after)
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM stories s LEFT JOIN story_audio a ON a.story_id = s.id"  # noqa: S608 - our own terms
        f" WHERE {where} ORDER BY s.create_time DESC, s.id DESC LIMIT ?",
        (owner, *values, limit),
    )
    return [to_summary(row) for row in rows]


def _search(
    tx: Transaction,
    expression: str,
    where: str,
    values: Sequence[str | int],
    limit: int,
    after: Position | None,
) -> Sequence[common_pb2.StorySummary]:
    """A page of what matches. The index gives it by time, and those of one moment in any order."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM story_search CROSS JOIN stories s ON s.search_id = story_search.rowid"  # noqa: S608
        " LEFT JOIN story_audio a ON a.story_id = s.id"
        f" WHERE story_search MATCH ? AND story_search.rowid <= ? AND {where} ORDER BY story_search.rowid DESC",
        (expression, _LATEST if after is None else last_search_id(after.create_time), *values),
    )
    found: list[Any] = []
    for row in rows:
        if len(found) >= limit and row["create_time"] != found[-1]["create_time"]:
            break
        found.append(row)
    rows.close()
    found.sort(key=lambda row: (row["create_time"], row["id"]), reverse=True)
    return [to_summary(row) for row in found[:limit]]


def last_search_id(create_time: int) -> int:
    """The last `search_id` that a story of that time can have."""
    return min(create_time * 1024 + 1023, _LATEST)


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
    if len(chosen.states) == 1:
        terms.append("s.state = ?")
    elif chosen.states:
        # The plus keeps it from an index that would not give them by time.
        terms.append(f"+s.state IN ({','.join('?' * len(chosen.states))})")
    if chosen.states:
        values += list(chosen.states)
    return terms, values


def _microseconds(time: Timestamp) -> int:
    # Kept times are whole microseconds: "at or after" and "before" hold for a bound between two of them when it is
    # rounded up.
    return time.seconds * 1_000_000 - (-time.nanos // 1_000)
