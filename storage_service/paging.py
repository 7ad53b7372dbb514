"""Page tokens: where a listing goes on, for the filter that it was begun with."""

import base64
import binascii
import hashlib
import struct
import uuid
from typing import Final

from google.protobuf.message import Message

from storage_service.records import Position

_FORMAT: Final = struct.Struct(">Bq16s8s")
_VERSION: Final = 1


def to_token(position: Position, owner: str, chosen: Message) -> str:
    """The token of the page after `position`, in a listing of `owner` for what `chosen` says."""
    resource = uuid.UUID(position.resource_id).bytes
    packed = _FORMAT.pack(_VERSION, position.create_time, resource, _digest(owner, chosen))
    return base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def from_token(token: str, owner: str, chosen: Message) -> Position | None:
    """Where the token stands; None for one that is no token, or one of another filter or owner."""
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        version, create_time, resource, digest = _FORMAT.unpack(packed)
    except (binascii.Error, struct.error, ValueError):
        return None
    if version != _VERSION or digest != _digest(owner, chosen):
        return None
    return Position(create_time, str(uuid.UUID(bytes=resource)))


def _digest(owner: str, chosen: Message) -> bytes:
    said = (owner, chosen.DESCRIPTOR.full_name, "")
    return hashlib.sha256("\0".join(said).encode() + chosen.SerializeToString(deterministic=True)).digest()[:8]
