"""Who calls the gateway: API keys, or tokens of an identity provider."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import jwt
import structlog

from gateway.door.keys import KeyFile
from gateway.settings import ASYMMETRIC, SYMMETRIC, GatewaySettings
from servicekit.authentication import OWNER, Anonymous, Authenticator, Metadata
from servicekit.context import Caller
from servicekit.errors import DomainError, unavailable
from servicekit.secrets import SecretSource
from servicekit.waiting import Finisher

_log: Final = structlog.stdlib.get_logger(__name__)

_SCHEME: Final = "bearer"
_LEEWAY_SECONDS: Final = 10.0
_REFRESH_SECONDS: Final = 600.0
_PAUSE_SECONDS: Final = 30.0
"""Shortest time between two reads of the keys: a key id that is not there could be made up."""
_FAILED_SECONDS: Final = 2.0
"""Shortest time between a read that failed and the next one."""
_FETCH_SECONDS: Final = 5.0
_MAX_BYTES: Final = 1 << 20

Fetch = Callable[[str], Awaitable[Mapping[str, Any]]]


class ApiKeys:
    """Takes the API keys of a file."""

    def __init__(self, keys: KeyFile) -> None:
        self._keys = keys

    async def authenticate(self, method: str, metadata: Metadata) -> Caller:
        """Returns the caller whose key is in `authorization`; TOKEN_MISSING or TOKEN_INVALID."""
        del method
        key = self._keys.find(_bearer(metadata))
        if key is None:
            raise DomainError("TOKEN_INVALID", "The API key is unknown, revoked or expired.")
        return key.caller


class KeySet:
    """The public keys of an identity provider (RFC 7517), read again when they are old or a key is not among them."""

    def __init__(self, url: str, *, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._fetch = fetch or _fetched
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] | None = None
        self._stale_at = self._next_at = float("-inf")
        self._reads = Finisher()
        self._reading: asyncio.Task[None] | None = None

    async def key(self, identity: str) -> jwt.PyJWK | None:
        """Returns the key with that `kid`, or None. Raises UNAVAILABLE if the keys were never read.

        A read ends also when the caller that began it has left, and is waited for by those alone whose key is unknown.
        """
        known = (self._keys or {}).get(identity)
        if (known is None or self._clock() > self._stale_at) and self._clock() >= self._next_at:
            self._next_at = self._clock() + _PAUSE_SECONDS
            self._reading = self._reads.start(self._read())
        if known is None and self._reading is not None:
            await asyncio.shield(self._reading)
        if self._keys is None:
            raise unavailable("UPSTREAM_UNAVAILABLE", "The keys of the identity provider cannot be read.")
        return self._keys.get(identity)

    async def _read(self) -> None:
        try:
            found = jwt.PyJWKSet.from_dict(dict(await self._fetch(self._url)))
            keys = {str(key.key_id): key for key in found.keys if key.key_id}
            if not keys:
                raise ValueError("no key has a kid")  # noqa: TRY301 - one place reports all that is wrong
        except Exception as error:  # noqa: BLE001 - whatever the provider answers, the last good keys stay
            _log.warning("identity provider keys not read", error=type(error).__name__)
            self._next_at = self._clock() + _FAILED_SECONDS
            return
        self._keys = keys
        self._stale_at = self._clock() + _REFRESH_SECONDS


class Tokens:
    """Takes JSON Web Tokens of one issuer for one audience, signed with one of the given algorithms.

    The owner is the subject. `tale_role` ("operator") and `tale_children` (a list of ids) are read from the token or
    from its `app_metadata`, which Supabase lets no user change.
    """

    def __init__(
        self,
        *,
        algorithms: Sequence[str],
        audience: str,
        issuer: str = "",
        secret: SecretSource | None = None,
        keys: KeySet | None = None,
    ) -> None:
        self._algorithms = list(algorithms)
        self._audience = audience
        self._issuer = issuer or None
        self._secret = secret
        self._keys = keys

    async def authenticate(self, method: str, metadata: Metadata) -> Caller:
        """Returns the caller whose token is in `authorization`; TOKEN_MISSING or TOKEN_INVALID."""
        del method
        token = _bearer(metadata)
        try:
            claims = jwt.decode(
                token,
                await self._key(jwt.get_unverified_header(token)),
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "sub", "aud", *(["iss"] if self._issuer else [])]},
            )
        except jwt.ExpiredSignatureError:
            raise DomainError("TOKEN_INVALID", "The token has expired.") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise DomainError("TOKEN_INVALID", "The token is not one that the gateway accepts.") from None
        return _caller(claims)

    async def _key(self, header: Mapping[str, Any]) -> Any:
        if self._keys is None:
            return self._secret.get() if self._secret is not None else ""
        key = await self._keys.key(str(header.get("kid", "")))
        if key is None:
            raise jwt.InvalidKeyError("unknown key")
        return key


def authenticator_for(settings: GatewaySettings) -> Authenticator:
    """Returns what GATEWAY_AUTH names."""
    match settings.auth:
        case "api_key":
            return ApiKeys(KeyFile(settings.api_keys_file))
        case "jwt":
            secret = SecretSource(settings.jwt_secret, settings.jwt_secret_file, name="GATEWAY_JWT_SECRET")
            return Tokens(
                algorithms=settings.jwt_algorithms or (ASYMMETRIC if settings.jwt_jwks_url else SYMMETRIC),
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer,
                secret=secret,
                keys=KeySet(settings.jwt_jwks_url) if settings.jwt_jwks_url else None,
            )
        case _:
            return Anonymous()


def _caller(claims: Mapping[str, Any]) -> Caller:
    managed = claims.get("app_metadata")
    said = {**(managed if isinstance(managed, dict) else {}), **claims}
    owner, children = str(claims["sub"]), said.get("tale_children")
    if not OWNER.fullmatch(owner) or not (children is None or isinstance(children, list)):
        raise DomainError("TOKEN_INVALID", "The token's subject or children cannot be used.")
    # Stories without a child have an empty id.
    bound = None if children is None else frozenset(map(str, children)) - {""}
    return Caller(owner, operator=said.get("tale_role") == "operator", children=bound, credential="jwt")


def _bearer(metadata: Metadata) -> str:
    given = [value for key, value in metadata if key == "authorization"]
    scheme, _, token = (str(given[0]) if len(given) == 1 else "").partition(" ")
    if scheme.casefold() != _SCHEME or not token.strip():
        raise DomainError("TOKEN_MISSING", "The metadata `authorization` must be `Bearer` and a token.")
    return token.strip()


async def _fetched(url: str) -> Mapping[str, Any]:
    timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
        # A redirect could lead to an address without TLS.
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != HTTPStatus.OK:
            raise ValueError("no answer with keys")
        found = bytearray()
        async for piece in response.content.iter_any():
            found += piece
            if len(found) > _MAX_BYTES:
                raise ValueError("too many bytes of keys")
    return dict(json.loads(found))
