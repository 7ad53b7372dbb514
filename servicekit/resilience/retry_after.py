"""Reads from HTTP headers how long a provider asks its callers to wait."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Numbers above these can only be times since 1970, in milliseconds or in seconds.
_EPOCH_MILLISECONDS: Final = 1e11
_EPOCH_SECONDS: Final = 1e9
_LONGEST: Final = 86_400.0
_NUMBER: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?")


def parse(headers: Mapping[str, str], now: datetime | None = None, *, rate_limited: bool = True) -> float | None:
    """Seconds to wait, from `now` (UTC; by default the present time) on; None where the headers do not say.

    Retry-After counts first, as seconds or as an HTTP date (RFC 9110, 10.2.3); without it X-RateLimit-Reset, which
    providers send as seconds to wait, as seconds since 1970 or, like OpenRouter, as milliseconds since 1970. A time
    that has passed is 0, one beyond a day is a day; what cannot be read counts as absent. Where the answer is not
    `rate_limited`, X-RateLimit-Reset is no wait: many send it with every answer.
    """
    said = {name.lower(): value.strip() for name, value in headers.items()}
    moment = now or datetime.now(UTC)
    wait = _retry_after(said.get("retry-after", ""), moment)
    if wait is None and rate_limited:
        wait = _rate_limit_reset(said.get("x-ratelimit-reset", ""), moment)
    return None if wait is None else min(max(0.0, wait), _LONGEST)


def _retry_after(value: str, now: datetime) -> float | None:
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()


def _rate_limit_reset(value: str, now: datetime) -> float | None:
    number = _number(value)
    if number is None or number < _EPOCH_SECONDS:
        return number
    seconds = number / 1000 if number >= _EPOCH_MILLISECONDS else number
    return seconds - now.timestamp()


def _number(value: str) -> float | None:
    """As HTTP writes numbers: Python would take "1_000", "1e300" and digits of other scripts too."""
    return float(value) if _NUMBER.fullmatch(value) else None
