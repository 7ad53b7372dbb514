"""Children and heroes as options describe them."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import click

from tale.common.v1 import common_pb2
from tale_client.cli.terminal import one_line

GENDERS: Final = {"female": common_pb2.GENDER_FEMALE, "male": common_pb2.GENDER_MALE}

_texts: Final = partial(click.option, multiple=True, metavar="TEXT")

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
ProfileT = TypeVar("ProfileT", common_pb2.Child, common_pb2.Hero)


def gender_of(given: str | None) -> common_pb2.Gender.ValueType:
    """What `--gender` says; nothing: unspecified."""
    return GENDERS[given] if given else common_pb2.GENDER_UNSPECIFIED


def child_options(command: CommandT) -> CommandT:
    """`--age`, `--gender` and `--interest` of a child."""
    for option in (
        _texts("--interest", "interests", help="What the child likes. Repeatable."),
        click.option("--gender", type=click.Choice(list(GENDERS)), help="How stories speak of the child."),
        click.option("--age", type=int, help="Age in years."),
    ):
        command = option(command)
    return command


def hero_options(prefix: str = "") -> Callable[[CommandT], CommandT]:
    """What describes a hero; with a prefix such as "hero-" for commands that have options of the same names."""

    def decorate(command: CommandT) -> CommandT:
        place = prefix.replace("-", "_")
        for option in (
            _texts(f"--{prefix}interest", f"{place}interests", help="What the hero likes. Repeatable."),
            _texts(f"--{prefix}strength", f"{place}strengths", help="What the hero is good at. Repeatable."),
            _texts(f"--{prefix}trait", f"{place}traits", help="How the hero is: brave, curious. Repeatable."),
            click.option(f"--{prefix}appearance", default="", metavar="TEXT", help="What the hero looks like."),
            click.option(f"--{prefix}gender", type=click.Choice(list(GENDERS)), help="How stories speak of the hero."),
        ):
            command = option(command)
        return command

    return decorate


def hero_of(
    *,
    name: str,
    gender: str | None,
    appearance: str,
    traits: tuple[str, ...],
    strengths: tuple[str, ...],
    interests: tuple[str, ...],
    language: str = "",
) -> common_pb2.Hero:
    """The hero that `hero_options` describe."""
    return common_pb2.Hero(
        name=name,
        gender=gender_of(gender),
        appearance=appearance,
        personality_traits=traits,
        strengths=strengths,
        interests=interests,
        language_code=language,
    )


def is_id(given: str) -> bool:
    """Whether it is an id and no name."""
    try:
        UUID(given)
    except ValueError:
        return False
    return True


def described(profile: common_pb2.Child | common_pb2.Hero) -> str:
    """A child or hero in one line."""
    gender = next((name for name, value in GENDERS.items() if value == profile.gender), "")
    if isinstance(profile, common_pb2.Child):
        rest = [str(profile.age) if profile.HasField("age") else "", gender, ", ".join(profile.interests)]
    else:
        rest = [
            gender,
            profile.appearance,
            *(", ".join(words) for words in (profile.personality_traits, profile.strengths, profile.interests)),
            profile.language_code,
        ]
    return one_line("; ".join(part for part in (profile.name, *rest) if part))
