"""Says what a command waits for: the gateway, or what the gateway says that a story waits for."""

import asyncio
import shutil
import sys
import time
from typing import TYPE_CHECKING, Final

import click

from tale.common.v1 import common_pb2
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import duration, local_time, typed
from tale_client.client import AsyncTaleClient

if TYPE_CHECKING:
    from collections.abc import Callable

_QUIET_SECONDS: Final = 1.5
"""A wait for the gateway that is shorter is not worth a line."""
_TICK_SECONDS: Final = 0.5
_SERVICES: Final = frozenset(
    {common_pb2.WAIT_FOR_STORY_SERVICE, common_pb2.WAIT_FOR_VOICE_SERVICE, common_pb2.WAIT_FOR_STORAGE}
)


def waited_for(waiting: common_pb2.Waiting) -> tuple[str, str]:
    """Returns what a story waits for, as the beginning of a sentence that a duration ends, and what follows it."""
    name = one_line(waiting.name) or "a provider"
    if waiting.what in _SERVICES:
        what = f"the {name}, not reachable for"
    elif waiting.what == common_pb2.WAIT_FOR_PROVIDER and not waiting.reason.startswith("WAITING_FOR_"):
        what = f"{name} [{one_line(waiting.reason)}] for"
    else:
        what = f"{name} for"
    again = waiting.next_try_time
    return what, f", next try at {local_time(again, seconds=True)}" if waiting.HasField("next_try_time") else ""


def waited(waiting: common_pb2.Waiting) -> float:
    """Returns the seconds since which a story waits."""
    return max(0.0, time.time() - waiting.since.ToNanoseconds() / 1e9)


class WaitingLine:
    """One line on standard error, which changes in place on a terminal; in a pipe one line for each change."""

    def __init__(self) -> None:
        self.in_place = sys.stderr.isatty()
        """Whether the line is written over; not beside a progress bar."""
        self.lead: Callable[[], str] = str
        """Returns the line break that ends an unfinished line of text, if there is one."""
        self.story: common_pb2.Waiting | None = None
        """What the story waits for."""
        self._shown = ""
        self._open = False

    def erase(self) -> None:
        """Removes the line from a terminal."""
        if self._open:
            click.echo("\r\x1b[K", nl=False, err=True)
        self._open = False

    def update(self, client: AsyncTaleClient) -> None:
        """Shows what the calls of `client`, or else the story, wait for; nothing if they do not wait."""
        waiting = client.waiting
        if waiting is not None and waiting[0] >= _QUIET_SECONDS:
            seconds, error = waiting
            if error.reason in {"", "GATEWAY_UNREACHABLE", "RECONNECT"}:
                what, more = (
                    f"Waiting for the gateway at {client.target}, not reachable for",
                    " (start it with `tale up`)…",
                )
            else:
                what, more = f"Waiting for the gateway, which answers: {error.message.rstrip('.')};", " so far"
            self._show(what, seconds, more)
        elif self.story is not None:
            what, more = waited_for(self.story)
            self._show(f"Waiting for {what}", waited(self.story), more)
        else:
            self.erase()
            self._shown = ""

    async def follow(self, client: AsyncTaleClient) -> None:
        """Updates the line until it is cancelled."""
        while True:
            self.update(client)
            await asyncio.sleep(_TICK_SECONDS)

    def _show(self, what: str, seconds: float, more: str) -> None:
        line = one_line(typed(f"{what} {duration(seconds)}{more}"))
        if self.in_place:
            begin = "" if self._open else self.lead()
            click.echo(f"{begin}\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", nl=False, err=True)
            self._open = True
        elif what != self._shown:
            click.echo(f"{self.lead()}{line}", err=True)
        self._shown = what
