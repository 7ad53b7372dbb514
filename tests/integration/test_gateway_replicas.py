"""Two gateways on one store: each shows every story, and each can stop it."""

import asyncio
from pathlib import Path

import pytest
from support.house import House, house

from servicekit.channel import open_channel
from standins.watcher import Watcher, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

READY, CANCELLED = common_pb2.STORY_STATE_READY, common_pb2.STORY_STATE_CANCELLED
STARTED = common_pb2.ATTEMPT_OUTCOME_STARTED


async def begun(home: House, wish: common_pb2.StorySpec) -> tuple[Watcher, "asyncio.Task[None]"]:
    """A story with a run in this gateway, and its watcher there."""
    watcher = Watcher()
    telling = watcher.tell(home.channel, wish)
    await watcher.until(lambda seen: bool(seen.states))
    return watcher, telling


async def follows(calls: House) -> int:
    """Number of FollowStories calls."""
    found = await calls.calls("OK")
    return sum(count for method, count in found.items() if "FollowStories" in method)


async def test_other_gateway_shows_a_story_within_a_second(tmp_path: Path) -> None:
    """Text and audio while they are made, and the very same story at the end."""
    loop = asyncio.get_running_loop()
    async with house(tmp_path, words_per_second=40) as home, home.another_gateway() as other:
        here, telling = await begun(home, spec(1))
        there = Watcher(story_id=here.story_id)
        watching = there.watch(other.channel)
        await there.until(lambda seen: bool(seen.states))
        for has in (lambda seen: seen.text, lambda seen: seen.audio, lambda seen: len(seen.segments) > 1):
            await here.until(has)
            since = loop.time()
            await there.until(has)
            assert loop.time() - since < 1.0
        await asyncio.gather(telling, watching)
        story = await other.get(here.story_id)
    assert here.done == there.done
    assert here.title == there.title
    assert here.text == there.text
    assert here.audio == there.audio
    assert here.segments == there.segments
    assert there.audio_sha256 == story.audio.sha256


async def test_story_is_cancelled_through_the_other_gateway(tmp_path: Path) -> None:
    """Its run stops within a second, no attempt is left open, and what it cost is in the story."""
    loop = asyncio.get_running_loop()
    async with house(tmp_path, words_per_second=40) as home, home.another_gateway() as other:
        here, telling = await begun(home, spec(2, minutes=10))
        await here.until(lambda seen: bool(seen.audio))
        since = loop.time()
        answer = await other.cancel(here.story_id)
        await telling
        assert loop.time() - since < 1.2
        assert 0 == (await home.status()).running_stories
        story = await other.get(here.story_id)
    assert here.done is not None
    assert CANCELLED == answer.state == here.done.state == story.state
    assert here.text == story.content
    assert [] == [line for line in story.attempts if line.outcome == STARTED]
    assert {common_pb2.ATTEMPT_KIND_WRITING, common_pb2.ATTEMPT_KIND_SPEECH_CALL} <= {
        line.kind for line in story.attempts
    }


async def test_second_narration_is_cancelled_through_the_other_gateway(tmp_path: Path) -> None:
    """The story goes back to READY with its old audio; its run stops and closes its attempts."""
    async with house(tmp_path, realtime_factor=60) as home, home.another_gateway() as other:
        watcher = await home.tell(spec(3))
        again = gateway_pb2.NarrateStoryRequest(
            story_id=watcher.story_id,
            voice=common_pb2.VoiceSelection(provider="mock", settings=common_pb2.VoiceSettings(speed=1.5)),
        )
        await home.stub.NarrateStory(again, timeout=10)
        second = Watcher(story_id=watcher.story_id)
        watching = second.watch(home.channel)
        await second.until(lambda seen: bool(seen.segments))
        assert READY == (await other.cancel(watcher.story_id)).state
        await watching
        story = await other.get(watcher.story_id)
    assert second.done is not None
    assert READY == second.done.state
    assert watcher.audio_id == second.audio_id
    assert watcher.audio == second.audio
    assert [] == [line for line in story.attempts if line.outcome == STARTED]


