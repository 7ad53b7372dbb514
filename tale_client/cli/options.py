"""Options that several commands share, and the story specification that they or a recording describe."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import click

from tale.common.v1 import common_pb2
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import typed
from tale_client.client import AsyncTaleClient
from tale_client.services import CONTENT_TYPES

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

GENDERS: Final = {"female": common_pb2.GENDER_FEMALE, "male": common_pb2.GENDER_MALE}
FORMATS: Final = {
    "mp3": common_pb2.AUDIO_FORMAT_MP3,
    "wav": common_pb2.AUDIO_FORMAT_WAV,
    "ogg": common_pb2.AUDIO_FORMAT_OGG_OPUS,
}

CONNECT_SECONDS: Final = 3.0
"""Seconds to wait for a gateway before the command reports that there is none."""

target_option: Final = click.option(
    "--target",
    envvar="GATEWAY_TARGET",
    show_envvar=True,
    default="127.0.0.1:50051",
    show_default=True,
    help="Address of the gateway.",
)
json_option: Final = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print only protobuf JSON on standard output (lowerCamelCase names, as `buf curl` prints).",
)
out_option: Final = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Folder for the files.",
)
play_option: Final = click.option("--play", is_flag=True, help="Play the audio while it arrives; mp3 and wav.")
yes_option: Final = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
_texts: Final = partial(click.option, multiple=True, metavar="TEXT")


def _story_id(ctx: click.Context, param: click.Parameter, given: str) -> str:
    del ctx, param
    if not is_id(given):
        raise click.UsageError(typed(f"{one_line(given)} is not the id of a story. Take an id from `tale list`."))
    return given


story_argument: Final = click.argument("story_id", metavar="ID", callback=_story_id)


def client_of(target: str) -> AsyncTaleClient:
    """Returns a client for one command."""
    return AsyncTaleClient(target, connect_timeout=CONNECT_SECONDS)


def is_id(given: str) -> bool:
    """Returns whether `given` is an id rather than a name."""
    try:
        UUID(given)
    except ValueError:
        return False
    return True


def child_options(command: CommandT) -> CommandT:
    """Adds the options of a child besides `--name`; `take_child` reads them."""
    for option in (
        _texts("--interest", "--interests", "interests", help="What the child likes, separated by commas. Repeatable."),
        click.option("--gender", type=click.Choice(list(GENDERS)), help="The child's gender in stories."),
        click.option("--age", type=int, help="Age in years, 1 to 18."),
    ):
        command = option(command)
    return command


def take_child(options: dict[str, Any]) -> common_pb2.Child:
    """Removes the options of a child from `options` and returns the child that they describe."""
    return common_pb2.Child(
        name=options.pop("name"),
        age=options.pop("age"),
        gender=gender_of(options.pop("gender")),
        interests=split_commas(options.pop("interests")),
    )


def split_commas(given: Sequence[str]) -> list[str]:
    """Returns the parts of `given` between commas, without those that are blank."""
    return [part.strip() for each in given for part in each.split(",") if part.strip()]


def hero_options(command: CommandT, prefix: str = "") -> CommandT:
    """Adds the options of a hero besides `--name`, their names after `prefix`; `take_hero` reads them."""
    place = prefix.replace("-", "_")
    for option in (
        _texts(f"--{prefix}interest", f"{place}interests", help="What the hero likes. Repeatable."),
        _texts(f"--{prefix}strength", f"{place}strengths", help="What the hero is good at. Repeatable."),
        _texts(f"--{prefix}trait", f"{place}traits", help="Character: brave, curious. Repeatable."),
        click.option(f"--{prefix}appearance", default="", metavar="TEXT", help="What the hero looks like."),
        click.option(f"--{prefix}gender", type=click.Choice(list(GENDERS)), help="The hero's gender in stories."),
    ):
        command = option(command)
    return command


def take_hero(options: dict[str, Any], prefix: str = "") -> common_pb2.Hero:
    """Removes the options of a hero from `options` and returns the hero that they describe."""
    return common_pb2.Hero(
        name=options.pop(f"{prefix}name"),
        gender=gender_of(options.pop(f"{prefix}gender")),
        appearance=options.pop(f"{prefix}appearance"),
        personality_traits=options.pop(f"{prefix}traits"),
        strengths=options.pop(f"{prefix}strengths"),
        interests=options.pop(f"{prefix}interests"),
    )


def voice_options(command: CommandT) -> CommandT:
    """Adds `--voice-provider`, `--voice` and `--format`."""
    for option in (
        click.option(
            "--format", "audio_format", type=click.Choice(list(FORMATS)), help="Audio format.  [default: mp3]"
        ),
        click.option(
            "--voice", "voice_id", default="", metavar="ID", help="Voice of the provider.  [default: by language]"
        ),
        click.option(
            "--voice-provider",
            default="",
            metavar="NAME",
            help="Voice provider: any name that `tale voices` shows.  [default: that of the voice service]",
        ),
    ):
        command = option(command)
    return command


def gender_of(given: str | None) -> common_pb2.Gender.ValueType:
    """Returns what `--gender` names; unspecified without it."""
    return GENDERS[given] if given else common_pb2.GENDER_UNSPECIFIED


def voice_of(provider: str, voice_id: str, audio_format: str | None) -> common_pb2.VoiceSelection | None:
    """Returns the voice that `voice_options` select; None if none of them was given."""
    if not provider and not voice_id and not audio_format:
        return None
    return common_pb2.VoiceSelection(
        provider=provider,
        voice_id=voice_id,
        audio_format=FORMATS.get(audio_format or "", common_pb2.AUDIO_FORMAT_UNSPECIFIED),
    )


def check_folder(folder: Path, name: str = "--out") -> None:
    """Raises UsageError unless files can be written to `folder`, which need not exist yet; `name`: what set it."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        # Permissions do not show that a disk is full or read-only.
        with tempfile.TemporaryFile(dir=there):
            pass
    except NotADirectoryError:
        raise click.UsageError(f"{name} {folder} is not usable: {there} is a file. Name a folder.") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise click.UsageError(f"{name} {folder} is not writable: {why}. Name another folder.") from None


