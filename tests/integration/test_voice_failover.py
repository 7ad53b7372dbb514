"""A provider that is dead: who speaks instead, how it is asked whether it is back, and what never counts against it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import grpc
import pytest
from support.voice_kit import STORY, HeldVoice, NamedVoice, Voice, faults, reason_of, voice_service

from tale.common.v1 import common_pb2, status_pb2, status_pb2_grpc
from tale.voice.v1 import voice_pb2
from voice_service.ports import ProviderMetadata, SegmentRequest, SpeechItem, VoiceInfo
from voice_service.providers.mock.script import MockScript

DEAD: dict[str, Any] = {"kind": "overload", "times": None}
FALLBACK: dict[str, Any] = {"default_provider": "one", "provider_fallback": ("two",)}
QUICK: dict[str, Any] = {"breaker_seconds": 0.02}
OTHER = "There was an owl who lived in an old mill. " * 8


class Probed(NamedVoice):
    """Waits for `enough` probes, and keeps what it was asked to say."""

    def __init__(self, name: str, script: MockScript | None = None, enough: int = 1) -> None:
        super().__init__(name, script)
        self._enough = enough
        self.probed = asyncio.Event()

    async def probe(self) -> None:
        if self.journal.probes + 1 >= self._enough:
            self.probed.set()
        await super().probe()


async def _circuit(voice: Voice, name: str = "one") -> status_pb2.CircuitStatus:
    stub = status_pb2_grpc.StatusServiceStub(voice.service.channel)
    status = (await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=5)).status
    return next(circuit for circuit in status.circuits if circuit.name == name)


async def _provider(voice: Voice, name: str = "one") -> voice_pb2.Provider:
    listed = await voice.stub.ListProviders(voice_pb2.ListProvidersRequest(), timeout=5)
    return next(each for each in listed.providers if each.provider_name == name)


async def test_while_the_circuit_is_open_the_fallback_begins_at_once() -> None:
    """The dead one is not asked for anything, and the answer names who speaks and why."""
    one, two = NamedVoice("one", faults(DEAD)), NamedVoice("two")
    async with voice_service(one, two, **FALLBACK) as voice:
        first = await voice.tell(STORY)
        calls = one.journal.calls
        second = await voice.tell(OTHER)
        metrics = await _provider(voice)

    assert (None, "one", ["PROVIDER_FAILED"]) == (first.error, _by(first), [each.reason for each in first.warnings])
    assert (None, "two", ["CIRCUIT_OPEN"]) == (second.error, _by(second), [each.reason for each in second.warnings])
    assert calls == one.journal.calls
    assert {"two"} == {segment.provider for segment in second.segments}
    assert (True, False, "open") == (metrics.configured, metrics.available, metrics.circuit_state)
    assert metrics.unavailable_reason.startswith("it failed too often")


def _by(told: Any) -> str:
    return str(told.header.provider)


class Hanging(NamedVoice):
    """One that answers nothing at all once it is dead."""

    async def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        if self.called.is_set():
            await asyncio.Event().wait()
        return await super().list_voices(language_code)

    async def probe(self) -> None:
        await asyncio.Event().wait()


async def test_not_even_its_list_of_voices_is_waited_for() -> None:
    """Whoever does not answer costs the listener nothing."""
    async with voice_service(Hanging("one", faults(DEAD)), NamedVoice("two"), **FALLBACK, **QUICK) as voice:
        await voice.tell(STORY)
        told = await voice.tell(OTHER)

    assert (None, "two") == (told.error, _by(told))


async def test_a_dead_provider_is_asked_once_a_window_and_told_no_text() -> None:
    """However many stories are told meanwhile: each change of the circuit is one probe, and none is a story's call."""
    one = Probed("one", faults(DEAD, probe_fault="timeout"), enough=3)
    async with voice_service(one, NamedVoice("two"), **FALLBACK, **QUICK) as voice:
        await voice.tell(STORY)
        calls = one.journal.calls
        told = await asyncio.gather(*(voice.tell(f"Story {number}. {OTHER}") for number in range(50)))
        await one.probed.wait()
        circuit = await _circuit(voice)
        probes = one.journal.probes

    assert {None} == {each.error for each in told}
    assert calls == one.journal.calls
    assert probes >= 3
    # Once opened, then half-open and open again with each probe; the last may be on its way.
    assert 1 + 2 * (probes - 1) <= circuit.state_changes <= 1 + 2 * (probes + 1)
    assert circuit.total_calls - calls <= probes + 1


