"""Commands that show the cluster: `tale voices`, `tale models`, `tale status`, `tale circuits`."""

import json
import locale
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import click
from click.core import ParameterSource
from google.protobuf.json_format import MessageToDict

from tale.common.v1 import common_pb2, status_pb2
from tale.gateway.v1 import gateway_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2
from tale_client.cli import completing
from tale_client.cli.connection import target_option
from tale_client.cli.options import (
    GENDERS,
    json_option,
    language_option,
)
from tale_client.cli.runner import FAILED, request
from tale_client.cli.terminal import one_line, print_table, printable
from tale_client.cli.waiting import waited, waited_for
from tale_client.cli.wording import as_json as json_of
from tale_client.cli.wording import counted, duration, local_time, typed
from tale_client.client import AsyncTaleClient

_STORIES_SHOWN: Final = 5
_CIRCUITS_HEADER: Final = ("SERVICE", "CIRCUIT", "STATE", "CALLS", "SUCCEEDED", "FAILED", "FALLBACK", "RETRY AT")
_MODELS_HEADER: Final = ("MODEL", "STATUS", "LANGUAGES", "US DOLLARS PER MILLION TOKENS (INPUT / OUTPUT)")
_PROVIDERS_HEADER: Final = ("PROVIDER", "STATUS", "LANGUAGES")
_USAGE_HEADER: Final = ("DAY", "PROVIDER", "MODEL", "STORIES", "CALLS", "CHARACTERS", "TOKENS IN / OUT", "US DOLLARS")
_VOICES_HEADER: Final = ("LANGUAGES", "GENDER", "NAME", "ABOUT")
_VOICES_SHOWN: Final = 8


@click.command("voices")
@language_option("language_code", help="Only voices for this language, such as en or ru.")
@click.option(
    "--provider", default="", metavar="NAME", shell_complete=completing.providers, help="Only voices of this provider."
)
@json_option
@target_option
def voices_command(*, language_code: str, provider: str, as_json: bool, target: str) -> None:
    """Show the voice providers in their order of use, and their voices by provider and language.

    The voices of one language are described: that of --language, or of this system. Those of others are one line each.

    With --json: one object with the fields of ListProvidersResponse and ListVoicesResponse.
    """

    async def call(client: AsyncTaleClient) -> tuple[voice_pb2.ListProvidersResponse, voice_pb2.ListVoicesResponse]:
        return await client.list_providers(), await client.list_voices(provider=provider, language_code=language_code)

    providers, voices = request(target, call)
    if as_json:
        both = MessageToDict(providers) | MessageToDict(voices)
        click.echo(json.dumps(both, ensure_ascii=False, indent=2))
        return
    rows = [(each.provider_name, _standing(each), _languages(each.language_codes)) for each in providers.providers]
    print_table(_PROVIDERS_HEADER, rows)
    order = [each.provider_name for each in providers.providers]
    first = (language_code or _system_language()).partition("-")[0].lower()
    # For one language the gateway lists the best voice first.
    for name in sorted({each.provider for each in voices.voices}, key=lambda each: _place(order, each)):
        _print_voices(name, [each for each in voices.voices if each.provider == name], first, asked=bool(language_code))
    _note_stale(stale=voices.stale)


@click.command("models")
@json_option
@target_option
def models_command(*, as_json: bool, target: str) -> None:
    """Show the models that can write stories, and their prices."""
    models = request(target, AsyncTaleClient.list_models)
    if as_json:
        click.echo(json_of(models))
        return
    rows = [(each.id, _standing(each), _languages(each.language_codes), _price(each)) for each in models.models]
    print_table(_MODELS_HEADER, rows)
    _note_stale(stale=models.stale)


def _standing(each: voice_pb2.Provider | story_pb2.Model) -> str:
    """Returns whether a provider or model can be used, and its place in the order of use."""
    said = "available"
    if not each.available:
        missing = isinstance(each, voice_pb2.Provider) and not each.configured
        said = f"{'not configured' if missing else 'not available'}: {each.unavailable_reason}".rstrip(": ")
    parts = [said, "default" if each.is_default else ""]
    if each.fallback_position:
        parts.append(f"fallback {each.fallback_position}")
    parts.append("embedded" if each.embedded else "")
    return "; ".join(part for part in parts if part)


def _place(order: Sequence[str], provider: str) -> int:
    return order.index(provider) if provider in order else len(order)


def _system_language() -> str:
    code = (locale.getlocale()[0] or "").partition("_")[0]
    return code if len(code) > 1 else "en"


