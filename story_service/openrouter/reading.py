"""What an answer's bytes hold, whichever way it was sent."""

from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderErrorKind
from story_service.openrouter.failures import failure
from story_service.openrouter.lines import EventLines

if TYPE_CHECKING:
    from story_service.openrouter.sdk import Reply

MAX_BODY_BYTES: Final = 1_048_576
"""Most bytes of an answer that is not streamed."""

_DONE: Final = b"[DONE]"


class Payloads:
    """The JSON texts of an answer: its events, or the one body of a server that does not stream."""

    def __init__(self, reply: "Reply") -> None:
        self._reply = reply
        self.streamed = reply.headers.get("content-type", "").lower().startswith("text/event-stream")
        """True for events, False for one body."""
        self._lines = EventLines()
        self._body = bytearray()
        self.ended = False
        """True once there is no more."""

    async def read(self) -> list[bytes]:
        """Those that came with the next bytes, perhaps none. Raises ProviderError TRANSPORT."""
        chunk = await self._reply.read()
        if not self.streamed:
            return self._whole(chunk)
        payloads = self._lines.feed(chunk) if chunk else self._lines.end()
        if _DONE in payloads:
            payloads = payloads[: payloads.index(_DONE)]
            self.ended = True
        self.ended = self.ended or not chunk
        return payloads

    def _whole(self, chunk: bytes) -> list[bytes]:
        if not chunk:
            self.ended = True
            return [bytes(self._body)]
        self._body += chunk
        if len(self._body) > MAX_BODY_BYTES:
            raise failure(ProviderErrorKind.TRANSPORT)
        return []
