"""Options that several commands share, and the messages that they or a recording describe."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import click
from google.protobuf.message import Message

from tale.common.v1 import common_pb2
from tale_client.cli import completing
from tale_client.cli.player import check_player
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import state_name, suggested
from tale_client.client import AsyncTaleClient
from tale_client.services import CONTENT_TYPES

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
MessageT = TypeVar("MessageT", bound=Message)

GENDERS: Final = {"female": common_pb2.GENDER_FEMALE, "male": common_pb2.GENDER_MALE}
FORMATS: Final = {
    "mp3": common_pb2.AUDIO_FORMAT_MP3,
    "wav": common_pb2.AUDIO_FORMAT_WAV,
    "ogg": common_pb2.AUDIO_FORMAT_OGG_OPUS,
}
KINDS: Final = {
    "child": common_pb2.STORY_KIND_CHILD,
    "hero": common_pb2.STORY_KIND_HERO,
    "combined": common_pb2.STORY_KIND_COMBINED,
}
STATES: Final = {
    state_name(state).lower().replace("_", "-"): state
    for state in common_pb2.StoryState.values()
    if state != common_pb2.STORY_STATE_UNSPECIFIED
}
_VALUES: Final[dict[str, Mapping[str, int]]] = {"gender": GENDERS, "audio_format": FORMATS, "kind": KINDS}


class Choice(click.Choice[str]):
    """A choice whose error names the choice that is most like the given one."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """See click."""
        return super().get_invalid_choice_message(value, ctx) + suggested(str(value), self.choices)


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
play_option: Final = click.option(
    "--play", is_flag=True, callback=check_player, help="Play the audio while it arrives; mp3 and wav."
)
yes_option: Final = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
child_option: Final = partial(
    click.option, "--child", default="", metavar="NAME|ID", shell_complete=completing.children
)
hero_option: Final = partial(click.option, "--hero", default="", metavar="NAME|ID", shell_complete=completing.heroes)
language_option: Final = partial(
    click.option, "--language", default="", metavar="CODE", shell_complete=completing.languages
)
state_option: Final = partial(click.option, "--state", "states", multiple=True, type=Choice(list(STATES)))
_texts: Final = partial(click.option, multiple=True, metavar="TEXT")


def is_id(given: str) -> bool:
    """Returns whether `given` is an id rather than a name."""
    try:
        UUID(given)
    except ValueError:
        return False
    return True


def child_options(command: CommandT) -> CommandT:
    """Adds the options of a child besides `--name`, named like its fields."""
    for option in (
        _texts(
            "--interest",
            "--interests",
            "interests",
            callback=lambda _context, _option, given: split_commas(given),
            help="What the child likes, separated by commas. Repeatable.",
        ),
        click.option("--gender", type=Choice(list(GENDERS)), help="The child's gender in stories."),
        click.option("--age", type=int, help="Age in years, 1 to 18."),
    ):
        command = option(command)
    return command


def split_commas(given: Sequence[str]) -> list[str]:
    """Returns the parts of `given` between commas, without those that are blank."""
    return [part.strip() for each in given for part in each.split(",") if part.strip()]


def hero_options(command: CommandT, prefix: str = "") -> CommandT:
    """Adds the options of a hero besides `--name`, named like its fields, after `prefix`."""
    place = prefix.replace("-", "_")
    for option in (
        _texts(f"--{prefix}interest", f"{place}interests", help="What the hero likes. Repeatable."),
        _texts(f"--{prefix}strength", f"{place}strengths", help="What the hero is good at. Repeatable."),
        _texts(f"--{prefix}trait", f"{place}personality_traits", help="Character: brave, curious. Repeatable."),
        click.option(f"--{prefix}appearance", default="", metavar="TEXT", help="What the hero looks like."),
        click.option(f"--{prefix}gender", type=Choice(list(GENDERS)), help="The hero's gender in stories."),
    ):
        command = option(command)
    return command


def take(message: type[MessageT], options: dict[str, Any], prefix: str = "") -> MessageT:
    """Removes what is named like a field of `message`, after `prefix`, and returns the message that it describes.

    A field whose option was not given stays unset, so that the server decides.
    """
    given: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = options.pop(prefix + field.name, None)
        if value is not None:
            given[field.name] = _VALUES[field.name][value] if field.name in _VALUES else value
    return message(**given)


def take_voice(options: dict[str, Any]) -> common_pb2.VoiceSelection | None:
    """Removes what `voice_options` add and returns the voice that it selects; None if nothing of it was given."""
    voice = take(common_pb2.VoiceSelection, options)
    return voice if voice.ListFields() else None


def voice_options(command: CommandT) -> CommandT:
    """Adds `--voice-provider`, `--voice` and `--format`, named like the fields of a VoiceSelection."""
    for option in (
        click.option("--format", "audio_format", type=Choice(list(FORMATS)), help="Audio format.  [default: mp3]"),
        click.option(
            "--voice",
            "voice_id",
            default="",
            metavar="ID",
            shell_complete=completing.voices,
            help="Voice of the provider.  [default: by language]",
        ),
        click.option(
            "--voice-provider",
            "provider",
            default="",
            metavar="NAME",
            shell_complete=completing.providers,
            help="Voice provider: any name that `tale voices` shows.  [default: that of the voice service]",
        ),
    ):
        command = option(command)
    return command


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
