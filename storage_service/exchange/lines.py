"""What an archive carries, as lines of JSON."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Self, TypeAlias

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from storage_service.records import OwnedProfile, StoredRequest, Tombstone
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

Entry: TypeAlias = OwnedProfile | StoredRequest | Tombstone
"""A record that is no story. As a line (times are microseconds since the Unix epoch, bytes are in base64):

    {kind: "child" | "hero", owner, profile}   a serialized Child or Hero
    {kind: "request", owner, request_id, rpc, fingerprint, resource_id, create_time}
    {kind: "tombstone", resource_id, owner, delete_time}
"""

_PROFILES: Final[Mapping[str, type[common_pb2.Child | common_pb2.Hero]]] = {
    "child": common_pb2.Child,
    "hero": common_pb2.Hero,
}


class ExchangeError(Exception):
    """An export or import cannot continue. Its text is one line that says what is wrong and what to do."""


class Counts(NamedTuple):
    """What an archive holds, or what of it was new."""

    records: int = 0
    stories: int = 0
    audio: int = 0
    audio_bytes: int = 0

    def plus(self, **more: int) -> Self:
        """Returns the counts with these added."""
        return self._replace(**{name: getattr(self, name) + count for name, count in more.items()})


def from_entries(entries: Iterable[Entry]) -> bytes:
    """Returns entries as a file."""
    return b"".join(_to_line(_fields(entry)) for entry in entries)


def to_entries(data: bytes, name: str) -> list[Entry]:
    """Returns the entries of the file of that name."""
    return [_entry(_parse(line, name), name) for line in data.splitlines() if line]


def from_story(record: storage_pb2.StoryRecord) -> bytes:
    """Returns a story as a line. Floats come back as they were."""
    return _to_line(json_format.MessageToDict(record, preserving_proto_field_name=True))


def to_stories(data: bytes, name: str) -> list[storage_pb2.StoryRecord]:
    """Returns the stories of the file of that name."""
    try:
        return [
            json_format.ParseDict(_parse(line, name), storage_pb2.StoryRecord()) for line in data.split(b"\n") if line
        ]
    except json_format.ParseError as error:
        raise ExchangeError(f"{name} has a story that this version cannot read") from error


def _fields(entry: Entry) -> dict[str, Any]:
    match entry:
        case OwnedProfile(owner, profile):
            serialized: bytes = profile.SerializeToString()
            return {"kind": profile.DESCRIPTOR.name.lower(), "owner": owner, "profile": _text(serialized)}
        case StoredRequest():
            return {"kind": "request", **entry._asdict(), "fingerprint": _text(entry.fingerprint)}
        case Tombstone():
            return {"kind": "tombstone", **entry._asdict()}


def _entry(fields: dict[str, Any], name: str) -> Entry:
    kind = fields.pop("kind", None)
    try:
        if kind in _PROFILES:
            return OwnedProfile(fields["owner"], _PROFILES[kind].FromString(b64decode(fields["profile"])))
        if kind == "request":
            return StoredRequest(**{**fields, "fingerprint": b64decode(fields["fingerprint"])})
        if kind == "tombstone":
            return Tombstone(**fields)
    except (KeyError, TypeError, ValueError, DecodeError) as error:
        raise ExchangeError(f"{name} has a record that this version cannot read") from error
    raise ExchangeError(f"{name} has a record of a kind that this version does not know")


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _to_line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _parse(line: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ExchangeError(f"{name} has a line that is not JSON") from error
    if not isinstance(found, dict):
        raise ExchangeError(f"{name} has a line that is not a record")
    return found
