"""What operators see: metrics on their port, one line a narration, one a call, and never a word of a story."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
from support.voice_kit import STORY, NamedVoice, Voice, faults, voice_service

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.ports import CallFacts, SegmentRequest, SpeechItem
from voice_service.providers.mock.script import MockScript
from voice_service.settings import Tuning


class Metered(NamedVoice):
    """Says what its calls cost, and what its plan has left."""

    def __init__(self, name: str, script: MockScript | None = None, left: int | None = 1234) -> None:
        super().__init__(name, script)
        self._left = left
        self.asked = asyncio.Event()

    async def remaining_characters(self) -> int | None:
        self.asked.set()
        if self._left == 0:
            raise ProviderError(ProviderErrorKind.AUTH, "no", provider="elevenlabs")
        return self._left

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        yield CallFacts(request_id="req-7", characters_billed=10)
        async for item in super().synthesize(request):
            yield item


async def _metrics(voice: Voice) -> dict[str, float]:
    address = voice.service.server.ops_address
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


async def test_calls_characters_and_the_plan_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Under the names that dashboards have; what a provider bills goes before what was sent."""
    voice_ = Metered("elevenlabs", faults({"kind": "overload", "call": 2}))
    async with voice_service(voice_, default_provider="elevenlabs") as voice:
        told = await voice.tell(STORY)
        again = await voice.tell(STORY)
        await voice_.asked.wait()
        seen = await _metrics(voice)
    calls = len(told.segments)

    assert (None, None) == (told.error, again.error)
    assert calls == seen['elevenlabs_api_calls_total{endpoint="text_to_speech",status="success"}']
    assert 1 == seen['elevenlabs_api_calls_total{endpoint="text_to_speech",status="overload"}']
    assert calls + 1 == seen['elevenlabs_api_duration_seconds_count{endpoint="text_to_speech"}']
    assert 10 * (calls + 1) == seen['voice_characters_total{provider="elevenlabs"}']
    assert 1234 == seen['voice_remaining_characters{provider="elevenlabs"}']
    assert calls == seen['voice_provider_first_byte_seconds_count{provider="elevenlabs"}']
    assert 2 == seen['voice_narrations_total{outcome="success",provider="elevenlabs",reason=""}']
    assert 2 == seen['voice_narration_duration_seconds_count{outcome="success",provider="elevenlabs"}']
    assert 2 == seen['voice_narration_first_byte_seconds_count{provider="elevenlabs"}']
    assert (calls, calls) == (seen["voice_segments_made_total"], seen["voice_segments_found_total"])
    assert {10} == {attempt.characters for attempt in told.attempts}
    assert "req-7" == told.attempts[0].metadata["request_id"]
    printed = capsys.readouterr()
    assert "fox" not in (printed.out + printed.err).lower()


async def test_fallbacks_failures_and_circuits_are_counted() -> None:
    """Who spoke for whom and why; why narrations failed."""
    dead: dict[str, Any] = {"kind": "overload", "times": None}
    one, two = NamedVoice("one", faults(dead)), NamedVoice("two", faults({"kind": "auth", "match": "wolf"}))
    async with voice_service(
        one, two, default_provider="one", provider_fallback=("two",), segments_ahead=0, breaker_seconds=3600
    ) as voice:
        await voice.tell(STORY)
        await voice.tell("There was an owl.")
        await voice.tell("There was a wolf.")
        seen = await _metrics(voice)

    assert 1 == seen['voice_fallbacks_total{next_provider="two",provider="one",reason="overload"}']
    assert 2 == seen['voice_fallbacks_total{next_provider="two",provider="one",reason="circuit_open"}']
    assert 1 == seen['voice_narrations_total{outcome="failure",provider="two",reason="UPSTREAM_AUTH"}']
    assert 1 == seen['circuit_breaker_state{circuit="one",state="open"}']
    assert 3 == seen['circuit_breaker_calls_total{circuit="one",outcome="failure"}']


async def test_a_plan_that_can_not_be_learned_stops_nothing() -> None:
    """It is called again later."""
    voice_ = Metered("elevenlabs", left=0)
    async with voice_service(voice_, default_provider="elevenlabs", tuning=Tuning(quota_interval=0.01)) as voice:
        await voice_.asked.wait()
        voice_.asked.clear()
        await voice_.asked.wait()
        told = await voice.tell(STORY)

    assert told.error is None


async def test_each_narration_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """generation_time, success and provider; the reason where it failed."""
    from voice_service.wire import servicer  # noqa: PLC0415 - its logger is what is looked at

    lines: list[dict[str, Any]] = []

    class Log:
        @staticmethod
        def info(event: str, **facts: Any) -> None:
            lines.append({"event": event, **facts})

    monkeypatch.setattr(servicer, "_log", Log)
    async with voice_service(NamedVoice("mock", faults({"kind": "auth", "match": "wolf"}))) as voice:
        await voice.tell(STORY)
        await voice.tell("There was a wolf.")

    assert [("narration ended", True, "mock", None), ("narration ended", False, "mock", "UPSTREAM_AUTH")] == [
        (line["event"], line["success"], line["provider"], line.get("reason")) for line in lines
    ]
    assert all(line["generation_time"] >= 0 for line in lines)
