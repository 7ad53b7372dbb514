"""The ledger of a story: its attempts."""

import sqlite3
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from storage_service.embedded.rows import timestamp
from tale.common.v1 import common_pb2


def store_attempts(
    connection: sqlite3.Connection, story_id: str, attempts: Iterable[common_pb2.Attempt], *, ended: int | None
) -> None:
    """Adds attempts, each in place of an earlier line of its id.

    Where the story `ended`, one that is still STARTED is stored as cancelled then.
    """
    end_time = None if ended is None else timestamp(ended)
    connection.executemany(
        "INSERT INTO story_attempts (story_id, attempt_id, attempt) VALUES (?, ?, ?)"
        " ON CONFLICT (story_id, attempt_id) DO UPDATE SET attempt = excluded.attempt",
        [(story_id, attempt.attempt_id, _ended(attempt, end_time).SerializeToString()) for attempt in attempts],
    )


def end_attempts(connection: sqlite3.Connection, story_id: str, now: int) -> None:
    """Ends the attempts that are STARTED as cancelled."""
    rows = connection.execute("SELECT attempt FROM story_attempts WHERE story_id = ?", (story_id,)).fetchall()
    attempts = [common_pb2.Attempt.FromString(row["attempt"]) for row in rows]
    started = [attempt for attempt in attempts if attempt.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED]
    store_attempts(connection, story_id, started, ended=now)


def _ended(attempt: common_pb2.Attempt, end_time: Timestamp | None) -> common_pb2.Attempt:
    if end_time is None or attempt.outcome != common_pb2.ATTEMPT_OUTCOME_STARTED:
        return attempt
    ended = common_pb2.Attempt()
    ended.CopyFrom(attempt)
    ended.outcome = common_pb2.ATTEMPT_OUTCOME_CANCELLED
    ended.end_time.CopyFrom(end_time)
    return ended
