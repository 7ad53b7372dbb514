"""A model that takes long before its first text: the stream stays alive, and a caller knows what is waited for."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from support.story_models import TEXT
from support.story_storm import FakeChat, Storm
from support.virtual_runs import VirtualRuns

from standins.virtual_time import loop_time, run_virtually
from story_service.chat import ChatEvent, ChatRequest, ChatTimers, ChatWorking
from story_service.models.catalogue import ModelList
from story_service.wire.servicer import HEARTBEAT_SECONDS, StoryServicer
from tale.common.v1 import common_pb2
from tale.story.v1 import story_pb2

READY = common_pb2.STORY_STATE_READY


class _Slow(FakeChat):
    """Thinks or is loaded for 20 minutes, and says so every 10 seconds."""

    loading = False
    seconds = 1_200

    async def stream(self, request: ChatRequest, timers: ChatTimers) -> AsyncGenerator[ChatEvent, None]:
        for _ in range(self.seconds // 10):
            yield ChatWorking(loading=self.loading)
            await asyncio.sleep(10)
        async for event in super().stream(request, timers):
            yield event


class _Waits(_Slow):
    """Says nothing at all meanwhile."""

    async def stream(self, request: ChatRequest, timers: ChatTimers) -> AsyncGenerator[ChatEvent, None]:
        await asyncio.sleep(self.seconds)
        async for event in FakeChat.stream(self, request, timers):
            yield event


def _made(chat: FakeChat) -> tuple[VirtualRuns, Storm, float]:
    async def scene() -> tuple[VirtualRuns, Storm, float]:
        storm = Storm(chat)
        runs = VirtualRuns(
            StoryServicer(
                generator=storm.generator, catalogue=ModelList([], default=str, fallback_models=(), language_codes=())
            )
        )
        await runs.run()
        return runs, storm, loop_time()

    return run_virtually(scene())


def test_model_that_thinks_for_twenty_minutes_writes_its_story() -> None:
    """In one call, without a warning, and no call counts as slow."""
    runs, storm, took = _made(_Slow())

    assert (READY, TEXT) == (runs.story.state, runs.story.content)
    assert 1_200 < took < 1_300
    assert 1 == len(runs.requests)
    assert [] == runs.warnings
    assert 0 == storm.circuit().snapshot().slow_calls


def test_stream_stays_alive_whatever_is_waited_for() -> None:
    """A provider that is silent; the timers of the provider are another matter."""
    runs, _, _ = _made(_Waits())

    assert (READY, TEXT) == (runs.story.state, runs.story.content)
    assert 1 == len(runs.requests)


def test_model_that_is_loaded_is_waited_for_and_reported() -> None:
    """The warning is given once, and time of loading is no work."""
    chat = _Slow()
    chat.loading = True
    runs, _, _ = _made(chat)

    assert (READY, TEXT) == (runs.story.state, runs.story.content)
    (warning,) = runs.warnings
    assert ("WAITING_FOR_PROVIDER", "The server loads the model fake/one.") == (warning.reason, warning.message)
    assert ("fake", "fake/one") == (warning.metadata["provider"], warning.metadata["model"])


def test_heartbeats_fill_the_silence_alone() -> None:
    """One every 15 seconds without another message; a warning of a load at most every 20."""
    responses: list[tuple[float, str]] = []

    class Caller:
        def time_remaining(self) -> None:
            """Returns that there is no deadline."""

        async def write(self, response: story_pb2.GenerateStoryResponse) -> None:
            responses.append((loop_time(), response.WhichOneof("event") or ""))

    async def scene(chat: FakeChat) -> None:
        storm = Storm(chat)
        responses.clear()
        servicer = StoryServicer(
            generator=storm.generator, catalogue=ModelList([], default=str, fallback_models=(), language_codes=())
        )
        request = VirtualRuns(servicer)
        caller: Any = Caller()
        await servicer.GenerateStory(
            story_pb2.GenerateStoryRequest(
                story_id=request.story.id, child=request.story.child, spec=request.record.spec
            ),
            caller,
        )

    silent = _Waits()
    silent.seconds = 60
    run_virtually(scene(silent))
    beats = [when for when, event in responses if event == "heartbeat"]
    assert [HEARTBEAT_SECONDS * number for number in range(1, 5)] == beats

    loaded = _Slow()
    loaded.loading, loaded.seconds = True, 60
    run_virtually(scene(loaded))
    assert [0, 20, 40] == [when for when, event in responses if event == "warning"]
    assert [15, 35, 55] == [when for when, event in responses if event == "heartbeat"]
