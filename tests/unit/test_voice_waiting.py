"""A narration whose providers cannot be called waits within its budget, says so, and makes no call meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from support.voice_kit import STORY
from support.voice_virtual import VirtualTold, VirtualVoice, Weather, virtual_voice

from servicekit.resilience import circuit_queue
from servicekit.resilience.errors import ProviderErrorKind
from standins.virtual_time import loop_time, run_virtually

OVERLOAD = ProviderErrorKind.OVERLOAD
OTHER = "There was an owl who lived in an old mill. " * 8
WAIT: dict[str, Any] = {"provider_wait": timedelta(seconds=600)}
WINDOW = 30.0


def _run(work: Callable[[VirtualVoice], Awaitable[Any]], *voices: Weather, **given: Any) -> Any:
    async def run() -> Any:
        async with virtual_voice(*voices, **given) as voice:
            return await work(voice)

    return run_virtually(run())


async def _opened(voice: VirtualVoice, one: Weather) -> None:
    """Has the circuit of `one` open."""
    one.down = OVERLOAD
    await voice.tell("Good night.")
    assert "open" == voice.circuit().state


async def _up_after(one: Weather, seconds: float) -> None:
    await asyncio.sleep(seconds)
    one.down = None


def test_hundreds_of_narrations_wait_at_one_probe_a_window_and_all_end_well() -> None:
    """Five minutes without the provider: no call of a text, a warning at once and every 20 s, and then all are made."""
    one = Weather()

    async def work(voice: VirtualVoice) -> tuple[list[VirtualTold], int, float]:
        await _opened(voice, one)
        calls, began = len(one.called_at), loop_time()
        telling = [asyncio.create_task(voice.tell(f"Story {number}. {OTHER}", **WAIT)) for number in range(300)]
        await _up_after(one, 300)
        before = len(one.called_at) - calls
        return await asyncio.gather(*telling), before, began

    told, before, began = _run(work, one)
    assert [None] * 300 == [each.failure for each in told]
    assert all(each.summary is not None for each in told)
    assert 0 == before
    assert 9 <= len(one.probed_at) <= 300 / WINDOW + 1
    gaps = [after - at for at, after in zip(one.probed_at, one.probed_at[1:], strict=False)]
    assert min(gaps) >= WINDOW
    waits = told[-1].warned_at("WAITING_FOR_PROVIDER")
    assert [began + 20 * number for number in range(len(waits))] == pytest.approx(waits)
    assert len(waits) >= 15
    assert {"one"} == {warning.metadata["provider"] for warning in told[0].warnings}
    assert not any("PROVIDER_FAILED" in each.warned for each in told)


def test_a_narration_continues_from_the_segment_that_it_waited_at() -> None:
    """With the same provider, without a word of a failure, and nothing is spoken twice."""
    one = Weather(first_byte_seconds=0.5)

    async def work(voice: VirtualVoice) -> VirtualTold:
        telling = VirtualTold()
        task = asyncio.create_task(voice.tell(STORY * 2, told=telling, **WAIT))
        await asyncio.sleep(3)
        assert 2 <= len(telling.segments)
        one.down = OVERLOAD
        await _up_after(one, 100)
        return await task

    told = _run(work, one, segment_words=10, segments_ahead=0)
    assert told.failure is None
    assert list(range(len(told.segments))) == [segment.index for segment in told.segments]
    assert {"WAITING_FOR_PROVIDER"} == set(told.warned)
    assert {"one"} == {segment.provider for segment in told.segments}


@pytest.mark.parametrize("kind", [ProviderErrorKind.OVERLOAD, ProviderErrorKind.TIMEOUT])
def test_an_outage_in_the_middle_ends_no_narration(kind: ProviderErrorKind) -> None:
    """Fifty in progress, five minutes without the provider: few calls find out, one probe a window, and all go on."""
    one = Weather(first_byte_seconds=1.0, paid=True)

    async def work(voice: VirtualVoice) -> tuple[list[VirtualTold], list[float]]:
        texts = ["".join(f"Owl {owl} of mill {mill} fell asleep. " for owl in range(12)) for mill in range(50)]
        telling = [asyncio.create_task(voice.insist(text, **WAIT)) for text in texts]
        await asyncio.sleep(10)
        one.down, calls = kind, len(one.called_at)
        await asyncio.sleep(300)
        one.down, found = None, one.called_at[calls:]
        return await asyncio.gather(*telling), found

    told, found = _run(work, one, segment_words=10)
    assert [None] * 50 == [each.failure for each in told]
    assert len(found) <= 50
    assert found[-1] <= 20
    assert len(one.probed_at) <= 300 / WINDOW
    assert not any("PROVIDER_FAILED" in each.warned for each in told)


def test_text_is_read_while_a_narration_waits() -> None:
    """The writer is not held up."""
    one = Weather()
    read: list[float] = []

    def pieces() -> Iterator[str]:
        for sentence in range(50):
            yield f"Number {sentence} went to sleep. "
        read.append(loop_time())

    async def work(voice: VirtualVoice) -> tuple[VirtualTold, float]:
        await _opened(voice, one)
        began = loop_time()
        task = asyncio.create_task(voice.tell(pieces(), **WAIT))
        await _up_after(one, 60)
        return await task, began

    told, began = _run(work, one)
    assert told.failure is None
    assert read[0] - began < 1


def test_a_caller_that_sends_no_text_before_the_header_is_warned_too() -> None:
    """The wait does not begin with the text, and the narration ends well."""
    one = Weather()

    async def work(voice: VirtualVoice) -> VirtualTold:
        await _opened(voice, one)
        told = VirtualTold()

        async def pieces() -> AsyncIterator[str]:
            while told.header is None:  # noqa: ASYNC110 - a caller that polls
                await asyncio.sleep(0.1)
            yield OTHER

        task = asyncio.create_task(voice.tell(pieces(), told=told, **WAIT))
        await _up_after(one, 60)
        return await task

    told = _run(work, one)
    assert told.failure is None
    assert told.kinds.index("warning") < told.kinds.index("header")
    assert told.warnings[0].message.endswith("s.")


def test_without_a_budget_nothing_is_waited_for() -> None:
    """As direct callers have it."""
    one = Weather()

    async def work(voice: VirtualVoice) -> tuple[VirtualTold, VirtualTold, float]:
        one.down = OVERLOAD
        first = await voice.tell(STORY)
        began = loop_time()
        return first, await voice.tell(OTHER), loop_time() - began

    first, second, took = _run(work, one)
    assert first.failure is not None
    assert "AUDIO_GENERATION_FAILED" == first.failure.reason
    assert second.failure is not None
    assert "NO_PROVIDERS_AVAILABLE" == second.failure.reason
    assert 0 == took


def test_all_waits_of_a_narration_are_within_its_budget() -> None:
    """Then the failure is that of one that does not wait."""
    one = Weather()

    async def work(voice: VirtualVoice) -> tuple[VirtualTold, float]:
        await _opened(voice, one)
        began = loop_time()
        told = await voice.tell(OTHER, provider_wait=timedelta(seconds=100))
        return told, loop_time() - began

    told, took = _run(work, one)
    assert told.failure is not None
    assert "NO_PROVIDERS_AVAILABLE" == told.failure.reason
    assert 70 <= took <= 100
    assert "WAITING_FOR_PROVIDER" in told.warned


@pytest.mark.parametrize(
    ("kind", "retry_after", "reason"),
    [
        (ProviderErrorKind.QUOTA, None, "QUOTA_EXCEEDED"),
        (ProviderErrorKind.QUOTA, 30.0, "QUOTA_EXCEEDED"),
        (ProviderErrorKind.RATE, 3600.0, "RATE_LIMITED"),
        (ProviderErrorKind.AUTH, None, "UPSTREAM_AUTH"),
    ],
)
def test_what_no_wait_helps_with_is_reported_at_once(
    kind: ProviderErrorKind, retry_after: float | None, reason: str
) -> None:
    """To the narration that is refused and to the next one, which would find the circuit open."""
    one = Weather()

    async def work(voice: VirtualVoice) -> tuple[list[VirtualTold], float]:
        one.down, one.retry_after = kind, retry_after
        return [await voice.tell(text, **WAIT) for text in (STORY, OTHER)], loop_time()

    told, took = _run(work, one, segments_ahead=0)
    assert [reason] * 2 == [each.failure.reason for each in told if each.failure is not None]
    assert [[], []] == [each.warned for each in told]
    assert 0 == took


def test_a_pause_that_a_provider_named_is_waited_for() -> None:
    """Within the budget: one call is refused, and none is made before the pause is over, nor a probe."""
    one = Weather()

    async def work(voice: VirtualVoice) -> VirtualTold:
        one.down, one.retry_after = ProviderErrorKind.RATE, 90.0
        task = asyncio.create_task(voice.tell(STORY, **WAIT))
        await _up_after(one, 60)
        return await task

    told = _run(work, one, segments_ahead=0)
    assert told.failure is None
    assert 0.0 == one.called_at[0]
    assert one.called_at[1] >= 90
    assert [90.0] == one.probed_at


@pytest.mark.parametrize("kind", [ProviderErrorKind.RATE, ProviderErrorKind.CONCURRENCY])
@pytest.mark.parametrize("retry_after", [None, 1.0, 5.0])
def test_an_outage_by_a_rate_limit_is_waited_for(kind: ProviderErrorKind, retry_after: float | None) -> None:
    """Five minutes: the three tries of one segment, and one probe a window."""
    one = Weather()

    async def work(voice: VirtualVoice) -> VirtualTold:
        one.down, one.retry_after = kind, retry_after
        task = asyncio.create_task(voice.tell(STORY, **WAIT))
        await _up_after(one, 300)
        return await task

    told = _run(work, one, segments_ahead=0)
    assert told.failure is None
    assert 3 == sum(when < 300 for when in one.called_at)
    assert len(one.probed_at) <= 300 / WINDOW + 1
    assert {"WAITING_FOR_PROVIDER"} == set(told.warned)


def test_a_narration_for_which_the_queue_has_no_room_fails_with_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one in front of it waits and is made, and the probes go on."""
    monkeypatch.setattr(circuit_queue, "_MOST_WAITING", 2)
    one = Weather()

    async def work(voice: VirtualVoice) -> list[VirtualTold]:
        await _opened(voice, one)
        telling = [asyncio.create_task(voice.tell(f"{number}. {OTHER}", **WAIT)) for number in range(3)]
        await _up_after(one, 100)
        return await asyncio.gather(*telling)

    told = _run(work, one)
    assert [None, "NO_PROVIDERS_AVAILABLE"] == [each.failure and each.failure.reason for each in told[:2]]
    assert 4 == len(one.probed_at)