def _print_voices(provider: str, voices: Sequence[voice_pb2.Voice], first: str, *, asked: bool) -> None:
    """Prints the voices of the language `first` one by one, and those of each other language in a line."""
    groups: dict[str, list[voice_pb2.Voice]] = {}
    for each in voices:
        codes = {code.partition("-")[0].lower() for code in each.language_codes}
        main = first if asked or first in codes or not codes else min(codes)
        groups.setdefault(main, []).append(each)
    described = groups.pop(first, [])
    click.echo("")
    if described:
        print_table((f"{one_line(provider)}: {first}", *_VOICES_HEADER), [_voice(each) for each in described])
    for code, more in sorted(groups.items()):
        ids = ", ".join(one_line(each.voice_id) for each in more[:_VOICES_SHOWN])
        left = f" and {len(more) - _VOICES_SHOWN} more" if len(more) > _VOICES_SHOWN else ""
        click.echo(f"{one_line(provider)}: {one_line(code)}  {ids}{left}")


def _voice(voice: voice_pb2.Voice) -> tuple[str, ...]:
    gender = next((name for name, value in GENDERS.items() if value == voice.gender), "")
    about = " ".join(part for part in (voice.description, voice.preview_url) if part)
    return voice.voice_id, _languages(voice.language_codes), gender, voice.display_name, about


def _languages(codes: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(codes) - limit} more" if len(codes) > limit else ""
    return ", ".join(codes[:limit]) + more


def _price(model: story_pb2.Model) -> str:
    if not model.HasField("prompt_usd_per_million_tokens"):
        return ""
    return f"{model.prompt_usd_per_million_tokens:.2f} / {model.completion_usd_per_million_tokens:.2f}"


def _note_stale(*, stale: bool) -> None:
    if stale:
        click.echo("Note: a part of the list could not be refreshed and may be out of date.", err=True)


@click.command("status")
@json_option
@target_option
def status_command(*, as_json: bool, target: str) -> None:
    """Show the health and version of every service, its embedded parts, and the settings that replace them.

    The exit code is 0 when every service is healthy, else 1.
    """
    status = request(target, AsyncTaleClient.system_status)
    for line in [json_of(status)] if as_json else (*_health(status), "", *embedded(status.embedded_parts)):
        click.echo(line)
    sys.exit(0 if status.healthy else FAILED)


def _health(status: gateway_pb2.GetSystemStatusResponse) -> list[str]:
    lines = []
    for service in status.services:
        state = status_pb2.ServiceHealth.Name(service.health).removeprefix("SERVICE_HEALTH_")
        uptime = f"up {duration(service.uptime.seconds)}" if service.HasField("uptime") else ""
        version = f"version {service.version}" if service.version else ""
        lines.append(f"{service.service:9}{state:13}{version:16}{uptime}".rstrip())
        lines += [f"         provider {_provider(provider)}" for provider in service.providers]
        lines += [
            f"         circuit {circuit.name} is {_state(circuit)}"
            for circuit in service.circuits
            if circuit.state not in {status_pb2.CIRCUIT_STATE_CLOSED, status_pb2.CIRCUIT_STATE_UNSPECIFIED}
        ]
        lines += [f"         warning: {warning}" for warning in service.warnings]
    lines.append(f"Stories in progress: {status.running_stories}")
    lines += [_waiting(each) for each in status.waiting]
    # The indentation stays; line breaks do not.
    return [printable(line).replace("\n", " ") for line in lines]


def _waiting(stories: gateway_pb2.WaitingStories) -> str:
    what, more = waited_for(stories.waiting)
    ids = ", ".join(each[-8:] for each in stories.story_ids[:_STORIES_SHOWN])
    said = f"  {counted(stories.story_count, 'story waits', 'stories wait')} for {what}"
    return f"{said} {duration(waited(stories.waiting))}{more}{f' ({ids})' if ids else ''}"


def _provider(provider: status_pb2.ProviderStatus) -> str:
    said = "available" if provider.available else f"not available: {provider.unavailable_reason or 'not configured'}"
    if provider.available and provider.address:
        said += f", at {provider.address}"
    return f"{provider.name}{' (default)' if provider.is_default else ''}: {said}"


def embedded(parts: Iterable[status_pb2.EmbeddedPart]) -> list[str]:
    """Returns lines that name the embedded parts and the settings that replace them."""
    lines = [
        f"  {one_line(part.part)}: {one_line(part.implementation)}"
        + (
            f"; to replace it, set {one_line(' or '.join(part.environment_variables))}"
            if part.environment_variables
            else ""
        )
        for part in parts
    ]
    return ["Embedded parts, which need no key:", *lines] if lines else ["No embedded part is in use."]


