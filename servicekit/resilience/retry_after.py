"""When a provider wants to be asked again, as its HTTP headers say."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Numbers above these can only be times since 1970, in milliseconds or in seconds.
_EPOCH_MILLISECONDS: Final = 1e11
_EPOCH_SECONDS: Final = 1e9


def parse(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait, from `now` (UTC; by default the present time) on; None where the headers do not say.

    Retry-After counts first, as seconds or as an HTTP date (RFC 9110, 10.2.3); without it X-RateLimit-Reset, which
    providers send as seconds to wait, as seconds since 1970 or, like OpenRouter, as milliseconds since 1970. A time
    that has passed is 0; what can not be read counts as absent.
    """
    said = {name.lower(): value.strip() for name, value in headers.items()}
    moment = now or datetime.now(UTC)
    wait = _retry_after(said.get("retry-after", ""), moment)
    return _rate_limit_reset(said.get("x-ratelimit-reset", ""), moment) if wait is None else wait


def _retry_after(value: str, now: datetime) -> float | None:
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds())


def _rate_limit_reset(value: str, now: datetime) -> float | None:
    number = _number(value)
    if number is None or number < _EPOCH_SECONDS:
        return number
    seconds = number / 1000 if number >= _EPOCH_MILLISECONDS else number
    return max(0.0, seconds - now.timestamp())


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