async def test_its_recovery_is_noticed_by_the_probe() -> None:
    """The next story is its own again, with no story spent on finding out."""
    one = Probed("one", faults({"kind": "overload", "times": 3}))
    async with voice_service(one, NamedVoice("two"), **FALLBACK, **QUICK, segments_ahead=0) as voice:
        first = await voice.tell(STORY)
        calls = one.journal.calls
        await one.probed.wait()
        second = await voice.tell(OTHER)
        circuit = await _circuit(voice)

    assert (3, None, None) == (calls, first.error, second.error)
    assert (1, common_pb2.ATTEMPT_OUTCOME_SUCCEEDED) == (one.journal.probes, second.attempts[0].outcome)
    assert status_pb2.CIRCUIT_STATE_CLOSED == circuit.state
    assert {"one"} == {segment.provider for segment in second.segments}


class Raw(Probed):
    """One whose first probe raises what no provider should."""

    async def probe(self) -> None:
        self.journal.probes += 1
        if self.journal.probes == 1:
            raise ConnectionResetError
        self.probed.set()


async def test_a_probe_that_raises_something_odd_is_a_probe_that_failed() -> None:
    """The next one closes the circuit, without a restart."""
    one = Raw("one", faults({"kind": "overload", "times": 3}))
    async with voice_service(one, NamedVoice("two"), **FALLBACK, **QUICK, segments_ahead=0) as voice:
        await voice.tell(STORY)
        async with asyncio.timeout(10):
            await one.probed.wait()
        told = await voice.tell(OTHER)

    assert (2, {"one"}) == (one.journal.probes, {segment.provider for segment in told.segments})


class Mute(NamedVoice):
    """One that cannot be probed but by having it say something."""

    probe = None  # type: ignore[assignment] # as of one that has no such method

    def __init__(self, name: str, script: MockScript) -> None:
        super().__init__(name, script)
        self.asked: list[str] = []
        self.greeted = asyncio.Event()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        self.asked.append(request.text)
        if request.text == "Hello.":
            self.greeted.set()
        async for item in super().synthesize(request):
            yield item


async def test_one_that_can_not_be_probed_is_asked_for_a_word_of_ours() -> None:
    """Never for somebody's text."""
    one = Mute("one", faults({"kind": "overload", "times": 3}))
    async with voice_service(one, NamedVoice("two"), **FALLBACK, **QUICK, segments_ahead=0) as voice:
        await voice.tell(STORY)
        await one.greeted.wait()
        told = await voice.tell(OTHER)

    assert "Hello." == one.asked[3]
    assert {"one"} == {segment.provider for segment in told.segments}


async def test_what_it_said_before_is_told_again_while_it_is_dead() -> None:
    """From the cache, in its own voice, with no call to anybody."""
    one, two = NamedVoice("one", faults({"kind": "overload", "match": "mill", "times": None})), NamedVoice("two")
    text = STORY.replace("of the mill", "of the hill")
    async with voice_service(one, two, **FALLBACK) as voice:
        before = await voice.tell(text)
        await voice.tell(OTHER)
        calls = one.journal.calls, two.journal.calls
        again = await voice.tell(text)
        state = (await _provider(voice)).circuit_state

    assert ("open", before.audio, None) == (state, again.audio, again.error)
    assert calls == (one.journal.calls, two.journal.calls)
    assert ("one", []) == (_by(again), list(again.warnings))


async def test_with_nobody_else_the_reason_says_who_was_tried_and_why() -> None:
    """UNAVAILABLE / NO_PROVIDERS_AVAILABLE; the embedded voice does not step in."""
    one, embedded = NamedVoice("one", faults(DEAD, paid=True)), NamedVoice("offline")
    async with voice_service(one, embedded, default_provider="one", segments_ahead=0) as voice:
        first = await voice.tell(STORY)
        second = await voice.tell(OTHER)

    assert (grpc.StatusCode.UNAVAILABLE, "AUDIO_GENERATION_FAILED") == reason_of(first.error)[:2]
    code, reason, why = reason_of(second.error)
    assert (grpc.StatusCode.UNAVAILABLE, "NO_PROVIDERS_AVAILABLE") == (code, reason)
    assert ["one"] == list(why)
    assert why["one"].startswith("it failed too often")
    assert 0 == embedded.journal.calls


@pytest.mark.parametrize("kind", ["invalid_input", "unsupported", "auth", "content_policy"])
async def test_what_is_not_its_fault_never_opens_its_circuit(kind: str) -> None:
    """Twenty in a row, whatever they are about."""
    one = NamedVoice("one", faults({"kind": kind, "times": None}))
    async with voice_service(one, NamedVoice("two"), **FALLBACK, retries=0, segments_ahead=0) as voice:
        for number in range(20):
            assert (await voice.tell(f"Number {number}. Good night.")).error is None
        circuit = await _circuit(voice)

    assert (20, 0, status_pb2.CIRCUIT_STATE_CLOSED) == (one.journal.calls, circuit.failed_calls, circuit.state)


