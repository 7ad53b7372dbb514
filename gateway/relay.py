"""Hands the requests of an upload on to a sibling, as it takes them."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Self

import grpc

WRITE_FAILED: Final = "Internal error from Core"
"""What grpc.aio says, in place of the sibling's own status, where a message could not be written any more."""

_QUIET_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 10.0


class Relay:
    """A task that reads `requests` and writes them to `call`, which waits where the sibling does not read.

    A caller whose stream is closed while it still writes may never see why: grpc.aio puts an error of its own over the
    status that came (grpc/grpc#36066). So what still comes when the call has failed can be read away before the caller
    is told.
    """

    def __init__(self, requests: AsyncIterator[bytes], call: Any) -> None:
        self._requests = requests
        self._call = call
        self._heard = 0
        self._task = asyncio.create_task(self._run())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def read_away(self) -> None:
        """Returns when the caller has said all, has fallen silent for half a second, or after ten seconds."""
        end = asyncio.get_running_loop().time() + _LONGEST_SECONDS
        heard = -1
        while not self._task.done() and heard != self._heard and asyncio.get_running_loop().time() < end:
            heard = self._heard
            await asyncio.wait([self._task], timeout=_QUIET_SECONDS)

    async def _run(self) -> None:
        taken = True
        try:
            async for request in self._requests:
                self._heard += 1
                taken = taken and await self._write(request)
            if taken and not self._call.done():
                await self._call.done_writing()
        except BaseException:
            # What came cannot be the whole: the sibling must not take it for that, nor wait for more.
            self._call.cancel()
            raise

    async def _write(self, request: bytes) -> bool:
        try:
            await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call itself tells why.
            return False
        return True
