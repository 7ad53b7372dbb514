"""kill -9, cancellation and a deadline while a check, the critic or the outline of a story is called."""

import asyncio
from pathlib import Path

import pytest

from standins.paid_upstreams import PaidUpstreams, paid_upstreams
from standins.processes import cluster
from standins.scene_writer import ENDING
from standins.watcher import Watcher, gateway_stub, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

_SETTINGS = {
    "DEFAULT_VOICE_PROVIDER": "mock",
    "LEASE_SECONDS": "1",
    "PICKUP_INTERVAL_SECONDS": "0.2",
    "STORY_SAFETY": "model",
    "STORY_CRITIC": "model",
}
_PACE = {"most_words": 1_000, "events": 40, "writing": 0.5}
_HELD = {
    "request": r"(?s)\AYou check texts.*\n<data>Child: ",
    "text": r"(?s)\AYou check texts.*\n<data>(?!Child: )(?=(?:[^\s]+\s+){20})",
    "critic": r"\AYou are the editor",
    "outline": r"plan the rest",
}
"""What is held: the check of the request, or of a passage that is no title; a judgement of the critic; the outline."""


async def _held(upstreams: PaidUpstreams) -> None:
    """Returns once a call waits for its answer."""
    for _ in range(600):
        if any(call["held"] and not call["left"] for call in (await upstreams.journal())["told"]):
            return
        await asyncio.sleep(0.1)
    raise AssertionError((await upstreams.journal())["told"])


@pytest.mark.parametrize("what", list(_HELD))
async def test_nothing_is_lost_or_released_unchecked_while_a_call_is_held(tmp_path: Path, what: str) -> None:
    """A cancelled story ends with a whole ledger; one whose caller left, or whose process was killed, is told whole."""
    async with paid_upstreams() as upstreams, cluster(tmp_path, **{**upstreams.environment, **_SETTINGS}) as house:
        for number, way in enumerate(("cancel", "deadline", "story", "gateway")):
            await upstreams.forget()
            await upstreams.script(**_PACE, hold=_HELD[what])
            watcher = Watcher()
            async with house.channel() as channel:
                request = gateway_pb2.CreateStoryRequest(request_id=way, spec=spec(number, minutes=6))
                created = (await gateway_stub(channel).CreateStory(request, timeout=30, wait_for_ready=True)).story
                watcher.story_id = created.id
                watching = watcher.watch(channel)
                await _held(upstreams)
                before = watcher.text
                match way:
                    case "cancel":
                        cancel = gateway_pb2.CancelStoryRequest(story_id=created.id)
                        await gateway_stub(channel).CancelStory(cancel, timeout=30)
                    case "deadline":
                        watching.cancel()
                    case _:
                        await house.kill(way)
                        await upstreams.script(**_PACE)
                        await house.start(way)
                await upstreams.script(**_PACE)
                await asyncio.gather(watching, return_exceptions=True)
                if watcher.done is None:
                    await watcher.to_the_end(channel)
                get = gateway_pb2.GetStoryRequest(story_id=created.id, view=common_pb2.STORY_VIEW_FULL)
                story = (await gateway_stub(channel).GetStory(get, timeout=30)).story

            outcomes = {attempt.outcome for attempt in story.attempts}
            assert common_pb2.ATTEMPT_OUTCOME_STARTED not in outcomes, way
            assert story.content.startswith(before), way
            assert ("" == before) or what != "request", way
            purposes = {attempt.metadata.get("purpose", "") for attempt in story.attempts}
            assert "safety" in purposes, way
            if way == "cancel":
                assert common_pb2.STORY_STATE_CANCELLED == story.state
                assert ENDING not in story.content
                continue
            assert common_pb2.STORY_STATE_READY == story.state, way
            assert 0.85 <= len(story.content.split()) / 900 <= 1.2, way
            assert 1 == story.content.count(ENDING), way
            assert [] == [problem.reason for problem in story.problems], way
