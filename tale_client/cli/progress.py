"""How far the narration is: a bar on a terminal, plain lines anywhere else."""

import sys
from types import TracebackType
from typing import Final, Protocol, Self

import click

_STEP: Final = 10


class NarrationProgress(Protocol):
    """Shows how much of a text is spoken. Closed by `with`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, spoken: int, total: int) -> None:
        """`spoken` of `total` code points are."""
        ...


class Lines:
    """One line each ten per cent, on standard error."""

    def __init__(self) -> None:
        self._shown = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def show(self, spoken: int, total: int) -> None:
        """See NarrationProgress."""
        percent = 100 * spoken // total if total else 100
        step = percent - percent % _STEP
        if step > self._shown:
            self._shown = step
            click.echo(f"Narrated {step} %", err=True)


class Bar:
    """A bar on standard error."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - takes a while and is seldom needed
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeElapsedColumn  # noqa: PLC0415

        self._bar = Progress(
            "Narration",
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            redirect_stdout=False,
        )
        self._task = self._bar.add_task("", total=1)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, spoken: int, total: int) -> None:
        """See NarrationProgress."""
        self._bar.update(self._task, completed=spoken if total else 1, total=total or 1)


def narration_progress() -> NarrationProgress:
    """The one that suits where standard error goes."""
    return Bar() if sys.stderr.isatty() else Lines()