async def test_a_voice_whose_plan_is_used_up_is_asked_once_and_not_for_each_segment() -> None:
    """The fallback speaks the rest, and the stories of the next minute from their first word on."""
    one = NamedVoice("one", faults({"kind": "quota", "times": None}))
    async with voice_service(one, NamedVoice("two"), **FALLBACK, segments_ahead=0) as voice:
        first = await voice.tell(STORY)
        second = await voice.tell(OTHER)
        circuit = await _circuit(voice)

    assert (None, None) == (first.error, second.error)
    assert ({"two"}, "two") == ({segment.provider for segment in first.segments}, _by(second))
    assert (1, 0, status_pb2.CIRCUIT_STATE_OPEN) == (one.journal.calls, circuit.failed_calls, circuit.state)


async def test_callers_that_leave_never_open_a_circuit() -> None:
    """Five that go away while their segment is being made."""
    one = HeldVoice("one")
    async with voice_service(one, default_provider="one", segments_ahead=0) as voice:
        for number in range(5):
            one.called.clear()
            telling = asyncio.create_task(voice.tell(f"Number {number}. Good night."))
            await one.called.wait()
            telling.cancel()
            await asyncio.wait([telling])
        circuit = await _circuit(voice)
        one.go_on.set()

    assert (0, status_pb2.CIRCUIT_STATE_CLOSED) == (circuit.failed_calls, circuit.state)


@pytest.mark.parametrize("kind", ["rate", "overload"])
async def test_a_short_wait_is_sat_out_and_a_long_one_closes_the_door(kind: str) -> None:
    """Retry-After within what one waits for is no reason to leave; beyond it nobody is asked until then."""
    for seconds, speakers, state in ((0.01, {"one"}, "closed"), (60, {"two"}, "open")):
        one = NamedVoice("one", faults({"kind": kind, "retry_after": seconds}))
        async with voice_service(one, NamedVoice("two"), **FALLBACK, segments_ahead=0) as voice:
            told = await voice.tell(STORY)
            assert state == (await _provider(voice)).circuit_state

        assert (None, speakers) == (told.error, {segment.provider for segment in told.segments})


@pytest.mark.parametrize(
    ("slow_seconds", "streams", "state"), [(0.001, True, "open"), (0.001, False, "closed"), (600, True, "closed")]
)
async def test_a_voice_that_is_always_late_is_left_alone(slow_seconds: float, streams: bool, state: str) -> None:
    """Where its sound comes as it is made; the first byte of one that sends whole files says nothing."""
    one = Streaming("one", MockScript(first_byte_seconds=0.01), streams=streams)
    async with voice_service(one, default_provider="one", slow_seconds=slow_seconds) as voice:
        for number in range(20):
            assert (await voice.tell(f"Good night, number {number}.")).error is None
        shown = (await _provider(voice)).circuit_state
        circuit = await _circuit(voice)

    assert (state, 20, 0) == (shown, circuit.total_calls, circuit.failed_calls)


class Streaming(NamedVoice):
    """One that says of itself whether its sound comes as it is made."""

    def __init__(self, name: str, script: MockScript, *, streams: bool) -> None:
        super().__init__(name, script)
        self._streams = streams

    @property
    def metadata(self) -> ProviderMetadata:
        return replace(super().metadata, supports_streaming=self._streams)


async def test_a_circuit_can_be_closed_by_hand() -> None:
    """ResetCircuit, and the next story goes to the provider again."""
    one = NamedVoice("one", faults({"kind": "overload", "times": 3}))
    async with voice_service(one, NamedVoice("two"), **FALLBACK, segments_ahead=0) as voice:
        await voice.tell(STORY)
        stub = status_pb2_grpc.StatusServiceStub(voice.service.channel)
        answer = await stub.ResetCircuit(status_pb2.ResetCircuitRequest(name="one"), timeout=5)
        told = await voice.tell(OTHER)

    assert status_pb2.CIRCUIT_STATE_CLOSED == answer.circuit.state
    assert {"one"} == {segment.provider for segment in told.segments}


async def test_a_strict_caller_is_not_handed_to_a_voice_of_another_language() -> None:
    """Also not in the middle of a story."""
    one = NamedVoice("one", faults({"kind": "auth", "match": "Then the wind", "times": None}, languages=["sv"]))
    two = NamedVoice("two", faults(languages=["de"]))
    async with voice_service(one, two, **FALLBACK) as voice:
        strict = await voice.tell(STORY, language_code="sv", strict_language=True)
        read = await voice.tell(STORY, language_code="sv")

    assert (grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_AUTH") == reason_of(strict.error)[:2]
    assert (None, "two") == (read.error, read.segments[-1].provider)
