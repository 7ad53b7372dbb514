"""Narrations are admitted in the order of their arrival, as many as their provider and the event loop can serve."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.voice_virtual import VirtualTold, Weather, virtual_voice

from servicekit.context import Caller, RequestContext, bound
from servicekit.errors import DomainError
from servicekit.metrics import Metrics
from servicekit.resilience.errors import ProviderErrorKind
from standins.virtual_time import loop_time, run_virtually
from tale.voice.v1 import voice_pb2
from voice_service.metrics import VoiceMetrics
from voice_service.narration.admission import Admission, LoopLoad, Place

SENTENCE = "The owl of mill {} counted the stars above the sea, one after the other, until all of them slept. "


def _admission(calls: int = 2, **given: Any) -> Admission:
    return Admission(lambda _: calls, VoiceMetrics(Metrics()), **given)


async def _taken(place: Place, provider: str = "one") -> None:
    changed = asyncio.Event()
    place.take(provider, changed.set)
    while not place.admitted:
        changed.clear()
        await changed.wait()


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_three_hundred_narrations_end_in_the_order_of_their_arrival() -> None:
    """On five places the first is done when few segments are spoken, and none starves behind later ones."""
    one = Weather(first_byte_seconds=1.0, paid=True)
    ended: list[int] = []
    spoken: list[int] = []

    async def work() -> list[VirtualTold]:
        async def tell(number: int) -> VirtualTold:
            told = await voice.tell(SENTENCE.format(number) * 4)
            ended.append(number)
            spoken.append(one.journal.finished)
            return told

        async with virtual_voice(one, segment_words=20) as voice:
            telling = [asyncio.create_task(tell(number)) for number in range(300)]
            return await asyncio.gather(*telling)

    told = run_virtually(work())
    assert [None] * 300 == [each.failure for each in told]
    segments = len(told[0].segments)
    assert segments >= 4
    assert all(abs(number - place) <= 5 for place, number in enumerate(ended))
    assert spoken[0] <= 2 * segments
    assert [10.0, 30.0, 50.0] == pytest.approx(told[-1].warned_at("WAITING_FOR_PLACE")[:3])
    assert [] == told[0].warned


class _SlowTold(VirtualTold):
    """A caller that does not take its first segment before `go_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def write(self, response: voice_pb2.SynthesizeSpeechResponse) -> None:
        await super().write(response)
        if response.HasField("segment"):
            await self.go_on.wait()


def test_callers_that_are_slow_to_take_their_audio_hold_up_no_other() -> None:
    """They give up their places meanwhile, and get their audio in the end."""
    one = Weather(first_byte_seconds=1.0, paid=True)

    async def work() -> tuple[list[VirtualTold], float]:
        async with virtual_voice(one, paid_concurrency=1, segment_words=20) as voice:
            slow = [_SlowTold() for _ in range(5)]
            telling = [
                asyncio.create_task(voice.tell(SENTENCE.format(number) * 4, told=told))
                for number, told in enumerate(slow)
            ]
            await asyncio.sleep(60)
            began = loop_time()
            other = await voice.tell("Good night.")
            took = loop_time() - began
            for each in slow:
                each.go_on.set()
            return [other, *await asyncio.gather(*telling)], took

    told, took = run_virtually(work())
    assert [None] * 6 == [each.failure for each in told]
    assert took <= 2


def _text(name: str, sentences: int) -> str:
    return "".join(SENTENCE.format(f"{name} by sea {sea}") for sea in range(sentences))


@pytest.mark.parametrize("stories", [15, pytest.param(60, marks=pytest.mark.long)])
def test_long_stories_on_five_places_all_end_and_none_is_silent_for_long(stories: int) -> None:
    """The oldest first: those behind wait for a quarter of an hour, and say so."""
    one = Weather(first_byte_seconds=6.0, paid=True)

    async def work() -> list[VirtualTold]:
        async with virtual_voice(one, slow_seconds=60) as voice:
            return await asyncio.gather(*(voice.tell(_text(f"{mill}", 100)) for mill in range(stories)))

    told = run_virtually(work())
    assert [None] * stories == [each.failure for each in told]
    assert all(each.summary is not None for each in told)
    assert len(told[0].segments) >= 30
    assert max(each.longest_silence for each in told) <= 20


def test_callers_that_send_no_more_text_hold_up_no_other() -> None:
    """A narration without anything to be made has no place, and one that comes back is not behind younger ones."""
    one = Weather(first_byte_seconds=1.0, paid=True)
    heard: dict[int, float] = {}

    async def work() -> tuple[list[VirtualTold], VirtualTold, float]:
        go_on = asyncio.Event()

        async def half(number: int) -> AsyncIterator[str]:
            yield _text(f"{number}", 2)
            await go_on.wait()
            yield _text(f"{number}, later on,", 2)

        async def old(number: int) -> VirtualTold:
            told = await voice.tell(half(number))
            heard[number] = loop_time()
            return told

        async with virtual_voice(one, segment_words=20) as voice:
            first = [asyncio.create_task(old(number)) for number in range(25)]
            await asyncio.sleep(60)
            began = loop_time()
            other = await voice.tell("Good night, sleep well.")
            took = loop_time() - began
            later = [asyncio.create_task(voice.tell(_text(f"{mill} far away", 40))) for mill in range(25)]
            await asyncio.sleep(5)
            heard[-1] = loop_time()
            go_on.set()
            return await asyncio.gather(*first, *later), other, took

    told, other, took = run_virtually(work())
    assert [None] * 51 == [each.failure for each in (*told, other)]
    assert 1.0 == took
    assert [] == other.warned
    assert not any(each.warned for each in told[:25])
    assert max(heard.values()) - heard[-1] <= 30


def test_a_segment_that_was_refused_is_made_if_its_provider_is_back_when_the_caller_takes_it() -> None:
    """Also without any time to wait for providers: none is needed."""
    one, told = Weather(first_byte_seconds=1.0, paid=True), _SlowTold()

    async def work() -> None:
        async with virtual_voice(one, paid_concurrency=1, segment_words=20) as voice:
            telling = asyncio.create_task(voice.tell(_text("one", 4), told=told))
            await asyncio.sleep(1.5)
            voice.open(30.0)
            await asyncio.sleep(60)
            told.go_on.set()
            await telling

    run_virtually(work())
    assert told.failure is None
    assert [] == told.warned
    assert len(told.segments) >= 4


def test_a_narration_that_is_handed_over_leaves_its_place_at_the_first_provider() -> None:
    """Its place is at the provider that speaks."""
    one, two = Weather("one", paid=True), Weather("two", first_byte_seconds=5.0, paid=True)

    async def work() -> tuple[list[VirtualTold], VirtualTold]:
        async with virtual_voice(one, two, provider_fallback=("two",), paid_concurrency=1) as voice:
            one.down = ProviderErrorKind.AUTH
            long = [asyncio.create_task(voice.tell(_text(f"{number}", 20))) for number in range(5)]
            await asyncio.sleep(3)
            one.down = None
            other = await voice.tell("Good night.")
            return await asyncio.gather(*long), other

    told, other = run_virtually(work())
    assert [None] * 6 == [each.failure for each in (*told, other)]
    assert {"two"} == {segment.provider for each in told for segment in each.segments}
    assert {"one"} == {segment.provider for segment in other.segments}
    assert other.at[-1] <= 4


def test_narrations_in_line_for_a_provider_whose_circuit_opens_go_to_the_next_one() -> None:
    """They do not wait for those before them, whose calls are still on their way."""
    one, two = Weather("one", first_byte_seconds=25.0, paid=True), Weather("two", paid=True)

    async def work() -> list[VirtualTold]:
        async with virtual_voice(one, two, provider_fallback=("two",), paid_concurrency=1) as voice:
            held = [asyncio.create_task(voice.tell(SENTENCE.format(number) * 4)) for number in range(5)]
            await asyncio.sleep(1)
            late = asyncio.create_task(voice.tell("Good night."))
            await asyncio.sleep(4)
            voice.open(60.0)
            return [await late, *await asyncio.gather(*held)]

    told = run_virtually(work())
    assert [None] * 6 == [each.failure for each in told]
    assert {"two"} == {segment.provider for segment in told[0].segments}
    assert ["PROVIDER_FAILED"] == told[0].warned
    assert told[0].at[-1] <= 6
    assert 1 == len(one.called_at)


async def test_a_provider_has_five_narrations_for_each_call_and_the_others_wait_in_line() -> None:
    """Who leaves makes room for the oldest, and who waits can give up."""
    admission = _admission(calls=1)
    places = [admission.arrive() for _ in range(8)]
    taking = [asyncio.create_task(_taken(place)) for place in places]
    await _settle()
    at_first = [task.done() for task in taking]
    taking[5].cancel()
    await asyncio.wait([taking[5]])
    places[5].leave()
    places[2].leave()
    await _settle()
    then = [task.done() for task in taking]
    for place in places:
        place.leave()
    await admission.aclose()

    assert [True] * 5 + [False] * 3 == at_first
    assert [True] * 7 + [False] == then


async def test_a_narration_that_comes_back_is_admitted_before_those_that_arrived_after_it() -> None:
    """It waited for its provider meanwhile."""
    admission = _admission(calls=1)
    places = [admission.arrive() for _ in range(7)]
    for place in places[:5]:
        await _taken(place)
    places[0].leave()
    await _taken(places[5])
    back, late = (asyncio.create_task(_taken(place)) for place in (places[0], places[6]))
    await _settle()
    places[4].leave()
    await _settle()

    assert back.done()
    assert not late.done()
    for place in places[:6]:
        place.leave()
    await late
    places[6].leave()
    await admission.aclose()


async def test_a_narration_that_comes_back_takes_the_place_of_the_youngest() -> None:
    """Which gets one again when there is room."""
    admission = _admission(calls=1)
    places = [admission.arrive() for _ in range(6)]
    for place in places[:5]:
        await _taken(place)
    places[1].leave()
    await _taken(places[5])
    await _taken(places[1])
    then = [place.admitted for place in places]
    places[0].leave()
    at_last = [place.admitted for place in places]
    for place in places:
        place.leave()
    await admission.aclose()

    assert [True] * 5 + [False] == then
    assert [False] + [True] * 5 == at_last


async def test_a_provider_without_room_holds_up_no_narration_of_another() -> None:
    """Each has its own places."""
    admission = _admission(calls=1)
    held = [admission.arrive() for _ in range(5)]
    for place in held:
        await _taken(place)
    waiting = admission.arrive()
    task = asyncio.create_task(_taken(waiting))
    other = admission.arrive()

    await _taken(other, "two")
    assert other.admitted
    assert not task.done()
    for place in (*held, other):
        place.leave()
    await task
    waiting.leave()
    await admission.aclose()


async def test_more_than_so_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a time to come back at."""
    monkeypatch.setattr("voice_service.narration.admission._MOST_WAITING", 1)
    admission = _admission(load=LoopLoad(first=1, least=1))
    held, waiting, late = (admission.arrive() for _ in range(3))
    await _taken(held)
    task = asyncio.create_task(_taken(waiting))
    await _settle()
    with pytest.raises(DomainError) as caught:
        await _taken(late)
    late.leave()
    held.leave()
    await task
    waiting.leave()
    await admission.aclose()

    assert "OVERLOADED" == caught.value.reason
    assert caught.value.retry_after is not None


def test_a_loop_that_is_late_admits_fewer_until_it_is_in_time_again() -> None:
    """Down by a fifth each time, to a least; up by one each time that all places are taken, to a most."""
    load = LoopLoad(first=20, least=4, most=22)
    load.measured(0.5, 20)
    shrunk = load.limit
    for _ in range(20):
        load.measured(0.5, load.limit)
    least = load.limit
    load.measured(0.0, 2)
    idle = load.limit
    grown = []
    for _ in range(30):
        load.measured(0.01, load.limit)
        grown.append(load.limit)

    assert 16 == shrunk
    assert 4 == least == idle
    assert [5, 6, 7] == grown[:3]
    assert 22 == grown[-1]


def test_the_load_is_measured_while_there_are_narrations() -> None:
    """A loop that is blocked again and again admits fewer; when it is not any more, those who wait are admitted."""

    async def work() -> tuple[list[int], int]:
        loop = asyncio.get_running_loop()
        load = LoopLoad(first=10, least=2, most=10)
        admission = _admission(calls=100, load=load)
        places = [admission.arrive() for _ in range(10)]
        for place in places:
            await _taken(place)
        limits = []
        for late in (1.0, 1.0, 0.0, 0.0):
            await asyncio.sleep(LoopLoad.INTERVAL / 2)
            # As where something holds the loop up.
            loop._virtual.now += late  # type: ignore[attr-defined]
            await asyncio.sleep(LoopLoad.INTERVAL / 2)
            limits.append(load.limit)
        for place in places[:9]:
            place.leave()
        places[9].leave()
        await admission.aclose()
        return limits, load.limit

    limits, _ = run_virtually(work())
    assert limits[1] < limits[0] <= 8
    assert limits[3] >= limits[1]


def test_batch_of_one_caller_does_not_hold_up_the_story_of_another() -> None:
    """Beside 100 narrations on five places the first sound comes within twice the time that it takes alone."""

    async def work(batch: int) -> float:
        one = Weather(first_byte_seconds=1.0, paid=True)
        async with virtual_voice(one, segment_words=20) as voice:
            with bound(RequestContext("r", Caller("many"))):
                telling = [asyncio.create_task(voice.tell(_text(f"{number}", 4))) for number in range(batch)]
            await asyncio.sleep(10.5)
            since = loop_time()
            with bound(RequestContext("r", Caller("single"))):
                told = await asyncio.create_task(voice.tell(_text("Mia", 4)))
            took = told.at[told.kinds.index("chunk")] - since
            assert told.failure is None
            assert bool(batch) == any(not each.done() for each in telling)
            await asyncio.gather(*telling)
            return took

    alone, beside = run_virtually(work(0)), run_virtually(work(100))
    assert 0 < beside <= 2 * alone
