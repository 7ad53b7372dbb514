"""Commands that tell who can speak and write: `tale voices`, `tale models`."""

import json
from collections.abc import Iterable, Sequence

import click
from google.protobuf.json_format import MessageToDict

from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2
from tale_client.cli.facts import as_json as json_of
from tale_client.cli.options import client_of, json_option, target_option
from tale_client.cli.people import GENDERS
from tale_client.cli.running import run
from tale_client.cli.terminal import one_line


@click.command("voices")
@click.option("--language", default="", metavar="CODE", help="Only voices that speak it, such as en or ru.")
@click.option("--provider", default="", metavar="NAME", help="Only voices of that provider.")
@json_option
@target_option
def voices_command(*, language: str, provider: str, as_json: bool, target: str) -> None:
    """Show the speech providers in the order in which they would be tried, and their voices.

    With --json: one object with the fields of ListProvidersResponse and ListVoicesResponse.
    """
    run(_voices(language=language, provider=provider, as_json=as_json, target=target))


@click.command("models")
@json_option
@target_option
def models_command(*, as_json: bool, target: str) -> None:
    """Show the models that can be asked to write, and what they cost."""
    run(_models(as_json=as_json, target=target))


async def _voices(*, language: str, provider: str, as_json: bool, target: str) -> int:
    async with client_of(target) as client:
        providers = await client.list_providers()
        voices = await client.list_voices(provider=provider, language_code=language)
    if as_json:
        both = MessageToDict(providers) | MessageToDict(voices)
        click.echo(json.dumps(both, ensure_ascii=False, indent=2))
        return 0
    rows = [(each.provider_name, _standing(each), _languages(each.language_codes)) for each in providers.providers]
    print_table(("PROVIDER", "", "LANGUAGES"), rows)
    click.echo("")
    genders = {value: name for name, value in GENDERS.items()}
    print_table(
        ("VOICE", "PROVIDER", "LANGUAGES", "", "NAME"),
        [
            (
                each.voice_id,
                each.provider,
                _languages(each.language_codes),
                genders.get(each.gender, ""),
                each.display_name,
            )
            for each in voices.voices
        ],
    )
    _note_stale(stale=voices.stale)
    return 0


async def _models(*, as_json: bool, target: str) -> int:
    async with client_of(target) as client:
        models = await client.list_models()
    if as_json:
        click.echo(json_of(models))
        return 0
    rows = [(each.id, _standing(each), _languages(each.language_codes), _price(each)) for each in models.models]
    print_table(("MODEL", "", "LANGUAGES", "US DOLLARS A MILLION TOKENS, READ / WRITTEN"), rows)
    _note_stale(stale=models.stale)
    return 0


def _standing(each: voice_pb2.Provider | story_pb2.Model) -> str:
    """Whether it would be called, and when."""
    said = "available"
    if not each.available:
        missing = isinstance(each, voice_pb2.Provider) and not each.configured
        said = f"{'not set up' if missing else 'not available'}: {each.unavailable_reason}".rstrip(": ")
    parts = [said, "tried first" if each.is_default else ""]
    if each.fallback_position:
        parts.append(f"fallback {each.fallback_position}")
    parts.append("embedded" if each.embedded else "")
    return "; ".join(part for part in parts if part)


def _languages(codes: Sequence[str], most: int = 8) -> str:
    more = f" and {len(codes) - most} more" if len(codes) > most else ""
    return ", ".join(codes[:most]) + more


def _price(model: story_pb2.Model) -> str:
    if not model.HasField("prompt_usd_per_million_tokens"):
        return ""
    return f"{model.prompt_usd_per_million_tokens:.2f} / {model.completion_usd_per_million_tokens:.2f}"


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints columns as wide as what is in them."""
    table = [header, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _note_stale(*, stale: bool) -> None:
    if stale:
        click.echo("Note: a part of the list could not be refreshed and is an older one.", err=True)
