"""The pool of workers, with workers that crash, hang and talk nonsense."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.voice_processes import gone, scripted_worker

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.providers.offline.workers import WorkerPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    PoolMaker = Callable[..., WorkerPool]


@pytest.fixture
async def make_pool(tmp_path: Path) -> AsyncIterator[PoolMaker]:
    """Makes pools of scripted workers and closes them."""
    pools: list[WorkerPool] = []

    def make(command: tuple[str, ...] | None = None, **settings: Any) -> WorkerPool:
        chosen: dict[str, Any] = {
            "size": 1,
            "start_timeout": 10.0,
            "speak_timeout": 10.0,
            "queue_timeout": 10.0,
            "max_waiting": 100,
            **settings,
        }
        pools.append(WorkerPool(command or scripted_worker(tmp_path), **chosen))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.aclose()


async def said(pool: WorkerPool, text: str) -> str:
    """What the worker says to `text`."""
    return (await pool.speak({"text": text, "max_pcm_bytes": 1 << 20})).pcm.decode()


async def failure(pool: WorkerPool, text: str) -> ProviderError:
    """How `text` fails."""
    with pytest.raises(ProviderError) as caught:
        await said(pool, text)
    return caught.value


async def test_sixty_four_requests_get_their_own_answers(make_pool: PoolMaker) -> None:
    """Three workers serve many callers, each with its own answer, and no more than three are started."""
    pool = make_pool(size=3)
    texts = [f"text {number}" for number in range(64)]

    assert texts == await asyncio.gather(*(said(pool, text) for text in texts))
    assert 3 == len(pool.idle_pids)


async def test_warm_up_starts_all_workers(make_pool: PoolMaker) -> None:
    """Workers start in the background, and a request takes one of them."""
    pool = make_pool(size=2)

    pool.warm_up()
    await asyncio.gather(*pool._tasks)
    warm = set(pool.idle_pids)
    await said(pool, "first")

    assert 2 == len(warm)
    assert warm == set(pool.idle_pids)


@pytest.mark.parametrize("text", ["crash", "nonsense", "not json", "another", "endless"])
async def test_worker_that_fails_is_replaced(make_pool: PoolMaker, text: str) -> None:
    """A crash in mid-answer, or an answer that makes no sense, is a retryable error; the retry has a fresh worker."""
    pool = make_pool(speak_timeout=1.0)
    await pool.check()
    (before,) = pool.idle_pids

    error = await failure(pool, text)

    assert error.retryable
    assert error.kind in {ProviderErrorKind.TRANSPORT, ProviderErrorKind.TIMEOUT}
    assert "after" == await said(pool, "after")
    assert (before,) != pool.idle_pids
    await gone(before)


async def test_worker_that_hangs_is_killed(make_pool: PoolMaker) -> None:
    """A request past its deadline is TIMEOUT, the worker dies and the retry succeeds."""
    pool = make_pool(speak_timeout=1.0)
    await pool.check()
    (before,) = pool.idle_pids

    error = await failure(pool, "hang")

    assert (ProviderErrorKind.TIMEOUT, True) == (error.kind, error.retryable)
    assert "after" == await said(pool, "after")
    await gone(before)


async def test_worker_killed_while_idle_is_noticed(make_pool: PoolMaker) -> None:
    """A worker that died between requests costs at most one retryable error."""
    pool = make_pool()
    await pool.check()
    (before,) = pool.idle_pids

    os.kill(before, signal.SIGKILL)
    await gone(before)
    errors = []
    try:
        answer = await said(pool, "after")
    except ProviderError as error:
        errors.append(error)
        answer = await said(pool, "after")

    assert "after" == answer
    assert all(error.retryable for error in errors)
    assert (before,) != pool.idle_pids


async def test_worker_killed_while_speaking_is_a_retry(make_pool: PoolMaker, tmp_path: Path) -> None:
    """kill -9 in mid-request raises TRANSPORT, and the same request then succeeds."""
    pool = make_pool()
    await pool.check()
    (before,) = pool.idle_pids
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    speaking = asyncio.create_task(failure(pool, f"wait {fifo}"))
    # Opening for writing returns when the worker has opened it for reading: it is in the middle of the request.
    with await asyncio.to_thread(fifo.open, "w"):
        os.kill(before, signal.SIGKILL)
        error = await speaking

    assert (ProviderErrorKind.TRANSPORT, True) == (error.kind, error.retryable)
    assert "after" == await said(pool, "after")


async def test_cancelled_request_leaves_the_worker_in_step(make_pool: PoolMaker, tmp_path: Path) -> None:
    """A request given up while it is spoken is spoken to its end and forgotten; the next gets its own answer."""
    pool = make_pool()
    await pool.check()
    (before,) = pool.idle_pids
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    given_up = asyncio.create_task(said(pool, f"wait {fifo}"))
    with await asyncio.to_thread(fifo.open, "w"):
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        following = asyncio.create_task(said(pool, "following"))

    assert "following" == await following
    assert (before,) == pool.idle_pids


async def test_request_cancelled_in_the_queue_is_never_spoken(make_pool: PoolMaker, tmp_path: Path) -> None:
    """Who leaves the queue makes room for the one behind."""
    pool = make_pool()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    first = asyncio.create_task(said(pool, f"wait {fifo}"))
    with await asyncio.to_thread(fifo.open, "w"):
        second = asyncio.create_task(said(pool, "crash"))
        third = asyncio.create_task(said(pool, "third"))
        await asyncio.sleep(0)
        second.cancel()

    assert (f"wait {fifo}", "third") == (await first, await third)
    assert second.cancelled()


async def test_full_queue_refuses_at_once(make_pool: PoolMaker, tmp_path: Path) -> None:
    """No more than `max_waiting` wait; the next is told to come back."""
    pool = make_pool(max_waiting=1)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    first = asyncio.create_task(said(pool, f"wait {fifo}"))
    with await asyncio.to_thread(fifo.open, "w"):
        second = asyncio.create_task(said(pool, "second"))
        await asyncio.sleep(0)
        error = await failure(pool, "third")

    assert (ProviderErrorKind.OVERLOAD, True) == (error.kind, error.retryable)
    assert "second" == await second
    await first


async def test_queue_that_is_too_slow_refuses(make_pool: PoolMaker, tmp_path: Path) -> None:
    """Who waits for longer than `queue_timeout` is told to come back, and the worker is not harmed."""
    pool = make_pool(queue_timeout=0.05)
    await pool.check()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    first = asyncio.create_task(said(pool, f"wait {fifo}"))
    with await asyncio.to_thread(fifo.open, "w"):
        error = await failure(pool, "second")

    assert ProviderErrorKind.OVERLOAD == error.kind
    assert f"wait {fifo}" == await first


async def test_noisy_worker_does_not_block(make_pool: PoolMaker) -> None:
    """What a worker prints to stderr fills no pipe."""
    assert "noisy" == await said(make_pool(), "noisy")


async def test_refusal_keeps_the_worker(make_pool: PoolMaker) -> None:
    """A worker that cannot speak a request is well."""
    pool = make_pool()
    await pool.check()
    before = pool.idle_pids

    with pytest.raises(ProviderError, match="does not know this voice"):
        await said(pool, "refuse")

    assert before == pool.idle_pids


@pytest.mark.parametrize("command", [("/nonexistent/worker",), (sys.executable, "-I", "-S", "-c", "")])
async def test_worker_that_does_not_start_is_a_transport_error(make_pool: PoolMaker, command: tuple[str, ...]) -> None:
    """A missing executable and one that ends at once are the same to a caller."""
    error = await failure(make_pool(command), "text")

    assert ProviderErrorKind.TRANSPORT == error.kind


async def test_worker_that_never_says_hello_is_killed(make_pool: PoolMaker) -> None:
    """Starting has a deadline."""
    silent = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(3600)")

    error = await failure(make_pool(silent, start_timeout=0.2), "text")

    assert ProviderErrorKind.TIMEOUT == error.kind


async def test_closing_fails_what_is_spoken_and_what_waits(make_pool: PoolMaker, tmp_path: Path) -> None:
    """Callers of a pool that closes get an error that says so, never a cancellation that they did not ask for."""
    pool = make_pool()
    await pool.check()
    (worker,) = pool.idle_pids
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    first = asyncio.create_task(failure(pool, f"wait {fifo}"))
    with await asyncio.to_thread(fifo.open, "w"):
        second = asyncio.create_task(failure(pool, "second"))
        await asyncio.sleep(0)
        await pool.aclose()

    assert ProviderErrorKind.CANCELLED == (await first).kind == (await second).kind
    assert ProviderErrorKind.CANCELLED == (await failure(pool, "late")).kind
    await gone(worker)