async def test_draining_gateway_leaves_its_stories_to_the_other(tmp_path: Path) -> None:
    """Its watchers there get the same bytes, though the poll is an hour away."""
    async with house(tmp_path, words_per_second=40, pickup_interval_seconds=3600) as home:
        made, there = Watcher(), Watcher()
        async with home.another_gateway() as other:
            channel = open_channel(other.servers["gateway"].address)
            telling = made.tell(channel, spec(4))
            await made.until(lambda seen: bool(seen.states))
            there.story_id = made.story_id
            watching = there.watch(home.channel)
            await there.until(lambda seen: len(seen.segments) > 1)
        await asyncio.gather(telling, watching)
        await channel.close()
        story = await home.get(there.story_id)
    assert made.error is not None
    assert READY == story.state, story.problems
    assert there.error is None
    assert there.audio_sha256 == story.audio.sha256
    assert bytes(there.audio[: len(made.audio)]) == bytes(made.audio)
    assert [] == [line for line in story.attempts if line.outcome == STARTED]


async def test_listener_joins_late_or_resumes_at_any_gateway(tmp_path: Path) -> None:
    """At either gateway, while the story is made: exactly the bytes that follow."""
    async with house(tmp_path, words_per_second=40) as home, home.another_gateway() as other:
        here, telling = await begun(home, spec(5))
        await here.until(lambda seen: len(seen.segments) > 2)
        late = [Watcher(story_id=here.story_id) for _ in range(2)]
        back = [
            Watcher(
                story_id=here.story_id,
                text=here.text,
                audio_id=here.audio_id,
                audio=bytearray(here.audio[: len(here.audio) * share // 7]),
            )
            for share in (2, 5)
        ]
        for watcher in back:
            watcher.segments = [each for each in here.segments if each.audio.end <= len(watcher.audio)]
        doors = (home.channel, other.channel, home.channel, other.channel)
        watching = [watcher.watch(door) for watcher, door in zip([*late, *back], doors, strict=True)]
        await asyncio.gather(telling, *watching)
    for watcher in (*late, *back):
        assert watcher.error is None
        assert watcher.text == here.text
        assert watcher.audio == here.audio
        assert watcher.segments == here.segments


@pytest.mark.parametrize("where", ["maker", "other"])
async def test_many_listeners_read_each_segment_once(tmp_path: Path, where: str) -> None:
    """Fifty at one gateway, while the story is made; each segment is read from storage once."""
    async with house(tmp_path, words_per_second=80) as home, home.another_gateway() as other:
        story = await home.create(spec(6))
        door = home if where == "maker" else other
        seen = [Watcher(story_id=story.id) for _ in range(50)]
        await asyncio.gather(*(watcher.watch(door.channel) for watcher in seen))
        calls = await home.calls("OK")
    assert 1 == len({watcher.audio_sha256 for watcher in seen})
    assert all(watcher.done is not None for watcher in seen)
    (reads,) = (count for method, count in calls.items() if "ReadAudio" in method)
    assert len(seen[0].segments) == reads


async def test_idle_gateway_makes_no_calls_to_storage(tmp_path: Path) -> None:
    """A story that is watched ends the silence, and its end begins it again."""
    async with house(tmp_path) as home:
        await home.tell(spec(7, narrate=False))
        before = await follows(home)
        await asyncio.sleep(1.0)
        assert before == await follows(home)


async def test_read_of_audio_in_progress_returns_the_audio_so_far(tmp_path: Path) -> None:
    """A prefix of the finished file, from any byte, at the gateway that does not make it as well."""
    async with house(tmp_path, words_per_second=40) as home, home.another_gateway() as other:
        here, telling = await begun(home, spec(8))
        await here.until(lambda seen: len(seen.segments) > 2)
        header, data = await other.read_audio(here.story_id)
        _, rest = await other.read_audio(here.story_id, offset=1000)
        assert not header.sha256
        assert len(data) == header.size_bytes
        await telling
    assert len(data) < len(here.audio)
    assert data == bytes(here.audio[: len(data)])
    assert rest == bytes(here.audio[1000 : 1000 + len(rest)])


async def test_good_stories_leave_no_call_cancelled_and_no_attempt_open(tmp_path: Path) -> None:
    """Every stream between the services is read to its status; the metrics of all of them say so."""
    async with house(tmp_path, words_per_second=400) as home, home.another_gateway() as other:
        told = await asyncio.gather(*(home.tell(spec(seed)) for seed in range(20, 30)))
        for watcher in told[:3]:
            await other.watch(watcher.story_id)
            await other.read_audio(watcher.story_id)
        stories = [await home.get(watcher.story_id) for watcher in told]
        assert {} == await home.calls("CANCELLED")
        assert {} == await other.calls("CANCELLED")
    assert {READY} == {story.state for story in stories}
    assert {common_pb2.ATTEMPT_OUTCOME_SUCCEEDED} == {line.outcome for story in stories for line in story.attempts}
    assert [] == [problem for story in stories for problem in story.problems]