def test_probes_need_no_room_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The circuit closes as soon as the provider is back."""
    monkeypatch.setattr(circuit_queue, "_MOST_WAITING", 0)
    one = Weather()

    async def work(voice: VirtualVoice) -> str:
        await _opened(voice, one)
        await _up_after(one, 100)
        await asyncio.sleep(WINDOW * 1.2)
        return voice.circuit().state

    assert "closed" == _run(work, one)


@pytest.mark.parametrize("retry_after", [None, 1.0, 5.0, 10.0])
def test_a_rate_limit_in_the_middle_ends_no_narration(retry_after: float | None) -> None:
    """Also where retries are used up before the circuit opens: a refusal takes no try, and others were answered."""
    one = Weather(first_byte_seconds=3.0, paid=True)

    async def work(voice: VirtualVoice) -> tuple[list[VirtualTold], int]:
        texts = ["".join(f"Owl {owl} of mill {mill} fell asleep. " for owl in range(40)) for mill in range(40)]
        telling = [asyncio.create_task(voice.tell(text, **WAIT)) for text in texts]
        await asyncio.sleep(10)
        one.down, one.retry_after, calls = ProviderErrorKind.RATE, retry_after, len(one.called_at)
        await asyncio.sleep(180)
        one.down, refused = None, len(one.called_at) - calls
        return await asyncio.gather(*telling), refused

    told, refused = _run(work, one, slow_seconds=60)
    assert [None] * 40 == [each.failure for each in told]
    assert refused <= 400
    assert max(each.longest_silence for each in told) <= 20.1


def test_a_rate_limit_of_texts_alone_is_waited_for() -> None:
    """Probes succeed meanwhile, and refusals use up no tries: one round a window."""
    one = Weather()

    async def well() -> None:
        one.probed_at.append(loop_time())

    one.probe = well  # type: ignore[method-assign] # probes succeed where texts do not

    async def work(voice: VirtualVoice) -> VirtualTold:
        one.down, one.retry_after = ProviderErrorKind.RATE, 5.0
        task = asyncio.create_task(voice.tell(STORY, **WAIT))
        await _up_after(one, 180)
        return await task

    told = _run(work, one, segments_ahead=0)
    assert told.failure is None
    assert sum(when < 180 for when in one.called_at) <= 3 * (1 + 180 / WINDOW)
    assert {"WAITING_FOR_PROVIDER"} == set(told.warned)


def test_the_first_provider_that_is_back_continues() -> None:
    """Whichever of the chain it is; the fallback is told of."""
    one, two = Weather("one"), Weather("two")

    async def work(voice: VirtualVoice) -> VirtualTold:
        one.down = two.down = OVERLOAD
        task = asyncio.create_task(voice.tell(STORY, **WAIT))
        await _up_after(two, 100)
        return await task

    told = _run(work, one, two, provider_fallback=("two",), segments_ahead=0)
    assert told.failure is None
    assert {"two"} == {segment.provider for segment in told.segments}
    assert 1 == told.warned.count("PROVIDER_FAILED")
    assert one.probed_at


def test_a_segment_that_fails_after_each_wait_ends_the_narration() -> None:
    """Tries are bounded, though probes succeed: three rounds of three calls."""
    one = Weather()

    async def well() -> None:
        one.probed_at.append(loop_time())

    one.probe = well  # type: ignore[method-assign] # probes succeed where texts do not

    async def work(voice: VirtualVoice) -> VirtualTold:
        one.down = OVERLOAD
        return await voice.tell(STORY, **WAIT)

    told = _run(work, one, segments_ahead=0)
    assert told.failure is not None
    assert "AUDIO_GENERATION_FAILED" == told.failure.reason
    assert 9 == len(one.called_at) == len(told.attempts)
