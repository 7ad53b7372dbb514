"""One synthesis for all who want the same."""

import asyncio

import pytest

from voice_service.synthesis.flight import Abandoned, Flight, FlightsFull, FlightTable, Turn


class _Work:
    """Work that begins, commits itself when asked, and ends when told."""

    def __init__(self, *, committed: bool) -> None:
        self.begun = 0
        self.ended = 0
        self.running = asyncio.Event()
        self.go_on = asyncio.Event()
        self._committed = committed

    async def __call__(self, flight: Flight[str]) -> str:
        self.begun += 1
        if self._committed:
            with flight.committed():
                return await self._body()
        return await self._body()

    async def _body(self) -> str:
        self.running.set()
        await self.go_on.wait()
        self.ended += 1
        return "sound"


async def test_callers_of_one_key_share_one_flight() -> None:
    """Ten callers, one call."""
    table, work = FlightTable[str](10), _Work(committed=True)
    callers = [asyncio.create_task(table.run("key", work, Turn())) for _ in range(10)]
    await work.running.wait()
    work.go_on.set()

    assert ["sound"] * 10 == await asyncio.gather(*callers)
    assert 1 == work.begun


async def test_a_cancelled_leader_does_not_fail_the_others() -> None:
    """The flight belongs to the table."""
    table, work = FlightTable[str](10), _Work(committed=False)
    leader = asyncio.create_task(table.run("key", work, Turn()))
    await work.running.wait()
    follower = asyncio.create_task(table.run("key", work, Turn()))
    await asyncio.sleep(0)
    leader.cancel()
    await asyncio.wait([leader])
    work.go_on.set()

    assert "sound" == await follower
    assert (True, 1) == (leader.cancelled(), work.begun)


async def test_a_call_that_was_sent_ends_though_nobody_waits() -> None:
    """Committed work goes on when the last waiter leaves."""
    table, work = FlightTable[str](10), _Work(committed=True)
    caller = asyncio.create_task(table.run("key", work, Turn()))
    await work.running.wait()
    caller.cancel()
    await asyncio.wait([caller])
    work.go_on.set()
    await table.drain(5)

    assert 1 == work.ended


async def test_work_that_was_not_sent_stops_when_nobody_waits() -> None:
    """The last waiter to leave cancels it, and the next caller begins again."""
    table, work = FlightTable[str](10), _Work(committed=False)
    caller = asyncio.create_task(table.run("key", work, Turn()))
    await work.running.wait()
    caller.cancel()
    await asyncio.wait([caller])
    work.go_on.set()

    assert "sound" == await table.run("key", work, Turn())
    assert (2, 1) == (work.begun, work.ended)


async def test_no_further_call_is_sent_when_nobody_waits() -> None:
    """Between two tries an abandoned flight ends."""
    table = FlightTable[str](10)
    tried, first, release = [], asyncio.Event(), asyncio.Event()

    async def work(flight: Flight[str]) -> str:
        with flight.committed():
            tried.append(1)
            first.set()
            await release.wait()
        try:
            with flight.committed():
                tried.append(2)
        except Abandoned:
            tried.append(0)
        return "sound"

    caller = asyncio.create_task(table.run("key", work, Turn()))
    await first.wait()
    caller.cancel()
    await asyncio.wait([caller])
    release.set()
    await table.drain(5)

    assert [1, 0] == tried


async def test_a_failure_goes_to_all_who_wait() -> None:
    """And is not kept: the next caller tries again."""
    table = FlightTable[str](10)

    async def work(flight: Flight[str]) -> str:
        del flight
        raise ValueError

    outcomes = await asyncio.gather(*(table.run("key", work, Turn()) for _ in range(3)), return_exceptions=True)

    assert [ValueError] * 3 == [type(outcome) for outcome in outcomes]


async def test_there_are_never_more_flights_than_allowed() -> None:
    """One too many is refused at once; joining one is not."""
    table, work = FlightTable[str](1), _Work(committed=True)
    caller = asyncio.create_task(table.run("one", work, Turn()))
    await work.running.wait()
    with pytest.raises(FlightsFull):
        await table.run("two", work, Turn())
    joined = asyncio.create_task(table.run("one", work, Turn()))
    await asyncio.sleep(0)
    work.go_on.set()

    assert ("sound", "sound") == (await caller, await joined)


async def test_what_does_not_end_in_time_is_cancelled_when_the_service_stops() -> None:
    """A drain has an end."""
    table, work = FlightTable[str](1), _Work(committed=True)
    caller = asyncio.create_task(table.run("one", work, Turn()))
    await work.running.wait()
    await table.drain(0)
    await asyncio.wait([caller])

    assert (True, 0) == (caller.cancelled(), work.ended)
