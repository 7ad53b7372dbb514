"""Removals on the wire and by the clock: what the storage service erases, sweeps and leaves nothing of."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from support.servers import running

from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.status import from_rpc_error
from standins.storage_kit import ManualClock, audio_messages, checkpoint, create_request, segment
from storage_service import states
from storage_service.bootstrap import StorageApp, build_app
from storage_service.settings import StorageSettings
from tale.common.v1 import common_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

NAME = "Zyxwina"
AUDIO = b"the voice that says Zyxwina" * 1_000
NEVER = 86_400


@dataclass(frozen=True, slots=True)
class Storage:
    """A service that runs, and where it keeps what it keeps."""

    app: StorageApp
    stub: Any
    profiles: Any
    folder: Path
    clock: ManualClock

    def traces(self) -> list[str]:
        """Names of the files that have the child's name in them."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return [path.name for path in files if NAME.encode() in path.read_bytes()]

    async def child(self) -> str:
        """Id of a kept child."""
        request = profile_pb2.CreateChildRequest(child=common_pb2.Child(name=NAME))
        answer: profile_pb2.CreateChildResponse = await self.profiles.CreateChild(request)
        return answer.child.id

    async def begun(self, **changes: Any) -> str:
        """Id of a story that is being made."""
        answer = await self.stub.CreateStory(create_request(**changes))
        await self.kept(checkpoint(answer.record.story.id, text=(0, f"Once {NAME} slept."), content_complete=True))
        return str(answer.record.story.id)

    async def ready(self, **changes: Any) -> str:
        """Id of a finished story with audio."""
        story_id, audio_id = await self.begun(**changes), new_id()
        header = common_pb2.NarrationHeader(audio_id=audio_id)
        await self.kept(checkpoint(story_id, state=states.NARRATING, narration=header, segments=[segment(0)]))
        await self.stub.WriteAudio(iter(audio_messages(story_id, 1, audio_id, AUDIO)))
        await self.kept(checkpoint(story_id, state=states.READY))
        return story_id

    async def kept(self, one: storage_pb2.StoryCheckpoint) -> None:
        """A checkpoint that holds."""
        request = storage_pb2.CheckpointStoriesRequest(lease_duration=Duration(seconds=30), checkpoints=[one])
        (result,) = (await self.stub.CheckpointStories(request)).results
        assert not result.error.reason

    async def there(self) -> set[str]:
        """Ids of the stories that there are."""
        return {one.id for one in (await self.stub.ListStories(storage_pb2.ListStoriesRequest())).stories}

    async def forgettable(self, child_id: str = "") -> list[str]:
        """Ids of the stories that caches are to forget."""
        request = storage_pb2.ListForgettableRequest(child_id=child_id, max_count=100)
        return [story.story_id for story in (await self.stub.ListForgettable(request)).stories]


def of_child(child_id: str) -> dict[str, Any]:
    """Changes that make a story one of a kept child."""
    return {"story": common_pb2.Story(child_id=child_id, language_code="en", length_minutes=5, narrate=True)}


@asynccontextmanager
async def service(folder: Path, **changes: Any) -> AsyncIterator[Storage]:
    """The service over a folder; unless told otherwise it keeps order only when it is told to."""
    clock = ManualClock()
    fields: dict[str, Any] = {"sweep_interval_seconds": NEVER, "scrub_interval_seconds": NEVER, **changes}
    settings = StorageSettings(
        listen="127.0.0.1:0", ops_listen="127.0.0.1:0", data_dir=folder, drain_seconds=1, **fields
    )
    app = build_app(settings, clock=clock)
    async with running(app, service="storage", settings=settings) as it:
        stub: Any = storage_pb2_grpc.StorageServiceStub(it.channel)
        yield Storage(app, stub, profile_pb2_grpc.ProfileServiceStub(it.channel), folder, clock)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """The service over an empty folder."""
    async with service(tmp_path) as it:
        yield it


async def failure(call: Awaitable[object]) -> DomainError:
    """What a call fails with, as its caller sees it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_erasing_a_child_leaves_nothing(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Call after call until it is done; name, text and audio are in no file of the data folder then."""
    monkeypatch.setattr("storage_service.remover.STORIES_AT_ONCE", 2)
    mia = await storage.child()
    stories = [
        await storage.ready(**of_child(mia)),
        await storage.begun(**of_child(mia)),
        await storage.ready(**of_child(mia)),
    ]
    other = await storage.begun()
    assert storage.traces()
    request = storage_pb2.EraseChildRequest(child_id=mia)
    first, second = await storage.stub.EraseChild(request), await storage.stub.EraseChild(request)
    assert [(2, 1, False), (1, 1, True)] == [
        (step.story_count, step.audio_count, step.done) for step in (first, second)
    ]
    assert {other} == await storage.there()
    await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=other))
    await storage.app.housekeeper.scrub()
    assert [] == storage.traces()
    assert stories == await storage.forgettable(mia)
    await storage.stub.ConfirmForgotten(storage_pb2.ConfirmForgottenRequest(story_ids=stories))
    assert [] == await storage.forgettable(mia)
    gone = await failure(storage.stub.EraseChild(request))
    assert (grpc.StatusCode.NOT_FOUND, "CHILD_NOT_FOUND") == (gone.code, gone.reason)


