"""Finds for whom a call is made."""

import re
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

from servicekit.context import LOCAL_OWNER, OWNER_KEY
from servicekit.errors import FieldViolation, validation_failed

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
"""Invocation metadata: keys in lower case, possibly repeated; bytes under keys that end in "-bin"."""

_OWNER: Final = re.compile(r"[A-Za-z0-9._:@|+=-]{1,128}")


class Authenticator(Protocol):
    """Finds the owner for whom a call is made."""

    async def authenticate(self, method: str, metadata: Metadata) -> str:
        """Returns the owner of what the call to `method` ("/package.Service/Method") makes or reads.

        Raises DomainError (UNAUTHENTICATED) for a caller that is refused. Not called for health checks.
        """


class Anonymous:
    """Makes every caller the local owner, whatever its metadata: a gateway without authentication."""

    async def authenticate(self, method: str, metadata: Metadata) -> str:
        """Returns "local"."""
        del method, metadata
        return LOCAL_OWNER


class TrustedCaller:
    """Takes the owner that the calling peer service names: an inner service, behind the gateway."""

    async def authenticate(self, method: str, metadata: Metadata) -> str:
        """Returns `x-tale-owner`, or "local" without one; INVALID_ARGUMENT if it cannot be an owner's name."""
        del method
        for key, value in metadata:
            if key == OWNER_KEY:
                if isinstance(value, str) and _OWNER.fullmatch(value):
                    return value
                raise validation_failed([FieldViolation(OWNER_KEY, "must be 1 to 128 characters of A-Za-z0-9._:@|+=-")])
        return LOCAL_OWNER
