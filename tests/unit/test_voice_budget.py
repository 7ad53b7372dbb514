"""The calls that a segment may take: counted at the provider, through the gateway, over attempts and restarts."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from support.elevenlabs_fake import Break, ElevenLabsFake, Fault, elevenlabs_config, elevenlabs_fake
from support.virtual_runs import VirtualRuns
from support.voice_kit import STORY
from support.voice_virtual import SharedSegments, VirtualVoice, virtual_voice

from servicekit.reasons import WAITS
from standins.virtual_time import loop_time, run_virtually
from tale.common.v1 import common_pb2
from voice_service.providers.elevenlabs.provider import ElevenLabsProvider

T = TypeVar("T")
TEXT_ONLY, READY = common_pb2.STORY_STATE_READY_WITHOUT_AUDIO, common_pb2.STORY_STATE_READY
SPEECH = common_pb2.ATTEMPT_KIND_SPEECH_CALL
HANGS = Fault(breaks=Break.SILENCE)


def _run(work: Callable[[ElevenLabsFake, VirtualVoice], Awaitable[T]], *, url: str = "", **given: Any) -> T:
    async def run() -> T:
        async with elevenlabs_fake() as fake:
            provider = ElevenLabsProvider(elevenlabs_config(url or fake.url), clock=loop_time)
            given.setdefault("default_provider", "elevenlabs")
            async with virtual_voice(provider, store=SharedSegments(), **given) as voice:
                return await work(fake, voice)

    return run_virtually(run())


def _story() -> common_pb2.Story:
    return common_pb2.Story(title="The Owl", content=STORY, language_code="en")


def _most(fake: ElevenLabsFake, since: int = 0) -> int:
    """Calls for the segment that took most."""
    texts = Counter(call.body["text"] for call in fake.speeches[since:] if call.body is not None)
    return max(texts.values(), default=0)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    ("fault", "wait", "calls", "reason"),
    [
        (Fault(status=400), 600, 1, "UPSTREAM_REFUSED"),
        (Fault(status=401, code="invalid_api_key"), 600, 1, "UPSTREAM_AUTH"),
        (Fault(status=401, code="missing_permissions"), 600, 1, "UPSTREAM_AUTH"),
        (Fault(status=402, code="payment_required"), 600, 1, "QUOTA_EXCEEDED"),
        (Fault(status=402, body="<html>Payment required</html>"), 600, 1, "QUOTA_EXCEEDED"),
        (Fault(status=403), 600, 1, "UPSTREAM_AUTH"),
        (Fault(status=404), 600, 1, "UPSTREAM_UNSUPPORTED"),
        (Fault(status=302), 600, 1, "UPSTREAM_UNSUPPORTED"),
        *((Fault(status=status), 600, 1, "UPSTREAM_REFUSED") for status in (405, 410, 413, 415, 422, 451)),
        (Fault(status=429), 0, 3, "RATE_LIMITED"),
        (Fault(status=429, headers={"Retry-After": "2"}), 0, 3, "RATE_LIMITED"),
        (Fault(status=429, headers={"Retry-After": "20"}), 0, 1, "RATE_LIMITED"),
        (Fault(status=429, headers={"Retry-After": "700"}), 600, 1, "RATE_LIMITED"),
        (Fault(status=500), 0, 3, "AUDIO_GENERATION_FAILED"),
        (Fault(status=500), 600, 9, "AUDIO_GENERATION_FAILED"),
        *((Fault(breaks=each), 600, 2, "AUDIO_GENERATION_FAILED") for each in (Break.CUT, Break.END, Break.NOTHING)),
        (Fault(breaks=Break.STALL), 600, 2, "NETWORK_ERROR"),
        (HANGS, 0, 3, "NETWORK_ERROR"),
        (HANGS, 600, 3, "NETWORK_ERROR"),
    ],
)
@pytest.mark.sampled(3)
def test_calls_of_a_provider_that_always_fails(
    fault: Fault, wait: float, calls: int, reason: str, *, warm: bool
) -> None:
    """One attempt, one segment, and the first cause is the story's problem; also for a voice that spoke just before."""

    async def work(fake: ElevenLabsFake, voice: VirtualVoice) -> tuple[int, common_pb2.Story, list[str]]:
        if warm:
            assert (await voice.tell("Good night, said the owl.")).failure is None
        before, fake.always = len(fake.speeches), fault
        runs = VirtualRuns(voice=voice, told=_story(), provider_wait=wait)
        story = await runs.run()
        return _most(fake, before), story, [str(call.body) for call in fake.speeches[before:]]

    most, story, sent = _run(work)
    assert TEXT_ONLY == story.state
    assert calls == most == len(sent)
    assert [reason] == [problem.reason for problem in story.problems if problem.reason not in WAITS]
    assert 1 == sum(line.kind == common_pb2.ATTEMPT_KIND_NARRATION for line in story.attempts)
    assert calls == sum(line.kind == SPEECH for line in story.attempts)
    problem = story.problems[-1]
    retryable = reason in {"RATE_LIMITED", "AUDIO_GENERATION_FAILED", "NETWORK_ERROR"}
    assert retryable == problem.retryable
    assert retryable or "ry again" not in problem.remedy