KINDS: Final = {
    "child": common_pb2.STORY_KIND_CHILD,
    "hero": common_pb2.STORY_KIND_HERO,
    "combined": common_pb2.STORY_KIND_COMBINED,
}


def check_characters(
    child: common_pb2.Child, hero: common_pb2.Hero, *, saved_child: str, saved_hero: str, kind: str | None
) -> None:
    """Raises UsageError unless the options name one child and at most one hero, each described or saved."""
    if child.name and not child.name.strip():
        raise click.UsageError("--name is empty. Give the child's first name.")
    if bool(child.name) == bool(saved_child):
        raise click.UsageError("Name one child: --name NAME, or --child NAME|ID for a saved child.")
    if saved_child and child != common_pb2.Child():
        raise click.UsageError(
            "--age, --gender and --interest need --name. Change a saved child with `tale children update`."
        )
    if saved_hero and hero.name:
        raise click.UsageError("Name one hero: --hero NAME|ID for a saved hero, or --hero-name for a new one.")
    if not hero.name and hero != common_pb2.Hero():
        raise click.UsageError("Options of a hero need a name. Add --hero-name NAME.")
    if kind in {"hero", "combined"} and not saved_hero and not hero.name:
        raise click.UsageError(f"A {kind} story needs a hero. Add --hero NAME|ID or --hero-name NAME.")


def spec_of(
    *,
    child: common_pb2.Child,
    hero: common_pb2.Hero | None = None,
    kind: str | None = None,
    wish: str = "",
    moral: str = "",
    theme: str = "",
    minutes: int | None = None,
    language: str = "",
    parent: str = "",
    model: str = "",
    fallback_models: tuple[str, ...] = (),
    temperature: float | None = None,
    seed: int | None = None,
    max_tokens: int | None = None,
    max_cost: float | None = None,
    voice_provider: str = "",
    voice_id: str = "",
    audio_format: str | None = None,
    no_narrate: bool = False,
) -> common_pb2.StorySpec:
    """Returns the specification. A field whose option was not given stays unset, so that the server decides."""
    return common_pb2.StorySpec(
        child=child,
        hero=hero,
        kind=KINDS.get(kind or "", common_pb2.STORY_KIND_UNSPECIFIED),
        wish=wish,
        moral=moral,
        theme=theme,
        length_minutes=minutes,
        language_code=language,
        parent_story_id=parent,
        model=model,
        fallback_models=fallback_models,
        temperature=temperature,
        seed=seed,
        max_tokens=max_tokens,
        max_cost_usd=max_cost,
        narrate=False if no_narrate else None,
        voice=voice_of(voice_provider, voice_id, audio_format),
    )


def check_recording(ctx: click.Context, param: click.Parameter, given: Path | None) -> Path | None:
    """Raises BadParameter unless the suffix of the file names a known audio format."""
    if given is not None and given.suffix.lower() not in CONTENT_TYPES:
        known = ", ".join(CONTENT_TYPES)
        raise click.BadParameter(f"unknown format of {given.name}. Use a file ending in {known}", ctx=ctx, param=param)
    return given


async def add_spoken_wish(client: AsyncTaleClient, recording: Path, spec: common_pb2.StorySpec) -> None:
    """Sets the wish of `spec` to the words of `recording`, prints them, and sets the language if it is not set."""
    heard = await client.transcribe(recording, language_code=spec.language_code)
    click.echo(f'Understood: "{one_line(heard.text)}"', err=True)
    spec.wish = heard.text
    spec.language_code = spec.language_code or heard.language_code
