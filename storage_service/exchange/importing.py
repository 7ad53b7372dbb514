"""Imports an exported file into a store."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from servicekit.errors import DomainError
from storage_service.audio.noted import NotedObjects
from storage_service.exchange.archive import END, ArchiveReader, Member
from storage_service.exchange.lines import Counts, ExchangeError, to_entries, to_stories
from storage_service.ports import ObjectStore, Records
from storage_service.records import SCAN_PAGE, Digest, ObjectKey, ObjectKind, OwnedProfile, StoredRequest, Tombstone
from tale.storage.v1 import storage_pb2

_BLOCK: Final = 1 << 20
_ERASED: Final = bytes(32)
"""The fingerprint of a request whose content must not be guessed from its hash."""


async def import_from(source: Path | IO[bytes], records: Records, files: ObjectStore, objects: NotedObjects) -> Counts:
    """Stores what `source` holds and the store does not; returns what was new.

    What is stored or was deleted stays as it is, so an import can be repeated, also one that broke off. Raises
    ExchangeError where the file is cut or its audio is not what its record says; what came before that is stored.
    """
    deleted = await asyncio.to_thread(_deleted_in, source)
    reader = await asyncio.to_thread(ArchiveReader, source)
    try:
        return await _Import(reader, records, files, objects, deleted).run()
    finally:
        await asyncio.to_thread(reader.close)


def _deleted_in(source: Path | IO[bytes]) -> frozenset[str]:
    """Returns ids that have a tombstone in the file: what was deleted during the export stands in it as well."""
    found: set[str] = set()
    reader = ArchiveReader(source)
    try:
        # Where the file is cut or damaged, that is reported when it is imported.
        with suppress(ExchangeError):
            while (member := reader.next()) is not None:
                if member.name.startswith("records/"):
                    entries = to_entries(reader.read_all(member), member.name)
                    found.update(entry.resource_id for entry in entries if isinstance(entry, Tombstone))
    finally:
        reader.close()
    return frozenset(found)


@dataclass
class _Import:
    reader: ArchiveReader
    records: Records
    files: ObjectStore
    objects: NotedObjects
    deleted: frozenset[str]
    seen: Counts = field(default_factory=Counts)
    new: Counts = field(default_factory=Counts)
    waiting: dict[str, storage_pb2.StoryRecord] = field(default_factory=dict)
    """Stories whose audio follows."""
    known: set[str] = field(default_factory=set)
    """Stories of the present member that are stored or deleted; their audio is passed over."""

    async def run(self) -> Counts:
        while (member := await asyncio.to_thread(self.reader.next)) is not None:
            folder, _, name = member.name.partition("/")
            match folder:
                case "records":
                    self._check_nothing_waits()
                    await self._take_entries(member)
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

    async def _take_entries(self, member: Member) -> None:
        entries = to_entries(await asyncio.to_thread(self.reader.read_all, member), member.name)
        self.seen = self.seen.plus(records=len(entries))
        for start in range(0, len(entries), SCAN_PAGE):
            page = entries[start : start + SCAN_PAGE]
            profiles = [one for one in page if isinstance(one, OwnedProfile) and one.profile.id not in self.deleted]
            requests = [self._without_content(one) for one in page if isinstance(one, StoredRequest)]
            tombstones = [one for one in page if isinstance(one, Tombstone)]
            new = await self.records.profiles.restore(profiles) if profiles else 0
            new += await self.records.history.restore(requests, tombstones)
            self.new = self.new.plus(records=new)

    def _without_content(self, request: StoredRequest) -> StoredRequest:
        """Erases the fingerprint of a request whose story or profile is deleted according to the file."""
        return request._replace(fingerprint=_ERASED) if request.resource_id in self.deleted else request

    async def _take_stories(self, member: Member) -> None:
        data = await asyncio.to_thread(self.reader.read_all, member)
        records = to_stories(data, member.name)
        self.seen = self.seen.plus(stories=len(records))
        ids = [record.story.id for record in records if record.story.HasField("audio")]
        self.known = set(self.deleted.intersection(record.story.id for record in records))
        for start in range(0, len(ids), SCAN_PAGE):
            self.known |= await self.records.history.known_stories(ids[start : start + SCAN_PAGE])
        for record in records:
            if record.story.id in self.known:
                continue
            if record.story.HasField("audio"):
                self.waiting[record.story.id] = record
            else:
                await self._restore(record, None)

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
            await self._restore(record, key)

    async def _restore(self, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> None:
        new = await self.records.stories.restore(record, key)
        if new:
            size = record.story.audio.size_bytes if key else 0
            self.new = self.new.plus(stories=1, audio=int(key is not None), audio_bytes=size)
        elif key is not None:
            await self.objects.give_up(key)

    async def _end(self, member: Member) -> Counts:
        data = await asyncio.to_thread(self.reader.read_all, member)
        try:
            counts = json.loads(data)
        except ValueError:
            counts = None
        if counts != self.seen._asdict():
            raise ExchangeError("the file does not hold what its end says; what it had was imported")
        return self.new

    def _check_nothing_waits(self) -> None:
        if self.waiting:
            raise ExchangeError(f"the audio of story {next(iter(self.waiting))} is missing in the file")
