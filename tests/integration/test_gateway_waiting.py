"""Providers that are down for a while: stories wait, say so, and go on; nothing is called meanwhile but probes."""

import asyncio
from pathlib import Path

import pytest
from support.elevenlabs_fake import Fault
from support.openrouter_fake import story as whole
from support.paid_house import paid_house
from support.story_models import TEXT, WHOLE

from standins.watcher import Watcher, spec
from tale.common.v1 import common_pb2

READY, NARRATING = common_pb2.STORY_STATE_READY, common_pb2.STORY_STATE_NARRATING
TEXT_ONLY = common_pb2.STORY_STATE_READY_WITHOUT_AUDIO
DOWN = Fault(status=503, code="internal_error")


async def test_story_waits_for_its_voice_and_says_so(tmp_path: Path) -> None:
    """The watcher is told once; the record has the problem while it lasts, and not afterwards."""
    async with paid_house(tmp_path, voice={"breaker_seconds": 1.0}) as house:
        house.voice.always = DOWN
        house.writer.answer(whole(WHOLE))
        watcher = Watcher()
        telling = watcher.tell(house.home.channel, spec(1))
        await watcher.until(lambda seen: bool(seen.warnings) and seen.text == TEXT)
        meanwhile = await house.home.get(watcher.story_id)
        calls = len(house.voice.speeches)
        await asyncio.sleep(0.5)
        assert calls == len(house.voice.speeches)
        house.voice.always = None
        await telling
        story = await house.home.get(watcher.story_id)
    assert ["WAITING_FOR_PROVIDER"] == [problem.reason for problem in meanwhile.problems]
    assert "elevenlabs" == meanwhile.problems[0].metadata["provider"]
    assert ["WAITING_FOR_PROVIDER"] == [problem.reason for problem in watcher.warnings]
    assert READY == story.state
    assert [] == list(story.problems)
    assert 1 == len(house.writer.calls)


@pytest.mark.parametrize("seconds", [0.0, 2.0])
async def test_story_does_not_wait_beyond_its_time(tmp_path: Path, seconds: float) -> None:
    """It has its text, and what made the voice fail is its problem; the wait itself is none any more."""
    loop = asyncio.get_running_loop()
    async with paid_house(tmp_path, voice={"breaker_seconds": 0.5}, provider_wait_seconds=seconds) as house:
        house.voice.always = DOWN
        house.writer.answer(whole(WHOLE))
        since = loop.time()
        watcher = await house.home.tell(spec(1))
        took = loop.time() - since
    assert watcher.done is not None
    assert TEXT_ONLY == watcher.done.state
    (problem,) = watcher.done.problems
    assert "AUDIO_GENERATION_FAILED" == problem.reason
    assert bool(seconds) == bool(watcher.warnings)
    assert took < seconds + 8
