"""Builds the specification of a story from options or from a recording."""

from pathlib import Path
from typing import Final

import click

from tale.common.v1 import common_pb2
from tale_client.cli.options import voice_of
from tale_client.cli.terminal import one_line
from tale_client.client import AsyncTaleClient
from tale_client.services import CONTENT_TYPES

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
