"""Writes to a terminal: safe text, wrapped prose, tables, progress."""

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

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


Progress = Callable[[int, int], None]
"""Shows that so much of a total is done."""


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Shows a bar on standard error if that is a terminal, else lines; `what` is a word such as "Narrated"."""
    if not sys.stderr.isatty():
        yield _lines(what)
        return
    from rich import progress as rich  # noqa: PLC0415 - slow to import and seldom needed
    from rich.console import Console  # noqa: PLC0415

    columns = (rich.BarColumn(), rich.TaskProgressColumn(), rich.TimeElapsedColumn())
    with rich.Progress(what, *columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        task = bar.add_task("", total=1)
        yield lambda done, total: bar.update(task, completed=done if total else 1, total=total or 1)


def _lines(what: str) -> Progress:
    """Returns a progress that prints a line for every ten per cent."""
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        percent = min(100, 100 * done // total) if total else 100
        step = percent - percent % _STEP_PERCENT
        if step > shown:
            shown = step
            click.echo(f"{what} {step} %", err=True)

    return show
