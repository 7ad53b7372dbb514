"""Kinds of provider failures, the table of what to do about each, and how long a provider asks its callers to wait."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Final, final

from servicekit.reasons import reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping

# Numbers above these can only be times since 1970, in milliseconds or in seconds.
_EPOCH_MILLISECONDS: Final = 1e11
_EPOCH_SECONDS: Final = 1e9
_LONGEST_WAIT: Final = 86_400.0
_REFUSED: Final = 400
_NUMBER: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?")


@final
class ProviderErrorKind(Enum):
    """What went wrong in a call to a provider, by what can be done about it."""

    INVALID_INPUT = "invalid_input"
    """The provider refuses this text, voice or setting; the same call fails again."""
    UNSUPPORTED = "unsupported"
    """The provider cannot do this at all: a language, a voice, a format, or it does not know the model."""
    AUTH = "auth"
    """The key is missing, wrong or not allowed to do this, or the provider is not set up."""
    CONFIGURATION = "configuration"
    """A setting of this service is wrong, such as the address of the provider; `message` names the variable."""
    QUOTA = "quota"
    """Paid for no more: credits or characters are used up."""
    CONCURRENCY = "concurrency"
    """Too many calls at once: wait for one to end."""
    RATE = "rate"
    """Too many calls in a time: wait for `retry_after`."""
    OVERLOAD = "overload"
    """The provider is busy or failing on its own side, or its circuit is open."""
    TIMEOUT = "timeout"
    """No first byte, no next byte or no end within the time given."""
    TRANSPORT = "transport"
    """The connection or the process behind it broke, or said what cannot be read."""
    TRUNCATED = "truncated"
    """An answer came, but not a whole one."""
    CONTENT_POLICY = "content_policy"
    """A content filter refused the text."""
    CANCELLED = "cancelled"
    """Given up by the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What to do about a kind of failure.

    `reason` is what the caller sees when nothing else is left to try. `retry`: the same call to the same provider may
    well succeed a little later. `fail_over`: another provider or model may succeed where this one failed.
    `break_circuit`: speaks against the provider's health, so the breaker counts it. `cool_down`: a `retry_after` that
    comes with it is about the provider and not about the call, so the circuit stays open until then.
    """

    reason: str
    retry: bool = False
    fail_over: bool = False
    break_circuit: bool = False
    cool_down: bool = False


def _treatment(reason: str, *, fail_over: bool = True, cool_down: bool = False) -> Treatment:
    known = reason_of(reason)
    return Treatment(
        reason=reason,
        retry=known.retryable,
        fail_over=fail_over,
        break_circuit=known.breaks_circuit,
        cool_down=cool_down,
    )


TREATMENTS: Final[Mapping[ProviderErrorKind, Treatment]] = {
    ProviderErrorKind.INVALID_INPUT: _treatment("UPSTREAM_REFUSED"),
    ProviderErrorKind.UNSUPPORTED: _treatment("UPSTREAM_UNSUPPORTED"),
    ProviderErrorKind.AUTH: _treatment("UPSTREAM_AUTH"),
    ProviderErrorKind.CONFIGURATION: _treatment("INVALID_CONFIGURATION"),
    ProviderErrorKind.QUOTA: _treatment("QUOTA_EXCEEDED", cool_down=True),
    ProviderErrorKind.CONCURRENCY: _treatment("RATE_LIMITED"),
    ProviderErrorKind.RATE: _treatment("RATE_LIMITED", cool_down=True),
    ProviderErrorKind.OVERLOAD: _treatment("UPSTREAM_UNAVAILABLE", cool_down=True),
    ProviderErrorKind.TIMEOUT: _treatment("NETWORK_ERROR"),
    ProviderErrorKind.TRANSPORT: _treatment("NETWORK_ERROR"),
    ProviderErrorKind.TRUNCATED: _treatment("UPSTREAM_UNAVAILABLE"),
    ProviderErrorKind.CONTENT_POLICY: _treatment("CONTENT_REFUSED"),
    ProviderErrorKind.CANCELLED: _treatment("CANCELLED", fail_over=False),
}
"""Retry, failover, breaker, cooldown and the reason for the caller are read from here."""


OF_THE_PACE: Final = frozenset({ProviderErrorKind.RATE, ProviderErrorKind.CONCURRENCY})
"""The provider is well, and refuses a call because there are too many."""


class ProviderError(Exception):
    """A call to a provider failed.

    `message` may be shown to a caller: it never holds text of a story, a name, a key or a path. `said` is what the
    upstream said in words, shortened and cleaned of all that, "" for nothing. `retry_after` is the wait in seconds that
    the provider asked for, None where it named none. `status` is the upstream's HTTP status, 0 where there was none;
    `request_id` the upstream's id of the call. `billed` is False where the call cannot have cost anything: it was
    refused, or never reached the provider. `treatment` replaces that of the kind.
    """

    def __init__(
        self,
        kind: ProviderErrorKind,
        message: str,
        *,
        provider: str,
        retry_after: float | None = None,
        status: int = 0,
        request_id: str = "",
        said: str = "",
        billed: bool = True,
        treatment: Treatment | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.provider = provider
        # A wait that no clock holds would be no answer.
        given = retry_after is not None and not math.isnan(retry_after)
        self.retry_after = min(max(retry_after or 0.0, 0.0), _LONGEST_WAIT) if given else None
        self.status = status
        self.request_id = request_id
        self.said = said
        self.billed = billed and status < _REFUSED and kind not in OF_THE_PACE
        self._treatment = treatment

    @property
    def treatment(self) -> Treatment:
        """What to do about it."""
        return self._treatment or TREATMENTS[self.kind]

    @property
    def retryable(self) -> bool:
        """True where another try of the same call may succeed."""
        return self.treatment.retry

    @property
    def counts_for_breaker(self) -> bool:
        """True where it speaks against the provider's health."""
        return self.treatment.break_circuit

    def __str__(self) -> str:
        return f"{self.provider}: {self.message} ({self.kind.value})"


_PAUSES: Final = {
    ProviderErrorKind.QUOTA: "its quota is used up",
    ProviderErrorKind.RATE: "it asked for a pause, because of its rate limit",
}


class CircuitOpenError(ProviderError):
    """The breaker lets no call through; `retry_after` is the time in seconds until it may. No call was made.

    `cause` is the kind of the error that opened it, and `why` what that says, "" where it is not known. Where that was
    no failure but a used-up quota or a rate limit, it is the kind and the reason of this error too.
    """

    def __init__(
        self,
        name: str,
        *,
        provider: str,
        retry_after: float,
        cause: ProviderErrorKind = ProviderErrorKind.OVERLOAD,
        why: str = "",
    ) -> None:
        failed = TREATMENTS[cause].break_circuit
        super().__init__(
            ProviderErrorKind.OVERLOAD if failed else cause,
            _PAUSES.get(cause, f"its circuit breaker is open after repeated failures{f' ({why})' if why else ''}"),
            provider=provider,
            retry_after=retry_after,
            # No call was made, so nothing is counted; a retry would fail the same way.
            treatment=Treatment(reason="CIRCUIT_OPEN" if failed else TREATMENTS[cause].reason, fail_over=True),
        )
        self.name = name
        self.cause = cause


def wait_asked(headers: Mapping[str, str], now: datetime | None = None, *, rate_limited: bool = True) -> float | None:
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
    return None if wait is None else min(max(0.0, wait), _LONGEST_WAIT)


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
