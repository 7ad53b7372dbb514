"""`tale heroes`."""

from typing import Any, Final

import click

from tale.common.v1 import common_pb2
from tale.profile.v1 import profile_pb2
from tale_client.cli.keeping import Keeping, profile_argument
from tale_client.cli.options import json_option, target_option
from tale_client.cli.people import hero_of, hero_options
from tale_client.client import AsyncTaleClient

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
def add_command(*, as_json: bool, target: str, **described: Any) -> None:
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
def update_command(given: str, *, clear: tuple[str, ...], as_json: bool, target: str, **described: Any) -> None:
    """Change a kept hero. What is not said stays; traits and the like that are given take the place of all before."""
    HEROES.change(given, hero_of(**described), clear=clear, as_json=as_json, target=target)
