"""A segment whose first byte is late is requested once more: what is heard, recorded, counted and stored."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from support.voice_kit import NamedVoice, faults
from support.voice_virtual import VirtualTold, VirtualVoice, virtual_voice

from standins.virtual_time import loop_time, run_virtually
from tale.common.v1 import common_pb2
from tale.storage.v1.segment_pb2 import StoredSegment
from voice_service.ports import SegmentRequest, SpeechItem
from voice_service.synthesis.store import MemorySegments

SUCCEEDED, FAILED, CANCELLED = (
    common_pb2.ATTEMPT_OUTCOME_SUCCEEDED,
    common_pb2.ATTEMPT_OUTCOME_FAILED,
    common_pb2.ATTEMPT_OUTCOME_CANCELLED,
)


class Stalling(NamedVoice):
    """A voice with a first byte after a second. The next `stalls` calls never have one."""

    def __init__(self, name: str = "one", *, paid: bool = True) -> None:
        super().__init__(name, faults(first_byte_seconds=1.0, paid=paid))
        self.stalls = 0
        self.stalls_within = 0
        """Of the next so many calls the first piece comes and no more."""
        self.pause = 0.0
        """Seconds between the first two pieces."""
        self.called_at: list[tuple[float, str]] = []

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        self.called_at.append((loop_time(), request.text))
        if self.stalls:
            self.stalls -= 1
            await asyncio.Event().wait()
        begun = False
        async for item in super().synthesize(request):
            yield item
            if self.stalls_within:
                self.stalls_within -= 1
                await asyncio.Event().wait()
            if not begun:
                begun = True
                await asyncio.sleep(self.pause)


class Counted(MemorySegments):
    """Counts what is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = 0

    async def put(
        self, segment: StoredSegment, audio: bytes, story_id: str, *, deadline: float | None = None
    ) -> StoredSegment:
        self.puts += 1
        return await super().put(segment, audio, story_id, deadline=deadline)


def _run(work: Callable[[VirtualVoice], Awaitable[Any]], one: Stalling, **given: Any) -> Any:
    async def run() -> Any:
        async with virtual_voice(one, **given) as voice:
            return await work(voice)

    return run_virtually(run())


async def _known(voice: VirtualVoice) -> None:
    """Makes twenty calls, so that it is known when one is late."""
    for number in range(20):
        await voice.tell(f"Good night, number {number}.")


@pytest.mark.parametrize(("known", "pause"), [(True, 5.0), (False, 30.0)])
def test_a_segment_that_stalls_within_is_given_up_sooner_once_the_provider_is_known(known: bool, pause: float) -> None:
    """It has one of a few places; the failure counts for the provider, and the second call speaks all of it."""
    one = Stalling()

    async def work(voice: VirtualVoice) -> tuple[VirtualTold, float]:
        if known:
            await _known(voice)
        began, one.stalls_within = loop_time(), 1
        told = await voice.tell("The moon is up.")
        assert 1 == voice.circuit().failed_calls
        return told, loop_time() - began

    told, seconds = _run(work, one)
    assert told.failure is None
    assert sorted([SUCCEEDED, FAILED]) == sorted(each.outcome for each in told.attempts)
    assert pause <= seconds + 0.1 * pause
    assert seconds < pause + 4.0


def test_a_voice_that_pauses_by_its_nature_is_not_given_up() -> None:
    """The pause that is allowed is measured: a server that speaks sentence by sentence stays usable."""
    one = Stalling()
    one.pause = 6.0

    async def work(voice: VirtualVoice) -> None:
        for number in range(30):
            assert (await voice.tell(f"Good night, number {number}.")).failure is None
        assert 0 == voice.circuit().failed_calls

    _run(work, one)


