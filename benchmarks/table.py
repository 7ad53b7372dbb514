"""The table that is printed, row by row; a row that fails says so, and the others are measured all the same."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

HEAD = "| what | target | measured |\n|---|---|---|"


class Table:
    """Prints, and counts what failed."""

    def __init__(self) -> None:
        self.failed = 0
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the first row began."""
        return time.perf_counter() - self._began

    def row(self, what: str, target: str, measured: str) -> None:
        """One line."""
        print(f"| {what} | {target} | {measured} |", flush=True)

    @asynccontextmanager
    async def measuring(self, what: str, *, seconds: float) -> AsyncIterator[None]:
        """Whatever goes wrong within, or takes longer than `seconds`, is a row of its own."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            self._fail(what, f"not done within {seconds:.0f} s")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and counts
            told = Counter(f"{type(each).__name__}: {each}" for each in _singles(error))
            self._fail(what, "; ".join(f"{count} x {why}" for why, count in told.most_common(3)))

    def _fail(self, what: str, why: str) -> None:
        self.failed += 1
        self.row(what, "", f"FAILED: {' '.join(why.split())[:400]}")


def _singles(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _singles(each)
    else:
        yield error
