"""How a provider of speech fails, in one vocabulary for retry, failover and the answer to the caller."""

from __future__ import annotations

from enum import Enum
from typing import Final, final


@final
class ProviderErrorKind(Enum):
    """What went wrong between us and a provider, by what can be done about it."""

    INVALID_INPUT = "invalid_input"
    """The provider refuses this text, voice or setting; the same call fails again."""
    UNSUPPORTED = "unsupported"
    """The provider cannot do this at all: a language, a voice, a format."""
    AUTH = "auth"
    """The key is missing, wrong or not allowed to do this, or the provider is not set up."""
    QUOTA = "quota"
    """Paid for no more: credits or characters are used up."""
    CONCURRENCY = "concurrency"
    """Too many calls at once: wait for one to end."""
    RATE = "rate"
    """Too many calls in a time: wait for `retry_after`."""
    OVERLOAD = "overload"
    """The provider is busy or failing on its own side."""
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


RETRYABLE: Final = frozenset(
    {
        ProviderErrorKind.CONCURRENCY,
        ProviderErrorKind.RATE,
        ProviderErrorKind.OVERLOAD,
        ProviderErrorKind.TIMEOUT,
        ProviderErrorKind.TRANSPORT,
        ProviderErrorKind.TRUNCATED,
    }
)
"""Kinds where the same call to the same provider may well succeed a little later."""


class ProviderError(Exception):
    """A provider did not do what was asked.

    `message` may be shown to a caller: it never holds text of a story, a key or a path.
    `retry_after` is the wait in seconds that the provider asked for, None where it named none.
    """

    def __init__(
        self, kind: ProviderErrorKind, message: str, *, provider: str, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.provider = provider
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """True where another try of the same call may succeed."""
        return self.kind in RETRYABLE

    def __str__(self) -> str:
        return f"{self.provider}: {self.message} ({self.kind.value})"