@pytest.mark.parametrize(("known", "took"), [(True, 2.0), (False, 11.0)])
def test_a_stalled_segment_is_spoken_by_a_second_call(known: bool, took: float) -> None:
    """After the time in which nineteen of twenty begin, or the time that is slow; both calls are in the records."""
    one, store = Stalling(), Counted()

    async def work(voice: VirtualVoice) -> tuple[VirtualTold, float, VirtualVoice]:
        if known:
            await _known(voice)
        began, one.stalls, store.puts = loop_time(), 1, 0
        told = await voice.tell("The moon is up.")
        assert 1 == voice.metric("voice_hedges_total", provider="one")
        assert 0 == voice.circuit().failed_calls
        return told, loop_time() - began, voice

    told, seconds, _ = _run(work, one, store=store)
    assert told.failure is None
    assert pytest.approx(took) == seconds
    assert sorted([CANCELLED, SUCCEEDED]) == sorted(each.outcome for each in told.attempts)
    assert [len("The moon is up.")] * 2 == [each.characters for each in told.attempts]
    assert 2 * len("The moon is up.") == told.summary.characters if told.summary else False
    assert 1 == store.puts


def test_when_every_call_stalls_a_segment_is_requested_three_times_in_all() -> None:
    """No doubling for ever; all of them are recorded, and they speak against the provider."""
    one = Stalling()

    async def work(voice: VirtualVoice) -> VirtualTold:
        one.stalls = 1000
        told = await voice.tell("The moon is up.")
        assert 3 == voice.circuit().failed_calls
        return told

    told = _run(work, one)
    assert told.failure is not None
    assert 3 == len(one.called_at) == len(told.attempts)
    assert {FAILED} == {each.outcome for each in told.attempts}


def test_a_second_call_gets_the_next_free_place() -> None:
    """Before all that wait, and not beyond the limit of calls at a time."""
    one = Stalling()

    async def work(voice: VirtualVoice) -> None:
        await _known(voice)
        one.called_at.clear()
        one.stalls = 1
        first = asyncio.create_task(voice.tell("The moon is up."))
        await asyncio.sleep(0.5)
        others = [asyncio.create_task(voice.tell(f"Number {number} is asleep.")) for number in range(6)]
        await asyncio.gather(first, *others)

    _run(work, one, paid_concurrency=2)
    texts = [text for _, text in one.called_at]
    assert ["The moon is up.", "Number 0 is asleep.", "The moon is up.", "Number 1 is asleep."] == texts[:4]


def test_a_caller_that_leaves_loses_neither_call_nor_segment() -> None:
    """The second call was paid for: its segment is stored, and the next caller finds it."""
    one = Stalling()

    async def work(voice: VirtualVoice) -> VirtualTold:
        await _known(voice)
        one.stalls = 1
        leaving = asyncio.create_task(voice.tell("The moon is up."))
        await asyncio.sleep(1.5)
        leaving.cancel()
        await asyncio.wait([leaving])
        await asyncio.sleep(60)
        one.called_at.clear()
        return await voice.tell("The moon is up.")

    told = _run(work, one)
    assert told.failure is None
    assert [True] == [segment.cached for segment in told.segments]
    assert [] == one.called_at


def test_a_caller_that_left_has_no_second_call_made() -> None:
    """The first one has its time, since it is paid for."""
    one = Stalling()

    async def work(voice: VirtualVoice) -> None:
        await _known(voice)
        one.called_at.clear()
        one.stalls = 1
        leaving = asyncio.create_task(voice.tell("The moon is up."))
        await asyncio.sleep(0.5)
        leaving.cancel()
        await asyncio.wait([leaving])
        await asyncio.sleep(60)

    _run(work, one)
    assert 1 == len(one.called_at)


def test_the_embedded_voice_is_asked_once() -> None:
    """A late answer of this machine comes no sooner if it has more to do."""
    one = Stalling("offline", paid=False)

    async def work(voice: VirtualVoice) -> None:
        one.stalls = 1
        await voice.tell("The moon is up.")

    _run(work, one, default_provider="offline", retries=0)
    assert 1 == len(one.called_at)
