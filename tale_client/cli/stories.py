"""Commands for stored stories: `tale list`, `show`, `audio`, `cancel`, `rate`."""

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Final

import click

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.cli.connection import client_of, target_option
from tale_client.cli.finding import check_no_story, find_story, on_story, set_child, story_argument
from tale_client.cli.options import (
    KINDS,
    STATES,
    Choice,
    check_folder,
    child_option,
    hero_option,
    is_id,
    json_option,
    language_option,
    play_option,
    state_option,
)
from tale_client.cli.output_folder import OutputFolder, audio_suffix
from tale_client.cli.player import Player
from tale_client.cli.profiles import HEROES
from tale_client.cli.runner import CommandError, perform, request
from tale_client.cli.story_view import cancelled, heading, standing
from tale_client.cli.terminal import Wrapper, one_line, printable, width
from tale_client.cli.wording import as_json as json_of
from tale_client.cli.wording import audio_seconds, clock, facts, local_time, short_ids, state_name, typed
from tale_client.client import AsyncTaleClient

_FOLDER: Final = Path("out")
_STANDARD_OUTPUT: Final = Path("-")


@click.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Maximum number of stories."
)
@child_option(help="Only stories for the child with this name or id.")
@hero_option(help="Only stories about this saved hero.")
@state_option(help="Only in this state. Repeatable: any of.")
@click.option("--kind", type=Choice(list(KINDS)), help="Only stories of this kind.")
@language_option(help="Only in this language, such as en or ru.")
@click.option("--min-rating", type=int, metavar="1-10", help="Only stories with this rating or a higher one.")
@click.option("--search", "query", default="", metavar="WORDS", help="Only stories with these words in title or text.")
@json_option
@target_option
def list_command(
    *,
    limit: int,
    child: str,
    hero: str,
    states: tuple[str, ...],
    kind: str | None,
    language: str,
    min_rating: int | None,
    query: str,
    as_json: bool,
    target: str,
) -> None:
    """List stored stories, newest first. A story is listed if it matches every filter."""
    wanted = common_pb2.StoryFilter(
        states=[STATES[state] for state in states],
        kind=KINDS.get(kind or "", common_pb2.STORY_KIND_UNSPECIFIED),
        language_code=language,
        min_rating=min_rating,
        query=query,
    )

    async def call(client: AsyncTaleClient) -> list[common_pb2.StorySummary]:
        await set_child(client, wanted, child)
        if hero:
            wanted.hero_id = await HEROES.id_of(client, hero)
        found: list[common_pb2.StorySummary] = []
        async with aclosing(client.list_stories(wanted, page_size=min(limit, 100))) as summaries:
            async for summary in summaries:
                found.append(summary)
                if len(found) == limit:
                    break
        return found

    found = request(target, call)
    if not found and is_id(child):
        request(target, lambda client: check_no_story(client, child, "child"))
    short = short_ids(summary.id for summary in found)
    if as_json:
        click.echo(json_of(gateway_pb2.ListStoriesResponse(stories=found)))
    elif not found:
        if wanted == common_pb2.StoryFilter():
            click.echo(typed("No stories stored. Create one: tale tell --name Mia --age 6"), err=True)
        else:
            click.echo("No stories match.", err=True)
    for summary in () if as_json else found:
        seconds = summary.audio_duration.ToNanoseconds() / 1e9
        columns = [
            short[summary.id],
            local_time(summary.create_time),
            f"{state_name(summary.state):19}",
            f"{clock(seconds) if summary.HasField('audio_duration') else '-':>5}",
            f"{one_line(summary.child_name)}: {one_line(summary.title) or '(no title yet)'}",
            one_line(summary.excerpt),
        ]
        click.echo("  ".join(columns).rstrip())


