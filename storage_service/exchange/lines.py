"""What is carried over: stories and other records as lines of JSON, and the store that they come from and go to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from google.protobuf import json_format

from tale.storage.v1 import storage_pb2

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from storage_service.records import Blob, ObjectKey

FIRST: Final = ("child", "hero", "request")
LAST: Final = ("tombstone",)
"""Come after all else: whatever was deleted while it was read has one."""

PAGE: Final = 500

Line: TypeAlias = dict[str, Any]
"""A record that is no story, as JSON has it; times are microseconds since the Unix epoch, bytes are in base64.

    {kind: "child" | "hero", id, owner, revision, create_time, update_time, profile}   a serialized Child or Hero
    {kind: "request", owner, request_id, rpc, fingerprint, resource_id, create_time}
    {kind: "tombstone", id, owner, delete_time}
"""


class ExchangeStore(Protocol):
    """All that is stored, of all owners. May raise what a StoryStore may."""

    async def lines(self, kind: str, after: Line | None) -> Sequence[Line]:
        """At most 500 lines of a kind, in the order of their keys, from the one behind `after` on."""

    async def story_ids(self, after: str) -> Sequence[tuple[str, str]]:
        """Owners and ids of at most 500 stories, by id, from the one behind `after` on."""

    async def story(self, owner: str, story_id: str) -> tuple[storage_pb2.StoryRecord, Blob | None]:
        """A story in full, with the bytes of its finished audio, as it is at one moment; STORY_NOT_FOUND."""

    async def keep_lines(self, lines: Sequence[Line]) -> int:
        """Keeps what is not known, at most 500 in one transaction; how many were new."""

    async def missing(self, story_ids: Collection[str]) -> Collection[str]:
        """Of `story_ids` (at most 500) those that are neither kept nor deleted."""

    async def keep_story(self, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> bool:
        """Stores a story with all that hangs on it, in one transaction; False where its id is known.

        The bytes of its audio are the noted object `key`, which becomes STORED. No run holds its lease then, and its
        next claim counts as one after a hand-over. Of a narration in the making nothing is stored: it starts again.
        """


class ExchangeError(Exception):
    """An export or import cannot go on. Its text is one line that says what is wrong and what to do."""


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
    if any(line.get("kind") not in {*FIRST, *LAST} for line in lines):
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
