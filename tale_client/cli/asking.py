"""What options ask a story to be, in words or by voice."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from tale.common.v1 import common_pb2
from tale_client.cli.options import voice_of
from tale_client.cli.people import gender_of, hero_of
from tale_client.cli.terminal import one_line
from tale_client.client import AsyncTaleClient
from tale_client.recordings import CONTENT_TYPES

KINDS: Final = {
    "child": common_pb2.STORY_KIND_CHILD,
    "hero": common_pb2.STORY_KIND_HERO,
    "combined": common_pb2.STORY_KIND_COMBINED,
}

_HERO: Final = "hero_"


def check_people(asked: Mapping[str, Any]) -> None:
    """UsageError unless there is one listener and at most one hero, each by name and options or as a kept one."""
    if asked["name"] and not asked["name"].strip():
        raise click.UsageError("--name is empty: give a name.")
    if bool(asked["name"]) == bool(asked["child"]):
        raise click.UsageError("Say for whom: --name NAME, or --child NAME|ID for a kept child.")
    if asked["child"] and any(asked[name] not in {None, ()} for name in ("age", "gender", "interests")):
        raise click.UsageError("--age, --gender and --interest go with --name; `tale children update` changes a child.")
    if asked["hero"] and asked["hero_name"]:
        raise click.UsageError("Take one hero: --hero NAME|ID for a kept one, or --hero-name to describe one here.")
    if not asked["hero_name"] and any(value for name, value in asked.items() if name.startswith(_HERO)):
        raise click.UsageError("Name the hero that is described here: --hero-name NAME.")
    if asked["kind"] in {"hero", "combined"} and not asked["hero"] and not asked["hero_name"]:
        raise click.UsageError(f"A {asked['kind']} story needs --hero NAME|ID or --hero-name NAME.")


def inline_hero(asked: Mapping[str, Any]) -> common_pb2.Hero | None:
    """The hero that is described by the options that begin with `--hero-`."""
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
    """What the options ask for. What was not said stays unset, so that the server decides."""
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
