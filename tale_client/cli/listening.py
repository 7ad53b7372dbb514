"""Asking for a story by voice."""

from pathlib import Path

import click

from tale.common.v1 import common_pb2
from tale_client.cli.terminal import one_line
from tale_client.client import AsyncTaleClient
from tale_client.recordings import CONTENT_TYPES


def check_recording(ctx: click.Context, param: click.Parameter, given: Path | None) -> Path | None:
    """BadParameter unless the name of the file tells what it is."""
    if given is not None and given.suffix.lower() not in CONTENT_TYPES:
        known = ", ".join(CONTENT_TYPES)
        raise click.BadParameter(f"the name of a recording ends with one of {known}", ctx=ctx, param=param)
    return given


async def listen(client: AsyncTaleClient, recording: Path, spec: common_pb2.StorySpec) -> None:
    """Makes what is said in `recording` the wish of `spec`, and shows what was understood.

    The language that was heard is the story's, unless the spec has one.
    """
    heard = await client.transcribe(recording, language_code=spec.language_code)
    click.echo(f'Understood: "{one_line(heard.text)}"', err=True)
    spec.wish = heard.text
    spec.language_code = spec.language_code or heard.language_code
