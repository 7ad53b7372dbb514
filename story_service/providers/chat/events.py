"""The JSON texts of an answer: its events, or its one body."""

from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderErrorKind
from story_service.providers.chat.errors import Failures

if TYPE_CHECKING:
    from story_service.providers.chat.sdk import Reply

MAX_LINE_BYTES: Final = 262_144
"""Most bytes of one line."""

BOM: Final = b"\xef\xbb\xbf"
"""May stand before the first line."""

_DATA: Final = b"data:"


class EventLines:
    """Cuts a stream of bytes into the values of `data:`. Comments, other fields and empty lines are dropped."""

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._rest = bytearray()
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Returns the events that end in `chunk`. Raises ProviderError TRANSPORT for a line that is too long."""
        # A line ends with CR LF, LF or CR; the empty lines between the two of the first are dropped anyhow.
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        if end < 0:
            self._keep(chunk)
            return []
        lines = (bytes(self._rest) + chunk[:end]).replace(b"\r", b"\n").split(b"\n")
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(BOM)
        self._rest.clear()
        self._keep(chunk[end + 1 :])
        payloads = [line[len(_DATA) :].strip() for line in lines if line.startswith(_DATA)]
        return [payload for payload in payloads if payload]

    def end(self) -> list[bytes]:
        """Returns the event of a last line without a line break."""
        return self.feed(b"\n")

    def _keep(self, tail: bytes) -> None:
        self._rest += tail
        if len(self._rest) > MAX_LINE_BYTES:
            raise self._failures.of(ProviderErrorKind.TRANSPORT)


MAX_BODY_BYTES: Final = 1_048_576
"""Most bytes of an answer that is not streamed."""

_DONE: Final = b"[DONE]"
_FIELDS: Final = (b":", b"data:", b"event:", b"id:", b"retry:")
_LONGEST_FIELD: Final = max(map(len, _FIELDS))


class Payloads:
    """The JSON texts of an answer: its events, or the one body of a server that does not stream.

    Servers and proxies name the wrong type now and then, so a stream is recognised by its first bytes too.
    """

    def __init__(self, reply: "Reply", failures: Failures) -> None:
        self._reply = reply
        self._failures = failures
        self.streamed = reply.headers.get("content-type", "").lower().startswith("text/event-stream")
        """True for events, False for one body, or as long as it is not known."""
        self._known = self.streamed
        self._lines = EventLines(failures)
        self._body = bytearray()
        self.ended = False
        """True once there is no more."""
        self.done = False
        """True where [DONE] said so."""

    async def read(self) -> list[bytes]:
        """Returns those that came with the next bytes, perhaps none. Raises ProviderError TRANSPORT."""
        chunk = await self._reply.read()
        self.ended = not chunk
        if not self.streamed:
            self._hold(chunk)
            self.streamed = self._looks_streamed()
            if not self.streamed:
                return [bytes(self._body)] if self.ended else []
            chunk = bytes(self._body)
            self._body.clear()
        payloads = self._lines.feed(chunk)
        if self.ended:
            payloads += self._lines.end()
        if _DONE in payloads:
            payloads = payloads[: payloads.index(_DONE)]
            self.ended = self.done = True
        return payloads

    def _hold(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > MAX_BODY_BYTES:
            raise self._failures.of(ProviderErrorKind.TRANSPORT)

    def _looks_streamed(self) -> bool:
        """Returns True once it is known to be a stream after all."""
        if self._known:
            return False
        start = self._body[:MAX_LINE_BYTES].removeprefix(BOM).lstrip()
        self._known = self.ended or len(start) >= _LONGEST_FIELD
        return self._known and start.startswith(_FIELDS)
