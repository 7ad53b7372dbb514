"""Where authentication and TLS plug in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import grpc

from servicekit.context import LOCAL_OWNER, OWNER_KEY
from servicekit.errors import FieldViolation, validation_failed

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
"""Invocation metadata: keys in lower case, possibly repeated; bytes under keys that end in "-bin"."""

_OWNER: Final = re.compile(r"[A-Za-z0-9._:@|+=-]{1,128}")


class Authenticator(Protocol):
    """Says for whom a call is made."""

    async def authenticate(self, method: str, metadata: Metadata) -> str:
        """The owner of what the call to `method` ("/package.Service/Method") makes or reads.

        Raises DomainError (UNAUTHENTICATED) for a caller that is not let in. Not asked about health checks.
        """


class Anonymous:
    """Everybody is the one local owner, whatever they say: a gateway without authentication."""

    async def authenticate(self, method: str, metadata: Metadata) -> str:
        """Always "local"."""
        del method, metadata
        return LOCAL_OWNER


class TrustedCaller:
    """Takes the owner that the calling sibling names: an inner service, behind the gateway."""

    async def authenticate(self, method: str, metadata: Metadata) -> str:
        """`x-tale-owner`, or "local" without one; INVALID_ARGUMENT when it can be no owner's name."""
        del method
        for key, value in metadata:
            if key == OWNER_KEY:
                if isinstance(value, str) and _OWNER.fullmatch(value):
                    return value
                raise validation_failed([FieldViolation(OWNER_KEY, "must be 1 to 128 characters of A-Za-z0-9._:@|+=-")])
        return LOCAL_OWNER


@dataclass(frozen=True, slots=True)
class Security:
    """How a server lets callers in. Without `credentials` it speaks plain text."""

    authenticator: Authenticator = field(default_factory=TrustedCaller)
    credentials: grpc.ServerCredentials | None = None
