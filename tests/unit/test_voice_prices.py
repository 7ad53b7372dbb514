"""What speech costs, where its price is set."""

import pytest
from support.voice_virtual import VirtualTold, Weather, virtual_voice

from servicekit.resilience.errors import ProviderErrorKind
from standins.virtual_time import run_virtually
from tale.common.v1 import common_pb2

TEXT = "The owl of the mill counted the stars above the sea, one after the other, until all of them slept."


def _told(one: Weather, *prices: str) -> VirtualTold:
    async def work() -> VirtualTold:
        async with virtual_voice(one, speech_prices=prices) as voice:
            return await voice.tell(TEXT)

    return run_virtually(work())


@pytest.mark.parametrize("paid", [True, False])
@pytest.mark.parametrize(
    ("prices", "per_thousand"),
    [((), 0.0), (("one=0.2",), 0.2), (("two=9",), 0.0), (("one=0.2", "one/one-1=0.5"), 0.5)],
)
def test_call_costs_its_characters(prices: tuple[str, ...], per_thousand: float, *, paid: bool) -> None:
    """By the price of its model, else by that of its provider; the cost is an estimate."""
    told = _told(Weather(paid=paid), *prices)
    assert told.attempts
    for each in told.attempts:
        assert common_pb2.ATTEMPT_OUTCOME_SUCCEEDED == each.outcome
        assert each.cost_usd == pytest.approx(per_thousand * each.characters / 1000)
        assert each.cost_known == (not paid)


def test_call_that_was_not_billed_costs_nothing() -> None:
    """A provider that refuses more calls at once takes no money for them."""
    one = Weather(paid=True)
    one.down = ProviderErrorKind.CONCURRENCY
    told = _told(one, "one=0.2")
    assert told.failure is not None
    assert [0.0] * len(told.attempts) == [each.cost_usd for each in told.attempts]
