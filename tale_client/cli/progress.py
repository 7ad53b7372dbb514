"""How far the writing or the narration is: a bar on a terminal, plain lines anywhere else."""

import sys
from types import TracebackType
from typing import Final, Protocol, Self

import click

_STEP: Final = 10


class Progress(Protocol):
    """Shows how much of something is done. Closed by `with`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, done: int, total: int) -> None:
        """`done` of `total` are."""
        ...


class Lines:
    """One line each ten per cent, on standard error."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def show(self, done: int, total: int) -> None:
        """See Progress."""
        percent = min(100, 100 * done // total) if total else 100
        step = percent - percent % _STEP
        if step > self._shown:
            self._shown = step
            click.echo(f"{self._what} {step} %", err=True)


class Bar:
    """A bar on standard error."""

    def __init__(self, what: str) -> None:
        from rich.console import Console  # noqa: PLC0415 - takes a while and is seldom needed
        from rich.progress import BarColumn, TaskProgressColumn, TimeElapsedColumn  # noqa: PLC0415
        from rich.progress import Progress as RichProgress  # noqa: PLC0415

        self._bar = RichProgress(
            what,
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

    def show(self, done: int, total: int) -> None:
        """See Progress."""
        self._bar.update(self._task, completed=done if total else 1, total=total or 1)


def progress(what: str) -> Progress:
    """The one that suits where standard error goes; `what` is a word such as "Narrated"."""
    return Bar(what) if sys.stderr.isatty() else Lines(what)
