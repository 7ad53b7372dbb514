"""How an upstream provider fails: one vocabulary, and one table of what to do about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, final

import grpc

from servicekit.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Mapping


@final
class ProviderErrorKind(Enum):
    """What went wrong between us and a provider, by what can be done about it."""

    INVALID_INPUT = "invalid_input"
    """The provider refuses this text, voice or setting; the same call fails again."""
    UNSUPPORTED = "unsupported"
    """The provider cannot do this at all: a language, a voice, a format, or it does not know the model."""
    AUTH = "auth"
    """The key is missing, wrong or not allowed to do this, or the provider is not set up."""
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
    """Given up by our own side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What to do about a kind of failure.

    `retry`: the same call to the same provider may well succeed a little later. `fail_over`: another provider or model
    may succeed where this one failed. `break_circuit`: speaks against the provider's health, so the breaker counts it.
    `cool_down`: a `retry_after` that comes with it is about the provider and not about the call, so the circuit stays
    open until then. `code` and `reason` are what the caller sees when nothing else is left to try.
    """

    retry: bool
    fail_over: bool
    break_circuit: bool
    cool_down: bool
    code: grpc.StatusCode
    reason: str


def _treatment(marks: str, code: grpc.StatusCode, reason: str) -> Treatment:
    return Treatment(
        retry="r" in marks,
        fail_over="f" in marks,
        break_circuit="b" in marks,
        cool_down="c" in marks,
        code=code,
        reason=reason,
    )


TREATMENTS: Final[Mapping[ProviderErrorKind, Treatment]] = {
    ProviderErrorKind.INVALID_INPUT: _treatment("f", grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_REFUSED"),
    ProviderErrorKind.UNSUPPORTED: _treatment("f", grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_UNSUPPORTED"),
    ProviderErrorKind.AUTH: _treatment("f", grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_AUTH"),
    ProviderErrorKind.QUOTA: _treatment("fc", grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
    ProviderErrorKind.CONCURRENCY: _treatment("rf", grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
    ProviderErrorKind.RATE: _treatment("rfc", grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
    ProviderErrorKind.OVERLOAD: _treatment("rfbc", grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    ProviderErrorKind.TIMEOUT: _treatment("rfb", grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR"),
    ProviderErrorKind.TRANSPORT: _treatment("rfb", grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR"),
    ProviderErrorKind.TRUNCATED: _treatment("rfb", grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    ProviderErrorKind.CONTENT_POLICY: _treatment("f", grpc.StatusCode.FAILED_PRECONDITION, "CONTENT_REFUSED"),
    ProviderErrorKind.CANCELLED: _treatment("", grpc.StatusCode.CANCELLED, "CANCELLED"),
}
"""The one table that retry, failover, breaker, cooldown and the answer to the caller are read from."""

_RETRY_SECONDS: Final = 5.0
_LONGEST_WAIT: Final = 86_400.0
_HINTED: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})


class ProviderError(Exception):
    """A provider did not do what was asked.

    `message` may be shown to a caller: it never holds text of a story, a name, a key or a path, nor what an upstream
    said in words. `retry_after` is the wait in seconds that the provider asked for, None where it named none.
    `status` is the upstream's HTTP status, 0 where there was none; `request_id` the upstream's id of the call.
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
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.provider = provider
        # A wait that no clock holds would be no answer to anybody.
        told = retry_after is not None and not math.isnan(retry_after)
        self.retry_after = min(max(retry_after or 0.0, 0.0), _LONGEST_WAIT) if told else None
        self.status = status
        self.request_id = request_id

    @property
    def treatment(self) -> Treatment:
        """What to do about it."""
        return TREATMENTS[self.kind]

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


class CircuitOpenError(ProviderError):
    """The breaker lets no call through; `retry_after` is the time in seconds until it may. No call was made.

    `resting`: the provider did not fail, it asked to be left alone until then.
    """

    def __init__(self, name: str, *, provider: str, retry_after: float, resting: bool = False) -> None:
        super().__init__(
            ProviderErrorKind.OVERLOAD,
            "it asked to be left alone for now" if resting else "it failed too often and is not asked for now",
            provider=provider,
            retry_after=retry_after,
        )
        self.name = name
        self.resting = resting

    @property
    def treatment(self) -> Treatment:
        """Not to be counted: nobody was called. Waiting for it is what retry is not for."""
        return Treatment(
            retry=False,
            fail_over=True,
            break_circuit=False,
            cool_down=False,
            code=grpc.StatusCode.UNAVAILABLE,
            reason="CIRCUIT_OPEN",
        )


def to_domain_error(error: ProviderError) -> DomainError:
    """`error` as the caller of a service sees it when nothing else is left to try."""
    treatment = error.treatment
    hinted = treatment.code in _HINTED
    return DomainError(
        treatment.code,
        treatment.reason,
        f"{error.provider}: {error.message}.",
        metadata={"provider": error.provider, "kind": error.kind.value},
        retry_after=(_RETRY_SECONDS if error.retry_after is None else error.retry_after) if hinted else None,
    )
