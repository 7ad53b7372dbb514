"""Audio that changes its place while it is read."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from support.storage_stores import Stores, over_sqlite

from servicekit.errors import DomainError
from standins.storage_kit import (
    LEASE,
    ManualClock,
    MemoryObjects,
    Speech,
    checkpoint,
    lease_token,
    narration,
    new_story,
    speech,
    write_held,
)
from storage_service.audio.finishing import AudioFinisher
from storage_service.audio.library import AudioLibrary
from storage_service.audio.noted import NotedObjects
from storage_service.audio.segments import SegmentLibrary
from storage_service.embedded.database import Database
from storage_service.records import ObjectKind
from storage_service.stories import states

OWNER = "mia"


class Narration:
    """The audio of one story over stores in memory."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.files = MemoryObjects()
        self.objects = NotedObjects(stores.objects, {ObjectKind.SEGMENT: self.files, ObjectKind.AUDIO: self.files})
        self.segments = SegmentLibrary(stores.segments, self.files, self.objects, max_bytes=1 << 20, idle_seconds=1)
        self.library = AudioLibrary(stores.stories, self.files, self.segments)
        self.finisher = AudioFinisher(stores.stories, self.segments, self.objects, self.files, max_bytes=1 << 20)
        self.story_id = ""
        self.audio_id = ""

    async def narrate(self, spoken: list[Speech]) -> None:
        """A story with a whole manifest."""
        record, _ = await self.stores.stories.create(OWNER, new_story(lease=LEASE))
        self.story_id, header = record.story.id, narration()
        self.audio_id = header.audio_id
        keys = await self.stores.objects.note(ObjectKind.SEGMENT, len(spoken))
        for one, key in zip(spoken, keys, strict=True):
            self.files.stored[key] = one.data
            await self.stores.segments.add(one.stored, key, self.story_id)
        made = checkpoint(self.story_id, text=(0, "x" * 10), content_complete=True, narration=header)
        made.segments.extend(one.place for one in spoken)
        await write_held(self.stores.stories, made)

    async def finish(self) -> None:
        """The story is READY, and its segments make room."""
        await self.finisher.finish(self.story_id, await lease_token(self.stores.stories, self.story_id), self.audio_id)
        await write_held(self.stores.stories, checkpoint(self.story_id, state=states.READY))
        await self.objects.drop((await self.stores.segments.evict(0)).dropped)

    async def delete(self) -> None:
        """The story and its bytes are gone."""
        await self.objects.drop(await self.stores.stories.delete(OWNER, self.story_id))


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Narration]:
    """Bytes in memory."""
    async with over_sqlite(Database(tmp_path / "tale.sqlite3", sync="normal", readers=1), ManualClock()) as stores:
        yield Narration(stores)


@pytest.mark.parametrize("offset", [0, 15, 25])
async def test_a_reader_goes_on_where_audio_is_finished_meanwhile(it: Narration, offset: int) -> None:
    """Though its segments were evicted: no byte twice and none missing."""
    spoken = speech([20, 40])
    await it.narrate(spoken)
    found = await it.library.find(OWNER, it.story_id, "")
    await it.finish()
    heard = [block async for block in it.library.read(OWNER, it.story_id, found, offset=offset, limit=30)]
    assert b"".join(heard) == b"".join(one.data for one in spoken)[offset : offset + 30]


async def test_a_reader_goes_on_in_the_middle(it: Narration) -> None:
    """From the byte behind the last one that it got."""
    spoken = speech([20, 40])
    await it.narrate(spoken)
    found = await it.library.find(OWNER, it.story_id, "")
    async with aclosing(it.library.read(OWNER, it.story_id, found, offset=0, limit=None)) as blocks:
        heard = await anext(blocks)
        await it.finish()
        heard += b"".join([block async for block in blocks])
    assert heard == b"".join(one.data for one in spoken)


async def test_a_reader_learns_that_the_story_is_gone(it: Narration) -> None:
    """And not that something is damaged."""
    await it.narrate(speech([20, 40]))
    found = await it.library.find(OWNER, it.story_id, "")
    await it.delete()
    with pytest.raises(DomainError, match="STORY_NOT_FOUND"):
        [block async for block in it.library.read(OWNER, it.story_id, found, offset=0, limit=None)]


async def test_a_reader_of_finished_audio_learns_that_it_was_replaced(it: Narration) -> None:
    """AUDIO_NOT_FOUND, or STORY_NOT_FOUND where the story went."""
    await it.narrate(speech([20, 40]))
    await it.finish()
    found = await it.library.find(OWNER, it.story_id, "")
    await it.delete()
    with pytest.raises(DomainError, match="STORY_NOT_FOUND"):
        [block async for block in it.library.read(OWNER, it.story_id, found, offset=0, limit=None)]