def test_refusals_for_too_many_calls_are_repeated_ever_later() -> None:
    """They cost nothing: the time that may be waited bounds them, and the pauses grow."""

    async def work(fake: ElevenLabsFake, voice: VirtualVoice) -> tuple[int, common_pb2.Story]:
        fake.always = Fault(status=429)
        story = await VirtualRuns(voice=voice, told=_story()).run()
        return _most(fake), story

    most, story = _run(work)
    assert "RATE_LIMITED" == story.problems[-1].reason
    assert 8 <= most <= 13


@pytest.mark.parametrize("wait", [0, 600])
def test_provider_that_cannot_be_reached_costs_nothing(wait: float) -> None:
    """Its circuit opens after three tries, and the story waits as long as it may; the first cause is reported."""

    async def work(_: ElevenLabsFake, voice: VirtualVoice) -> tuple[common_pb2.Story, float]:
        story = await VirtualRuns(voice=voice, told=_story(), provider_wait=wait).run()
        return story, loop_time()

    story, ended = _run(work, url="http://127.0.0.1:9")
    assert "NETWORK_ERROR" == story.problems[-1].reason
    assert 3 == sum(line.kind == SPEECH for line in story.attempts)
    assert wait == pytest.approx(ended, abs=31)
    assert {"false"} == {line.metadata["billed"] for line in story.attempts if line.kind == SPEECH}


def test_useless_answers_are_paid_twice_whatever_restarts() -> None:
    """The run is killed after each call; the next ones know of it by the ledger. A request by the user begins again."""

    async def work(fake: ElevenLabsFake, voice: VirtualVoice) -> tuple[list[int], common_pb2.Story]:
        fake.always = Fault(breaks=Break.END)
        runs, counts = VirtualRuns(voice=voice, told=_story()), []
        for _ in range(4):
            story = await runs.run(killed_after=0.01)
            counts.append(_most(fake))
        while story.state != TEXT_ONLY:
            story = await runs.run()
        counts.append(_most(fake))
        assert "AUDIO_GENERATION_FAILED" == story.problems[-1].reason
        runs.retry()
        await runs.run()
        return [*counts, _most(fake)], story

    counts, _ = _run(work)
    assert max(counts[:-1]) <= 2
    assert 4 == counts[-1]


@pytest.mark.parametrize("killed_after", [5.0, 12.0, 35.0])
def test_calls_whose_end_is_unknown_are_counted_after_a_kill(killed_after: float) -> None:
    """A provider that never answers is called three times, hedges included, however often the gateway is killed."""

    async def work(fake: ElevenLabsFake, voice: VirtualVoice) -> tuple[int, common_pb2.Story]:
        fake.always = HANGS
        runs = VirtualRuns(voice=voice, told=_story(), provider_wait=0)
        story = runs.story
        for _ in range(6):
            story = await runs.run(killed_after=killed_after)
            await asyncio.sleep(40)
        while story.state != TEXT_ONLY:
            story = await runs.run()
        return _most(fake), story

    most, story = _run(work)
    assert most <= 3
    assert TEXT_ONLY == story.state


def test_story_is_told_once_the_provider_is_back() -> None:
    """Five minutes of 503 use up no call that is needed afterwards."""

    async def work(fake: ElevenLabsFake, voice: VirtualVoice) -> common_pb2.Story:
        fake.always = Fault(status=503)
        running = asyncio.create_task(VirtualRuns(voice=voice, told=_story()).run())
        await asyncio.sleep(300)
        fake.always = None
        return await running

    story = _run(work)
    assert READY == story.state
