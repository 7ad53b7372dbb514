"""When a segment is asked for again, and how long one waits for a provider."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest
from support.voice_kit import NamedVoice

from servicekit.resilience.errors import TREATMENTS, ProviderError, ProviderErrorKind
from voice_service.collect import MAX_BYTES, Timers, collect
from voice_service.ports import AudioChunk, SegmentRequest, SpeechItem
from voice_service.retry import RetryPolicy

REQUEST = SegmentRequest(text="Good night.", language_code="en", with_timings=True)


async def _tries(policy: RetryPolicy, *errors: ProviderError) -> tuple[int, list[float]]:
    """How often work that fails with these errors, one after the other, is tried, and the waits between."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    tried = 0
    with suppress(ProviderError):
        async for attempt in policy.attempts().copy(sleep=sleep):
            with attempt:
                tried += 1
                if tried <= len(errors):
                    raise errors[tried - 1]
    return tried, waits


def _error(kind: ProviderErrorKind, retry_after: float | None = None) -> ProviderError:
    return ProviderError(kind, "scripted", provider="one", retry_after=retry_after)


@pytest.mark.parametrize("kind", list(ProviderErrorKind))
async def test_only_what_may_succeed_is_tried_again(kind: ProviderErrorKind) -> None:
    """By the kind of the error, twice at most."""
    tried, _ = await _tries(RetryPolicy(), *[_error(kind)] * 5)

    assert (3 if TREATMENTS[kind].retry else 1) == tried


async def test_waits_are_drawn_from_a_range_that_doubles() -> None:
    """Full jitter: 0 to 1 s, then 0 to 2 s, never above the longest."""
    policy = RetryPolicy(retries=4, delay=1.0, longest_wait=3.0)
    drawn = [(await _tries(policy, *[_error(ProviderErrorKind.OVERLOAD)] * 5))[1] for _ in range(200)]
    most = [max(waits) for waits in zip(*drawn, strict=True)]

    assert all(low < seen <= high for seen, low, high in zip(most, (0.5, 1, 2, 2), (1, 2, 3, 3), strict=True))
    assert min(min(waits) for waits in drawn) < 0.2


async def test_a_provider_that_names_a_wait_gets_it() -> None:
    """And one that names too long a wait is not asked again."""
    policy = RetryPolicy(retries=2, longest_wait=10)

    assert (3, [2.5, 10]) == await _tries(
        policy, _error(ProviderErrorKind.RATE, 2.5), _error(ProviderErrorKind.OVERLOAD, 10)
    )
    assert (1, []) == await _tries(policy, _error(ProviderErrorKind.RATE, 10.5))


async def test_a_whole_answer_is_its_bytes_and_words() -> None:
    """However it comes in chunks."""
    audio, words = await collect(NamedVoice("one"), REQUEST, Timers())

    assert len(audio) > 10_000
    assert ["Good", "night"] == [REQUEST.text[word.text_start : word.text_end] for word in words]


class _Dribble(NamedVoice):
    """Sends chunks, then waits for ever; tells whether it was closed."""

    def __init__(self, *chunks: bytes) -> None:
        super().__init__("one")
        self._chunks = chunks
        self.closed = False

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        del request
        try:
            for chunk in self._chunks:
                yield AudioChunk(chunk)
            await asyncio.Event().wait()
        finally:
            self.closed = True


@pytest.mark.parametrize(
    ("chunks", "timers", "said"),
    [
        ((), Timers(first_byte=0.01), "no audio came"),
        ((b"a",), Timers(idle=0.01), "no more audio came"),
        ((b"a",), Timers(total=0.01), "not done in time"),
    ],
)
async def test_each_timer_ends_the_call(chunks: tuple[bytes, ...], timers: Timers, said: str) -> None:
    """TIMEOUT, and the provider's stream is closed."""
    voice = _Dribble(*chunks)
    with pytest.raises(ProviderError, match=said) as caught:
        await collect(voice, REQUEST, timers)

    assert (ProviderErrorKind.TIMEOUT, True) == (caught.value.kind, voice.closed)


async def test_audio_without_end_is_given_up() -> None:
    """A provider can not fill the memory."""
    voice = _Dribble(*[bytes(MAX_BYTES // 4)] * 5)
    with pytest.raises(ProviderError, match="does not end"):
        await collect(voice, REQUEST, Timers())

    assert voice.closed
