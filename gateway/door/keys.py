"""API keys: a file that holds their hashes, read again when it changes."""

import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Final, Literal

import structlog

from servicekit.authentication import OWNER, Caller
from servicekit.secrets import version_of

_log: Final = structlog.stdlib.get_logger(__name__)

Role = Literal["user", "operator"]
_PREFIX: Final = "tale"
_MAX_BYTES: Final = 16 << 20


class KeyFileError(Exception):
    """The file cannot be used. The text names it, what is wrong and the remedy."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the file has it: not the key itself, but the SHA-256 of its secret."""

    id: str
    """Names the key in lists and logs; no secret."""
    digest: str
    """SHA-256 of the secret, in hexadecimal. The secret has 256 random bits, so nothing slower is needed."""
    owner: str
    """Owner of what its calls make."""
    role: Role = "user"
    """An operator also sees and changes the state of the cluster."""
    children: tuple[str, ...] = ()
    """Ids of the children that the caller is bound to; none: all of the owner."""
    create_time: str = ""
    """ISO 8601, UTC."""
    expire_time: str = ""
    """ISO 8601, UTC; empty: the key does not expire."""

    @property
    def caller(self) -> Caller:
        """For whom a call with the key is made."""
        children = frozenset(self.children) if self.children else None
        return Caller(self.owner, operator=self.role == "operator", children=children, credential=self.id)

    def expired(self, now: datetime) -> bool:
        """Returns whether the key is not valid any more."""
        return bool(self.expire_time) and datetime.fromisoformat(self.expire_time) <= now


class KeyFile:
    """The keys in a file, which every process that uses it may change: JSON, {"keys": [...]}."""

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """The file is made by the first key that is created."""
        self._path = path
        self._clock = clock
        self._seen: tuple[int, ...] | None = None
        self._keys: dict[str, ApiKey] = {}

    def find(self, presented: str) -> ApiKey | None:
        """Returns the valid key that `presented` is; None if there is none. Reads the file where it has changed.

        A file that cannot be read any more leaves the keys as they were, and is logged.
        """
        try:
            self._reread()
        except KeyFileError as error:
            _log.warning("key file cannot be read", why=str(error))
        prefix, _, rest = presented.partition("_")
        identity, _, secret = rest.partition("_")
        key = self._keys.get(identity)
        if key is None or prefix != _PREFIX or not hmac.compare_digest(key.digest, _digest(secret)):
            return None
        return None if key.expired(self._clock()) else key

    def list(self) -> list[ApiKey]:
        """Returns all keys, those that have expired too, by time. Raises KeyFileError."""
        self._reread()
        return sorted(self._keys.values(), key=lambda key: key.create_time)

    def create(
        self, owner: str, *, role: Role = "user", children: tuple[str, ...] = (), expire_time: datetime | None = None
    ) -> tuple[str, ApiKey]:
        """Stores a new key; returns it, which no one can read again, and what the file has. Raises KeyFileError."""
        if not OWNER.fullmatch(owner):
            raise KeyFileError(f"{owner!r} cannot be an owner: use 1 to 128 characters of A-Za-z0-9._:@|+=-")
        secret = secrets.token_urlsafe(32)
        key = ApiKey(
            id=secrets.token_hex(6),
            digest=_digest(secret),
            owner=owner,
            role=role,
            children=children,
            create_time=self._clock().isoformat(timespec="seconds"),
            expire_time="" if expire_time is None else expire_time.astimezone(UTC).isoformat(timespec="seconds"),
        )
        with self._changing():
            self._keys[key.id] = key
        return f"{_PREFIX}_{key.id}_{secret}", key

    def revoke(self, identity: str) -> ApiKey:
        """Removes a key and returns what it was. Raises KeyFileError for an unknown one."""
        with self._changing():
            key = self._keys.pop(identity, None)
            if key is None:
                raise KeyFileError(f"{self._path} has no key with that id: see `tale keys list`")
        return key

    def _reread(self) -> None:
        try:
            seen = version_of(self._path)
            if seen == self._seen:
                return
            state = self._path.stat()
            if not stat.S_ISREG(state.st_mode) or state.st_size > _MAX_BYTES:
                raise KeyFileError(f"{self._path} is not a file of API keys")
            found = [_key(each) for each in json.loads(self._path.read_bytes())["keys"]]
        except FileNotFoundError:
            self._seen, self._keys = None, {}
            return
        except OSError as error:
            raise KeyFileError(f"{self._path} cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError):
            raise KeyFileError(
                f"{self._path} is not a file of API keys: restore it, or create the keys again"
            ) from None
        self._seen, self._keys = seen, {key.id: key for key in found}

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Reads the keys, and stores what the block has made of them; other processes wait."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.with_name(f"{self._path.name}.lock").open("w") as lock:
                flock(lock, LOCK_EX)
                self._reread()
                yield
                new = self._path.with_name(f"{self._path.name}.new")
                new.touch(mode=0o600)
                new.write_text(json.dumps({"keys": [asdict(key) for key in self._keys.values()]}, indent=1) + "\n")
                new.replace(self._path)
        except OSError as error:
            raise KeyFileError(f"{self._path} cannot be written ({os.strerror(error.errno or 0)})") from None


def _key(entry: dict[str, object]) -> ApiKey:
    key = ApiKey(**entry)  # type: ignore[arg-type] # checked below
    datetime.fromisoformat(key.expire_time or "2000-01-01")
    if not OWNER.fullmatch(key.owner) or key.role not in {"user", "operator"}:
        raise ValueError("no owner or role")
    return replace(key, children=tuple(key.children))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
