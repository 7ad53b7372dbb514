"""Storage away longer than the leases, and a gateway that is gone: nothing is lost, and nothing is paid twice."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.house import house
from support.openrouter_fake import DONE, Answer, Finish, Usage, Wait, pieces, stream
from support.paid_house import paid_house

from standins.made_up import made_up_story
from standins.watcher import Watcher, spec
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

READY, NARRATING = common_pb2.STORY_STATE_READY, common_pb2.STORY_STATE_NARRATING
STORIES = 18
LEASE = 1.5


def held(text: str, until: asyncio.Event) -> Answer:
    """An answer whose second half comes when it may."""
    half = len(text) // 2
    return stream(*pieces(text[:half]), Wait(until, keep_alive=0.2), *pieces(text[half:]), Finish(), Usage(None), DONE)


def numbered(seed: int) -> common_pb2.StorySpec:
    """Returns a request whose prompt shows which of the stories is its own."""
    request = spec(seed)
    request.wish = f"a dragon who counts to {seed}."
    return request


def full(story_id: str) -> storage_pb2.GetStoryRequest:
    """Requests the record with its manifest."""
    return storage_pb2.GetStoryRequest(story_id=story_id, view=common_pb2.STORY_VIEW_FULL)


@pytest.mark.parametrize("during", ["writing", "narration"])
async def test_storage_away_longer_than_the_leases_costs_no_second_call(tmp_path: Path, during: str) -> None:
    """Texts and segments go on arriving meanwhile; each is written and spoken once, and all of it is stored."""
    stories = [made_up_story(seed, 150) for seed in range(STORIES)]
    settings: dict[str, Any] = {"lease_seconds": LEASE, "pickup_interval_seconds": 0.1}
    async with paid_house(tmp_path, gate=True, **settings) as paid:
        home, gate = paid.home, paid.home.proxies["storage"]
        go_on = asyncio.Event()
        if during == "narration":
            go_on.set()
            paid.voice.hold = asyncio.Event()
        answers = {f"counts to {seed}.": held(story.answer(), go_on) for seed, story in enumerate(stories)}
        paid.writer.default = lambda call: next(answers[mark] for mark in answers if mark in str(call.body))
        watchers = [Watcher() for _ in stories]
        telling = [watcher.tell(home.channel, numbered(seed)) for seed, watcher in enumerate(watchers)]
        for watcher in watchers:
            await watcher.until(lambda seen: seen.text if during == "writing" else NARRATING in seen.states)
        gate.leave()
        go_on.set()
        if paid.voice.hold is not None:
            paid.voice.hold.set()
        await asyncio.sleep(3 * LEASE)
        for watcher in watchers:
            # What is on its way when storage goes away is stored, and still arrives.
            stored = (await home.storage.GetStory(full(watcher.story_id))).record
            assert stored.story.content.startswith(watcher.text)
            assert len(watcher.segments) <= len(stored.run.segments)
            assert not stored.story.content_complete or during == "narration"
        gate.come_back()
        await asyncio.gather(*telling)
        kept = [await home.get(watcher.story_id) for watcher in watchers]
    assert {READY} == {story.state for story in kept}
    assert [story.text for story in stories] == [story.content for story in kept]
    # A machine that stands still for seconds may lose a call before its answer.
    assert STORIES == sum(call.finished for call in paid.writer.calls)
    lines = [line for story in kept for line in story.attempts if line.kind == common_pb2.ATTEMPT_KIND_SPEECH_CALL]
    # Of two calls for a segment that is late, as on a busy machine, one is cancelled.
    late = sum(line.outcome == common_pb2.ATTEMPT_OUTCOME_CANCELLED for line in lines)
    spoken = sum(len(story.audio.segments) for story in kept)
    assert spoken + late == len(paid.texts_spoken) == len(paid.voice.speeches) == len(lines)
    assert {1} == {sum(line.kind == common_pb2.ATTEMPT_KIND_WRITING for line in story.attempts) for story in kept}


async def test_other_gateway_takes_over_when_the_leases_have_expired(tmp_path: Path) -> None:
    """The stories of a gateway that storage does not hear of any more; when it is back it leaves them alone."""
    settings: dict[str, Any] = {"lease_seconds": LEASE, "pickup_interval_seconds": 0.1}
    async with (
        house(tmp_path, words_per_second=40, gate=True, **settings) as home,
        home.another_gateway(storage_target=f"dns:///{home.servers['storage'].address}") as other,
    ):
        here = Watcher()
        telling = here.tell(home.channel, spec(1, minutes=2))
        await here.until(lambda seen: len(seen.segments) > 1)
        there = Watcher(story_id=here.story_id)
        watching = there.watch(other.channel)
        await there.until(lambda seen: bool(seen.text))
        home.proxies["storage"].leave()
        begun = len(there.text)
        async with asyncio.timeout(10 * LEASE):
            await there.until(lambda seen: len(seen.text) > begun + 100)
        assert 1 == (await other.status()).running_stories
        home.proxies["storage"].come_back()
        await asyncio.gather(telling, watching)
        kept = await other.get(here.story_id)
    assert READY == kept.state
    assert kept.content == here.text == there.text
    assert kept.audio.sha256 == here.audio_sha256 == there.audio_sha256
    assert 2 <= sum(line.kind == common_pb2.ATTEMPT_KIND_WRITING for line in kept.attempts)
