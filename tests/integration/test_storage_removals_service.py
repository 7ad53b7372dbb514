"""Removals on the wire and by the clock: what the storage service erases, removes and leaves nothing of."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from support import storage_service
from support.storage_service import SIZES, Storage, failure, found, narrated, narrating

from servicekit.errors import DomainError
from servicekit.ids import new_id
from standins.storage_kit import create_request
from storage_service.records import ObjectKind
from storage_service.settings import Tuning
from tale.common.v1 import common_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc
from tale.storage.v1 import storage_pb2

NAME = "Zyxwina"
TEXT = f"Once {NAME} slept very very long"[:30]
NEVER = 86_400


def service(folder: Path, **changes: Any) -> Any:
    """The service over a folder; unless a test changes it, it deletes nothing on its own."""
    given = {"sweep_interval_seconds": NEVER, "tuning": Tuning(scrub_interval=NEVER), **changes}
    return storage_service.service(folder, **given)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """The service over an empty folder."""
    async with service(tmp_path) as it:
        yield it


def profiles(storage: Storage) -> Any:
    """The other service of the same server."""
    return profile_pb2_grpc.ProfileServiceStub(storage.channel)


async def child(storage: Storage) -> str:
    """Id of a stored child."""
    answer = await profiles(storage).CreateChild(profile_pb2.CreateChildRequest(child=common_pb2.Child(name=NAME)))
    return str(answer.child.id)


def of_child(child_id: str) -> dict[str, Any]:
    """Changes that make a story one of a stored child."""
    return {"story": common_pb2.Story(child_id=child_id, language_code="en", length_minutes=5, narrate=True)}


def traces(storage: Storage) -> list[str]:
    """Names of the files that have the child's name in them."""
    files = [path for path in storage.folder.rglob("*") if path.is_file()]
    return [path.name for path in files if NAME.encode() in path.read_bytes()]


async def there(storage: Storage) -> set[str]:
    """Ids of the stories that there are."""
    return {one.id for one in (await storage.stub.ListStories(storage_pb2.ListStoriesRequest())).stories}


async def test_erasing_a_child_leaves_nothing(storage: Storage) -> None:
    """One call, however many stories: name, text, audio and segments are in no file of the data folder then."""
    mia = await child(storage)
    ready = await narrated(storage, text=TEXT, **of_child(mia))
    unfinished = await narrating(storage, text=TEXT, **of_child(mia))
    for _ in range(120):
        await storage.stub.CreateStory(create_request(**of_child(mia)))
    other = await narrated(storage)
    assert traces(storage)
    request = storage_pb2.EraseChildRequest(child_id=mia)
    answer = await storage.stub.EraseChild(request)
    assert answer.story_count == 122
    assert answer.audio_count == 1
    assert answer.segment_count == 2 * len(SIZES)
    assert await there(storage) == {other.story_id}
    assert traces(storage) == []
    assert len(storage.files("audio")) == 1
    assert len(storage.files("segments")) == len(SIZES)
    keys = [one.stored.key for made in (ready, unfinished) for one in made.spoken]
    assert await found(storage, *keys) == set()
    assert await storage.stub.EraseChild(request) == storage_pb2.EraseChildResponse()
    gone = await failure(storage.stub.EraseChild(storage_pb2.EraseChildRequest(child_id=new_id())))
    assert gone.code is grpc.StatusCode.NOT_FOUND
    assert gone.reason == "CHILD_NOT_FOUND"


async def test_files_that_cannot_be_removed_are_no_success(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call fails, and the next one finishes the work and counts it."""
    mia = await child(storage)
    await narrated(storage, text=TEXT, **of_child(mia))
    request = storage_pb2.EraseChildRequest(child_id=mia)

    def refuse(self: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(13, "no", str(self), missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        error = await failure(storage.stub.EraseChild(request))
    assert error.code is grpc.StatusCode.UNAVAILABLE
    assert error.reason == "STORAGE_UNAVAILABLE"
    assert traces(storage)
    again = await storage.stub.EraseChild(request)
    assert again.story_count == 0
    assert again.audio_count == 1
    assert again.segment_count == len(SIZES)
    assert traces(storage) == []
    assert storage.files() == []


async def test_files_that_could_not_be_removed_go_later(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A story is deleted all the same."""
    made = await narrated(storage)

    def refuse(self: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(13, "no", str(self), missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=made.story_id))
    assert storage.files()
    await storage.app.housekeeper.sweep()
    assert storage.files() == []


async def test_what_was_deleted_leaves_nothing_soon_after(tmp_path: Path) -> None:
    """By the service's own timer, for stories and profiles alike."""
    async with service(tmp_path, tuning=Tuning(scrub_interval=0.05)) as storage:
        made = await narrated(storage, text=TEXT)
        mia = await child(storage)
        assert traces(storage)
        clean = asyncio.Event()
        scrub = storage.app.housekeeper.scrub

        async def observed() -> None:
            await scrub()
            if not traces(storage):
                clean.set()

        storage.app.housekeeper.scrub = observed
        await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=made.story_id))
        await profiles(storage).DeleteChild(profile_pb2.DeleteChildRequest(child_id=mia))
        async with asyncio.timeout(20):
            await clean.wait()


