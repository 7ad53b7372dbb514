"""Exports all that is stored into a file."""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import grpc

from servicekit.errors import DomainError
from storage_service.exchange.archive import ArchiveWriter
from storage_service.exchange.lines import Counts, Entry, ExchangeError, from_entries, from_story
from storage_service.ports import ObjectStore, Records, StoryStore
from storage_service.records import Blob, StoredAudio, StoredRequest, Tombstone
from tale.storage.v1 import storage_pb2

_BATCH_STORIES: Final = 100
_BATCH_BYTES: Final = 4 << 20
_BLOCK: Final = 1 << 20
_SPOOL_BYTES: Final = 8 << 20
_REPORT_SECONDS: Final = 2.0
_PROFILES: Final = frozenset({"CreateChild", "CreateHero"})
"""RPCs whose requests are about no story."""


async def export_to(
    path: Path,
    records: Records,
    files: ObjectStore,
    *,
    skip_damaged: bool = False,
    report: Callable[[str], None] = lambda _: None,
    scratch: str | None = None,
) -> Counts:
    """Writes all that is stored into `path` ("-": standard output); returns what that was.

    A service may run meanwhile. Every story that was there at the beginning is in it, with its audio, its request and
    its profiles, as it was when it was read; one that is deleted meanwhile is left out, one that is narrated again has
    the audio of then. Narrations in progress are left out: they start again.

    Audio that is damaged ends it with an ExchangeError; with `skip_damaged` its story goes without it, and `report`
    gets a line, as it does about the progress. At no time more than a few stories and a few MiB of audio are in memory;
    larger audio is read into a file without a name in `scratch` before it is written.
    """
    writer = await asyncio.to_thread(ArchiveWriter, path)
    try:
        counts = await _Export(writer, records, files, skip_damaged, report, scratch).run()
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
    scratch: str | None
    counts: Counts = field(default_factory=Counts)
    members: int = 0
    last_story: str = ""
    reported: float = field(default_factory=time.monotonic)

    async def run(self) -> Counts:
        batch: list[bytes] = []
        async with aclosing(all_stories(self.records.stories)) as stories:
            async for found, blob in stories:
                self.last_story = found.story.id
                record = await self._add_with_audio(_without_run(found), blob)
                if record is not None:
                    batch.append(from_story(record))
                if len(batch) >= _BATCH_STORIES or sum(map(len, batch)) >= _BATCH_BYTES:
                    await self._flush(batch)
                    batch = []
                self._report_progress()
        if batch:
            await self._flush(batch)
        # After the stories: whatever these refer to was stored before them.
        await self._add_profiles()
        await self._add_requests()
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
            await self._add_entries([one for one in page if not await self._is_later(one)])
            after = page[-1]

    async def _is_later(self, request: StoredRequest) -> bool:
        """Returns True for a story that was created after the last one was read: its request stays new, too."""
        if request.resource_id <= self.last_story or request.rpc in _PROFILES:
            return False
        return await _find(self.records.stories, request.owner, request.resource_id) is not None

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
            with tempfile.SpooledTemporaryFile(_SPOOL_BYTES, dir=self.scratch) as audio:
                try:
                    await self._read_audio(blob, audio)
                except DomainError as error:
                    if error.code is not grpc.StatusCode.DATA_LOSS:
                        raise
                    now = await _find(self.records.stories, record.owner, record.story.id)
                    if now is None:
                        # It was deleted meanwhile, and its tombstone comes.
                        return None
                    if now[1] == blob:
                        return self._without_audio(record, error)
                    # It was narrated again meanwhile.
                    record, blob = _without_run(now[0]), now[1]
                else:
                    await self._add("stories", from_story(record))
                    await asyncio.to_thread(self._write_audio, record.story.id, blob.size, audio)
                    self.counts = self.counts.plus(stories=1, audio=1, audio_bytes=blob.size)
                    return None
        return record

    def _report_progress(self) -> None:
        if time.monotonic() - self.reported >= _REPORT_SECONDS:
            self.reported = time.monotonic()
            self.report(f"{self.counts.in_words()} so far")

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

    async def _read_audio(self, blob: Blob, audio: IO[bytes]) -> None:
        async with aclosing(self.files.read(blob)) as blocks:
            async for block in blocks:
                await asyncio.to_thread(audio.write, block)

    def _write_audio(self, story_id: str, size: int, audio: IO[bytes]) -> None:
        self.writer.begin(f"audio/{story_id}", size)
        audio.seek(0)
        while block := audio.read(_BLOCK):
            self.writer.write(block)

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
