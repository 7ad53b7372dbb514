"""How the cluster is: `tale status`, `tale circuits`."""

from collections.abc import Iterable, Iterator

import click
from click.core import ParameterSource

from tale.common.v1 import status_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.cli.catalogue import print_table
from tale_client.cli.facts import as_json as json_of
from tale_client.cli.options import client_of, json_option, target_option
from tale_client.cli.running import FAILED, run
from tale_client.cli.terminal import one_line, printable


@click.command("status")
@json_option
@target_option
def status_command(*, as_json: bool, target: str) -> None:
    """Show every service: its health, version, what is embedded, and which environment variables bring the real parts.

    Exit code 0 when every service takes calls, 1 when one does not.
    """
    run(_status(as_json=as_json, target=target))


async def _status(*, as_json: bool, target: str) -> int:
    async with client_of(target) as client:
        status = await client.system_status()
    if as_json:
        click.echo(json_of(status))
    else:
        for line in (*health(status), "", *embedded(status.embedded_parts)):
            click.echo(line)
    return 0 if status.healthy else FAILED


def health(status: gateway_pb2.GetSystemStatusResponse) -> list[str]:
    """One line for each service, and one for each thing that an operator should know of it."""
    lines = []
    for service in status.services:
        state = status_pb2.ServiceHealth.Name(service.health).removeprefix("SERVICE_HEALTH_")
        uptime = f"up {service.uptime.seconds} s" if service.HasField("uptime") else ""
        version = f"version {service.version}" if service.version else ""
        lines.append(f"{service.service:9}{state:13}{version:16}{uptime}".rstrip())
        lines += [f"         provider {_provider(provider)}" for provider in service.providers]
        lines += [
            f"         circuit {circuit.name} is {status_pb2.CircuitState.Name(circuit.state)[14:]}"
            for circuit in service.circuits
            if circuit.state not in {status_pb2.CIRCUIT_STATE_CLOSED, status_pb2.CIRCUIT_STATE_UNSPECIFIED}
        ]
        lines += [f"         warning: {warning}" for warning in service.warnings]
    lines.append(f"Stories being made: {status.running_stories}")
    return [printable(line).replace("\n", " ") for line in lines]


def embedded(parts: Iterable[status_pb2.EmbeddedPart]) -> list[str]:
    """Which parts need no key, and what brings the real ones."""
    lines = [
        f"  {one_line(part.part)}: {one_line(part.implementation)}; the real one comes with"
        f" {one_line(', '.join(part.environment_variables)) or 'no setting yet'}"
        for part in parts
    ]
    return ["Embedded, working without any key:", *lines] if lines else ["Nothing is embedded: every part is real."]


def _provider(provider: status_pb2.ProviderStatus) -> str:
    said = "available" if provider.available else f"not available: {provider.unavailable_reason or 'not set up'}"
    return f"{provider.name}{' (tried first)' if provider.is_default else ''}: {said}"


_HEADER = ("SERVICE", "CIRCUIT", "STATE", "CALLS", "GOOD", "FAILED", "FALLBACK", "ASKS AGAIN")


@click.group("circuits", invoke_without_command=True)
@json_option
@target_option
@click.pass_context
def circuits_command(ctx: click.Context, *, as_json: bool, target: str) -> None:
    """Show the circuit breakers of every service: whether calls go through, and how they went since the service began.

    An open circuit lets no call through until its time is over; a half-open one tries a single call. With --json: one
    object with the fields of GetSystemStatusResponse, with the names, health and circuits of the services.
    """
    if ctx.invoked_subcommand is None:
        run(_circuits(as_json=as_json, target=target))


@circuits_command.command("reset")
@click.argument("name", metavar="NAME")
@click.option(
    "--service", default="", metavar="NAME", help="Whose circuit, where several services have one of the name."
)
@json_option
@target_option
@click.pass_context
def reset_command(ctx: click.Context, name: str, *, service: str, as_json: bool, target: str) -> None:
    """Let calls through again at once, without waiting for an open circuit's time to be over."""
    before = ctx.parent.params if ctx.parent is not None else {}
    # Options may also stand before `reset`.
    if ctx.get_parameter_source("target") is not ParameterSource.COMMANDLINE:
        target = before.get("target", target)
    run(_reset(name, service=service, as_json=as_json or bool(before.get("as_json")), target=target))


async def _circuits(*, as_json: bool, target: str) -> int:
    async with client_of(target) as client:
        status = await client.system_status()
    if as_json:
        click.echo(json_of(_circuits_of(status)))
        return 0
    rows = list(_rows(status))
    if rows:
        print_table(_HEADER, rows)
    else:
        click.echo("No service has called a provider: there is no circuit yet.")
    for service in status.services:
        if service.health == status_pb2.SERVICE_HEALTH_UNREACHABLE:
            click.echo(f"Note: the {one_line(service.service)} service does not answer.", err=True)
    return 0


async def _reset(name: str, *, service: str, as_json: bool, target: str) -> int:
    async with client_of(target) as client:
        circuit = await client.reset_circuit(name, service=service)
    click.echo(json_of(circuit) if as_json else f"The circuit {one_line(circuit.name)} is {_state(circuit)}.")
    return 0


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
            counts = (
                circuit.total_calls,
                circuit.successful_calls,
                circuit.failed_calls,
                circuit.fallback_calls,
            )
            retry = f"at {circuit.retry_time.ToJsonString()}" if circuit.HasField("retry_time") else ""
            yield service.service, circuit.name, _state(circuit), *map(str, counts), retry


def _state(circuit: status_pb2.CircuitStatus) -> str:
    try:
        return status_pb2.CircuitState.Name(circuit.state).removeprefix("CIRCUIT_STATE_")
    except ValueError:
        return f"state {circuit.state}"
