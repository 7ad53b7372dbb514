"""Commands that follow a story: `tale watch`, `tale narrate`, `tale retry`."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn

import click

from tale.common.v1 import common_pb2
from tale_client.cli.ending import close, goes_on
from tale_client.cli.options import (
    check_out,
    client_of,
    json_option,
    out_option,
    story_argument,
    target_option,
    voice_of,
    voice_options,
)
from tale_client.cli.performance import Performance
from tale_client.cli.running import run
from tale_client.cli.shelf import Shelf


@click.command("watch")
@story_argument
@out_option
@json_option
@target_option
def watch_command(story_id: str, *, out: Path, as_json: bool, target: str) -> None:
    """Follow the story ID from its beginning to its end, and write its files as `tale tell` does."""
    check_out(out)
    _run(story_id, _follow(story_id, out=out, as_json=as_json, target=target))


@click.command("narrate")
@story_argument
@voice_options
@out_option
@json_option
@target_option
def narrate_command(
    story_id: str,
    *,
    voice_provider: str,
    voice_id: str,
    audio_format: str | None,
    out: Path,
    as_json: bool,
    target: str,
) -> None:
    """Tell the kept story ID aloud again, or in another voice, and write its files.

    The audio that it has stays until the new one is whole; where that fails the exit code is 3.
    """
    voice = voice_of(voice_provider, voice_id, audio_format)
    check_out(out)
    _run(story_id, _narrate(story_id, voice, out=out, as_json=as_json, target=target))


@click.command("retry")
@story_argument
@out_option
@json_option
@target_option
def retry_command(story_id: str, *, out: Path, as_json: bool, target: str) -> None:
    """Let the FAILED story ID go on from what it has, and follow it."""
    check_out(out)
    _run(story_id, _follow(story_id, again=True, out=out, as_json=as_json, target=target))


def _run(story_id: str, work: Coroutine[Any, Any, int]) -> NoReturn:
    run(work, interrupted=lambda: goes_on(story_id), followed=lambda: story_id)


async def _follow(story_id: str, *, again: bool = False, out: Path, as_json: bool, target: str) -> int:
    """Follows the story; `again`: lets it go on first."""
    async with client_of(target) as client:
        before = await client.retry_story(story_id) if again else None
        performance = Performance(client, Shelf(out), quiet=as_json, before=before)
        story = await performance.give(client.watch(story_id, include_audio=True))
    return close(story, performance.kept, json_too=as_json, before=before)


async def _narrate(
    story_id: str, voice: common_pb2.VoiceSelection | None, *, out: Path, as_json: bool, target: str
) -> int:
    async with client_of(target) as client:
        before = await client.narrate_story(story_id, voice)
        written = len(before.content)
        performance = Performance(client, Shelf(out), quiet=as_json, before=before)
        # The text is known and whole: only its telling is new.
        events = client.watch(
            story_id,
            include_audio=True,
            text_offset=written,
            audio_id=before.audio.audio_id,
            audio_offset=before.audio.size_bytes,
        )
        story = await performance.give(events, written=written)
    return close(story, performance.kept, json_too=as_json, before=before)
