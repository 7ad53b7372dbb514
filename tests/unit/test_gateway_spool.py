"""Audio in progress: what is appended can be read, within one budget."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from gateway.spool import Spool, SpoolBudget, SpoolClosedError, SpoolMismatchError
from servicekit.errors import DomainError


async def add(spool: Spool, data: bytes) -> None:
    """Appends `data` under its digest."""
    await spool.append(data, sha256=hashlib.sha256(data).digest())


async def test_bytes_come_back_as_they_were_appended(tmp_path: Path) -> None:
    """From any offset, at most as many as asked for, and none where there are none yet."""
    spool = await Spool.open(tmp_path, SpoolBudget(100), expected_bytes=10)
    await add(spool, b"abc")
    await add(spool, b"def")
    assert await spool.read(1, 4) == b"bcde"
    assert await spool.read(6) == b""
    assert hashlib.sha256(b"abcdef").digest() == spool.sha256()
    spool.close()


async def test_bytes_that_are_not_those_announced_are_refused(tmp_path: Path) -> None:
    """And leave the spool as it was."""
    spool = await Spool.open(tmp_path, SpoolBudget(100), expected_bytes=10)
    with pytest.raises(SpoolMismatchError):
        await spool.append(b"abc", sha256=bytes(32))
    assert spool.size == 0
    spool.close()


async def test_the_budget_holds_for_all_spools_together(tmp_path: Path) -> None:
    """Who finds no room waits until some is given back; who grows beyond it is told so."""
    budget = SpoolBudget(100)
    first = await Spool.open(tmp_path, budget, expected_bytes=80)
    waiting = asyncio.create_task(Spool.open(tmp_path, budget, expected_bytes=60))
    await asyncio.sleep(0)
    assert not waiting.done()
    with pytest.raises(DomainError, match="SPOOL_FULL"):
        await add(first, bytes(101))
    first.close()
    second = await waiting
    second.close()
    assert budget.extend(100)


async def test_a_waiter_that_gives_up_takes_nothing_along(tmp_path: Path) -> None:
    """The room that it waited for goes to the next."""
    budget = SpoolBudget(100)
    first = await Spool.open(tmp_path, budget, expected_bytes=100)
    impatient = asyncio.create_task(budget.reserve(50))
    patient = asyncio.create_task(budget.reserve(100))
    await asyncio.sleep(0)
    impatient.cancel()
    first.close()
    assert await patient == 100
    assert impatient.cancelled()


async def test_a_disk_that_does_not_take_it_is_a_problem_in_words(tmp_path: Path) -> None:
    """Typed, and the room goes back to the budget."""
    budget, file = SpoolBudget(100), tmp_path / "file"
    await asyncio.to_thread(file.touch)
    with pytest.raises(DomainError, match="SPOOL_FAILED"):
        await Spool.open(file / "spool", budget, expected_bytes=100)
    assert budget.extend(100)


async def test_a_closed_spool_says_so_and_leaves_no_file(tmp_path: Path) -> None:
    """Its file never had a name, so a killed process leaves nothing either."""
    spool = await Spool.open(tmp_path, SpoolBudget(100), expected_bytes=10)
    await add(spool, b"abc")
    assert [] == await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    spool.close()
    with pytest.raises(SpoolClosedError):
        await spool.read(0)
