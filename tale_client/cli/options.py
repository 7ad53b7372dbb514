"""Options that several commands share, and folders looked at before anything is asked for."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from tale.common.v1 import common_pb2
from tale_client.cli.people import is_id
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import typed
from tale_client.client import AsyncTaleClient

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

FORMATS: Final = {
    "mp3": common_pb2.AUDIO_FORMAT_MP3,
    "wav": common_pb2.AUDIO_FORMAT_WAV,
    "ogg": common_pb2.AUDIO_FORMAT_OGG_OPUS,
}

CONNECT_SECONDS: Final = 3.0
"""Seconds that a person waits for a gateway before hearing that there is none."""

target_option: Final = click.option(
    "--target",
    envvar="GATEWAY_TARGET",
    show_envvar=True,
    default="127.0.0.1:50051",
    show_default=True,
    help="Where the gateway is.",
)
json_option: Final = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print protobuf JSON (lowerCamelCase names, as `buf curl` prints) and nothing else on standard output.",
)
out_option: Final = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Folder for the files.",
)
yes_option: Final = click.option("--yes", is_flag=True, help="Do not ask.")


def _story_id(ctx: click.Context, param: click.Parameter, given: str) -> str:
    del ctx, param
    if not is_id(given):
        raise click.UsageError(typed(f"{one_line(given)} is no story's id: take an id from `tale list`."))
    return given


story_argument: Final = click.argument("story_id", metavar="ID", callback=_story_id)


def check_out(folder: Path) -> None:
    """UsageError unless `--out` can be written to: better now than when the story is told."""
    check_folder(folder, "--out")


def voice_options(command: CommandT) -> CommandT:
    """`--voice-provider`, `--voice` and `--format`."""
    provider = click.option(
        "--voice-provider",
        default="",
        metavar="NAME",
        help="Who speaks: elevenlabs, speech or offline; default: what the voice service is set to.",
    )
    voice = click.option(
        "--voice", "voice_id", default="", metavar="ID", help="A voice of that provider; default: by language."
    )
    audio_format = click.option(
        "--format", "audio_format", type=click.Choice(list(FORMATS)), help="Kind of audio file; default: mp3."
    )
    return provider(voice(audio_format(command)))


def client_of(target: str) -> AsyncTaleClient:
    """A client for one command."""
    return AsyncTaleClient(target, connect_timeout=CONNECT_SECONDS)


def voice_of(provider: str, voice_id: str, audio_format: str | None) -> common_pb2.VoiceSelection | None:
    """The voice that was asked for; None if nothing was said about it."""
    if not provider and not voice_id and not audio_format:
        return None
    return common_pb2.VoiceSelection(
        provider=provider,
        voice_id=voice_id,
        audio_format=FORMATS.get(audio_format or "", common_pb2.AUDIO_FORMAT_UNSPECIFIED),
    )


def check_folder(folder: Path, called: str) -> None:
    """UsageError unless files can be written to `folder`, which may be still to be made; `called` names it."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        # Permissions alone do not tell: the disk may be full or read-only.
        with tempfile.TemporaryFile(dir=there):
            pass
    except NotADirectoryError:
        raise click.UsageError(f"{called} {folder} can not be used: {there} is a file. Name a folder.") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise click.UsageError(f"{called} {folder} can not be written: {why}. Name another folder.") from None
