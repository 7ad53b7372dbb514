"""Builds the specification of a story from options or from a recording."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from tale.common.v1 import common_pb2
from tale_client.cli.options import gender_of, hero_of, voice_of
from tale_client.cli.terminal import one_line
from tale_client.client import AsyncTaleClient
from tale_client.services import CONTENT_TYPES

KINDS: Final = {
    "child": common_pb2.STORY_KIND_CHILD,
    "hero": common_pb2.STORY_KIND_HERO,
    "combined": common_pb2.STORY_KIND_COMBINED,
}

_HERO: Final = "hero_"


def check_characters(asked: Mapping[str, Any]) -> None:
    """Raises UsageError unless the options name one child and at most one hero, each described or saved."""
    if asked["name"] and not asked["name"].strip():
        raise click.UsageError("--name is empty. Give the child's first name.")
    if bool(asked["name"]) == bool(asked["child"]):
        raise click.UsageError("Name one child: --name NAME, or --child NAME|ID for a saved child.")
    if asked["child"] and any(asked[name] not in {None, ()} for name in ("age", "gender", "interests")):
        raise click.UsageError(
            "--age, --gender and --interest need --name. Change a saved child with `tale children update`."
        )
    if asked["hero"] and asked["hero_name"]:
        raise click.UsageError("Name one hero: --hero NAME|ID for a saved hero, or --hero-name for a new one.")
    if not asked["hero_name"] and any(value for name, value in asked.items() if name.startswith(_HERO)):
        raise click.UsageError("Options of a hero need a name. Add --hero-name NAME.")
    if asked["kind"] in {"hero", "combined"} and not asked["hero"] and not asked["hero_name"]:
        raise click.UsageError(f"A {asked['kind']} story needs a hero. Add --hero NAME|ID or --hero-name NAME.")


def inline_hero(asked: Mapping[str, Any]) -> common_pb2.Hero | None:
    """Returns the hero that the options beginning with `--hero-` describe."""
    if not asked["hero_name"]:
        return None
    return hero_of(**{name.removeprefix(_HERO): value for name, value in asked.items() if name.startswith(_HERO)})


def spec_of(
    *,
    name: str = "",
    age: int | None = None,
    gender: str | None = None,
    interests: tuple[str, ...] = (),
    wish: str = "",
    moral: str = "",
    theme: str = "",
    minutes: int | None = None,
    language: str = "",
    kind: str | None = None,
    hero: common_pb2.Hero | None = None,
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
        child=common_pb2.Child(name=name, age=age, gender=gender_of(gender), interests=interests),
        wish=wish,
        kind=KINDS.get(kind or "", common_pb2.STORY_KIND_UNSPECIFIED),
        hero=hero,
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
