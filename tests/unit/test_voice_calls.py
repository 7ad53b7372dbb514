"""What calls to a provider say about its health, and which are made again."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any
from unittest.mock import AsyncMock

import pytest
from support.voice_kit import NamedVoice

from servicekit.metrics import Metrics
from servicekit.resilience.breaker import BreakerSnapshot
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.retry import RetryPolicy
from tale.common.v1 import common_pb2
from voice_service.audio.encoder import AudioEncoder
from voice_service.audio.verify import SegmentFinisher
from voice_service.metrics import VoiceMetrics
from voice_service.ports import MP3_44100_128, SegmentRequest, SpeechItem
from voice_service.providers.mock.script import MockScript
from voice_service.synthesis.call import AudioBudget, Order
from voice_service.synthesis.calls import Delivery, ProviderCalls
from voice_service.synthesis.flight import Flight
from voice_service.synthesis.gates import Allowance, Prober, ProviderGates

ODD = "This text is told in a voice that rattles through it. "
THRESHOLD = 3


class House:
    """The calls of one provider, on a clock that a test winds."""

    def __init__(self, *, retries: int, concurrency: int, slow: float | None, encoder: AudioEncoder) -> None:
        self.now = 0.0
        metrics = Metrics()
        shown = VoiceMetrics(metrics)

        def config(name: str) -> BreakerConfig:
            return BreakerConfig(name=name, failure_threshold=THRESHOLD, slow_call_seconds=slow)

        self._breakers = BreakerManager(config, metrics=metrics, clock=lambda: self.now)
        retry = RetryPolicy(retries=retries, delay=0)
        self.gates = gates = ProviderGates(
            self._breakers, lambda _: Allowance(concurrency=concurrency), retry=retry, metrics=shown
        )
        self.prober = Prober(gates, shown)
        self._calls = ProviderCalls(
            gates=gates,
            prober=self.prober,
            finisher=SegmentFinisher(encoder),
            budget=AudioBudget(1 << 20),
            metrics=shown,
        )

    @property
    def circuit(self) -> BreakerSnapshot:
        return self._breakers.snapshots()[0]

    async def say(self, provider: NamedVoice, text: str) -> list[common_pb2.Attempt]:
        """Have it spoken; the calls that were made. Raises ProviderError."""
        calls: list[common_pb2.Attempt] = []

        async def keep(delivery: Delivery) -> Delivery:
            return delivery

        order = Order(
            provider=provider, request=SegmentRequest(text=text, language_code="en"), story_format=MP3_44100_128
        )
        flight = Flight[Delivery]()
        flight.waiters = 1
        await self._calls.fetch(order, calls, flight=flight, store=keep)
        return calls

    async def refused(self, provider: NamedVoice, text: str) -> ProviderError:
        """Have it spoken in vain."""
        with pytest.raises(ProviderError) as caught:
            await self.say(provider, text)
        return caught.value


@pytest.fixture
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """As the test's parameters say."""
    encoder = AudioEncoder(1)
    given: dict[str, Any] = {"retries": 2, "concurrency": 4, "slow": None, **getattr(request, "param", {})}
    house = House(**given, encoder=encoder)
    yield house
    await house.prober.aclose()
    await encoder.aclose()


def _odd(times: int | None = None) -> NamedVoice:
    """A voice that is done with odd texts much too soon."""
    fault = {"kind": "short", "at": 0.2, "match": "rattles", "times": times}
    return NamedVoice("one", MockScript.model_validate({"paid": True, "faults": [fault]}))


async def test_a_text_that_always_sounds_too_short_is_paid_for_twice_and_takes_the_voice_from_nobody(
    house: House,
) -> None:
    """Three such texts in a row are two calls each, and the next caller is served."""
    voice = _odd()
    failures = [await house.refused(voice, ODD * (number + 2)) for number in range(3)]
    calls = voice.journal.calls
    served = await house.say(voice, "Hello there, how are you today?")

    assert {ProviderErrorKind.TRUNCATED} == {failure.kind for failure in failures}
    assert (6, 1) == (calls, len(served))
    assert ("closed", 0) == (house.circuit.state, house.circuit.failed_calls)


async def test_a_text_that_sounds_too_short_once_is_spoken_the_second_time(house: House) -> None:
    """It may have been the stream after all."""
    assert 2 == len(await house.say(_odd(times=1), ODD * 3))


async def test_a_voice_that_says_nothing_right_is_left_alone_after_a_while(house: House) -> None:
    """Twenty implausible answers in a row are no oddity of a text any more; one good answer begins the count again."""
    voice = _odd()
    for number in range(9):
        await house.refused(voice, ODD * (number + 2))
    await house.say(voice, "Hello there, how are you today?")
    before = house.circuit.failed_calls
    failures = [await house.refused(voice, ODD * (number + 2)) for number in range(12)]

    assert 0 == before
    assert ("open", THRESHOLD) == (house.circuit.state, house.circuit.failed_calls)
    assert isinstance(failures[-1], CircuitOpenError)


