"""What an archive carries, as lines of JSON."""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Self, TypeAlias

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from servicekit.ids import is_id
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
_KINDS: Final = (*_PROFILES, "request", "tombstone")
_END_OF_TIME: Final = 253_402_300_800_000_000
"""The year 10000, where timestamps end."""
_UNSTORABLE: Final = re.compile(r"[\x00\ud800-\udfff]")
"""What a database cannot store as text."""


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

    def in_words(self) -> str:
        """Returns them as a phrase."""
        return (
            f"{self.stories} stories, {self.audio} audio files ({self.audio_bytes} bytes)"
            f" and {self.records} other records"
        )


def from_entries(entries: Iterable[Entry]) -> bytes:
    """Returns entries as a file."""
    return b"".join(_to_line(_fields(entry)) for entry in entries)


def to_entries(data: bytes, name: str) -> list[Entry]:
    """Returns the entries of the file of that name; ExchangeError names the line that is none."""
    return [_entry(fields, place) for place, fields in _lines(data, name)]


def from_story(record: storage_pb2.StoryRecord) -> bytes:
    """Returns a story as a line. Floats come back as they were."""
    return _to_line(json_format.MessageToDict(record, preserving_proto_field_name=True))


def to_stories(data: bytes, name: str) -> list[storage_pb2.StoryRecord]:
    """Returns the stories of the file of that name; ExchangeError names the line that is none."""
    return [_story(fields, place) for place, fields in _lines(data, name)]


def _fields(entry: Entry) -> dict[str, Any]:
    match entry:
        case OwnedProfile(owner, profile):
            serialized: bytes = profile.SerializeToString()
            return {"kind": profile.DESCRIPTOR.name.lower(), "owner": owner, "profile": _text(serialized)}
        case StoredRequest():
            return {"kind": "request", **entry._asdict(), "fingerprint": _text(entry.fingerprint)}
        case Tombstone():
            return {"kind": "tombstone", **entry._asdict()}


def _story(fields: dict[str, Any], place: str) -> storage_pb2.StoryRecord:
    try:
        record = json_format.ParseDict(fields, storage_pb2.StoryRecord())
    except json_format.ParseError as error:
        raise ExchangeError(f"{place}: a story that this version cannot read") from error
    if not is_id(record.story.id) or not _is_text(record.owner):
        raise ExchangeError(f"{place}: a story without an id or an owner")
    return record


def _entry(fields: dict[str, Any], place: str) -> Entry:
    kind = fields.pop("kind", None)
    if kind not in _KINDS:
        raise ExchangeError(f"{place}: a record of a kind that this version does not know")
    try:
        entry = _made(kind, fields)
    except (KeyError, TypeError, ValueError, DecodeError) as error:
        raise ExchangeError(f"{place}: a record that this version cannot read") from error
    wrong = [name for name, value in _checked(entry).items() if not _VALID[name](value)]
    if wrong:
        raise ExchangeError(f"{place}: a record whose {wrong[0]} is missing or wrong ({kind})")
    return entry


def _made(kind: str, fields: dict[str, Any]) -> Entry:
    if kind == "request":
        return StoredRequest(**{**fields, "fingerprint": b64decode(fields["fingerprint"])})
    if kind == "tombstone":
        return Tombstone(**fields)
    return OwnedProfile(**{**fields, "profile": _PROFILES[kind].FromString(b64decode(fields["profile"]))})


def _checked(entry: Entry) -> Mapping[str, object]:
    """Returns what a store relies on, by its name."""
    if not isinstance(entry, OwnedProfile):
        return entry._asdict()
    profile = entry.profile
    return {
        "owner": entry.owner,
        "id": profile.id,
        "revision": profile.revision,
        "create_time": profile.create_time.seconds * 1_000_000 if profile.HasField("create_time") else None,
        "update_time": profile.update_time.seconds * 1_000_000 if profile.HasField("update_time") else None,
    }


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and _UNSTORABLE.search(value) is None


def _is_time(value: object) -> bool:
    return type(value) is int and 0 <= value < _END_OF_TIME


_VALID: Final[Mapping[str, Callable[[Any], bool]]] = {
    "owner": _is_text,
    "request_id": _is_text,
    "rpc": _is_text,
    "fingerprint": lambda value: len(value) == 32,
    "id": is_id,
    "resource_id": lambda value: isinstance(value, str) and is_id(value),
    "revision": lambda value: value >= 1,
    "create_time": _is_time,
    "update_time": _is_time,
    "delete_time": _is_time,
}


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _to_line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _lines(data: bytes, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the fields of each line and where it is."""
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line:
            continue
        place = f"{name}, line {number}"
        try:
            found = json.loads(line)
        except ValueError as error:
            raise ExchangeError(f"{place}: this is not JSON") from error
        if not isinstance(found, dict):
            raise ExchangeError(f"{place}: this is not a record")
        yield place, found
