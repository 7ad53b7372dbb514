"""Erasing a child through the whole cluster: what remains, and what happens to its running stories."""

import asyncio
from collections.abc import AsyncIterator
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

NAME = "Zyxwina"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """A cluster over an empty folder."""
    async with house(tmp_path, words_per_second=400) as it:
        yield it


async def child(home: House, name: str = NAME) -> str:
    """Returns the id of a stored child."""
    profiles: Any = profile_pb2_grpc.ProfileServiceStub(home.channel)
    request = profile_pb2.CreateChildRequest(child=common_pb2.Child(name=name, age=6))
    answer: profile_pb2.CreateChildResponse = await profiles.CreateChild(request, timeout=10)
    return answer.child.id


def wish(child_id: str, seed: int, *, minutes: int = 1) -> common_pb2.StorySpec:
    """Returns a spec for a stored child; two of them share no segment except by chance."""
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


async def test_erased_child_is_in_no_file(home: House, tmp_path: Path) -> None:
    """Neither its name nor text and sound of its stories, in database, audio and segments; those of others stay."""
    mia, ada = await child(home), await child(home, "Ada")
    told = [await home.tell(wish(mia, seed)) for seed in (1, 2)]
    other = await home.tell(wish(ada, 3))
    ours = [sentence.encode() for watcher in told for sentence in watcher.text.split(". ") if NAME in sentence]
    sounds = [bytes(watcher.audio[-2_000:]) for watcher in told]
    assert holding(tmp_path, *ours)
    assert len(holding(tmp_path, *sounds)) >= 4
    answer = await erase(home, mia)
    assert answer.story_count == 2
    assert answer.audio_count == 2
    assert answer.segment_count > 0
    assert [] == holding(tmp_path, NAME.encode(), *ours, *sounds)
    gone = await failure(home.create(wish(mia, 4)))
    assert grpc.StatusCode.NOT_FOUND == gone.code
    assert "CHILD_NOT_FOUND" == gone.reason
    again = await erase(home, mia)
    assert [0, 0, 0] == [again.story_count, again.audio_count, again.segment_count]
    assert again.receipt_id != answer.receipt_id
    assert other.text == (await home.get(other.story_id)).content
    assert bytes(other.audio) == (await home.read_audio(other.story_id))[1]


async def test_running_story_is_stopped_and_erased(home: House, tmp_path: Path) -> None:
    """Its watcher learns that it is gone, and its run leaves nothing behind."""
    mia = await child(home)
    watcher = Watcher()
    telling = watcher.tell(home.channel, wish(mia, 1, minutes=10))
    await watcher.until(lambda seen: bool(seen.text and seen.audio))
    assert 1 == (await erase(home, mia)).story_count
    await telling
    assert watcher.error is not None
    assert "STORY_NOT_FOUND" == from_rpc_error(watcher.error).reason
    assert 0 == (await home.status()).running_stories
    assert [] == holding(tmp_path, NAME.encode())


async def test_unknown_child_cannot_be_erased(home: House) -> None:
    """NOT_FOUND, and what is no id is a violation."""
    gone = await failure(erase(home, new_id()))
    assert grpc.StatusCode.NOT_FOUND == gone.code
    assert "CHILD_NOT_FOUND" == gone.reason
    bad = await failure(erase(home, "mia"))
    assert ["child_id"] == [violation.field for violation in bad.violations]


async def test_child_is_erased_while_another_gateway_runs_its_story(home: House, tmp_path: Path) -> None:
    """That gateway learns it from storage, stops, and stores nothing more of it."""
    mia = await child(home)
    watcher = Watcher()
    telling = watcher.tell(home.channel, wish(mia, 1, minutes=10))
    await watcher.until(lambda seen: bool(seen.text and seen.audio))
    async with home.another_gateway() as other:
        assert 1 == (await erase(other, mia)).story_count
    await telling
    assert watcher.error is not None
    assert "STORY_NOT_FOUND" == from_rpc_error(watcher.error).reason
    async with asyncio.timeout(10):
        while (await home.status()).running_stories:  # noqa: ASYNC110 - the run ends by itself
            await asyncio.sleep(0.02)
    assert [] == holding(tmp_path, NAME.encode())
