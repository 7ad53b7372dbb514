"""From a file into a store."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from servicekit.errors import DomainError
from servicekit.ids import is_id
from storage_service.exchange.archive import END, ArchiveReader, Member
from storage_service.exchange.lines import PAGE, Counts, ExchangeError, to_lines, to_stories
from storage_service.records import Digest, ObjectKind

if TYPE_CHECKING:
    from pathlib import Path

    from storage_service.audio.noted import NotedObjects
    from storage_service.exchange.lines import ExchangeStore, Line
    from storage_service.ports import ObjectStore
    from storage_service.records import ObjectKey
    from tale.storage.v1 import storage_pb2

_BLOCK: Final = 1 << 20
_FORGOTTEN: Final = b64encode(bytes(32)).decode("ascii")
"""The fingerprint of a request whose content must not be guessed from its hash."""


async def import_from(path: Path, store: ExchangeStore, files: ObjectStore, objects: NotedObjects) -> Counts:
    """Keeps what `path` holds and the store does not; what was new.

    What the store keeps or has deleted stays as it is, so an import can be repeated, also one that broke off. Raises
    ExchangeError where the file is cut or its audio is not what its record says; what came before it is kept then.
    """
    buried = await asyncio.to_thread(_buried, path)
    reader = await asyncio.to_thread(ArchiveReader, path)
    try:
        return await _Import(reader, store, files, objects, buried).run()
    finally:
        await asyncio.to_thread(reader.close)


def _buried(path: Path) -> frozenset[str]:
    """Ids that have a tombstone in the file: what was deleted during the export stands in it as well."""
    found: set[str] = set()
    reader = ArchiveReader(path)
    try:
        # Where the file is cut or damaged, that is told once it is read in earnest.
        with suppress(ExchangeError):
            while (member := reader.next()) is not None:
                if member.name.startswith("records/"):
                    lines = to_lines(reader.read_all(member), member.name)
                    found.update(line["id"] for line in lines if line["kind"] == "tombstone")
    finally:
        reader.close()
    return frozenset(found)


@dataclass
class _Import:
    reader: ArchiveReader
    store: ExchangeStore
    files: ObjectStore
    objects: NotedObjects
    buried: frozenset[str]
    seen: Counts = field(default_factory=Counts)
    new: Counts = field(default_factory=Counts)
    waiting: dict[str, storage_pb2.StoryRecord] = field(default_factory=dict)
    """Stories whose audio follows."""
    known: set[str] = field(default_factory=set)
    """Stories of the present batch that need nothing; their audio is passed over."""

    async def run(self) -> Counts:
        while (member := await asyncio.to_thread(self.reader.next)) is not None:
            folder, _, name = member.name.partition("/")
            match folder:
                case "records":
                    self._check_nothing_waits()
                    await self._take_lines(member)
                case "stories":
                    self._check_nothing_waits()
                    await self._take_stories(member)
                case "audio":
                    await self._take_audio(member, name)
                case _ if member.name == END:
                    self._check_nothing_waits()
                    return await self._end(member)
                case _:
                    raise ExchangeError(f"the file has a member that this version does not know ({member.name})")
        raise ExchangeError("the file is cut: its end is missing; what it had was imported")

    async def _take_lines(self, member: Member) -> None:
        lines = to_lines(await asyncio.to_thread(self.reader.read_all, member), member.name)
        self.seen = self.seen.plus(records=len(lines))
        wanted = [line for line in map(self._without_deleted, lines) if line is not None]
        for start in range(0, len(wanted), PAGE):
            new = await self.store.keep_lines(wanted[start : start + PAGE])
            self.new = self.new.plus(records=new)

    def _without_deleted(self, line: Line) -> Line | None:
        """None for a profile that the file says is deleted; of a request that made such a thing only the id is left."""
        if line["kind"] in {"child", "hero"} and line["id"] in self.buried:
            return None
        if line["kind"] == "request" and line["resource_id"] in self.buried:
            return {**line, "fingerprint": _FORGOTTEN}
        return line

    async def _take_stories(self, member: Member) -> None:
        data = await asyncio.to_thread(self.reader.read_all, member)
        records = to_stories(data, member.name)
        if not all(is_id(record.story.id) and record.owner for record in records):
            raise ExchangeError(f"{member.name} has a story without an id or an owner")
        missing: set[str] = set()
        for start in range(0, len(records), PAGE):
            missing |= set(await self.store.missing([one.story.id for one in records[start : start + PAGE]]))
        missing -= self.buried
        self.known = {record.story.id for record in records} - missing
        self.seen = self.seen.plus(stories=len(records))
        for record in records:
            if record.story.id in missing:
                if record.story.HasField("audio"):
                    self.waiting[record.story.id] = record
                else:
                    await self._keep(record, None)

    async def _take_audio(self, member: Member, story_id: str) -> None:
        self.seen = self.seen.plus(audio=1, audio_bytes=member.size)
        record = self.waiting.pop(story_id, None)
        if record is None:
            if story_id not in self.known:
                raise ExchangeError(f"{member.name} belongs to no story before it")
            return
        audio = record.story.audio
        async with self.objects.new(ObjectKind.AUDIO) as key:
            async with self.files.upload(key, content_type=audio.content_type) as upload:
                while block := await asyncio.to_thread(self.reader.read, _BLOCK):
                    await upload.write(block)
                try:
                    await upload.publish(Digest(audio.size_bytes, audio.sha256))
                except DomainError as error:
                    if error.reason != "AUDIO_MISMATCH":
                        raise
                    raise ExchangeError(
                        f"{member.name} does not have the size and SHA-256 that its story says"
                    ) from error
            await self._keep(record, key)

    async def _keep(self, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> None:
        new = await self.store.keep_story(record, key)
        if new:
            size = record.story.audio.size_bytes if key else 0
            self.new = self.new.plus(stories=1, audio=int(key is not None), audio_bytes=size)
        elif key is not None:
            await self.objects.give_up(key)

    async def _end(self, member: Member) -> Counts:
        data = await asyncio.to_thread(self.reader.read_all, member)
        try:
            said = json.loads(data)
        except ValueError:
            said = None
        if said != self.seen._asdict():
            raise ExchangeError("the file does not hold what its end says; what it had was imported")
        return self.new

    def _check_nothing_waits(self) -> None:
        if self.waiting:
            raise ExchangeError(f"the audio of story {next(iter(self.waiting))} is missing in the file")