async def test_frames_that_are_cut_speak_against_the_voice(house: House) -> None:
    """What is not whole, whatever the text, is counted each time."""
    voice = NamedVoice("one", MockScript.model_validate({"faults": [{"kind": "truncate", "times": None}]}))
    await house.refused(voice, ODD * 3)
    assert "closed" == house.circuit.state
    assert 2 == house.circuit.failed_calls
    await house.refused(voice, ODD * 4)

    assert ("open", THRESHOLD) == (house.circuit.state, house.circuit.failed_calls)


class Raw(NamedVoice):
    """Raises what no provider should, `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__("one")
        self._times = times

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        if self._times:
            self._times -= 1
            raise KeyError(request.text)
        async for item in super().synthesize(request):
            yield item


async def test_whatever_a_voice_raises_is_a_failed_call(house: House) -> None:
    """It is booked and made again, speaks against the voice, and says nothing of the text."""
    calls = await house.say(Raw(1), "Good night.")
    failure = await house.refused(Raw(9), "Good morning.")

    assert [(common_pb2.ATTEMPT_OUTCOME_FAILED, "TRANSPORT"), (common_pb2.ATTEMPT_OUTCOME_SUCCEEDED, "")] == [
        (call.outcome, call.reason) for call in calls
    ]
    assert (ProviderErrorKind.TRANSPORT, False) == (failure.kind, "morning" in failure.message)
    assert "open" == house.circuit.state


async def test_audio_that_nothing_can_be_made_of_is_a_failed_call(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the step that fails raises."""
    monkeypatch.setattr(SegmentFinisher, "finish", AsyncMock(side_effect=RuntimeError))
    failure = await house.refused(NamedVoice("one"), "Good night.")

    assert (ProviderErrorKind.TRUNCATED, 2) == (failure.kind, house.circuit.failed_calls)


class Late(NamedVoice):
    """Takes `seconds` of the house's clock to its first byte, and waits there for `go_on`."""

    def __init__(self, house: House, seconds: float) -> None:
        super().__init__("one")
        self._house = house
        self._seconds = seconds
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        self.called.set()
        await self.go_on.wait()
        self._house.now += self._seconds
        async for item in super().synthesize(request):
            yield item


@pytest.mark.parametrize("house", [{"slow": 10.0}], indirect=True)
async def test_a_voice_whose_first_byte_comes_late_each_time_is_left_alone(house: House) -> None:
    """Slow as the settings say, in four of five of twenty calls."""
    late = Late(house, 10.5)
    for number in range(20):
        await house.say(late, f"Good night, number {number}.")
        house.now -= 10.5

    assert ("open", 20, 0) == (house.circuit.state, house.circuit.slow_calls, house.circuit.failed_calls)


@pytest.mark.parametrize("house", [{"slow": 10.0, "concurrency": 1}], indirect=True)
async def test_who_waits_in_our_own_line_does_not_make_a_voice_slow(house: House) -> None:
    """A call begins when its turn comes."""
    voice = Late(house, 9.0)
    voice.go_on.clear()
    saying = [asyncio.create_task(house.say(voice, f"Good night, number {number}.")) for number in range(3)]
    await voice.called.wait()
    voice.go_on.set()
    await asyncio.gather(*saying)

    assert (27.0, 3, 0) == (house.now, house.circuit.successful_calls, house.circuit.slow_calls)


async def test_a_voice_whose_plan_is_used_up_is_left_alone_for_a_minute(house: House) -> None:
    """Though it names no wait: whoever comes meanwhile is told so at once, with the time that is left."""
    fault = {"kind": "quota", "times": 1}
    voice = NamedVoice("one", MockScript.model_validate({"paid": True, "faults": [fault]}))
    first = await house.refused(voice, "Good night.")
    second = await house.refused(voice, "Good morning.")
    calls = voice.journal.calls
    house.now += 60
    later = house.circuit.state

    assert (ProviderErrorKind.QUOTA, None) == (first.kind, first.retry_after)
    assert isinstance(second, CircuitOpenError)
    assert (1, 60.0) == (calls, second.retry_after)
    assert "open" != later


async def test_too_many_calls_at_once_halve_the_limit_and_are_no_failure(house: House) -> None:
    """They come from this side; successes raise it again, a little each."""
    fault = {"kind": "concurrency", "times": 1}
    voice = NamedVoice("one", MockScript.model_validate({"paid": True, "faults": [fault]}))
    calls = await house.say(voice, "Good night.")
    halved = house.gates.calls_at_once("one")
    for number in range(6):
        await house.say(voice, f"Good night, number {number}.")

    assert ["CONCURRENCY", ""] == [call.reason for call in calls]
    assert 2 == halved
    assert 4 == house.gates.calls_at_once("one")
    assert 0 == house.circuit.failed_calls


async def test_a_wait_that_a_voice_names_with_its_refusal_is_the_one_that_counts(house: House) -> None:
    """Until its plan begins again, say."""
    fault = {"kind": "quota", "retry_after": 900}
    voice = NamedVoice("one", MockScript.model_validate({"faults": [fault]}))

    assert 900.0 == (await house.refused(voice, "Good night.")).retry_after
    assert 900.0 == house.circuit.retry_after
