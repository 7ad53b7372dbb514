"""Where the gateway is, who calls, and the line that says what a command waits for."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from grpc import ssl_channel_credentials

from tale_client.cli.waiting import WaitingLine
from tale_client.client import AsyncTaleClient

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

CONNECT_SECONDS: Final = 3.0
"""Seconds to wait for a gateway before the command reports that there is none."""
PATIENT_SECONDS: Final = 30.0
"""The same for a command that makes a story: services take a moment to start."""
_THIS_MACHINE: Final = {"127.0.0.1", "localhost", "[", "unix"}


def _remember(ctx: click.Context, param: click.Parameter, given: Any) -> None:
    ctx.meta[f"{__name__}.{param.name}"] = given


_of_gateway: Final = partial(click.option, show_envvar=True)
_reached_by: Final = (
    _of_gateway(
        "--target",
        envvar="GATEWAY_TARGET",
        default="127.0.0.1:50051",
        show_default=True,
        help="Address of the gateway.",
    ),
    _of_gateway(
        "--token", envvar="TALE_TOKEN", expose_value=False, callback=_remember, help="API key or token of the caller."
    ),
    _of_gateway(
        "--tls", envvar="TALE_TLS", is_flag=True, expose_value=False, callback=_remember, help="The gateway has TLS."
    ),
    _of_gateway(
        "--tls-ca",
        envvar="TALE_TLS_CA",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        expose_value=False,
        callback=_remember,
        help="Certificates (PEM) that sign the gateway's, in place of those that are known; with --tls.",
    ),
)


def target_option(command: CommandT) -> CommandT:
    """Adds what says where the gateway is, and who calls."""
    for option in reversed(_reached_by):
        command = option(command)
    return command


@asynccontextmanager
async def client_of(
    target: str, *, patience: float = CONNECT_SECONDS, line: WaitingLine | None = None
) -> AsyncIterator[AsyncTaleClient]:
    """Gives a client for one command, of the caller that its options name, and shows on `line` what it waits for.

    `patience`: seconds to wait for the gateway.
    """
    line = line or WaitingLine()
    client = quiet_client(target, click.get_current_context(silent=True), patience, warn=True)
    async with client:
        following = asyncio.create_task(line.follow(client), name="waiting-line")
        try:
            yield client
        finally:
            following.cancel()
            line.erase()


def quiet_client(target: str, context: click.Context | None, patience: float, *, warn: bool = False) -> AsyncTaleClient:
    """Returns a client of the caller that the options of `context` name; `warn`: of a token in plain text."""
    token, tls, authority = (
        context.meta.get(f"{__name__}.{name}") if context is not None else None for name in ("token", "tls", "tls_ca")
    )
    if warn and token and not (tls or authority) and target.partition(":")[0] not in _THIS_MACHINE:
        click.echo("Warning: the token is sent in plain text. Use --tls if the gateway has a certificate.", err=True)
    # An error says what these lines of gRPC say.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    credentials = ssl_channel_credentials(authority and authority.read_bytes()) if tls or authority else None
    return AsyncTaleClient(target, connect_timeout=patience, credentials=credentials, token=token)
