"""Counts what owners use by day, and refuses what is beyond their quotas."""

from collections.abc import Collection, Sequence
from typing import Final

from storage_service.embedded.database import Transaction
from storage_service.stories.quotas import CHARACTERS_PER_MINUTE, DAY, MOST_ENTRIES, Used, check_quota, date_of
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_CALLS: Final = frozenset({common_pb2.ATTEMPT_KIND_MODEL_CALL, common_pb2.ATTEMPT_KIND_SPEECH_CALL})
"""Kinds that are counted: other attempts have the sums of their calls."""

_ADD: Final = """
INSERT INTO usage VALUES (:owner, :day, :kind, :provider, :model, :calls, :characters, :prompt, :completion, :usd)
ON CONFLICT DO UPDATE SET
    calls = calls + excluded.calls, characters = characters + excluded.characters,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens, cost_usd = cost_usd + excluded.cost_usd
"""

_TODAY: Final = """
SELECT coalesce(sum(calls) FILTER (WHERE kind = 0), 0), coalesce(sum(characters) FILTER (WHERE kind = :speech), 0),
    coalesce(sum(cost_usd), 0)
FROM usage WHERE owner = :owner AND day = :day
"""

_UNFINISHED: Final = """
SELECT count(*), coalesce(sum(length_minutes), 0),
    coalesce(sum(max(0, length_minutes * :characters - text_end)) FILTER (WHERE narrate), 0)
FROM stories WHERE owner = :owner AND state IN (1, 2, 3)
"""

_WAITING: Final = """
SELECT count(*) FROM (SELECT 1 FROM stories WHERE state IN (1, 2, 3) AND lease_expire_time IS NULL LIMIT :most)
"""


def refuse_beyond(
    tx: Transaction,
    owner: str,
    quota: storage_pb2.Quota | None,
    *,
    waits: bool,
    creates: bool = False,
    narrates: bool = True,
) -> None:
    """Raises CALLER_QUOTA_EXCEEDED where a new or continued story would be beyond the quota."""
    if quota is None:
        return
    used = Used()
    if waits and quota.max_waiting:
        (waiting,) = tx.execute(_WAITING, {"most": quota.max_waiting}).fetchone()
        used = used._replace(waiting=waiting)
    expected_of_a_day = quota.max_characters_per_day or quota.max_usd_per_day
    if expected_of_a_day or quota.max_stories_per_day:
        given = {"owner": owner, "day": tx.now // DAY, "speech": common_pb2.ATTEMPT_KIND_SPEECH_CALL}
        stories, characters, usd = tx.execute(_TODAY, given).fetchone()
        used = used._replace(stories=stories, characters=characters, usd=usd)
    if expected_of_a_day or quota.max_unfinished:
        given = {"owner": owner, "characters": CHARACTERS_PER_MINUTE}
        unfinished, minutes, expected = tx.execute(_UNFINISHED, given).fetchone()
        usd = minutes * quota.usd_per_minute
        used = used._replace(unfinished=unfinished, expected_characters=expected, expected_usd=usd)
    check_quota(quota, used, tx.now, creates=creates, narrates=narrates)


def count_story(tx: Transaction, owner: str) -> None:
    """Counts a story that was requested."""
    _add(tx, owner, common_pb2.Attempt(outcome=common_pb2.ATTEMPT_OUTCOME_SUCCEEDED), 1)


def count_attempts(
    tx: Transaction, story_id: str, attempts: Collection[common_pb2.Attempt], before: Collection[common_pb2.Attempt]
) -> None:
    """Counts attempts that have ended, less what was counted of their earlier lines `before`."""
    (owner,) = tx.execute("SELECT owner FROM stories WHERE id = ?", (story_id,)).fetchone()
    for lines, sign in ((before, -1), (attempts, 1)):
        for line in lines:
            if line.kind in _CALLS:
                _add(tx, owner, line, sign)


def load_usage(tx: Transaction, owner: str | None, days: int) -> Sequence[common_pb2.UsageEntry]:
    """Returns what `owner`, or None: every owner, used on each of the last `days`, newest first."""
    mine = "" if owner is None else " AND owner = :owner"
    rows = tx.execute(
        f"SELECT * FROM usage WHERE day > :before{mine} ORDER BY day DESC, owner, kind, provider, model LIMIT :most",  # noqa: S608
        {"before": tx.now // DAY - days, "owner": owner, "most": MOST_ENTRIES},
    )
    return [
        common_pb2.UsageEntry(
            date=date_of(row["day"]),
            stories=0 if row["kind"] else row["calls"],
            calls=row["calls"] if row["kind"] else 0,
            **{name: row[name] for name in row.keys() if name not in {"day", "calls"}},  # noqa: SIM118 - of a Row
        )
        for row in rows
        if row["calls"]
    ]


def _add(tx: Transaction, owner: str, line: common_pb2.Attempt, sign: int) -> None:
    if line.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED:
        return
    tx.execute(
        _ADD,
        {
            "owner": owner,
            "day": tx.now // DAY,
            "kind": line.kind,
            "provider": line.provider,
            "model": line.model,
            "calls": sign,
            "characters": sign * line.characters,
            "prompt": sign * line.prompt_tokens,
            "completion": sign * line.completion_tokens,
            "usd": sign * line.cost_usd,
        },
    )
