"""Reads a stream over as many connections as it takes."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from tale_client.errors import TaleError, own_error
from tale_client.retry import ReconnectPolicy, Reconnects
from tale_client.transport import ResponseStream, Transport

_log: Final = logging.getLogger("tale_client")

AnswerT = TypeVar("AnswerT", bound=Message)
ItemT = TypeVar("ItemT")
ItemT_co = TypeVar("ItemT_co", covariant=True)


class StreamBrokenError(Exception):
    """The stream does not go on where the caller is. Connecting again from its position fixes it."""


class Source(Protocol[AnswerT, ItemT_co]):
    """Something that is read from a position, which it keeps itself."""

    @property
    def done(self) -> bool:
        """True when nothing more is to come."""
        ...

    def open(self) -> ResponseStream[AnswerT]:
        """Begins a call from the present position."""
        ...

    def accept(self, answer: AnswerT) -> tuple[Sequence[ItemT_co], bool]:
        """What is new in an answer, and whether that is progress; StreamBrokenError, TaleError."""
        ...

    def ended(self) -> None:
        """The server ended the stream: StreamBrokenError where that is too early, TaleError."""
        ...


async def resumed(
    source: Source[AnswerT, ItemT], transport: Transport, policy: ReconnectPolicy
) -> AsyncGenerator[ItemT, None]:
    """The items of `source`, each once; TaleError, the last one once `policy` gives up."""
    reconnects = Reconnects(policy, transport.clock)
    reached = False
    while True:
        stream: ResponseStream[AnswerT] | None = None
        try:
            await transport.ready()
            stream, reached = source.open(), True
            while (answer := await stream.next(policy.idle)) is not None:
                items, progressed = source.accept(answer)
                if progressed:
                    reconnects.progressed()
                for item in items:
                    yield item
                if source.done:
                    return
            source.ended()
        except (StreamBrokenError, TaleError) as failed:
            error = _loss(failed, reached=reached)
        else:
            return
        finally:
            if stream is not None:
                if source.done:
                    # Also for a caller that leaves with the last item: cancelled now, a good call would count as lost.
                    await _read_status(stream, policy.idle)
                stream.cancel()
        wait = reconnects.lost(error)
        # One that is mended at once, as when a gateway drains, is nobody's business.
        level = logging.WARNING if reconnects.fruitless > 1 else logging.INFO
        _log.log(level, "The connection to the gateway is lost; trying again in %.1f s.", wait)
        await transport.sleep(wait)


async def _read_status(stream: ResponseStream[Message], idle: float) -> None:
    """Reads a stream to its status, which the server sends right after the last message; a lost one changes nothing."""
    with suppress(TaleError):
        while await stream.next(idle) is not None:
            pass


def _loss(failed: StreamBrokenError | TaleError, *, reached: bool) -> TaleError:
    """The lost connection that `failed` means; raises it where it means anything else."""
    if isinstance(failed, StreamBrokenError):
        return own_error("STREAM_INCOMPLETE", f"The stream broke: {failed}.")
    # A gateway that was never there is nothing to reconnect to.
    if not failed.connection_lost or not reached:
        raise failed
    return failed