@click.group("circuits", invoke_without_command=True)
@json_option
@target_option
@click.pass_context
def circuits_command(ctx: click.Context, *, as_json: bool, target: str) -> None:
    """Show the circuit breakers of every service: their state, and their calls since the service started.

    An open circuit rejects calls until its time is over. Then it is half-open and lets a single call through. FALLBACK
    counts the calls that another provider or model took over.

    With --json: one object with the fields of GetSystemStatusResponse, with the names, health and circuits of the
    services.
    """
    if ctx.invoked_subcommand is not None:
        return
    status = request(target, AsyncTaleClient.system_status)
    if as_json:
        click.echo(json_of(_circuits_of(status)))
        return
    rows = list(_rows(status))
    if rows:
        print_table(_CIRCUITS_HEADER, rows)
    elif status.services and not any(service.version for service in status.services):
        # Of the services a caller that is no operator learns names and health alone.
        click.echo(typed("Circuits are for operators. Make a key for one: tale keys create NAME --operator"))
    else:
        click.echo("No circuits yet: no service has called a provider.")
    for service in status.services:
        if service.health == status_pb2.SERVICE_HEALTH_UNREACHABLE:
            click.echo(f"Note: the {one_line(service.service)} service does not answer.", err=True)


@circuits_command.command("reset")
@click.argument("name", metavar="NAME", shell_complete=completing.circuits)
@click.option(
    "--service", default="", metavar="NAME", help="Service of the circuit, if several services have one with this name."
)
@json_option
@target_option
@click.pass_context
def reset_command(ctx: click.Context, name: str, *, service: str, as_json: bool, target: str) -> None:
    """Close the circuit NAME, so that calls go through at once."""
    before = ctx.parent.params if ctx.parent is not None else {}
    # Options may also stand before `reset`.
    if ctx.get_parameter_source("target") is not ParameterSource.COMMANDLINE:
        target = before.get("target", target)
    as_json = as_json or bool(before.get("as_json"))
    circuit = request(target, lambda client: client.reset_circuit(name, service=service))
    click.echo(json_of(circuit) if as_json else f"The circuit {one_line(circuit.name)} is {_state(circuit)}.")


@click.command("usage")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 366), help="Days of UTC, with today.")
@click.option("--all-owners", is_flag=True, help="What every caller used; for operators.")
@json_option
@target_option
def usage_command(*, days: int, all_owners: bool, as_json: bool, target: str) -> None:
    """Show the stories, characters, tokens and US dollars that you used, by day and model or voice.

    Stories that were deleted count too. With --json: one object with the fields of GetUsageResponse.
    """
    usage = request(target, lambda client: client.usage(days, all_owners=all_owners))
    if as_json:
        click.echo(json_of(usage))
        return
    owners = ("OWNER",) if all_owners else ()
    print_table(owners + _USAGE_HEADER, [_usage(each, all_owners=all_owners) for each in usage.entries])
    total = sum(each.cost_usd for each in usage.entries)
    stories = counted(sum(each.stories for each in usage.entries), "story", "stories")
    click.echo(f"{stories}, {total:.2f} US dollars in {counted(days, 'day', 'days')}.")


def _usage(entry: common_pb2.UsageEntry, *, all_owners: bool) -> tuple[str, ...]:
    owner = (one_line(entry.owner),) if all_owners else ()
    if not entry.calls:
        return *owner, entry.date, "", "", str(entry.stories), "", "", "", ""
    tokens = f"{entry.prompt_tokens} / {entry.completion_tokens}" if entry.prompt_tokens else ""
    used = (str(entry.calls), str(entry.characters), tokens, f"{entry.cost_usd:.4f}")
    return *owner, entry.date, one_line(entry.provider), one_line(entry.model), "", *used


def _circuits_of(status: gateway_pb2.GetSystemStatusResponse) -> gateway_pb2.GetSystemStatusResponse:
    return gateway_pb2.GetSystemStatusResponse(
        healthy=status.healthy,
        services=[
            status_pb2.ServiceStatus(service=each.service, health=each.health, circuits=each.circuits)
            for each in status.services
        ],
    )


def _rows(status: gateway_pb2.GetSystemStatusResponse) -> Iterator[tuple[str, ...]]:
    for service in status.services:
        for circuit in service.circuits:
            counts = (circuit.total_calls, circuit.successful_calls, circuit.failed_calls, circuit.fallback_calls)
            retry = local_time(circuit.retry_time, seconds=True) if circuit.HasField("retry_time") else ""
            yield service.service, circuit.name, _state(circuit), *map(str, counts), retry


def _state(circuit: status_pb2.CircuitStatus) -> str:
    try:
        return status_pb2.CircuitState.Name(circuit.state).removeprefix("CIRCUIT_STATE_")
    except ValueError:
        return f"state {circuit.state}"
