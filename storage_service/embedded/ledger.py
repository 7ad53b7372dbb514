"""The ledger of a story: its attempts and problems."""

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from storage_service.embedded.rows import timestamp
from storage_service.embedded.transactions import Transaction
from tale.common.v1 import common_pb2


def store_attempts(
    tx: Transaction, story_id: str, attempts: Iterable[common_pb2.Attempt], *, ended: int | None
) -> None:
    """Adds attempts, each in place of an earlier line of its id.

    Where the story `ended`, one that is still STARTED is stored as cancelled then.
    """
    end_time = None if ended is None else timestamp(ended)
    tx.executemany(
        "INSERT INTO story_attempts (story_id, attempt_id, attempt) VALUES (?, ?, ?)"
        " ON CONFLICT (story_id, attempt_id) DO UPDATE SET attempt = excluded.attempt",
        [(story_id, attempt.attempt_id, _ended(attempt, end_time).SerializeToString()) for attempt in attempts],
    )


def end_attempts(tx: Transaction, story_id: str) -> None:
    """Ends the attempts that are STARTED as cancelled."""
    rows = tx.execute("SELECT attempt FROM story_attempts WHERE story_id = ?", (story_id,)).fetchall()
    attempts = [common_pb2.Attempt.FromString(row["attempt"]) for row in rows]
    started = [attempt for attempt in attempts if attempt.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED]
    store_attempts(tx, story_id, started, ended=tx.now)


def store_problems(tx: Transaction, story_id: str, problems: Iterable[common_pb2.Problem]) -> None:
    """Adds problems that are not stored yet."""
    tx.executemany(
        "INSERT OR IGNORE INTO story_problems (story_id, problem) VALUES (?, ?)",
        [(story_id, problem.SerializeToString(deterministic=True)) for problem in problems],
    )


def _ended(attempt: common_pb2.Attempt, end_time: Timestamp | None) -> common_pb2.Attempt:
    if end_time is None or attempt.outcome != common_pb2.ATTEMPT_OUTCOME_STARTED:
        return attempt
    ended = common_pb2.Attempt()
    ended.CopyFrom(attempt)
    ended.outcome = common_pb2.ATTEMPT_OUTCOME_CANCELLED
    ended.end_time.CopyFrom(end_time)
    return ended
