"""An event loop whose time passes only while it waits, and then at once: hours of timers run in milliseconds."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_THREAD_SECONDS = 5.0


class _Selector(selectors.DefaultSelector):
    """Never blocks for a timer: it moves the clock on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = set[object]()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Returns what is ready; where nothing is, the time given has passed."""
        if timeout is None:
            # A thread that ends, as at the end of a test, brings it at once.
            ready = super().select(_THREAD_SECONDS)
            if not ready:
                raise RuntimeError("the loop waits for something that no timer brings")
            return ready
        ready = super().select(_THREAD_SECONDS if self.threads and timeout > 0 else 0)
        if not ready:
            self.now += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time` begins at 0, in seconds. For code that uses the loop's clock alone, with servers of its own process.

    While a thread works for it no time passes.
    """

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Returns the virtual time."""
        return self._virtual.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override] # the stub's is generic
        """Runs `func` in a thread, and holds the clock meanwhile."""
        future = super().run_in_executor(executor, func, *args)
        self._virtual.threads.add(future)
        future.add_done_callback(self._virtual.threads.discard)
        return future


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Returns what `work` returns, run in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def loop_time() -> float:
    """Returns the time of the running loop: the clock to give to what takes one."""
    return asyncio.get_running_loop().time()
