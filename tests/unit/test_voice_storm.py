"""A provider that fails one call in five costs time, and no narration."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator

import pytest
from support.voice_kit import NamedVoice, faults
from support.voice_virtual import VirtualTold, virtual_voice

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from standins.virtual_time import run_virtually
from voice_service.ports import AudioChunk, SegmentRequest, SpeechItem

SENTENCE = "Owl {} of mill {} counted the stars above the sea, one after the other, until all of them slept. "


class Stormy(NamedVoice):
    """Fails a fifth of its calls: errors, rate limits, cuts, malformed answers and stalls in equal parts."""

    def __init__(self, share: float, *, paid: bool) -> None:
        super().__init__("one", faults(first_byte_seconds=0.8, paid=paid))
        self._share = share
        self._calls = Counter[str]()

    @property
    def calls(self) -> int:
        """Calls so far."""
        return self._calls.total()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        self._calls[request.text] += 1
        # By text and try: in whatever order threads let the calls through, each meets the same weather.
        weather = random.Random(f"12 {request.text} {self._calls[request.text]}")
        what = int(weather.random() / self._share * 5)
        if what == 4:
            await asyncio.Event().wait()
        await asyncio.sleep(0.2 + 0.4 * weather.random())
        if what < 2:
            kind = (ProviderErrorKind.OVERLOAD, ProviderErrorKind.RATE)[what]
            raise ProviderError(kind, "bad weather", provider="one")
        if what == 2:
            yield AudioChunk(b"<html>502 Bad Gateway</html>")
            return
        async for item in super().synthesize(request):
            if what == 3 and isinstance(item, AudioChunk):
                yield AudioChunk(item.data[:1000])
                raise ProviderError(ProviderErrorKind.TRANSPORT, "the connection was cut", provider="one")
            yield item


@pytest.mark.parametrize(
    ("paid", "narrations"), [(True, 60), *(pytest.param(paid, 200, marks=pytest.mark.long) for paid in (True, False))]
)
def test_one_call_in_five_that_fails_costs_no_narration(paid: bool, narrations: int) -> None:
    """At most 1.35 calls a segment, a closed circuit, and 19 of 20 told in three times the time of good weather.

    A voice that stalls twice for one narration costs that one more: two of its timers.
    """

    async def tell(share: float) -> tuple[list[VirtualTold], int, int]:
        one = Stormy(share, paid=paid)
        async with virtual_voice(one, segment_words=20) as voice:
            texts = ["".join(SENTENCE.format(owl, mill) for owl in range(5)) for mill in range(narrations)]
            told = await asyncio.gather(*(voice.insist(text) for text in texts))
            return told, one.calls, voice.circuit().state_changes

    good, _, _ = run_virtually(tell(1e-9))
    told, calls, changes = run_virtually(tell(0.2))
    segments = sum(len(each.segments) for each in good)
    assert segments >= 5 * narrations
    assert [None] * narrations == [each.failure for each in told]
    assert [len(each.segments) for each in good] == [len(each.segments) for each in told]
    assert 0 == changes
    assert calls / segments <= 1.35
    calm = max(each.at[-1] for each in good)
    assert sorted(each.at[-1] for each in told)[narrations * 19 // 20] <= 3 * calm
