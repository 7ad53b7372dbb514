"""Prints a table row by row; a measurement that fails says why in its rows, and the others continue."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

HEAD: Final = "| what | target | measured |\n|---|---|---|"


@dataclass(frozen=True, slots=True)
class Line:
    """What a row measures, and the target as the project states it."""

    what: str
    target: str


class Report:
    """Receives the rows of one measurement."""

    def __init__(self, lines: Sequence[Line], show: Callable[[Line, str, bool | None], None]) -> None:
        self.missing = list(lines)
        self._show = show

    def wants(self, *lines: Line) -> bool:
        """Returns whether one of these rows was requested and has not been reported."""
        return any(line in self.missing for line in lines)

    def row(self, line: Line, measured: str, *, met: bool | None = None) -> None:
        """Reports a row if it was requested. `met` None: there is no target to decide."""
        if line in self.missing:
            self.missing.remove(line)
            self._show(line, measured, met)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A function that measures some rows, and its timeout in seconds."""

    lines: tuple[Line, ...]
    measure: Callable[[Report], Awaitable[None]]
    seconds: float


class Table:
    """Prints rows and counts their results."""

    def __init__(self, only: str = "") -> None:
        self._only = only.casefold()
        self._began = time.perf_counter()
        self._verdicts: Counter[str] = Counter()

    @property
    def rows(self) -> int:
        """Returns the number of printed rows."""
        return self._verdicts.total()

    @property
    def failed(self) -> int:
        """Returns the number of rows that could not be measured."""
        return self._verdicts["failed"]

    @property
    def summary(self) -> str:
        """Returns how many rows met their target, and the duration."""
        counts = ", ".join(f"{count} {verdict}" for verdict, count in self._verdicts.items())
        return f"{time.perf_counter() - self._began:.0f} s: {counts or 'no row chosen'}."

    async def measure(self, measurements: Sequence[Measurement]) -> None:
        """Measures all requested rows, one measurement after the other."""
        print(HEAD, flush=True)
        for measurement in measurements:
            lines = [line for line in measurement.lines if self._only in line.what.casefold()]
            if lines:
                await self._measure(measurement, Report(lines, self._show))

    async def _measure(self, measurement: Measurement, report: Report) -> None:
        try:
            async with asyncio.timeout(measurement.seconds):
                await measurement.measure(report)
            why = "the measurement ended without this row"
        except TimeoutError:
            why = f"not done within {measurement.seconds:.0f} s"
        except Exception as error:  # noqa: BLE001 - any error is reported in the row and counted
            whys = Counter(f"{type(each).__name__}: {each}" for each in _singles(error))
            why = "; ".join(f"{count} x {text}" for text, count in whys.most_common(3))
        for line in report.missing:
            self._verdicts["failed"] += 1
            _print(line, f"FAILED: {' '.join(why.split())[:600]}")

    def _show(self, line: Line, measured: str, met: bool | None) -> None:
        verdict = {True: "met", False: "missed", None: "without verdict"}[met]
        self._verdicts[verdict] += 1
        _print(line, measured if met is None else f"{verdict}: {measured}")


def _print(line: Line, measured: str) -> None:
    print(f"| {line.what} | {line.target} | {measured} |", flush=True)


def _singles(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _singles(each)
    else:
        yield error
