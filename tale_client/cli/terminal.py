"""Writes to a terminal: safe text, wrapped prose, tables, progress."""

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

import click

_UNSAFE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ESCAPE_SEQUENCE: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_TOKENS: Final = re.compile(r"\n|[^\S\n]+|\S+")
_MAX_COLUMNS: Final = 80
_STEP_PERCENT: Final = 10


def prepare_streams() -> None:
    """Makes the output streams write "?" for characters that the terminal's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def discard_output() -> None:
    """Sends later standard output to nowhere, for when its reader has closed it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def printable(text: str) -> str:
    """Returns `text` without colours, and with U+FFFD in place of other control characters."""
    return _UNSAFE.sub("\ufffd", _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n")))


def one_line(text: str) -> str:
    """Returns the printable `text` in one line."""
    return " ".join(printable(text).split())


def width() -> int:
    """Returns the number of columns for prose."""
    return max(20, min(_MAX_COLUMNS, shutil.get_terminal_size((_MAX_COLUMNS, 24)).columns))


def cells(text: str) -> int:
    """Returns the number of columns that `text` takes on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints columns as wide as their contents."""
    table = [header, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        click.echo("  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip())


class Wrapper:
    """Breaks text into lines of at most `columns`, in whatever pieces it arrives.

    A word is held back until the character after it is known; `flush` returns the last one.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._column = 0
        self._gap = False
        self._held = ""

    def feed(self, text: str) -> str:
        """Adds `text` and returns what can be written now."""
        text = self._held + text
        # The last word may continue in the next piece; white space after it shows that it does not.
        end = len(text) if text[-1:].isspace() else max((m.end() for m in re.finditer(r"\s", text)), default=0)
        text, self._held = text[:end], text[end:]
        return "".join(self._place(token) for token in _TOKENS.findall(text))

    def flush(self) -> str:
        """Returns the word that was held back."""
        held, self._held = self._held, ""
        return self._place(held) if held else ""

    @property
    def at_line_start(self) -> bool:
        """Whether the output so far ends with a line break."""
        return self._column == 0

    def _place(self, token: str) -> str:
        if token == "\n":  # noqa: S105 - a token of text
            self._column, self._gap = 0, False
            return token
        if token.isspace():
            self._gap = self._column > 0
            return ""
        size, gap, self._gap = cells(token), " " if self._gap else "", False
        if self._column and self._column + len(gap) + size > self._columns:
            self._column, gap = 0, "\n"
        else:
            self._column += len(gap)
        return gap + self._split(token, size)

    def _split(self, token: str, size: int) -> str:
        if size <= self._columns:
            self._column += size
            return token
        # A script without spaces, or a very long word.
        written: list[str] = []
        for char in token:
            if self._column + cells(char) > self._columns:
                written.append("\n")
                self._column = 0
            written.append(char)
            self._column += cells(char)
        return "".join(written)


class Progress(Protocol):
    """Shows how much of something is done; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, done: int, total: int) -> None:
        """Shows `done` of `total`."""
        ...


def progress(what: str) -> Progress:
    """Returns a bar if standard error is a terminal, else lines; `what` is a word such as "Narrated"."""
    return ProgressBar(what) if sys.stderr.isatty() else ProgressLines(what)


class ProgressLines:
    """Prints a line for every ten per cent on standard error."""

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
        step = percent - percent % _STEP_PERCENT
        if step > self._shown:
            self._shown = step
            click.echo(f"{self._what} {step} %", err=True)


class ProgressBar:
    """Draws a bar on standard error."""

    def __init__(self, what: str) -> None:
        from rich.console import Console  # noqa: PLC0415 - slow to import and seldom needed
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
