"""Commands that read what is kept: `tale list`, `tale show`, `tale audio`."""

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Final

import click

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.cli.asking import KINDS
from tale_client.cli.ending import cancelled
from tale_client.cli.facts import as_json as json_of
from tale_client.cli.facts import audio_seconds, clock, facts, state_name
from tale_client.cli.options import check_folder, client_of, json_option, story_argument, target_option
from tale_client.cli.people import is_id
from tale_client.cli.profiles import HEROES
from tale_client.cli.running import run
from tale_client.cli.shelf import audio_suffix, slug
from tale_client.cli.terminal import Wrapper, one_line, printable, width
from tale_client.cli.wording import typed

STATES: Final = {
    state_name(state).lower().replace("_", "-"): state
    for state in common_pb2.StoryState.values()
    if state != common_pb2.STORY_STATE_UNSPECIFIED
}


_FOLDER: Final = Path("out")
_STANDARD_OUTPUT: Final = Path("-")


@click.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Stories at most.")
@click.option("--child", default="", metavar="NAME|ID", help="Only for the child of that name, or the kept one.")
@click.option("--hero", default="", metavar="NAME|ID", help="Only about that kept hero.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(list(STATES)), help="Only in that state. Repeatable: any."
)
@click.option("--kind", type=click.Choice(list(KINDS)), help="Only of that kind.")
@click.option("--language", default="", metavar="CODE", help="Only in that language, such as en or ru.")
@click.option("--min-rating", type=int, metavar="1-10", help="Only rated that or better.")
@click.option("--search", "query", default="", metavar="WORDS", help="Only with these words in title or text.")
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
    """List kept stories, newest first; all that is asked for must hold."""
    wanted = common_pb2.StoryFilter(
        child_id=child if is_id(child) else "",
        child_name="" if is_id(child) else child,
        states=[STATES[state] for state in states],
        kind=KINDS.get(kind or "", common_pb2.STORY_KIND_UNSPECIFIED),
        language_code=language,
        min_rating=min_rating,
        query=query,
    )
    run(_list(wanted, hero=hero, limit=limit, as_json=as_json, target=target))


@click.command("show")
@story_argument
@click.option("--full", is_flag=True, help="With --json: also the ledger, segments and providers' answers.")
@json_option
@target_option
def show_command(story_id: str, *, full: bool, as_json: bool, target: str) -> None:
    """Show the kept story ID: its title, its text, and what is known of it."""
    run(_show(story_id, full=full, as_json=as_json, target=target))


@click.command("audio")
@story_argument
@click.option(
    "--out",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="File to write, replaced if it is there; - is standard output.  [default: out/ and a name made of the title]",
)
@json_option
@target_option
def audio_command(story_id: str, *, out: Path | None, as_json: bool, target: str) -> None:
    """Write the audio of the kept story ID to a file, checked against its checksum."""
    if out == _STANDARD_OUTPUT:
        if as_json:
            raise click.UsageError("--json and --out - both want standard output: take one.")
        run(_pour(story_id, target=target))
    check_folder(_FOLDER if out is None else out.parent, "--out")
    run(_audio(story_id, out=out, as_json=as_json, target=target), followed=lambda: story_id)


async def _list(wanted: common_pb2.StoryFilter, *, hero: str, limit: int, as_json: bool, target: str) -> int:
    found: list[common_pb2.StorySummary] = []
    async with client_of(target) as client:
        if hero:
            wanted.hero_id = await HEROES.id_of(client, hero)
        async with aclosing(client.list_stories(wanted, page_size=min(limit, 100))) as all_:
            async for summary in all_:
                found.append(summary)
                if len(found) == limit:
                    break
    if as_json:
        click.echo(json_of(gateway_pb2.ListStoriesResponse(stories=found)))
    elif not found:
        if wanted == common_pb2.StoryFilter():
            click.echo(typed("No stories yet. Tell one: tale tell --name Mia --age 6"), err=True)
        else:
            click.echo("No stories match.", err=True)
    for summary in () if as_json else found:
        sound = summary.audio_duration.ToNanoseconds() / 1e9
        columns = [
            summary.id,
            summary.create_time.ToJsonString()[:16].replace("T", " "),
            f"{state_name(summary.state):19}",
            f"{clock(sound) if summary.HasField('audio_duration') else '-':>5}",
            f"{one_line(summary.child_name)}: {one_line(summary.title) or '(no title yet)'}",
        ]
        click.echo("  ".join(columns))
    return 0


async def _show(story_id: str, *, full: bool, as_json: bool, target: str) -> int:
    async with client_of(target) as client:
        story = await client.get_story(story_id, full=full)
    if as_json:
        click.echo(json_of(story))
        return 0
    wrapper = Wrapper(width())
    title = one_line(story.title) or "(no title yet)"
    click.echo(f"{click.style(title, bold=True)}\n{'=' * min(len(title), width())}\n")
    click.echo(f"{wrapper.feed(printable(story.content).strip())}{wrapper.flush()}\n")
    for label, value in facts(story):
        click.echo(f"{label + ':':11}{typed(value) if label == 'Problem' else value}")
    if story.state == common_pb2.STORY_STATE_CANCELLED:
        click.echo(typed(cancelled(story)))
    return 0


async def _pour(story_id: str, *, target: str) -> int:
    output = sys.stdout.buffer
    async with client_of(target) as client, aclosing(client.read_audio(story_id)) as chunks:
        async for chunk in chunks:
            await asyncio.to_thread(output.write, chunk)
        await asyncio.to_thread(output.flush)
    return 0


async def _audio(story_id: str, *, out: Path | None, as_json: bool, target: str) -> int:
    async with client_of(target) as client:
        if out is None:
            story = await client.get_story(story_id)
            out = _FOLDER / (slug(story) + audio_suffix(story.audio))
        audio = await client.save_audio(story_id, out)
    said = f"Wrote {out} ({clock(audio_seconds(audio))} minutes, {audio.size_bytes:,} bytes)."
    click.echo(json_of(audio) if as_json else said)
    return 0
