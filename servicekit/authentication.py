"""Finds for whom a call is made."""

import hmac
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from pydantic import SecretStr

from servicekit.context import LOCAL_OWNER, OWNER_KEY, PEER_KEY, Caller
from servicekit.errors import DomainError, FieldViolation, validation_failed
from servicekit.secrets import SecretSource

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
"""Invocation metadata: keys in lower case, possibly repeated; bytes under keys that end in "-bin"."""

OWNER: Final = re.compile(r"[A-Za-z0-9._:@|+=-]{1,128}")

_SHORTEST: Final = 16


class Authenticator(Protocol):
    """Finds for whom a call is made."""

    async def authenticate(self, method: str, metadata: Metadata) -> Caller:
        """Returns the caller of `method` ("/package.Service/Method").

        Raises DomainError (UNAUTHENTICATED) for one that is refused. Not called for health checks.
        """


class Anonymous:
    """Makes every caller the local owner, whatever its metadata: a gateway without authentication."""

    async def authenticate(self, method: str, metadata: Metadata) -> Caller:
        """Returns the owner "local"."""
        del method, metadata
        return Caller(operator=True, anonymous=True)


class ServiceToken:
    """The secret that the services of a cluster share; during a rotation there are two."""

    def __init__(self, value: SecretStr, file: Path | None = None, *, name: str = "SERVICE_TOKEN") -> None:
        """Takes the secret, or several with commas between, or their file; `name` is its variable.

        A file that does not exist is made with a new secret, the same for all that share the folder. Raises ValueError
        if there is no secret, or one that could be guessed.
        """
        if file is not None and not file.exists():
            _make(file, name)
        self._source = SecretSource(value, file, name=name)
        if not all(len(each) >= _SHORTEST and each.isascii() and each.isprintable() for each in self.values):
            raise ValueError(f"{name} must have at least {_SHORTEST} characters of ASCII, as must each in its file")

    def __str__(self) -> str:
        return self.values[0]

    def accepts(self, given: str) -> bool:
        """Returns whether `given` is one of them."""
        return any(hmac.compare_digest(given.encode(), each.encode()) for each in self.values)

    @property
    def values(self) -> list[str]:
        """The secrets that count now, the one to use first."""
        return [each.strip() for each in self._source.get().split(",")]


class TrustedCaller:
    """Takes the owner that the calling peer service names: an inner service, behind the gateway."""

    def __init__(self, token: ServiceToken | None = None) -> None:
        """With `token`, callers without it are refused."""
        self._token = token

    async def authenticate(self, method: str, metadata: Metadata) -> Caller:
        """Returns the owner `x-tale-owner`, or "local" without one.

        Raises UNAUTHENTICATED without the cluster's token, INVALID_ARGUMENT if that cannot be an owner's name.
        """
        del method
        given = dict(metadata)
        if self._token is not None:
            _check_token(self._token, given.get(PEER_KEY, ""))
        owner = given.get(OWNER_KEY, LOCAL_OWNER)
        if not isinstance(owner, str) or not OWNER.fullmatch(owner):
            raise validation_failed([FieldViolation(OWNER_KEY, "must be 1 to 128 characters of A-Za-z0-9._:@|+=-")])
        return Caller(owner)


def _make(file: Path, name: str) -> None:
    new = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    try:
        new.touch(mode=0o600)
        new.write_text(secrets.token_urlsafe(32))
        # Unlike a rename, a link leaves the file that another service has just made.
        with suppress(FileExistsError):
            os.link(new, file)
        new.unlink()
    except OSError as error:
        raise ValueError(f"{name}_FILE cannot be made ({error.strerror}): make it, or set another path") from None


def _check_token(token: ServiceToken, given: str | bytes) -> None:
    if not given:
        raise DomainError("TOKEN_MISSING", "This port is for the services of the cluster: callers use the gateway.")
    if not isinstance(given, str) or not token.accepts(given):
        raise DomainError("TOKEN_INVALID", "The services of the cluster have different values of SERVICE_TOKEN.")
