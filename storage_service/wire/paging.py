"""Pages of listings, and their tokens: where a listing continues, for the filter that it started with."""

import base64
import binascii
import hashlib
import struct
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from storage_service.errors import field_error
from storage_service.records import Position


class Listed(Protocol):
    """What is listed, newest first."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def create_time(self) -> Timestamp:
        """Returns the time by which it is listed."""


L = TypeVar("L", bound=Listed)

_FORMAT: Final = struct.Struct(">Bq16s8s")
_VERSION: Final = 1


async def page_of(
    owner: str,
    chosen: Message,
    size: int,
    token: str,
    load: Callable[[int, Position | None], Awaitable[Sequence[L]]],
) -> tuple[Sequence[L], str]:
    """Returns a page of what `load` gives (at most so many, behind a position), and the token of the next page or "".

    `chosen` is what the listing of `owner` is for. VALIDATION_FAILED for a token of another listing.
    """
    after = from_token(token, owner, chosen) if token else None
    if token and after is None:
        raise field_error("page_token", "must be the next_page_token of a listing with the same filter")
    # One more than requested shows whether there is a next page.
    found = await load(size + 1, after)
    if len(found) <= size:
        return found, ""
    last = found[size - 1]
    return found[:size], to_token(Position(last.create_time.ToMicroseconds(), last.id), owner, chosen)


def to_token(position: Position, owner: str, chosen: Message) -> str:
    """Returns the token of the page after `position`, in a listing of `owner` for what `chosen` says."""
    resource = uuid.UUID(position.resource_id).bytes
    packed = _FORMAT.pack(_VERSION, position.create_time, resource, _digest(owner, chosen))
    return base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def from_token(token: str, owner: str, chosen: Message) -> Position | None:
    """Returns where the token stands; None for one that is no token, or one of another filter or owner."""
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        version, create_time, resource, digest = _FORMAT.unpack(packed)
    except (binascii.Error, struct.error, ValueError):
        return None
    if version != _VERSION or digest != _digest(owner, chosen):
        return None
    return Position(create_time, str(uuid.UUID(bytes=resource)))


def _digest(owner: str, chosen: Message) -> bytes:
    parts = (owner, chosen.DESCRIPTOR.full_name, "")
    return hashlib.sha256("\0".join(parts).encode() + chosen.SerializeToString(deterministic=True)).digest()[:8]