async def test_files_that_can_not_be_removed_are_no_success(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call fails, and the next one finishes the work."""
    mia = await storage.child()
    await storage.ready(**of_child(mia))
    request = storage_pb2.EraseChildRequest(child_id=mia)

    def refuse(self: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(13, "no", str(self), missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        error = await failure(storage.stub.EraseChild(request))
    assert (grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE") == (error.code, error.reason)
    assert storage.traces()
    again = await storage.stub.EraseChild(request)
    assert (0, 1, True) == (again.story_count, again.audio_count, again.done)
    assert [] == storage.traces()


async def test_what_was_deleted_leaves_nothing_soon_after(tmp_path: Path) -> None:
    """By the service's own timer, for stories and profiles alike."""
    async with service(tmp_path, scrub_interval_seconds=0.05) as storage:
        story_id = await storage.ready()
        mia = await storage.child()
        assert storage.traces()
        clean = asyncio.Event()
        scrub = storage.app.housekeeper.scrub

        async def told() -> None:
            await scrub()
            if not storage.traces():
                clean.set()

        storage.app.housekeeper.scrub = told  # type: ignore[method-assign]
        await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=story_id))
        await storage.profiles.DeleteChild(profile_pb2.DeleteChildRequest(child_id=mia))
        async with asyncio.timeout(20):
            await clean.wait()


async def test_a_scrub_that_was_missed_is_made_up_for(tmp_path: Path) -> None:
    """What was deleted just before the service ended is scrubbed when it is back."""
    async with service(tmp_path) as storage:
        story_id = await storage.ready()
        await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=story_id))
    async with service(tmp_path) as storage:
        await storage.app.housekeeper.scrub()
        assert [] == storage.traces()


async def test_stories_are_kept_for_as_long_as_is_set(tmp_path: Path) -> None:
    """Older ones go with their audio and leave tombstones; what is being made stays, however old."""
    retention = timedelta(days=90)
    async with service(tmp_path, story_retention=retention) as storage:
        old, running_one = await storage.ready(), await storage.begun()
        storage.clock.advance(60)
        young = await storage.ready()
        storage.clock.advance(retention.total_seconds() - 30)
        await storage.app.housekeeper.sweep()
        assert {running_one, young} == await storage.there()
        assert [young] == [path.name[:36] for path in (tmp_path / "storage" / "audio").glob("*/*")]
        repeated = await failure(storage.stub.CreateStory(create_request(story_id=old)))
        assert "STORY_DELETED" == repeated.reason
        assert [old] == await storage.forgettable()


async def test_without_a_retention_stories_are_kept_for_good(storage: Storage) -> None:
    """However old."""
    story_id = await storage.ready()
    storage.clock.advance(10**9)
    await storage.app.housekeeper.sweep()
    assert {story_id} == await storage.there()


async def test_the_timer_sweeps(tmp_path: Path) -> None:
    """Nobody has to ask, and files without a story go too once they are old."""
    changes = {"story_retention": timedelta(days=1), "sweep_interval_seconds": 0.05}
    async with service(tmp_path, **changes) as storage:
        await storage.ready()
        (mine,) = (tmp_path / "storage" / "audio").glob("*/*")
        orphan = mine.with_name(f"{new_id()}.{new_id()}")
        orphan.write_bytes(b"left")
        swept = asyncio.Event()
        sweep = storage.app.housekeeper.sweep

        async def told() -> None:
            await sweep()
            if not orphan.exists() and not mine.exists():
                swept.set()

        storage.app.housekeeper.sweep = told  # type: ignore[method-assign]
        storage.clock.advance(10**9)
        async with asyncio.timeout(20):
            await swept.wait()
        assert set() == await storage.there()


async def test_housekeeping_outlives_a_store_that_fails(tmp_path: Path) -> None:
    """A failure of the medium ends nothing: the next round comes."""
    async with service(tmp_path, scrub_interval_seconds=0.05) as storage:
        rounds: list[int] = []
        again = asyncio.Event()

        async def failing() -> None:
            rounds.append(1)
            if len(rounds) > 2:
                again.set()
            raise DomainError(grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE", "Not now.")

        storage.app.housekeeper.scrub = failing  # type: ignore[method-assign]
        async with asyncio.timeout(20):
            await again.wait()


@pytest.mark.parametrize(
    ("rpc", "request_", "fields"),
    [
        ("EraseChild", storage_pb2.EraseChildRequest(child_id="mia"), ["child_id"]),
        ("ListForgettable", storage_pb2.ListForgettableRequest(child_id="x"), ["child_id", "max_count"]),
        ("ListForgettable", storage_pb2.ListForgettableRequest(max_count=101), ["max_count"]),
        ("ConfirmForgotten", storage_pb2.ConfirmForgottenRequest(), ["story_ids"]),
        ("ConfirmForgotten", storage_pb2.ConfirmForgottenRequest(story_ids=["x"]), ["story_ids[0]"]),
        ("ConfirmForgotten", storage_pb2.ConfirmForgottenRequest(story_ids=[new_id()] * 101), ["story_ids"]),
    ],
)
async def test_all_that_is_wrong_is_said_at_once(storage: Storage, rpc: str, request_: Any, fields: list[str]) -> None:
    """INVALID_ARGUMENT names every field."""
    error = await failure(getattr(storage.stub, rpc)(request_))
    assert (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED") == (error.code, error.reason)
    assert fields == [violation.field for violation in error.violations]
