"""Erasing a child and deleting stories through the whole cluster: what is left, and what is made up for later."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.house import House, house

from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.status import from_rpc_error
from standins.watcher import Watcher, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc
from tale.storage.v1 import storage_pb2
from voice_service.cache.objects import ObjectCache
from voice_service.cache.ports import CacheError

NAME = "Zyxwina"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """A cluster over an empty folder."""
    async with house(tmp_path, words_per_second=400) as it:
        yield it


async def child(home: House, name: str = NAME) -> str:
    """Id of a kept child."""
    profiles: Any = profile_pb2_grpc.ProfileServiceStub(home.channel)
    request = profile_pb2.CreateChildRequest(child=common_pb2.Child(name=name, age=6))
    answer: profile_pb2.CreateChildResponse = await profiles.CreateChild(request, timeout=10)
    return answer.child.id


def wish(child_id: str, seed: int, *, minutes: int = 1) -> common_pb2.StorySpec:
    """A wish of a kept child; no two of them share a segment but by chance."""
    told = spec(seed, minutes=minutes)
    told.child_id = child_id
    return told


async def erase(home: House, child_id: str) -> gateway_pb2.EraseChildResponse:
    """Erases a child."""
    answer: gateway_pb2.EraseChildResponse = await home.stub.EraseChild(
        gateway_pb2.EraseChildRequest(child_id=child_id), timeout=30
    )
    return answer


async def failure(call: Any) -> DomainError:
    """What a call fails with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def holding(folder: Path, *words: bytes) -> list[str]:
    """The files below a folder that hold any of the words."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in files if any(word in path.read_bytes() for word in words)]


async def test_an_erased_child_is_in_no_file(home: House, tmp_path: Path) -> None:
    """Neither its name nor the text and sound of its stories, in database, audio and voice cache; others' stay."""
    mia, ada = await child(home), await child(home, "Ada")
    told = [await home.tell(wish(mia, seed)) for seed in (1, 2)]
    other = await home.tell(wish(ada, 3))
    ours = [sentence.encode() for watcher in told for sentence in watcher.text.split(". ") if NAME in sentence]
    sounds = [bytes(watcher.audio[-2_000:]) for watcher in told]
    assert {"storage", "voice-cache"} <= {name.split("/")[0] for name in holding(tmp_path, *ours, *sounds)}
    answer = await erase(home, mia)
    assert (2, 2, True) == (answer.story_count, answer.audio_count, answer.segment_count > 0)
    assert [] == holding(tmp_path, NAME.encode(), *ours, *sounds)
    assert [] == [path.name for watcher in told for path in (tmp_path / "voice-cache").rglob(f"*{watcher.story_id}*")]
    for call in (erase(home, mia), home.create(wish(mia, 4))):
        gone = await failure(call)
        assert (grpc.StatusCode.NOT_FOUND, "CHILD_NOT_FOUND") == (gone.code, gone.reason)
    assert other.text == (await home.get(other.story_id)).content
    assert bytes(other.audio) == (await home.read_audio(other.story_id))[1]


async def test_a_story_in_the_making_is_stopped_and_erased(home: House, tmp_path: Path) -> None:
    """Its watcher learns that it is gone, and its run leaves nothing behind."""
    mia = await child(home)
    watcher = Watcher()
    telling = watcher.tell(home.channel, wish(mia, 1, minutes=10))
    await watcher.until(lambda seen: bool(seen.text and seen.audio))
    assert 1 == (await erase(home, mia)).story_count
    await telling
    assert watcher.error is not None
    assert "STORY_NOT_FOUND" == from_rpc_error(watcher.error).reason
    status = await home.stub.GetSystemStatus(gateway_pb2.GetSystemStatusRequest(), timeout=10)
    assert 0 == status.running_stories
    assert [] == holding(tmp_path, NAME.encode())


async def test_who_is_unknown_can_not_be_erased(home: House) -> None:
    """NOT_FOUND, and what is no id is a violation."""
    gone = await failure(erase(home, new_id()))
    assert (grpc.StatusCode.NOT_FOUND, "CHILD_NOT_FOUND") == (gone.code, gone.reason)
    bad = await failure(erase(home, "mia"))
    assert ["child_id"] == [violation.field for violation in bad.violations]


class Forgetful:
    """A switch at the voice service's cache: while it is off, nothing can be forgotten."""

    def __init__(self) -> None:
        self.off = True
        self.worked = asyncio.Event()

    def replace(self, forget: Callable[..., Any]) -> Callable[..., Any]:
        """`forget` under this switch."""

        async def switched(cache: ObjectCache, story_ids: Any, segment_sha256: Any) -> int:
            if self.off:
                raise CacheError("off")
            count: int = await forget(cache, story_ids, segment_sha256)
            self.worked.set()
            return count

        return switched


@asynccontextmanager
async def forgetful(folder: Path, patch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[tuple[House, Forgetful]]:
    """A cluster whose voice cache forgets only when its switch is on."""
    switch = Forgetful()
    patch.setattr(ObjectCache, "forget", switch.replace(ObjectCache.forget))
    async with house(folder, **settings) as it:
        yield it, switch


async def test_what_can_not_be_forgotten_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call says so, and repeating it finishes the job and counts it."""
    async with forgetful(tmp_path, monkeypatch) as (home, switch):
        mia = await child(home)
        watcher = await home.tell(wish(mia, 1))
        for _ in range(2):
            error = await failure(erase(home, mia))
            assert (grpc.StatusCode.UNAVAILABLE, "ERASE_INCOMPLETE", True) == (
                error.code,
                error.reason,
                error.retry_after is not None,
            )
        assert "STORY_NOT_FOUND" == (await failure(home.get(watcher.story_id))).reason
        assert holding(tmp_path / "voice-cache", bytes(watcher.audio[-2_000:]))
        switch.off = False
        answer = await erase(home, mia)
        assert (1, 1, len(watcher.segments)) == (answer.story_count, answer.audio_count, answer.segment_count)
        assert [] == holding(tmp_path, NAME.encode(), bytes(watcher.audio[-2_000:]))
        assert "CHILD_NOT_FOUND" == (await failure(erase(home, mia))).reason


async def test_a_deleted_story_is_forgotten_later_where_it_could_not_be_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway asks again by itself until storage has nothing left to tell."""
    async with forgetful(tmp_path, monkeypatch, forget_interval_seconds=0.1) as (home, switch):
        watcher = await home.tell(spec(1))
        await home.stub.DeleteStory(gateway_pb2.DeleteStoryRequest(story_id=watcher.story_id), timeout=10)
        left = await home.storage.ListForgettable(storage_pb2.ListForgettableRequest(max_count=10), timeout=10)
        assert [watcher.story_id] == [story.story_id for story in left.stories]
        switch.off = False
        async with asyncio.timeout(20):
            await switch.worked.wait()
        assert [] == holding(tmp_path / "voice-cache", bytes(watcher.audio[-2_000:]))
