"""A few worker processes and a queue before them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.providers.offline.process import WorkerFailedError, WorkerProcess, WorkerRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from voice_service.providers.offline.process import Speech

_T = TypeVar("_T")


class WorkerPool:
    """Hands requests to at most `size` workers, first come first served.

    A worker is started when it is first needed, is killed when it fails or takes longer than `speak_timeout` seconds
    for a request, and is replaced by the next request. A request that is cancelled while a worker speaks it is spoken
    to its end and forgotten, so that the worker stays in step. At most `max_waiting` requests wait, each for
    `queue_timeout` seconds.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        provider: str,
        size: int,
        start_timeout: float,
        speak_timeout: float,
        queue_timeout: float,
        max_waiting: int,
    ) -> None:
        self._command = command
        self._provider = provider
        self._size = size
        self._start_timeout = start_timeout
        self._speak_timeout = speak_timeout
        self._queue_timeout = queue_timeout
        self._max_waiting = max_waiting
        self._places = asyncio.Semaphore(size)
        self._waiting = 0
        self._idle: deque[WorkerProcess] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def idle_pids(self) -> tuple[int, ...]:
        """Process ids of the workers that wait for a request."""
        return tuple(worker.pid for worker in self._idle)

    def warm_up(self) -> None:
        """Start all workers in the background; requests that come meanwhile wait for them.

        Says nothing of a worker that does not start: `check` and the first request do.
        """
        for _ in range(self._size):
            self._keep(asyncio.create_task(self._in_turn(self._start_one)))

    async def check(self) -> None:
        """Make sure that a worker starts. Raises ProviderError as `speak` does."""
        await self._in_turn(self._start_one)

    async def speak(self, request: dict[str, Any]) -> Speech:
        """Have `request` spoken (see `worker`; this adds "seconds").

        Raises WorkerRefusedError, and ProviderError: TRANSPORT where the worker crashed or talked nonsense, TIMEOUT
        where it took too long, OVERLOAD where the queue is full or too slow, CANCELLED once the pool is closed.
        """
        return await self._in_turn(lambda: self._speak({**request, "seconds": self._speak_timeout}))

    async def aclose(self) -> None:
        """Kill all workers; what they were speaking, and what waits, fails with ProviderError CANCELLED."""
        self._closed = True
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        while self._idle:
            await self._idle.pop().kill()

    async def _in_turn(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Wait for a place and do `work` in it, to its end even when the caller is cancelled."""
        if self._waiting >= self._max_waiting:
            raise self._error(ProviderErrorKind.OVERLOAD, "too many requests wait")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._queue_timeout):
                await self._places.acquire()
        except TimeoutError as error:
            raise self._error(ProviderErrorKind.OVERLOAD, "all workers stayed busy") from error
        finally:
            self._waiting -= 1
        if self._closed:
            self._places.release()
            raise self._error(ProviderErrorKind.CANCELLED, "the voice is shutting down")
        task = asyncio.create_task(work())
        self._keep(task)
        task.add_done_callback(lambda _: self._places.release())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if task.cancelled() and not (caller and caller.cancelling()):
                raise self._error(ProviderErrorKind.CANCELLED, "the voice is shutting down") from None
            raise

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # A caller that was cancelled asks for the outcome no more; asking here keeps the loop from complaining.
        if not task.cancelled():
            task.exception()

    async def _start_one(self) -> None:
        self._idle.append(await self._take_worker())

    async def _speak(self, request: dict[str, Any]) -> Speech:
        worker = await self._take_worker()
        keep = False
        try:
            async with asyncio.timeout(self._speak_timeout):
                speech = await worker.speak(request)
            keep = True
        except WorkerRefusedError:
            keep = True
            raise
        except TimeoutError as error:
            raise self._error(ProviderErrorKind.TIMEOUT, f"no answer within {self._speak_timeout:g} s") from error
        except WorkerFailedError as error:
            raise self._error(ProviderErrorKind.TRANSPORT, str(error)) from error
        finally:
            if keep:
                self._idle.append(worker)
            else:
                await worker.kill()
        return speech

    async def _take_worker(self) -> WorkerProcess:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            await worker.kill()
        return await self._start()

    async def _start(self) -> WorkerProcess:
        try:
            async with asyncio.timeout(self._start_timeout):
                return await WorkerProcess.start(self._command)
        except TimeoutError as error:
            message = f"a worker did not start within {self._start_timeout:g} s"
            raise self._error(ProviderErrorKind.TIMEOUT, message) from error
        except WorkerFailedError as error:
            raise self._error(ProviderErrorKind.TRANSPORT, str(error)) from error

    def _error(self, kind: ProviderErrorKind, message: str) -> ProviderError:
        return ProviderError(kind, message, provider=self._provider)
