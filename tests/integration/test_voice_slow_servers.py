"""Speech servers of one machine: they queue, they are slow, and they load their model first. In virtual time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from support.speech_fake import Reply, SpeechFake, load_sdk, speech_config, speech_fake
from support.voice_kit import STORY, NamedVoice
from support.voice_virtual import VirtualTold, VirtualVoice, virtual_voice

from servicekit.metrics import Metrics
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.retry import RetryPolicy
from standins.virtual_time import run_virtually
from voice_service.metrics import VoiceMetrics
from voice_service.providers.speech.provider import SpeechProvider
from voice_service.synthesis.call import Pace
from voice_service.synthesis.gates import Allowance, ProviderGates

WAIT: dict[str, Any] = {"provider_wait": timedelta(seconds=600)}
OWN: dict[str, Any] = {"key": ""}
REMOTE: dict[str, Any] = {"key": "", "remote": True}
BILLED: dict[str, Any] = {"remote": True}
SERVERS = [OWN, REMOTE, BILLED]
"""A server in the own network; one elsewhere, without a key and with one."""


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """The SDK is loaded once, since it may take longer than virtual time waits for a thread."""
    asyncio.run(load_sdk())


@asynccontextmanager
async def _serving(
    *, remote: bool = False, key: str = "secret-key", concurrency: int = 0, **given: Any
) -> AsyncIterator[tuple[VirtualVoice, SpeechFake]]:
    # Loopback is an address of the own network.
    with patch("voice_service.providers.speech.provider.is_own_network", return_value=not remote):
        async with speech_fake() as server:
            config = speech_config(server.url, key, paid=bool(key), concurrency=concurrency)
            provider = SpeechProvider(config)
            # The service has warmed up.
            await provider.list_voices()
            async with virtual_voice(provider, default_provider="speech", **given) as voice:
                yield voice, server


def _run(work: Callable[[VirtualVoice, SpeechFake], Awaitable[Any]], **given: Any) -> Any:
    async def run() -> Any:
        async with _serving(**given) as (voice, server):
            return server, await work(voice, server)

    return run_virtually(run())


def _each_once(server: SpeechFake) -> bool:
    """Whether no text was spoken twice."""
    return {1} == {*Counter(server.texts).values()}


@pytest.mark.parametrize("given", [*SERVERS, {**OWN, "concurrency": 1}, {**BILLED, "concurrency": 1}])
@pytest.mark.sampled(2)
def test_two_stories_at_half_real_time_speak_every_text_once(given: dict[str, Any]) -> None:
    """The server speaks one text at a time, and what it is given meanwhile waits in it without a byte."""

    async def work(voice: VirtualVoice, server: SpeechFake) -> list[VirtualTold]:
        server.work, server.threads = 2.0, 1
        texts = [
            "".join(f"{name} {night} looked at the moon for a while, and then she fell asleep. " for night in range(30))
            for name in ("Fox", "Owl")
        ]
        return await asyncio.gather(*(voice.tell(text, **WAIT) for text in texts))

    server, told = _run(work, **given)
    assert [None, None] == [each.failure for each in told]
    assert all(each.summary is not None for each in told)
    assert _each_once(server)
    assert len(server.speeches) == sum(len(each.segments) for each in told)
    # The gateway gives up a stream that says nothing for a minute.
    assert max(each.longest_silence for each in told) <= 20.1


@pytest.mark.parametrize("given", SERVERS)
def test_model_that_is_loaded_for_a_minute_is_waited_for_with_one_call(given: dict[str, Any]) -> None:
    """The first byte comes after it; the story says what it waits for."""

    async def work(voice: VirtualVoice, server: SpeechFake) -> VirtualTold:
        server.work, server.threads, server.loading = 1.0, 1, 60.0
        return await voice.tell(STORY, title="The fox", **WAIT)

    server, told = _run(work, **given)
    assert told.failure is None
    assert _each_once(server)
    assert {"WAITING_FOR_PROVIDER"} == set(told.warned)
    assert "has not answered yet" in told.warnings[0].message
    assert told.warned_at("WAITING_FOR_PROVIDER")[0] <= 20.1


@pytest.mark.parametrize("given", SERVERS)
@pytest.mark.parametrize(
    "said", ['{"error": {"message": "Loading model", "code": 503}}', '{"detail": "Model kokoro is not ready"}']
)
def test_server_that_says_it_loads_is_called_now_and_then(given: dict[str, Any], said: str) -> None:
    """Its other paths answer meanwhile. Each refusal costs nothing, and none of them is a try."""

    async def work(voice: VirtualVoice, server: SpeechFake) -> VirtualTold:
        server.answers = lambda _: Reply(status=503, body=said.encode(), content_type="application/json")
        asyncio.get_running_loop().call_later(60, setattr, server, "answers", None)
        return await voice.tell(STORY, **WAIT)

    server, told = _run(work, **given)
    assert told.failure is None
    assert {"WAITING_FOR_PROVIDER"} == set(told.warned)
    asked = Counter(server.texts)
    first = server.texts[0]
    assert 2 <= asked.pop(first) <= 6
    assert {1} == {*asked.values()}
    assert {"OVERLOAD"} == {each.reason for each in told.attempts if each.reason}


@pytest.mark.parametrize("given", SERVERS)
def test_server_that_is_being_started_is_waited_for(given: dict[str, Any]) -> None:
    """Connections are refused for a minute; every text is spoken once."""

    async def work(voice: VirtualVoice, server: SpeechFake) -> VirtualTold:
        await server.stop()
        telling = asyncio.create_task(voice.tell(STORY, **WAIT))
        await asyncio.sleep(60)
        await server.start()
        return await telling

    server, told = _run(work, **given)
    assert told.failure is None
    assert {"WAITING_FOR_PROVIDER"} == set(told.warned)
    assert _each_once(server)


def test_timeout_lowers_the_concurrency() -> None:
    """As a refusal for too many calls does; another failure does not."""
    gates = ProviderGates(
        BreakerManager(),
        lambda _: Allowance(concurrency=4),
        retry=RetryPolicy(),
        metrics=VoiceMetrics(Metrics()),
        clock=lambda: 0.0,
    )

    async def limits() -> list[int]:
        gate, found = gates.of(NamedVoice("one").metadata), []
        for kind in (ProviderErrorKind.OVERLOAD, ProviderErrorKind.TIMEOUT):
            with pytest.raises(ProviderError), gate.timed(100):
                raise ProviderError(kind, "it failed", provider="one")
            found.append(gate.limits.limit)
        return found

    assert [4, 2] == run_virtually(limits())


@pytest.mark.parametrize(
    ("characters", "calls", "pace", "allowed"),
    [(20, 1, 0.0, 30), (600, 1, 0.1, 150), (600, 2, 0.1, 270), (20, 2, 0.1, 154), (600, 4, 0.3, 600)],
)
def test_time_grows_with_the_text_and_what_was_seen(characters: int, calls: int, pace: float, allowed: float) -> None:
    """Twice the time for the text and for what may be before it in the server, and never more than ten minutes."""
    times = Pace(warm=30, cold=120)
    times.took(200, 200 * pace, answered_at=0.0)
    timers = times.timers(characters, calls, 1.0)

    assert [allowed] * 3 == pytest.approx([timers.first_byte, timers.idle, timers.total])


def test_pace_is_the_slowest_of_the_last_calls() -> None:
    """One that was too late counts, and a server that was not called for a minute may have to load its model again."""
    times = Pace(warm=30, cold=120)
    assert 120 == times.timers(20, 1, 0.0).total
    times.took(20, 5.0, answered_at=0.0)
    assert pytest.approx(times.timers(200, 1, 1.0).total) == 50
    times.took(200, 60.0)
    assert pytest.approx(times.timers(200, 1, 1.0).total) == 150
    assert pytest.approx(times.timers(200, 1, 61.0).total) == 240
    for _ in range(8):
        times.took(200, 2.0, answered_at=60.0)
    assert pytest.approx(times.timers(200, 1, 61.0).total) == 34


def test_times_that_are_set_are_used() -> None:
    """The operator's own, whatever the server has shown."""
    times = Pace(warm=30, cold=120, first_byte=5, total=9)
    times.took(200, 60.0, answered_at=0.0)
    timers = times.timers(200, 1, 0.0)

    assert (5, 9) == (timers.first_byte, timers.total)
