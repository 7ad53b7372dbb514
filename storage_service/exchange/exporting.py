"""Exports all that is stored into a file."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

from servicekit.errors import DomainError
from storage_service.exchange.archive import ArchiveWriter
from storage_service.exchange.lines import Counts, Entry, ExchangeError, from_entries, from_story
from storage_service.ports import ObjectStore, Records, StoryStore
from storage_service.records import Blob, StoredAudio, StoredRequest, Tombstone
from tale.storage.v1 import storage_pb2

_BATCH_STORIES: Final = 100
_BATCH_BYTES: Final = 4 << 20


async def export_to(
    path: Path,
    records: Records,
    files: ObjectStore,
    *,
    skip_damaged: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Counts:
    """Writes all that is stored into `path`; returns what that was.

    Audio that is damaged ends it with an ExchangeError; with `skip_damaged` its story goes without it, and `report`
    gets a line. What is deleted or narrated again meanwhile ends nothing. Narrations in progress are left out: they
    start again. At no time more than a few stories and a few MiB of audio are in memory.
    """
    writer = await asyncio.to_thread(ArchiveWriter, path)
    try:
        counts = await _Export(writer, records, files, skip_damaged, report).run()
        await asyncio.to_thread(writer.finish, counts._asdict())
    except BaseException:
        await asyncio.to_thread(writer.abandon)
        raise
    return counts


@dataclass
class _Export:
    writer: ArchiveWriter
    records: Records
    files: ObjectStore
    skip_damaged: bool
    report: Callable[[str], None]
    counts: Counts = field(default_factory=Counts)
    members: int = 0

    async def run(self) -> Counts:
        await self._add_profiles()
        await self._add_requests()
        batch: list[bytes] = []
        async with aclosing(all_stories(self.records.stories)) as stories:
            async for found, blob in stories:
                record = await self._add_with_audio(_without_run(found), blob)
                if record is not None:
                    batch.append(from_story(record))
                if len(batch) >= _BATCH_STORIES or sum(map(len, batch)) >= _BATCH_BYTES:
                    await self._flush(batch)
                    batch = []
        if batch:
            await self._flush(batch)
        # Last: what was deleted while it was read has a tombstone then.
        await self._add_tombstones()
        return self.counts

    async def _add_profiles(self) -> None:
        after = ""
        while page := await self.records.profiles.scan(after):
            await self._add_entries(page)
            after = page[-1].profile.id

    async def _add_requests(self) -> None:
        after: StoredRequest | None = None
        while page := await self.records.history.scan_requests(after):
            await self._add_entries(page)
            after = page[-1]

    async def _add_tombstones(self) -> None:
        after: Tombstone | None = None
        while page := await self.records.history.scan_tombstones(after):
            await self._add_entries(page)
            after = page[-1]

    async def _add_entries(self, page: Sequence[Entry]) -> None:
        await self._add("records", from_entries(page))
        self.counts = self.counts.plus(records=len(page))

    async def _flush(self, batch: list[bytes]) -> None:
        await self._add("stories", b"".join(batch))
        self.counts = self.counts.plus(stories=len(batch))

    async def _add_with_audio(
        self, record: storage_pb2.StoryRecord, blob: Blob | None
    ) -> storage_pb2.StoryRecord | None:
        """Adds a story that has audio, and its audio; what is still to be added: a story that has none."""
        while blob is not None:
            mark = await asyncio.to_thread(self.writer.mark)
            try:
                await self._add("stories", from_story(record))
                await self._add_audio(record.story.id, blob)
            except DomainError as error:
                if error.code is not grpc.StatusCode.DATA_LOSS:
                    raise
                await asyncio.to_thread(self.writer.rewind, mark)
                now = await _find(self.records.stories, record.owner, record.story.id)
                if now is None:
                    # It was deleted meanwhile, and its tombstone comes.
                    return None
                if now[1] == blob:
                    return self._without_audio(record, error)
                # It was narrated again meanwhile.
                record, blob = _without_run(now[0]), now[1]
            else:
                size = record.story.audio.size_bytes
                self.counts = self.counts.plus(stories=1, audio=1, audio_bytes=size)
                return None
        return record

    def _without_audio(self, record: storage_pb2.StoryRecord, error: DomainError) -> storage_pb2.StoryRecord:
        """Returns a story whose audio is damaged, without it, where it may be left out."""
        if not self.skip_damaged:
            raise ExchangeError(
                f"story {record.story.id}: its audio is missing or damaged; narrate it again, or leave such audio out"
                " with --skip-damaged"
            ) from error
        self.report(f"story {record.story.id}: its audio is damaged and is left out")
        record.story.ClearField("audio")
        return record

    async def _add_audio(self, story_id: str, blob: Blob) -> None:
        await asyncio.to_thread(self.writer.begin, f"audio/{story_id}", blob.size)
        async with aclosing(self.files.read(blob)) as blocks:
            async for block in blocks:
                await asyncio.to_thread(self.writer.write, block)

    async def _add(self, folder: str, data: bytes) -> None:
        self.members += 1
        await asyncio.to_thread(self.writer.add, f"{folder}/{self.members:06}.jsonl", data)


async def all_stories(stories: StoryStore) -> AsyncGenerator[tuple[storage_pb2.StoryRecord, Blob | None], None]:
    """Yields each story in full, by id, with the bytes of its finished audio."""
    after = ""
    while page := await stories.scan(after):
        for owner, after in page:
            if (found := await _find(stories, owner, after)) is not None:
                yield found


async def _find(stories: StoryStore, owner: str, story_id: str) -> tuple[storage_pb2.StoryRecord, Blob | None] | None:
    """Returns a story as it is now, None where it was deleted."""
    try:
        while True:
            record = await stories.get(owner, story_id, full=True)
            audio = record.story.audio
            if not record.story.HasField("audio"):
                return record, None
            found = await stories.find_audio(owner, story_id, audio.audio_id)
            # Otherwise it was narrated again between the two reads.
            if isinstance(found, StoredAudio) and found.blob.sha256 == audio.sha256:
                return record, found.blob
    except DomainError as error:
        if error.reason != "STORY_NOT_FOUND":
            raise
        return None


def _without_run(record: storage_pb2.StoryRecord) -> storage_pb2.StoryRecord:
    """Returns a story without its narration in progress, whose segments are not exported."""
    record.run.ClearField("narration")
    record.run.ClearField("segments")
    return record
