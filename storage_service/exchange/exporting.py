"""From a store into a file."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import grpc

from servicekit.errors import DomainError
from storage_service.exchange.archive import ArchiveWriter
from storage_service.exchange.errors import ExchangeError
from storage_service.exchange.lines import Counts, from_lines, from_story
from storage_service.records import KeptAudio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from storage_service.exchange.ports import ExchangeStore
    from storage_service.ports import AudioStore
    from storage_service.records import AudioKey
    from tale.storage.v1 import storage_pb2

_BATCH_STORIES: Final = 100
_BATCH_BYTES: Final = 4 << 20


async def export_to(
    path: Path,
    store: ExchangeStore,
    files: AudioStore,
    *,
    skip_damaged: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Counts:
    """Writes all that is kept into `path`; what that was.

    Audio that is damaged ends it with an ExchangeError; with `skip_damaged` its story goes without it, and `tell` is
    told. At no time more than a few stories and a few MiB of audio are in memory.
    """
    writer = await asyncio.to_thread(ArchiveWriter, path)
    try:
        counts = await _Export(writer, store, files, skip_damaged=skip_damaged, tell=tell).run()
        await asyncio.to_thread(writer.finish, counts._asdict())
    except BaseException:
        await asyncio.to_thread(writer.abandon)
        raise
    return counts


class _Export:
    def __init__(
        self,
        writer: ArchiveWriter,
        store: ExchangeStore,
        files: AudioStore,
        *,
        skip_damaged: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._writer = writer
        self._store = store
        self._files = files
        self._skip_damaged = skip_damaged
        self._tell = tell
        self._counts = Counts()
        self._members = 0

    async def run(self) -> Counts:
        async with aclosing(self._store.lines()) as pages:
            async for page in pages:
                await self._add("records", from_lines(page))
                self._counts = self._counts.plus(records=len(page))
        batch: list[bytes] = []
        audio: list[KeptAudio] = []
        async with aclosing(self._store.stories()) as stories:
            async for record, key in stories:
                kept = await self._whole_audio(record, key)
                batch.append(from_story(record))
                audio += [] if kept is None else [kept]
                if len(batch) >= _BATCH_STORIES or sum(map(len, batch)) >= _BATCH_BYTES:
                    await self._flush(batch, audio)
                    batch, audio = [], []
        if batch:
            await self._flush(batch, audio)
        return self._counts

    async def _whole_audio(self, record: storage_pb2.StoryRecord, key: AudioKey | None) -> KeptAudio | None:
        """The audio of a story; where it is damaged and may be left out, None, and the record is without it."""
        if key is None:
            return None
        kept = KeptAudio(record.story.audio, key)
        if not self._skip_damaged:
            return kept
        try:
            async for _ in self._files.read(kept, offset=0, limit=None):
                pass
        except DomainError as error:
            if error.code is not grpc.StatusCode.DATA_LOSS:
                raise
            self._tell(f"story {record.story.id}: its audio is damaged and is left out")
            record.story.ClearField("audio")
            return None
        return kept

    async def _flush(self, batch: list[bytes], audio: list[KeptAudio]) -> None:
        await self._add("stories", b"".join(batch))
        self._counts = self._counts.plus(stories=len(batch))
        for kept in audio:
            await self._add_audio(kept)

    async def _add_audio(self, kept: KeptAudio) -> None:
        story_id, size = kept.key.story_id, kept.audio.size_bytes
        await asyncio.to_thread(self._writer.begin, f"audio/{story_id}", size)
        try:
            async with aclosing(self._files.read(kept, offset=0, limit=None)) as blocks:
                async for block in blocks:
                    await asyncio.to_thread(self._writer.write, block)
        except DomainError as error:
            if error.code is grpc.StatusCode.DATA_LOSS:
                raise ExchangeError(
                    f"story {story_id}: its audio is missing or damaged; narrate it again, or leave such audio out"
                    " with --skip-damaged"
                ) from error
            raise
        self._counts = self._counts.plus(audio=1, audio_bytes=size)

    async def _add(self, folder: str, data: bytes) -> None:
        self._members += 1
        await asyncio.to_thread(self._writer.add, f"{folder}/{self._members:06}.jsonl", data)
