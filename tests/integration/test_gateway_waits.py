"""A story that waits says what for, why and since when: to its watchers at any gateway, and in the status."""

import asyncio
import time
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from support.elevenlabs_fake import Fault
from support.house import House, house
from support.openrouter_fake import story as whole
from support.paid_house import paid_house
from support.story_models import WHOLE

from standins.watcher import Watcher, spec
from tale.common.v1 import common_pb2

SOON = 2.0
"""Seconds after which a wait is shown, at most."""
What: TypeAlias = common_pb2.WaitFor.ValueType


def waits_for(what: What) -> Any:
    """Whether a watcher sees that the story waits for `what`."""
    return lambda seen: seen.waiting and seen.waiting[-1] is not None and seen.waiting[-1].what == what


async def shown(watcher: Watcher, what: What) -> common_pb2.Waiting:
    """What the watcher is shown, two seconds after it began at the latest."""
    await watcher.until(waits_for(what))
    waiting = watcher.waiting[-1]
    assert waiting is not None
    assert what == common_pb2.WAIT_FOR_PLACE or time.time() - waiting.since.ToNanoseconds() / 1e9 <= SOON
    return waiting


async def in_status(home: House) -> list[tuple[int, int]]:
    """What stories wait for, and how many."""
    return [(group.waiting.what, group.story_count) for group in (await home.status()).waiting]


@pytest.mark.parametrize(
    ("service", "what"),
    [("story", common_pb2.WAIT_FOR_STORY_SERVICE), ("voice", common_pb2.WAIT_FOR_VOICE_SERVICE)],
)
async def test_service_that_is_away_is_named_within_two_seconds(tmp_path: Path, service: str, what: What) -> None:
    """With the time since when; the status has it too; the wait ends with the service's response."""
    async with house(tmp_path, cuts={service: ()}) as home:
        home.proxies[service].leave()
        watcher, since = Watcher(), time.time()
        telling = watcher.tell(home.channel, spec(1))
        await watcher.until(lambda seen: seen.states)
        waiting = await shown(watcher, what)
        assert f"{service} service" == waiting.name
        assert waiting.reason
        assert (service == "voice") == waiting.narration
        assert since <= waiting.since.ToNanoseconds() / 1e9 <= since + 1
        (group,) = (await home.status()).waiting
        assert (what, [watcher.story_id]) == (group.waiting.what, list(group.story_ids))
        assert waiting.since == group.waiting.since
        home.proxies[service].come_back()
        await telling
        assert [] == await in_status(home)
    assert watcher.waiting[-1] is None
    assert watcher.done is not None
    assert common_pb2.STORY_STATE_READY == watcher.done.state


async def test_storage_that_is_away_is_named_within_two_seconds(tmp_path: Path) -> None:
    """To a watcher at the gateway that makes the story, and to one at another."""
    async with (
        house(tmp_path, words_per_second=20, gate=True, lease_seconds=30) as home,
        home.another_gateway() as other,
    ):
        watcher = Watcher()
        telling = watcher.tell(home.channel, spec(1, minutes=2))
        await watcher.until(lambda seen: seen.segments)
        elsewhere = Watcher(story_id=watcher.story_id)
        following = elsewhere.watch(other.channel)
        await elsewhere.until(lambda seen: seen.segments)
        home.proxies["storage"].leave()
        since = time.time()
        both = await asyncio.gather(*(shown(each, common_pb2.WAIT_FOR_STORAGE) for each in (watcher, elsewhere)))
        for waiting in both:
            assert since - 1 <= waiting.since.ToNanoseconds() / 1e9 <= since + 3
        home.proxies["storage"].come_back()
        await asyncio.gather(telling, following)
    for each in (watcher, elsewhere):
        assert each.waiting[-1] is None
        assert each.done is not None


async def test_provider_that_is_down_is_named_at_every_gateway(tmp_path: Path) -> None:
    """With its name, and when it is called again; a wait that lasts has one beginning."""
    async with paid_house(tmp_path, voice={"breaker_seconds": 1.0}) as paid, paid.home.another_gateway() as other:
        paid.voice.always = Fault(status=503, code="internal_error")
        paid.writer.answer(whole(WHOLE))
        watcher = Watcher()
        telling = watcher.tell(paid.home.channel, spec(1))
        await watcher.until(waits_for(common_pb2.WAIT_FOR_PROVIDER))
        waiting = watcher.waiting[-1]
        assert waiting is not None
        assert ("elevenlabs", "WAITING_FOR_PROVIDER", True) == (waiting.name, waiting.reason, waiting.narration)
        assert waiting.since.ToNanoseconds() < waiting.next_try_time.ToNanoseconds()
        elsewhere = Watcher(story_id=watcher.story_id)
        following = elsewhere.watch(other.channel)
        seen = await shown(elsewhere, common_pb2.WAIT_FOR_PROVIDER)
        assert "elevenlabs" == seen.name
        paid.voice.always = None
        await asyncio.gather(telling, following)
    for each in (watcher, elsewhere):
        assert each.waiting[-1] is None
    assert 1 == len({each.since.ToNanoseconds() for each in watcher.waiting if each is not None})


async def test_story_without_a_place_waits_for_one(tmp_path: Path) -> None:
    """Since it was accepted, until it is its turn."""
    async with house(tmp_path, words_per_second=20, max_runs=1) as home:
        first, second = Watcher(), Watcher()
        telling = first.tell(home.channel, spec(1))
        await first.until(lambda seen: seen.text)
        story = await home.create(spec(2))
        second.story_id = story.id
        following = second.watch(home.channel)
        waiting = await shown(second, common_pb2.WAIT_FOR_PLACE)
        assert (story.create_time, "WAITING_FOR_PLACE") == (waiting.since, waiting.reason)
        await home.cancel(first.story_id)
        await asyncio.gather(telling, following)
    assert second.waiting[-1] is None
