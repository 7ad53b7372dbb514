"""Runs the asyncio part of a command and turns what goes wrong into lines that a person can act on."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final, NoReturn, TypeVar

import click

from tale_client.cli.terminal import one_line, printable
from tale_client.cli.wording import for_people, typed
from tale_client.errors import TaleError, Violation

T = TypeVar("T")

FAILED: Final = 1
WRONG_USAGE: Final = 2
WITHOUT_AUDIO: Final = 3

_OPTIONS: Final = {
    "spec.child.name": "--name",
    "spec.child.age": "--age",
    "spec.child.gender": "--gender",
    "spec.child.interests": "--interest",
    "spec.child": "--name",
    "spec.child_id": "--child",
    "spec.hero": "--hero",
    "spec.hero_id": "--hero",
    "spec.hero.name": "--hero-name",
    "spec.hero.gender": "--hero-gender",
    "spec.hero.appearance": "--hero-appearance",
    "spec.hero.personality_traits": "--hero-trait",
    "spec.hero.strengths": "--hero-strength",
    "spec.hero.interests": "--hero-interest",
    "spec.kind": "--kind",
    "spec.parent_story_id": "--parent",
    "spec.wish": "--wish",
    "spec.moral": "--moral",
    "spec.theme": "--theme",
    "spec.length_minutes": "--minutes",
    "spec.language_code": "--language",
    "spec.model": "--model",
    "spec.fallback_models": "--fallback-model",
    "spec.temperature": "--temperature",
    "spec.seed": "--seed",
    "spec.max_tokens": "--max-tokens",
    "spec.max_cost_usd": "--max-cost",
    "spec.voice.provider": "--voice-provider",
    "spec.voice.voice_id": "--voice",
    "spec.voice.audio_format": "--format",
    "voice.provider": "--voice-provider",
    "voice.voice_id": "--voice",
    **{
        f"{kept}.{field}": f"--{field}"
        for kept in ("child", "hero")
        for field in ("name", "age", "gender", "appearance")
    },
    "child.interests": "--interest",
    "hero.interests": "--interest",
    "hero.personality_traits": "--trait",
    "hero.strengths": "--strength",
    "hero.language_code": "--language",
    "filter.child_id": "--child",
    "filter.child_name": "--child",
    "filter.hero_id": "--hero",
    "filter.language_code": "--language",
    "filter.min_rating": "--min-rating",
    "filter.query": "--search",
    "config.content_type": "--ask",
    "config.language_code": "--language",
    "chunk": "--ask",
    "provider": "--provider",
    "service": "--service",
    "language_code": "--language",
    "child_id": "the child's ID",
    "hero_id": "the hero's ID",
    "request_id": "--request-id",
    "story_id": "the story's ID",
    "page_size": "--limit",
    "rating": "the rating",
}

_HINTS: Final = {
    "STORY_NOT_FOUND": "`tale list` shows what is kept.",
    "CHILD_NOT_FOUND": "`tale children list` shows who is kept.",
    "HERO_NOT_FOUND": "`tale heroes list` shows who is kept.",
    "PROVIDER_NOT_FOUND": "`tale voices` shows who can speak.",
    "MODEL_NOT_FOUND": "`tale models` shows who can write.",
    "STORY_DELETED": "It was deleted; ask again under another --request-id.",
    "REQUEST_ID_REUSED": "Another story was asked for under this --request-id; take a new one.",
    "NO_SPEECH": "Record it again, closer, or say it in words: --wish TEXT.",
    "STREAM_INCOMPLETE": "The story may still go on: `tale list` shows it, `tale watch ID` follows it.",
}


class CommandError(click.ClickException):
    """Ends a command: one "Error:" line for each of `lines`, then the lines of `evidence` as they are."""

    exit_code = FAILED

    def __init__(self, lines: Sequence[str], evidence: Sequence[str] = ()) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.evidence = evidence

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.lines:
            click.echo(f"Error: {typed(one_line(line))}", err=file is None, file=file)
        for line in self.evidence:
            click.echo(f"  {printable(line)}", err=file is None, file=file)


class _RefusedError(CommandError):
    exit_code = WRONG_USAGE


def run(
    work: Coroutine[Any, Any, int],
    *,
    interrupted: Callable[[], Sequence[str]] = tuple,
    followed: Callable[[], str] = str,
) -> NoReturn:
    """Exits with the code that `perform` gives."""
    sys.exit(perform(work, interrupted=interrupted, followed=followed))


def perform(
    work: Coroutine[Any, Any, T],
    *,
    interrupted: Callable[[], Sequence[str]] = tuple,
    followed: Callable[[], str] = str,
) -> T:
    """What `work` gives; on SIGINT and SIGTERM cancels it and says `interrupted()`.

    `followed()` is the id of the story that is on its way, if there is one: whatever goes wrong here, it is kept.
    """
    signals: list[signal.Signals] = []
    try:
        with _notices():
            return asyncio.run(_cancellable(work, signals))
    except asyncio.CancelledError:
        for line in interrupted():
            click.echo(typed(line), err=True)
        sys.exit(128 + signals[0])
    except TaleError as error:
        raise (_RefusedError if error.violations else CommandError)(explain(error, followed())) from None
    except BrokenPipeError:
        raise  # click ends quietly
    except OSError as error:
        lines = [f"{error.filename or 'The file'}: {error.strerror or error}."]
        if story_id := followed():
            lines.append(
                f"The story is kept: `tale show {story_id}` shows it, `tale audio {story_id} --out F` writes F."
            )
        raise CommandError(lines) from None


class _Notices(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"\n{record.getMessage()}", err=True)


@contextmanager
def _notices() -> Iterator[None]:
    """Shows what the client library warns of: a silence without a word would look like a hang."""
    handler, log = _Notices(logging.WARNING), logging.getLogger("tale_client")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def explain(error: TaleError, story_id: str = "") -> list[str]:
    """What went wrong and what to do about it, one line each; every field that was refused has its own.

    `story_id`: the story that was followed, if that is known.
    """
    if error.reason == "GATEWAY_UNREACHABLE":
        target = error.metadata["target"]
        if story_id:
            return [f"The gateway at {target} is gone.", _kept(story_id)]
        return [f"No gateway at {target}: start one with `tale up`, or set GATEWAY_TARGET."]
    if error.violations:
        return [_refused(each) for each in error.violations]
    said = for_people(error.message, story_id).rstrip(". ") + "."
    if error.reason and error.reason != "STREAM_INCOMPLETE":
        said += f" [{error.reason}]"
    if error.retry_after:
        said += f" Try again in {error.retry_after:.0f} s."
    if correlation := error.metadata.get("correlation_id"):
        said += f" The log of the services knows it as {correlation}."
    if story_id and error.connection_lost:
        return [said, _kept(story_id)]
    if hint := _HINTS.get(error.reason):
        said += f" {hint}"
    return [said]


def _kept(story_id: str) -> str:
    return f"The story is kept and goes on as soon as the cluster does: `tale watch {story_id}` follows it."


def _refused(violation: Violation) -> str:
    hint = ": take an id from `tale list`" if violation.field == "story_id" else ""
    return f"{_option(violation.field)} {violation.description}{hint}"


def _option(field: str) -> str:
    name, bracket, rest = field.partition("[")
    option = _OPTIONS.get(name)
    return f"{option} ({field})" if option and bracket and rest else option or field


async def _cancellable(work: Coroutine[Any, Any, T], signals: list[signal.Signals]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def received(number: signal.Signals) -> None:
        signals.append(number)
        if task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, received, number)
    return await work
