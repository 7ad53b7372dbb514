"""Page tokens: where a listing goes on, for the filter that it was begun with."""

import base64
import binascii
import hashlib
import struct
import uuid
from typing import Final

from storage_service.records import Position
from tale.common.v1 import common_pb2

_FORMAT: Final = struct.Struct(">Bq16s8s")
_VERSION: Final = 1


def to_token(position: Position, owner: str, chosen: common_pb2.StoryFilter) -> str:
    """The token of the page after `position`."""
    story = uuid.UUID(position.story_id).bytes
    packed = _FORMAT.pack(_VERSION, position.create_time, story, _digest(owner, chosen))
    return base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def from_token(token: str, owner: str, chosen: common_pb2.StoryFilter) -> Position | None:
    """Where the token stands; None for one that is no token, or one of another filter or owner."""
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        version, create_time, story, digest = _FORMAT.unpack(packed)
    except (binascii.Error, struct.error, ValueError):
        return None
    if version != _VERSION or digest != _digest(owner, chosen):
        return None
    return Position(create_time, str(uuid.UUID(bytes=story)))


def _digest(owner: str, chosen: common_pb2.StoryFilter) -> bytes:
    return hashlib.sha256(owner.encode() + b"\0" + chosen.SerializeToString(deterministic=True)).digest()[:8]
