"""Signs links to files and feeds, which work without a key, and finds for whom a request by link is made."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import jwt
from pydantic import SecretStr

from gateway.settings import GatewaySettings
from servicekit.authentication import OWNER, Authenticator, Metadata, ServiceToken
from servicekit.context import Caller
from servicekit.errors import DomainError

FEED: Final = "FEED"
"""The kind of a link to a feed; that of a file is the name of its DownloadFormat without the prefix."""

_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "tale-link"
_KEY: Final = "x-tale-link"


class ExpiredLinkError(Exception):
    """The link was valid once."""


class InvalidLinkError(Exception):
    """The gateway did not sign the link, or signed it with a secret that it has no longer."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link gives to all that have it."""

    owner: str
    """Owner of the story or child."""
    kind: str
    """FEED, AUDIO, TEXT, EPUB or READ_ALONG."""
    subject: str
    """Id of the story; of the child for a feed."""
    expires: int | None = None
    """Seconds of the epoch; None: never."""


class Links:
    """Signs and reads links. The same link always has the same token, so that what contains it does not change."""

    def __init__(self, secret: ServiceToken, url: Callable[[], str]) -> None:
        """`url` returns that of the page, empty while there is none."""
        self._secret = secret
        self._url = url

    @property
    def possible(self) -> bool:
        """Whether something answers links."""
        return bool(self._url())

    def url(self, link: Link, name: str) -> str:
        """Returns the URL of a link; PAGE_OFF while nothing would answer it. `name` is that of the file."""
        base = self._url()
        if not base:
            raise DomainError("PAGE_OFF", "The gateway has no HTTP port, so there are no links.")
        claims: dict[str, Any] = {"aud": _AUDIENCE, "sub": link.owner, "kind": link.kind, "id": link.subject}
        if link.expires is not None:
            claims["exp"] = link.expires
        token = jwt.encode(claims, self._keys()[0], algorithm=_ALGORITHM)
        return f"{base}/feed/{token}.xml" if link.kind == FEED else f"{base}/media/{token}/{quote(name, safe='')}"

    def read(self, token: str) -> Link:
        """Returns what a token gives; raises InvalidLinkError or ExpiredLinkError."""
        for key in self._keys():
            try:
                claims: Mapping[str, Any] = jwt.decode(token, key, algorithms=[_ALGORITHM], audience=_AUDIENCE)
            except jwt.ExpiredSignatureError:
                raise ExpiredLinkError from None
            except (jwt.PyJWTError, ValueError, RecursionError):
                continue
            return Link(str(claims["sub"]), str(claims["kind"]), str(claims["id"]), claims.get("exp"))
        raise InvalidLinkError

    def _keys(self) -> list[bytes]:
        # Derived, since the secret of the cluster must not be guessed from what callers get.
        return [hmac.digest(each.encode(), _AUDIENCE.encode(), hashlib.sha256) for each in self._secret.values]


class LinkAuthenticator:
    """Takes what the gateway itself calls for the owner of a link; all others go to `others`."""

    def __init__(self, others: Authenticator) -> None:
        self._others = others
        self._secret = secrets.token_urlsafe(32)

    def metadata(self, link: Link) -> Metadata:
        """Returns the metadata with which a call is made for the owner of a link, and of a feed for its child alone."""
        return ((_KEY, f"{self._secret} {link.owner} {link.subject if link.kind == FEED else ''}"),)

    async def authenticate(self, method: str, metadata: Metadata) -> Caller:
        """Returns the caller."""
        given = next((value for key, value in metadata if key == _KEY and isinstance(value, str)), "")
        secret, _, rest = given.partition(" ")
        owner, _, child = rest.partition(" ")
        if secret and hmac.compare_digest(secret.encode(), self._secret.encode()) and OWNER.fullmatch(owner):
            return Caller(owner, children=frozenset({child}) if child else None, credential="link")
        return await self._others.authenticate(method, metadata)


def link_secret(settings: GatewaySettings) -> ServiceToken:
    """Returns the secret of links: the one that is set, else that of the cluster, else one of this process."""
    return settings.link_token or settings.peer_token or ServiceToken(SecretStr(secrets.token_urlsafe(32)))