async def test_a_scrub_that_was_missed_is_made_up_for(tmp_path: Path) -> None:
    """What was deleted just before the service ended is scrubbed when it is back."""
    async with service(tmp_path) as storage:
        made = await narrated(storage, text=TEXT)
        await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=made.story_id))
    async with service(tmp_path) as storage:
        await storage.app.housekeeper.scrub()
        assert traces(storage) == []


async def test_stories_are_stored_for_as_long_as_is_set(tmp_path: Path) -> None:
    """Older ones go with their audio and leave tombstones; what is being made stays, however old."""
    retention = timedelta(days=90)
    async with service(tmp_path, story_retention=retention) as storage:
        old, unfinished = await narrated(storage), await narrating(storage)
        storage.clock.advance(60)
        young = await narrated(storage)
        storage.clock.advance(retention.total_seconds() - 30)
        await storage.app.housekeeper.sweep()
        assert await there(storage) == {unfinished.story_id, young.story_id}
        assert [path.read_bytes() for path in storage.files("audio")] == [young.data]
        assert len(storage.files("segments")) == 2 * len(SIZES)
        repeated = await failure(storage.stub.CreateStory(create_request(story_id=old.story_id)))
        assert repeated.reason == "STORY_DELETED"


async def test_without_a_retention_stories_are_stored_for_good(storage: Storage) -> None:
    """However old."""
    made = await narrated(storage, sizes=[100, 100])
    storage.clock.advance(10**9)
    await storage.app.housekeeper.sweep()
    assert await there(storage) == {made.story_id}


async def test_the_timer_removes_what_is_to_go(tmp_path: Path) -> None:
    """Old stories, and bytes of uploads that never ended."""
    changes = {"story_retention": timedelta(days=1), "sweep_interval_seconds": 0.05}
    async with service(tmp_path, **changes) as storage:
        await narrated(storage, sizes=[100, 100])
        (key,) = await storage.app._backend.records.objects.note(ObjectKind.SEGMENT, 1)
        stray = storage.folder / "storage" / key.path
        stray.parent.mkdir(parents=True, exist_ok=True)
        stray.write_bytes(b"left by a crash")
        swept = asyncio.Event()
        sweep = storage.app.housekeeper.sweep

        async def observed() -> None:
            await sweep()
            if not storage.files():
                swept.set()

        storage.app.housekeeper.sweep = observed
        storage.clock.advance(10**9)
        async with asyncio.timeout(20):
            await swept.wait()
        assert await there(storage) == set()


async def test_an_upload_on_its_way_is_left_alone_for_an_hour(storage: Storage) -> None:
    """Then it is removed, and its record is refused should it still come."""
    objects = storage.app._backend.records.objects
    (key,) = await objects.note(ObjectKind.SEGMENT, 1)
    path = storage.folder / "storage" / key.path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"on its way")
    storage.clock.advance(3_590)
    await storage.app.housekeeper.sweep()
    assert path.exists()
    storage.clock.advance(20)
    await storage.app.housekeeper.sweep()
    assert not path.exists()
    assert await objects.mark_deleted([key]) == [key]


async def test_erasing_removes_what_was_replaced_and_stayed(storage: Storage) -> None:
    """Bytes of audio that another took the place of, and that could not be removed then, may be the child's."""
    objects = storage.app._backend.records.objects
    mia = await child(storage)
    await narrated(storage, text=TEXT, **of_child(mia))
    keys = await objects.note(ObjectKind.AUDIO, 1)
    path = storage.folder / "storage" / keys[0].path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(NAME.encode())
    await objects.mark_deleted(keys)
    await storage.stub.EraseChild(storage_pb2.EraseChildRequest(child_id=mia))
    assert storage.files() == []


async def test_what_a_crash_left_half_written_goes_with_the_next_start(tmp_path: Path) -> None:
    """Not after an hour: no other process writes to the embedded store."""
    async with service(tmp_path) as storage:
        (key,) = await storage.app._backend.records.objects.note(ObjectKind.SEGMENT, 1)
        path = storage.folder / "storage" / key.path
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
    async with service(tmp_path) as storage:
        await storage.app.housekeeper.sweep()
        assert storage.files() == []


async def test_housekeeping_outlives_a_store_that_fails(tmp_path: Path) -> None:
    """A failure of the medium ends nothing: the next round comes."""
    async with service(tmp_path, tuning=Tuning(scrub_interval=0.05)) as storage:
        rounds: list[int] = []
        again = asyncio.Event()

        async def failing() -> None:
            rounds.append(1)
            if len(rounds) > 2:
                again.set()
            raise DomainError("STORAGE_UNAVAILABLE", "Not now.")

        storage.app.housekeeper.scrub = failing
        async with asyncio.timeout(20):
            await again.wait()
