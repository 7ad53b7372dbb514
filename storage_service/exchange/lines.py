"""Stories and other records as lines of JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf import json_format

from storage_service.exchange.errors import ExchangeError
from tale.storage.v1 import storage_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage_service.exchange.ports import Line

KINDS: Final = ("child", "hero", "request", "tombstone")


class Counts(NamedTuple):
    """What an archive holds, or what of it was new."""

    records: int = 0
    stories: int = 0
    audio: int = 0
    audio_bytes: int = 0

    def plus(self, **more: int) -> Counts:
        """The counts with these added."""
        return self._replace(**{name: getattr(self, name) + count for name, count in more.items()})


def from_lines(lines: Iterable[Line]) -> bytes:
    """Lines as a file."""
    return b"".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for line in lines)


def to_lines(data: bytes, name: str) -> list[Line]:
    """Lines of the file of that name."""
    lines = [_parse(line, name) for line in data.splitlines() if line]
    if any(line.get("kind") not in KINDS for line in lines):
        raise ExchangeError(f"{name} has a record of a kind that this version does not know")
    return lines


def from_story(record: storage_pb2.StoryRecord) -> bytes:
    """A story as a line. Floats come back as they were."""
    told = json_format.MessageToDict(record, preserving_proto_field_name=True)
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def to_stories(data: bytes, name: str) -> list[storage_pb2.StoryRecord]:
    """Stories of the file of that name."""
    try:
        return [
            json_format.ParseDict(_parse(line, name), storage_pb2.StoryRecord()) for line in data.split(b"\n") if line
        ]
    except json_format.ParseError as error:
        raise ExchangeError(f"{name} has a story that this version can not read") from error


def _parse(line: bytes, name: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError as error:
        raise ExchangeError(f"{name} has a line that is no JSON") from error
    if not isinstance(said, dict):
        raise ExchangeError(f"{name} has a line that is no record")
    return said
