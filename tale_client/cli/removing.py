"""Deletes stories: `tale delete`."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.cli import completing
from tale_client.cli.connection import client_of, target_option
from tale_client.cli.finding import find_story, set_child, summary_line
from tale_client.cli.options import (
    STATES,
    child_option,
    json_option,
    state_option,
    yes_option,
)
from tale_client.cli.runner import FAILED, explain, perform
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import as_json as json_of
from tale_client.cli.wording import counted, short_ids, typed
from tale_client.client import AsyncTaleClient
from tale_client.errors import TaleError

_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}


def _age(ctx: click.Context, param: click.Parameter, given: str) -> datetime | None:
    age = re.fullmatch(r"(\d{1,5})([hdw])", given)
    if given and not age:
        raise click.BadParameter(f"{given!r} is no age. Write 12h, 30d or 8w", ctx=ctx, param=param)
    return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])}) if age else None


@click.command("delete")
@click.argument("given", metavar="[STORY]...", nargs=-1, shell_complete=completing.stories)
@child_option(help="All stories for this child.")
@state_option(help="All in this state. Repeatable.")
@click.option("--before", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="All from before this day.")
@click.option("--older-than", callback=_age, default="", metavar="AGE", help="All that are older: 12h, 30d, 8w.")
@yes_option
@json_option
@target_option
def delete_command(
    given: tuple[str, ...],
    *,
    child: str,
    states: tuple[str, ...],
    before: datetime | None,
    older_than: datetime | None,
    yes: bool,
    as_json: bool,
    target: str,
) -> None:
    """Delete each STORY (its id or its last digits, its title, or `last`), or those that match every option.

    They are listed, and the command asks once. What cannot be deleted is reported, the others are deleted, and the exit
    code is 1. This cannot be undone.
    """
    wanted = common_pb2.StoryFilter(states=[STATES[state] for state in states])
    limits = [each.astimezone(UTC) for each in (before, older_than) if each is not None]
    if limits:
        wanted.created_before.FromDatetime(min(limits))
    filtered = bool(child) or wanted != common_pb2.StoryFilter()
    if filtered == bool(given):
        raise click.UsageError("Name stories, or options that choose them (--child, --state, --before, --older-than).")

    async def work() -> int:
        async with client_of(target) as client:
            if filtered:
                await set_child(client, wanted, child)
                chosen = [each async for each in client.list_stories(wanted)]
            else:
                ids = dict.fromkeys([await find_story(client, each) for each in given])
                chosen = [await _summary(client, each, asked=not yes) for each in ids]
            if not chosen:
                click.echo("No stories match.", err=True)
                return 0
            if not yes:
                _confirm(chosen)
            deleted = await delete_stories(client, chosen)
        single = len(given) == 1 and len(deleted) == 1
        if as_json:
            listed = gateway_pb2.ListStoriesResponse(stories=deleted)
            click.echo(json_of(gateway_pb2.DeleteStoryResponse() if single else listed))
        elif single:
            click.echo("The story is deleted.")
        else:
            click.echo(f"Deleted {len(deleted)} of {counted(len(chosen), 'story', 'stories')}.")
        return 0 if len(deleted) == len(chosen) else FAILED

    if code := perform(work()):
        raise click.exceptions.Exit(code)


async def _summary(client: AsyncTaleClient, story_id: str, *, asked: bool) -> common_pb2.StorySummary:
    if not asked:
        return common_pb2.StorySummary(id=story_id)
    story = await client.get_story(story_id)
    return common_pb2.StorySummary(
        id=story.id, state=story.state, title=story.title, child_name=story.child.name, create_time=story.create_time
    )


def _confirm(stories: Sequence[common_pb2.StorySummary]) -> None:
    """Lists the stories and asks whether they are to be deleted; click.Abort if not."""
    short = short_ids(each.id for each in stories)
    for each in stories:
        click.echo(f"{short[each.id]}  {summary_line(each)}", err=True)
    what = counted(len(stories), "story", "stories")
    click.confirm(f"Delete {what} with audio? This cannot be undone.", abort=True, err=True)


async def delete_stories(
    client: AsyncTaleClient, stories: Sequence[common_pb2.StorySummary]
) -> list[common_pb2.StorySummary]:
    """Deletes the stories one after the other and returns those that it deleted; reports each failure."""
    deleted = []
    for each in stories:
        try:
            await client.delete_story(each.id)
        except TaleError as error:
            click.echo(f"Error: {each.id}: {typed(one_line(' '.join(explain(error))))}", err=True)
        else:
            deleted.append(each)
    return deleted