@click.command("show")
@story_argument
@click.option("--full", is_flag=True, help="With --json: include the attempts, segments and answers of providers.")
@json_option
@target_option
def show_command(given: str, *, full: bool, as_json: bool, target: str) -> None:
    """Show the stored story STORY: its id or the last digits of it, its title, or `last`."""
    story = on_story(target, given, lambda client, story_id: client.get_story(story_id, full=full))
    if as_json:
        click.echo(json_of(story))
        return
    wrapper = Wrapper(width())
    click.echo(heading(story.title), nl=False)
    click.echo(f"{wrapper.feed(printable(story.content).strip())}{wrapper.flush()}\n")
    for label, value in facts(story):
        click.echo(f"{label + ':':11}{typed(value) if label == 'Problem' else value}")
    if story.state == common_pb2.STORY_STATE_CANCELLED:
        click.echo(typed(cancelled(story)))


@click.command("audio")
@story_argument
@click.option(
    "--out",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="File to write; an existing file is replaced. - is standard output.  [default: out/<title>.mp3]",
)
@play_option
@json_option
@target_option
def audio_command(given: str, *, out: Path | None, play: bool, as_json: bool, target: str) -> None:
    """Write the audio of the stored story STORY to a file and verify its checksum; without --out also its text.

    With --play it is played; a file is then written only if --out names one.
    """
    if out == _STANDARD_OUTPUT:
        if as_json:
            raise click.UsageError("--json and --out - both use standard output. Use one of them.")
        on_story(target, given, _write_to_output)
    elif out is not None or not play:
        check_folder(_FOLDER if out is None else out.parent)
        written = list[str]()
        audio, place = perform(_write_to_file(target, given, out, written), followed=lambda: "".join(written))
        said = f"Wrote {place} ({clock(audio_seconds(audio))} minutes, {audio.size_bytes:,} bytes)."
        click.echo(json_of(audio) if as_json else said)
    if play:
        on_story(target, given, _play)


async def _play(client: AsyncTaleClient, story_id: str) -> None:
    notes: list[str] = []
    events = client.watch(story_id, include_audio=True)
    async with Player(notes.append) as player, aclosing(events):
        async for event in events:
            await player.take(event)
        await player.finish()
        if not player.size:
            notes.append("There is no audio.")
    if notes:
        raise CommandError([f"{notes[0]} See `tale show {story_id}`."])


async def _write_to_output(client: AsyncTaleClient, story_id: str) -> None:
    output = sys.stdout.buffer
    async with aclosing(client.read_audio(story_id)) as chunks:
        async for chunk in chunks:
            await asyncio.to_thread(output.write, chunk)
        await asyncio.to_thread(output.flush)


async def _write_to_file(
    target: str, given: str, out: Path | None, known: list[str]
) -> tuple[common_pb2.StoryAudio, Path]:
    """Writes the audio to `out`, or beside the text of its story; `known` gets the id of the story."""
    async with client_of(target) as client:
        story_id = await find_story(client, given)
        known.append(story_id)
        if out is None:
            story = await client.get_story(story_id)
            document = await OutputFolder(_FOLDER).write_text(story)
            out = document.with_suffix(audio_suffix(story.audio))
        return await client.save_audio(story_id, out), out


@click.command("cancel")
@story_argument
@json_option
@target_option
def cancel_command(given: str, *, as_json: bool, target: str) -> None:
    """Stop the story STORY, which is being made. What was written so far is stored."""
    story = on_story(target, given, lambda client, story_id: client.cancel_story(story_id))
    click.echo(json_of(story) if as_json else typed(standing(story)))


@click.command("rate")
@story_argument
@click.argument("rating", type=int)
@json_option
@target_option
def rate_command(given: str, rating: int, *, as_json: bool, target: str) -> None:
    """Rate the story STORY: RATING is 1 (worst) to 10 (best)."""
    story = on_story(target, given, lambda client, story_id: client.rate_story(story_id, rating))
    click.echo(json_of(story) if as_json else f"The story is rated {story.rating} of 10.")
