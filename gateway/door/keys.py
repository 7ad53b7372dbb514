"""API keys: a file that holds their hashes, read again when it changes."""

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Annotated, Final, Literal

import structlog
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from servicekit.authentication import OWNER
from servicekit.context import Caller
from servicekit.ids import is_id
from servicekit.secrets import WatchedFiles

_log: Final = structlog.stdlib.get_logger(__name__)

Role = Literal["user", "operator"]
_PREFIX: Final = "tale"
_MAX_BYTES: Final = 16 << 20
_UNKNOWN: Final = datetime.min.replace(tzinfo=UTC)


class KeyFileError(Exception):
    """The file cannot be used. The text names it, what is wrong and the remedy."""


class _UnreadableError(KeyFileError, OSError):
    """The operating system does not return the content of the file, perhaps for a moment."""


def _owner(given: str) -> str:
    if not OWNER.fullmatch(given):
        raise ValueError(f"{given!r} cannot be an owner: use 1 to 128 characters of A-Za-z0-9._:@|+=-")
    return given


def _child(given: str) -> str:
    # Stories without a child have an empty id: a key for that would read them all.
    if not is_id(given):
        raise ValueError(f"{given!r} is no id of a child: see `tale children list`")
    return given


def _time(given: object) -> object:
    # Files that were written before keys could expire have "" for a time that is not set.
    return None if given == "" else given


class ApiKey(BaseModel):
    """A key as the file has it: not the key itself, but the SHA-256 of its secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Names the key in lists and logs; no secret."""
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256 of the secret, in hexadecimal. The secret has 256 random bits, so nothing slower is needed."""
    owner: Annotated[str, AfterValidator(_owner)]
    """Owner of what its calls make."""
    role: Role = "user"
    """An operator also sees and changes the state of the cluster."""
    children: tuple[Annotated[str, AfterValidator(_child)], ...] = ()
    """Ids of the children that the caller is bound to; none: all of the owner."""
    create_time: Annotated[AwareDatetime | None, BeforeValidator(_time)] = None
    """None: not known."""
    expire_time: Annotated[AwareDatetime | None, BeforeValidator(_time)] = None
    """None: the key does not expire."""

    @property
    def caller(self) -> Caller:
        """For whom a call with the key is made."""
        children = frozenset(self.children) if self.children else None
        return Caller(self.owner, operator=self.role == "operator", children=children, credential=self.id)


class _Content(BaseModel):
    keys: tuple[ApiKey, ...]


class KeyFile:
    """The keys in a file, which every process that uses it may change: JSON, {"keys": [...]}."""

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """The file is made by the first key that is created."""
        self._path = path
        self._clock = clock
        self._file = WatchedFiles(path, read=self._read, unusable=KeyFileError, failed=_log_failure)
        self._keys: dict[str, ApiKey] = {}

    def find(self, presented: str) -> ApiKey | None:
        """Returns the valid key that `presented` is; None if there is none. Reads the file where it has changed.

        A file that is damaged or cannot be read leaves the keys as they were, and is logged once. Each call tries again
        one that cannot be read: that may last for a moment, and a revoked key must not stay valid.
        """
        if (changed := self._file.changed()) is not None:
            self._keys = changed
        prefix, _, rest = presented.partition("_")
        identity, _, secret = rest.partition("_")
        key = self._keys.get(identity)
        if key is None or prefix != _PREFIX or not hmac.compare_digest(key.digest, _digest(secret)):
            return None
        return None if key.expire_time is not None and key.expire_time <= self._clock() else key

    def list(self) -> list[ApiKey]:
        """Returns all keys, those that have expired too, by time. Raises KeyFileError."""
        return sorted(self._read().values(), key=lambda key: key.create_time or _UNKNOWN)

    def create(
        self, owner: str, *, role: Role = "user", children: tuple[str, ...] = (), expire_time: datetime | None = None
    ) -> tuple[str, ApiKey]:
        """Stores a new key; returns it, which no one can read again, and what the file has. Raises KeyFileError."""
        secret = secrets.token_urlsafe(32)
        try:
            key = ApiKey(
                id=secrets.token_hex(6),
                digest=_digest(secret),
                owner=owner,
                role=role,
                children=children,
                create_time=self._clock().replace(microsecond=0),
                expire_time=expire_time,
            )
        except ValidationError as error:
            raise KeyFileError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        with self._changing() as keys:
            keys[key.id] = key
        return f"{_PREFIX}_{key.id}_{secret}", key

    def revoke(self, identity: str) -> ApiKey:
        """Removes a key and returns what it was. Raises KeyFileError for an unknown one."""
        with self._changing() as keys:
            if identity not in keys:
                raise KeyFileError(f"{self._path} has no key with that id: see `tale keys list`")
            return keys.pop(identity)

    def _read(self) -> dict[str, ApiKey]:
        try:
            state = self._path.stat()
            if not stat.S_ISREG(state.st_mode) or state.st_size > _MAX_BYTES:
                raise KeyFileError(f"{self._path} is not a file of API keys")
            return {key.id: key for key in _Content.model_validate_json(self._path.read_bytes()).keys}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _UnreadableError(f"{self._path} cannot be read ({error.strerror})") from None
        except ValidationError:
            raise KeyFileError(
                f"{self._path} is not a file of API keys: restore it, or create the keys again"
            ) from None

    @contextmanager
    def _changing(self) -> Iterator[dict[str, ApiKey]]:
        """Yields the keys, and stores what the block makes of them; other processes wait."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.with_name(f"{self._path.name}.lock").open("w") as lock:
                flock(lock, LOCK_EX)
                keys = self._read()
                yield keys
                new = self._path.with_name(f"{self._path.name}.new")
                new.touch(mode=0o600)
                new.write_text(_Content(keys=tuple(keys.values())).model_dump_json(indent=1) + "\n")
                new.replace(self._path)
        except OSError as error:
            raise KeyFileError(f"{self._path} cannot be written ({os.strerror(error.errno or 0)})") from None


def _log_failure(error: Exception) -> None:
    _log.warning("key file not read", why=str(error))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
