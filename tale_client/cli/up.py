"""`tale up`."""

import asyncio
import os
from typing import Final

import click

from tale.gateway.v1 import gateway_pb2
from tale_client.cli.options import data_folder
from tale_client.cli.running import run
from tale_client.cli.status import embedded
from tale_client.cli.terminal import printable
from tale_client.cli.wording import typed
from tale_client.client import AsyncTaleClient
from tale_client.cluster.layout import GATEWAY, SERVICES, STORAGE, STORY, VOICE, Layout, Service
from tale_client.cluster.supervisor import Supervisor
from tale_client.errors import TaleError

_SETTLE_TRIES: Final = 50
_SETTLE_PAUSE: Final = 0.1
_QUIET: Final = "servicekit.access=WARNING,voice_service.servicer=WARNING"
"""No line for each call: what a terminal shows is what somebody may have to act on."""
_COLOURS: Final = {GATEWAY: "cyan", STORY: "green", VOICE: "magenta", STORAGE: "yellow"}


@click.command("up")
@click.option("--wait", type=float, default=60.0, show_default=True, help="Seconds that a service may take to start.")
def up_command(*, wait: float) -> None:
    """Run gateway, story, voice and storage in this terminal until Ctrl-C.

    They read their settings from the environment: GATEWAY_LISTEN, STORY_LISTEN, VOICE_LISTEN and STORAGE_LISTEN say
    where they listen (127.0.0.1:50051 to 50054), TALE_DATA_DIR where stories are kept (./data), OPENROUTER_API_KEY and
    ELEVENLABS_API_KEY bring the real writer and voice.

    A service that dies is started again, sooner first and later with longer waits; after five deaths in a row, or when
    one does not start at all, everything is stopped (exit code 1). Ctrl-C lets calls in flight end; a second one does
    not wait. Calls are logged where LOG_LEVEL or LOG_LEVELS is set: LOG_LEVEL=INFO shows all of them.
    """
    data_folder(os.environ)
    run(_up(wait))


async def _up(wait: float) -> int:
    environ = dict(os.environ)
    environ.setdefault("LOG_FORMAT", "console")
    if not environ.get("LOG_LEVEL") and not environ.get("LOG_LEVELS"):
        environ["LOG_LEVELS"] = _QUIET
    layout = Layout.from_environment(environ)
    cluster = Supervisor(layout, environ, sink=_log, report=_report, start_timeout=wait)
    try:
        async with cluster:
            await cluster.start()
            await _announce(layout)
            await cluster.watch()
    except asyncio.CancelledError:
        # Ctrl-C and SIGTERM are how this command ends; a second one, which cancels the ending, is no clean end.
        task = asyncio.current_task()
        if task is None or task.cancelling() > 1:
            raise
        _report("Stopped.")
    return 0


async def _announce(layout: Layout) -> None:
    _report("The cluster is up.")
    for service in SERVICES:
        place = layout[service]
        _report(f"  {service.name:8} {place.address:22} for operators: http://{place.ops_listen}")
    target = layout[GATEWAY].address
    try:
        async with AsyncTaleClient(target) as client:
            status = await _settled(client)
    except TaleError as error:
        _report(f"Its status can not be read: {printable(error.message)}")
    else:
        for line in embedded(status.embedded_parts):
            _report(line)
    here = "" if target == "127.0.0.1:50051" else f" --target {target}"
    _report(typed(f"Tell a story from another terminal: tale tell{here} --name Mia --age 6"))
    _report("Stop: Ctrl-C")


async def _settled(client: AsyncTaleClient) -> gateway_pb2.GetSystemStatusResponse:
    """The status once the gateway sees every service; as it is where that takes long.

    A channel that was tried before its service listened waits for up to a second before it tries again.
    """
    status = await client.system_status()
    for _ in range(_SETTLE_TRIES):
        if status.healthy:
            break
        await asyncio.sleep(_SETTLE_PAUSE)
        status = await client.system_status()
    return status


def _log(service: Service, line: str) -> None:
    click.echo(_prefix(service.name, _COLOURS[service]) + printable(line))


def _report(line: str) -> None:
    click.echo(_prefix("tale", "bright_white") + line)


def _prefix(name: str, colour: str) -> str:
    return click.style(f"{name:8}│ ", fg=colour)
