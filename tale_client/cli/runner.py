"""Runs the asyncio part of a command and reports its errors."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import IO, Any, Final, NoReturn, TypeVar

import click

from tale_client.cli.connection import client_of
from tale_client.cli.terminal import one_line, printable
from tale_client.cli.wording import duration, suggested, typed, with_commands
from tale_client.client import AsyncTaleClient
from tale_client.errors import TaleError, Violation

T = TypeVar("T")

FAILED: Final = 1
WRONG_USAGE: Final = 2
WITHOUT_AUDIO: Final = 3

# Last part of a field's path -> the option that sets it, where the names differ.
_OPTIONS: Final = {
    "audience_note": "note",
    "audio_format": "format",
    "child": "name",
    "child_id": "child",
    "child_name": "child",
    "chunk": "ask",
    "content_type": "ask",
    "fallback_models": "fallback-model",
    "hero_id": "hero",
    "interests": "interest",
    "language_code": "language",
    "length_minutes": "minutes",
    "max_cost_usd": "max-cost",
    "page_size": "limit",
    "parent_story_id": "parent",
    "personality_traits": "trait",
    "query": "search",
    "strengths": "strength",
    "voice_id": "voice",
}
# Reason -> the parameter whose value it refuses.
_REFUSED_VALUES: Final = {
    "CIRCUIT_NOT_FOUND": "name",
    "LANGUAGE_UNSUPPORTED": "language_code",
    "MODEL_NOT_FOUND": "model",
    "PROVIDER_NOT_FOUND": "provider",
    "VOICE_NOT_FOUND": "voice_id",
}
_ARGUMENTS: Final = {
    "child_id": "the child's ID",
    "hero_id": "the hero's ID",
    "rating": "the rating",
    "story_id": "the story's ID",
}


class CommandError(click.ClickException):
    """Ends a command: one "Error:" line for each of `lines`, then the lines of `evidence` as they are."""

    exit_code = FAILED

    def __init__(self, lines: Sequence[str], evidence: Sequence[str] = ()) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.evidence = evidence

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the lines on standard error."""
        for line in self.lines:
            click.echo(f"Error: {typed(one_line(line))}", err=file is None, file=file)
        for line in self.evidence:
            click.echo(f"  {printable(line)}", err=file is None, file=file)


class RefusedError(CommandError):
    """Ends a command for a value that it was given."""

    exit_code = WRONG_USAGE


def run(
    work: Coroutine[Any, Any, int],
    *,
    interrupted: Callable[[], Sequence[str]] = tuple,
    followed: Callable[[], str] = str,
) -> NoReturn:
    """Exits with the code that `work` returns; see `perform`."""
    sys.exit(perform(work, interrupted=interrupted, followed=followed))


def perform(
    work: Coroutine[Any, Any, T],
    *,
    interrupted: Callable[[], Sequence[str]] = tuple,
    followed: Callable[[], str] = str,
) -> T:
    """Returns the result of `work`. On SIGINT, SIGTERM and SIGHUP cancels it and prints the lines of `interrupted`.

    `followed` returns the id of the story that is being followed, or "". An error then says how to find the story.
    """
    signals: list[signal.Signals] = []
    try:
        return asyncio.run(_cancellable(work, signals))
    except asyncio.CancelledError:
        for line in interrupted():
            click.echo(typed(line), err=True)
        sys.exit(128 + signals[0])
    except TaleError as error:
        kind = RefusedError if error.violations else CommandError
        # Services log a refused field under no other id; what is wrong with it is said in full.
        evidence = [f"request id {error.request_id}"] if error.request_id and not error.violations else []
        raise kind([*explain(error, followed()), *_hints(error)], evidence) from None
    except BrokenPipeError:
        raise  # click ends without a message
    except OSError as error:
        lines = [f"{error.filename or 'The file'}: {error.strerror or error}."]
        if story_id := followed():
            lines.append(
                f"The story is stored. Show it: `tale show {story_id}`. Save its audio: `tale audio {story_id}`."
            )
        raise CommandError(lines) from None


def request(target: str, call: Callable[[AsyncTaleClient], Coroutine[Any, Any, T]]) -> T:
    """Returns the result of `call`, which gets a client of the gateway at `target`; see `perform`."""

    async def work() -> T:
        async with client_of(target) as client:
            return await call(client)

    return perform(work())


async def _cancellable(work: Coroutine[Any, Any, T], signals: list[signal.Signals]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def received(number: signal.Signals) -> None:
        signals.append(number)
        if task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, received, number)
    return await work


def explain(error: TaleError, story_id: str = "") -> list[str]:
    """Returns lines that say what is wrong and what to do; one for each refused field.

    `story_id`: the story that was followed, if it is known.
    """
    stored = f"The story is stored and continues when the cluster is back. Follow it: `tale watch {story_id}`."
    if error.reason == "GATEWAY_UNREACHABLE":
        target = error.metadata["target"]
        if story_id:
            return [f"The gateway at {target} does not answer any more.", stored]
        return [f"{error.message} {error.remedy.rstrip('.')} or --target."]
    if error.violations:
        return [_refused(each) for each in error.violations]
    said = with_commands(error.message, story_id).rstrip(". ") + "."
    if error.reason and error.reason != "STREAM_INCOMPLETE":
        said += f" [{error.reason}]"
    if correlation := error.metadata.get("correlation_id"):
        said += f" Correlation id in the logs of the services: {correlation}."
    if story_id and error.connection_lost:
        return [said, stored]
    if error.retryable and error.retry_after:
        return [f"{said} Try again in {duration(error.retry_after)}."]
    return [f"{said} {with_commands(error.remedy, story_id)}".rstrip()]


def _hints(error: TaleError) -> list[str]:
    """Returns a question with the known values that are most like the refused one, if the gateway lists any."""
    context = click.get_current_context(silent=True)
    fields = {_REFUSED_VALUES.get(error.reason, ""), *(each.field.rpartition(".")[2] for each in error.violations)}
    hints = set[str]()
    for param in context.command.params if context is not None else ():
        given = context.params.get(param.name or "") if context is not None else None
        if param.name in fields and context is not None and isinstance(given, str) and given:
            known = (item.value for start in (given[0], "") for item in param.shell_complete(context, start))
            hints.add(suggested(given, known).strip())
    return sorted(hints - {""})


def _refused(violation: Violation) -> str:
    hint = ". Take an id from `tale list`" if violation.field == "story_id" else ""
    return f"{_option(violation.field)} {violation.description.rstrip('.')}{hint}."


def _option(field: str) -> str:
    """Returns the option or argument of the running command that sets `field`, or else the field itself."""
    path, bracket, _ = field.partition("[")
    *parents, last = path.split(".")
    prefix = {"hero": "hero-", "voice": "voice-"}.get(parents[-1], "") if parents else ""
    name = _OPTIONS.get(last, last.replace("_", "-"))
    context = click.get_current_context(silent=True)
    known = {option for param in context.command.params for option in param.opts} if context is not None else set()
    for option in (f"--{prefix}{name}", f"--{name}"):
        if option in known:
            return f"{option} ({field})" if bracket else option
    return _ARGUMENTS.get(path, field)
