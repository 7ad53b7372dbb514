"""`tale status`."""

from collections.abc import Iterable

import click

from tale.common.v1 import status_pb2
from tale.gateway.v1 import gateway_pb2
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
