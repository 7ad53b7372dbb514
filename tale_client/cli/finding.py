"""Finds stories, children and heroes by what people type: an id or its last digits, a title, a name, `last`."""

import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar

import click

from tale.common.v1 import common_pb2
from tale_client.cli.completing import LAST
from tale_client.cli.completing import stories as story_completions
from tale_client.cli.options import is_id
from tale_client.cli.runner import CommandError, RefusedError, request
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import local_time, short_ids, state_name, suggested
from tale_client.client import AsyncTaleClient
from tale_client.errors import TaleError

T = TypeVar("T")

_SEARCHED: Final = 2000
"""Newest stories among which a story is searched by the digits of its id, or by a part of its title."""
_SHOWN: Final = 10
_MOST_WORDS: Final = 200
_DIGITS: Final = re.compile(r"[0-9a-f-]{4,36}", re.IGNORECASE)

story_argument: Final = click.argument("given", metavar="STORY", shell_complete=story_completions)


def might_be_id(given: str) -> bool:
    """Returns whether `given` can be an id or digits of one."""
    return _DIGITS.fullmatch(given) is not None


def has_digits(given: str, identifier: str) -> bool:
    """Returns whether `given` is the beginning or the end of an id; at least 4 digits."""
    return might_be_id(given) and (identifier.startswith(given.lower()) or identifier.endswith(given.lower()))


async def find_story(client: AsyncTaleClient, given: str) -> str:
    """Returns the id of the story that `given` means; RefusedError unless it is exactly one."""
    if is_id(given):
        return given
    if given.casefold() == LAST:
        newest = [each async for each in _newest(client, common_pb2.StoryFilter(), 1)]
        if not newest:
            raise RefusedError(["No stories stored. Create one: tale tell --name Mia --age 6"])
        return newest[0].id
    seen: list[common_pb2.StorySummary] = []
    # The words of a title are found among all stories, the digits of an id and a part of a word among the newest.
    for words in ["", given] if might_be_id(given) else [given, ""]:
        wanted = common_pb2.StoryFilter(query=words[:_MOST_WORDS])
        seen = [each async for each in _newest(client, wanted, _SEARCHED)]
        if found := _meant(given, seen):
            return _only(given, found)
    hint = suggested(given, [each.title for each in seen]) or " `tale list` lists all."
    raise RefusedError([f"No story has the id or title {one_line(given)}.{hint}"])


async def _newest(
    client: AsyncTaleClient, wanted: common_pb2.StoryFilter, limit: int
) -> AsyncGenerator[common_pb2.StorySummary, None]:
    async with aclosing(client.list_stories(wanted, page_size=min(limit, 100))) as summaries:
        async for summary in summaries:
            yield summary
            limit -= 1
            if not limit:
                return


def _meant(given: str, stories: Sequence[common_pb2.StorySummary]) -> list[common_pb2.StorySummary]:
    title = given.casefold().strip()
    return (
        [each for each in stories if has_digits(given, each.id)]
        or [each for each in stories if each.title.casefold() == title]
        or [each for each in stories if title and title in each.title.casefold()]
    )


def _only(given: str, found: Sequence[common_pb2.StorySummary]) -> str:
    if len(found) == 1:
        return found[0].id
    raise RefusedError(
        [f"{len(found)} stories have the id or title {one_line(given)}. Use the digits of one of them:"],
        candidates(found),
    )


def candidates(found: Sequence[common_pb2.StorySummary]) -> list[str]:
    """Returns a line for each of the first stories, and one for those that are left out."""
    short = short_ids(each.id for each in found)
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return [f"{short[each.id]}  {summary_line(each)}" for each in found[:_SHOWN]] + more


def summary_line(story: common_pb2.StorySummary) -> str:
    """Returns time, state, child and title of a story."""
    title = one_line(story.title) or "(no title yet)"
    return f"{local_time(story.create_time)}  {state_name(story.state)}  {one_line(story.child_name)}: {title}"


def on_story(target: str, given: str, call: Callable[[AsyncTaleClient, str], Coroutine[Any, Any, T]]) -> T:
    """Returns the result of `call` for the story that `given` means; see `request`."""

    async def work(client: AsyncTaleClient) -> T:
        return await call(client, await find_story(client, given))

    return request(target, work)


async def set_child(client: AsyncTaleClient, wanted: common_pb2.StoryFilter, child: str) -> None:
    """Sets the child of a filter: by id or its digits if a saved child has them, else by name."""
    saved = (
        [each.id async for each in client.list_children() if has_digits(child, each.id)] if might_be_id(child) else []
    )
    if is_id(child) or len(saved) == 1:
        wanted.child_id = child if is_id(child) else saved[0]
    else:
        wanted.child_name = child


async def check_no_story(client: AsyncTaleClient, given: str, what: str) -> None:
    """Raises RefusedError if `given`, which is no `what`, is the id of a story."""
    if not is_id(given):
        return
    with suppress(TaleError):
        story = await client.get_story(given)
        raise RefusedError([f"{given} is the id of a story ({one_line(story.title)}), not of a {what}."])


def only_profile(what: str, command: str, given: str, names: Sequence[tuple[str, str]]) -> str:
    """Returns the id of the profile with the name, id or digits `given`; `names`: id and name of all."""
    name = one_line(given)
    found = [each for each, named in names if named.casefold() == given.casefold()]
    found = found or [each for each, _ in names if has_digits(given, each)]
    if not found:
        hint = suggested(given, [named for _, named in names])
        raise CommandError([f"No saved {what} is named {name}.{hint} `tale {command} list` shows all."])
    if len(found) > 1:
        short, known = short_ids(each for each, _ in names), dict(names)
        lines = [f"{short[each]}  {one_line(known[each])}" for each in found[:_SHOWN]]
        raise RefusedError([f"{len(found)} saved {command} are named {name}. Use the digits of one of them:"], lines)
    return found[0]
