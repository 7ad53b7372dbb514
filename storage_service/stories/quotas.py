"""The quotas of owners: what counts against them, and the error of one that is used up."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from servicekit.errors import DomainError
from tale.storage.v1 import storage_pb2

DAY: Final = 86_400_000_000
"""Microseconds of a day."""
CHARACTERS_PER_MINUTE: Final = 800
"""Characters that a minute of a story is expected to have, until they are narrated."""
DEFAULT_DAYS: Final = 30
MOST_ENTRIES: Final = 5_000
"""Entries that one answer about usage has, at most."""
_FREE_SOON: Final = 10.0
"""Seconds after which a story may have ended that fills a quota."""
_MEANING: Final = {
    "waiting": "stories that wait for a place in the whole cluster",
    "stories_at_once": "unfinished stories of a caller",
    "stories_per_day": "stories of a caller a day",
    "characters_per_day": "narrated characters of a caller a day",
    "usd_per_day": "US dollars of a caller a day",
}


class Used(NamedTuple):
    """What counts against a quota now; `expected` is what unfinished stories are going to add to the day."""

    waiting: int = 0
    unfinished: int = 0
    stories: int = 0
    characters: int = 0
    expected_characters: int = 0
    usd: float = 0.0
    expected_usd: float = 0.0


def check_quota(quota: storage_pb2.Quota, used: Used, now: int, *, creates: bool, narrates: bool) -> None:
    """Raises CALLER_QUOTA_EXCEEDED for the first bound that is reached.

    The last story of a day may go beyond it by what it adds itself: what it costs is not known before.
    """
    midnight = (DAY - now % DAY) / 1e6
    stories = used.stories if creates else 0
    characters, expected = (used.characters, used.expected_characters) if narrates else (0, 0)
    for name, limit, present, with_expected, seconds in (
        ("waiting", quota.max_waiting, used.waiting, used.waiting, None),
        ("stories_at_once", quota.max_unfinished, used.unfinished, used.unfinished, None),
        ("stories_per_day", quota.max_stories_per_day, stories, stories, midnight),
        ("characters_per_day", quota.max_characters_per_day, characters, characters + expected, midnight),
        ("usd_per_day", quota.max_usd_per_day, used.usd, used.usd + used.expected_usd, midnight),
    ):
        if limit and with_expected >= limit:
            raise over_quota(name, limit, with_expected, seconds if present >= limit else None)


def over_quota(name: str, limit: float, used: float, seconds: float | None) -> DomainError:
    """Returns RESOURCE_EXHAUSTED / CALLER_QUOTA_EXCEEDED; `seconds` until it is over, None where a story must end."""
    return DomainError(
        "CALLER_QUOTA_EXCEEDED",
        f"The quota is used up: {used:g} of {limit:g} {_MEANING.get(name, name)}.",
        metadata={"quota": name, "limit": f"{limit:g}", "used": f"{used:g}"},
        retry_after=_FREE_SOON if seconds is None else seconds,
    )


def date_of(day: int) -> str:
    """Returns a day since 1970 as YYYY-MM-DD."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()
