"""Script of the mock voice: the value of VOICE_MOCK_SCRIPT.

For example, a voice five times faster than speech that answers the third call with 429 once:

    {"first_byte_seconds": 0.4, "realtime_factor": 5,
     "faults": [{"call": 3, "kind": "rate", "retry_after": 2}]}
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from servicekit.resilience.errors import ProviderErrorKind


class StreamFault(Enum):
    """Ways in which a stream itself goes wrong."""

    TRUNCATE = "truncate"
    """It ends as if all were well, in the middle of a frame."""
    SHORT = "short"
    """It ends as if all were well, between two frames."""
    GARBAGE = "garbage"
    """It continues with bytes that are no frames."""
    STALL = "stall"
    """It stops without ending."""
    CUT = "cut"
    """It breaks off with a transport error."""


_KINDS: Final = {kind.value: kind for kinds in (ProviderErrorKind, StreamFault) for kind in kinds}


def _kind(value: object) -> object:
    if isinstance(value, str):
        if value.lower() not in _KINDS:
            raise ValueError(f"must be one of {', '.join(_KINDS)}")
        return _KINDS[value.lower()]
    return value


def _pattern(value: str | None) -> str | None:
    if value is not None:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
    return value


FaultKind = Annotated[
    ProviderErrorKind | StreamFault, BeforeValidator(_kind), PlainSerializer(lambda kind: kind.value, return_type=str)
]


class MockFault(BaseModel):
    """One fault and the calls that it applies to: those with a matching text, those from the `call`-th on, or all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind
    """A kind of ProviderError, which is raised; or truncate, short, garbage, stall or cut."""
    match: str | None = None
    """Applies to calls whose text contains this."""
    pattern: Annotated[str | None, AfterValidator(_pattern)] = None
    """Applies to calls whose text matches this regular expression anywhere."""
    call: int | None = Field(default=None, ge=1)
    """Applies from this call on, the first being 1."""
    times: int | None = Field(default=1, ge=1)
    """Number of calls that it applies to; null: all."""
    at: float = Field(default=0.4, ge=0, le=1)
    """Where a stream goes wrong, as a share of its bytes; 0 is before the first."""
    retry_after: float | None = Field(default=None, ge=0)
    """Seconds, given along with the error."""

    @model_validator(mode="after")
    def _one_selector(self) -> MockFault:
        if sum(selector is not None for selector in (self.match, self.pattern, self.call)) > 1:
            raise ValueError("give only one of match, pattern and call")
        return self


class MockScript(BaseModel):
    """How the mock voice behaves. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_byte_seconds: float = Field(default=0.0, ge=0, le=600)
    """Seconds before the first chunk, or before an error."""
    realtime_factor: float = Field(default=0.0, ge=0)
    """Seconds of audio that leave in a second; 0 is all at once."""
    chunk_bytes: int = Field(default=16_384, ge=1, le=1_048_576)
    """Size of a chunk."""
    configured: bool = True
    """False: the provider reports that it is not configured."""
    paid: bool = False
    """True: the provider counts as one that bills."""
    languages: tuple[str, ...] = Field(default=("en", "de", "es", "fr", "ru"), min_length=1)
    """Languages that it reports (BCP-47); it reads any."""
    probe_fault: ProviderErrorKind | None = None
    """Kind of error that probes of an open circuit get; null: they succeed."""
    faults: tuple[MockFault, ...] = ()
    """Faults; the first one that matches a call applies."""
