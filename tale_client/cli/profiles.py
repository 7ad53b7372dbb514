"""`tale children` and `tale heroes`."""

from typing import Any, Final

import click

from tale.common.v1 import common_pb2
from tale.profile.v1 import profile_pb2
from tale_client.cli.facts import as_json as json_of
from tale_client.cli.keeping import Keeping, profile_argument
from tale_client.cli.options import client_of, json_option, target_option, yes_option
from tale_client.cli.people import child_options, gender_of, hero_of, hero_options
from tale_client.cli.running import run
from tale_client.cli.terminal import one_line
from tale_client.client import AsyncTaleClient

CHILDREN: Final[Keeping[common_pb2.Child]] = Keeping(
    what="child",
    command="children",
    example="tale children add --name Mia --age 6",
    create=AsyncTaleClient.create_child,
    get=AsyncTaleClient.get_child,
    listed=AsyncTaleClient.list_children,
    update=AsyncTaleClient.update_child,
    delete=AsyncTaleClient.delete_child,
    page=lambda found: profile_pb2.ListChildrenResponse(children=found),
    removed=profile_pb2.DeleteChildResponse(),
)

children_command: Final = CHILDREN.group("Keep children, so that `tale tell --child NAME` knows them.")


@children_command.command("add")
@click.option("--name", required=True, help="First name, as stories say it.")
@child_options
@json_option
@target_option
def add_child_command(
    *, name: str, age: int | None, gender: str | None, interests: tuple[str, ...], as_json: bool, target: str
) -> None:
    """Keep a child."""
    child = common_pb2.Child(name=name, age=age, gender=gender_of(gender), interests=interests)
    CHILDREN.add(child, as_json=as_json, target=target)


@children_command.command("update")
@profile_argument
@click.option("--name", default="", help="First name, as stories say it.")
@child_options
@click.option(
    "--clear", multiple=True, type=click.Choice(["age", "gender", "interests"]), help="Forget that. Repeatable."
)
@json_option
@target_option
def update_child_command(
    given: str,
    *,
    name: str,
    age: int | None,
    gender: str | None,
    interests: tuple[str, ...],
    clear: tuple[str, ...],
    as_json: bool,
    target: str,
) -> None:
    """Change a kept child. What is not said stays; interests that are given take the place of all before."""
    child = common_pb2.Child(name=name, age=age, gender=gender_of(gender), interests=interests)
    CHILDREN.change(given, child, clear=clear, as_json=as_json, target=target)


@children_command.command("erase")
@profile_argument
@yes_option
@json_option
@target_option
def erase_child_command(given: str, *, yes: bool, as_json: bool, target: str) -> None:
    """Remove a kept child with all its stories, their audio and what was noted of them. There is no way back."""
    if not yes:
        said = f"Erase the child {one_line(given)} with all stories and audio, for good?"
        given = CHILDREN.agreed(given, said, target)
    run(_erase(given, as_json=as_json, target=target))


async def _erase(given: str, *, as_json: bool, target: str) -> int:
    async with client_of(target) as client:
        erased = await client.erase_child(await CHILDREN.id_of(client, given))
    said = (
        f"The child is erased, with stories: {erased.story_count}, audio files: {erased.audio_count},"
        f" segments: {erased.segment_count}."
    )
    click.echo(json_of(erased) if as_json else said)
    return 0


HEROES: Final[Keeping[common_pb2.Hero]] = Keeping(
    what="hero",
    command="heroes",
    example='tale heroes add --name "Captain Wonder" --trait brave',
    create=AsyncTaleClient.create_hero,
    get=AsyncTaleClient.get_hero,
    listed=AsyncTaleClient.list_heroes,
    update=AsyncTaleClient.update_hero,
    delete=AsyncTaleClient.delete_hero,
    page=lambda found: profile_pb2.ListHeroesResponse(heroes=found),
    removed=profile_pb2.DeleteHeroResponse(),
)

heroes_command: Final = HEROES.group("Keep heroes, so that `tale tell --hero NAME` knows them.")

_language_option: Final = click.option(
    "--language", default="", metavar="CODE", help="Language of the description, such as en or ru."
)


@heroes_command.command("add")
@click.option("--name", required=True, help="Name, as stories say it.")
@hero_options()
@_language_option
@json_option
@target_option
def add_hero_command(*, as_json: bool, target: str, **described: Any) -> None:
    """Keep a hero."""
    HEROES.add(hero_of(**described), as_json=as_json, target=target)


@heroes_command.command("update")
@profile_argument
@click.option("--name", default="", help="Name, as stories say it.")
@hero_options()
@_language_option
@click.option(
    "--clear",
    multiple=True,
    type=click.Choice(["gender", "appearance", "personality_traits", "strengths", "interests", "language_code"]),
    help="Forget that. Repeatable.",
)
@json_option
@target_option
def update_hero_command(given: str, *, clear: tuple[str, ...], as_json: bool, target: str, **described: Any) -> None:
    """Change a kept hero. What is not said stays; traits and the like that are given take the place of all before."""
    HEROES.change(given, hero_of(**described), clear=clear, as_json=as_json, target=target)
