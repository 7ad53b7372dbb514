"""Reads what a caller still sends to a call that has failed."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import grpc

from servicekit.errors import DomainError

_QUIET_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 10.0


async def read_away(
    read: Callable[[], Awaitable[object]], *, quiet: float = _QUIET_SECONDS, longest: float = _LONGEST_SECONDS
) -> None:
    """Returns when `read` returns EOF, or has waited for `quiet` seconds, or after `longest` seconds.

    gRPC #36066: a client of grpc.aio that is writing when the status comes loses it and reports a bare INTERNAL.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(longest):
            while True:
                # What is still sent may break the rules, too.
                async with asyncio.timeout(quiet):
                    with suppress(DomainError):
                        if await read() is grpc.aio.EOF:
                            return
