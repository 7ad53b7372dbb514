"""Values as they travel: bytes in base64, times in RFC 3339, enums by their names."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from storage_service.records import Position, RepeatKey

_LATEST: Final = 253_402_300_799_999_999


def to_base64(data: bytes) -> str:
    """Bytes as text."""
    return b64encode(data).decode("ascii")


def from_base64(text: str | None) -> bytes:
    """Bytes from text; none from None."""
    return b64decode(text) if text else b""


def to_time_text(microseconds: int) -> str:
    """Microseconds since the Unix epoch, UTC, as RFC 3339; at most the end of 9999."""
    time = Timestamp()
    time.FromMicroseconds(min(microseconds, _LATEST))
    return time.ToJsonString()


def to_timestamp(text: str) -> Timestamp:
    """A time of the database as a message."""
    time = Timestamp()
    time.FromJsonString(text)
    return time


def to_name(name_of: Callable[[Any], str], value: int, prefix: str) -> str:
    """The name of an enum's value, less `prefix`; UNSPECIFIED for one that this program does not know."""
    try:
        return name_of(value).removeprefix(prefix)
    except ValueError:
        return "UNSPECIFIED"


def from_position(after: Position | None) -> dict[str, str] | None:
    """Where a list goes on."""
    return None if after is None else {"created_at": to_time_text(after.create_time), "id": after.resource_id}


def from_repeat(rpc: str, repeat: RepeatKey | None) -> dict[str, str] | None:
    """The key of a request that can come again."""
    if repeat is None:
        return None
    return {"rpc": rpc, "id": repeat.request_id, "fingerprint": to_base64(repeat.fingerprint)}


def encoded(message: Message) -> str:
    """A message, for a column of type bytea."""
    return to_base64(message.SerializeToString())


def to_text(text: str) -> str:
    """Text that PostgreSQL takes: it has no NUL."""
    return text.replace("\0", "")
