"""The payloads of an answer: its events, or its one body."""

import json
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderErrorKind
from story_service.providers.chat.errors import Failures
from story_service.providers.chat.report import decoded, is_error

if TYPE_CHECKING:
    from story_service.providers.chat.sdk import Reply

MAX_LINE_BYTES: Final = 262_144
"""Most bytes of one event."""

BOM: Final = b"\xef\xbb\xbf"
"""May stand before the first line."""

_DATA: Final = b"data:"
_EVENT: Final = b"event:"
_ERROR: Final = b"error:"
_LF: Final = 10
_MOST_STRANGE: Final = 4_096


class EventLines:
    """Cuts a stream of bytes into the values of `data:`.

    The lines of one event are joined; where each of them is an event of its own, they come one by one. An event named
    "error", and a line `error:`, become an object with that error. Comments and other fields are dropped.
    """

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._rest = bytearray()
        self._first = True
        self._cr = False
        self._event: list[bytes] = []
        self._size = 0
        self._is_error = False
        self.strange = bytearray()
        """The beginning of what is no event, such as a plain text."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Returns the events that end in `chunk`. Raises ProviderError TRANSPORT for one that is too long."""
        if self._cr and chunk:
            # The other half of a CR LF.
            chunk, self._cr = chunk.removeprefix(b"\n"), False
        # A line ends with CR LF, LF or CR.
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        if end < 0:
            self._keep(chunk)
            return []
        events: list[bytes] = []
        for line in self._lines(chunk, end):
            if line.startswith(_DATA):
                self._add(line[len(_DATA) :].strip(), events)
            elif line and not line.isspace():
                self._read(line, events)
            elif self._event or self._is_error:
                self._flush(events)
        return events

    def _lines(self, chunk: bytes, end: int) -> list[bytes]:
        """Returns the lines that end in `chunk`, the last of them at `end`."""
        self._cr = chunk.endswith(b"\r")
        lines = chunk[:end]
        if self._rest:
            lines = bytes(self._rest) + lines
            self._rest.clear()
        if chunk[end] == _LF:
            lines = lines.removesuffix(b"\r")
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._first:
            self._first = False
            lines = lines.removeprefix(BOM)
        if end + 1 < len(chunk):
            self._keep(chunk[end + 1 :])
        return lines.split(b"\n")

    def end(self) -> list[bytes]:
        """Returns the event of last lines without line breaks."""
        return self.feed(b"\n\n")

    def _read(self, line: bytes, events: list[bytes]) -> None:
        """Reads a line that is no data and not empty."""
        if line.startswith(_EVENT):
            self._flush(events)
            self._is_error = line[len(_EVENT) :].strip() == b"error"
        elif line.startswith(_ERROR):
            self._flush(events)
            events.append(_as_error(line[len(_ERROR) :].strip()))
        elif line.startswith(b"{"):
            # An error of a proxy may come as it is.
            self._add(line.strip(), events)
        elif not line.startswith((b":", b"id:", b"retry:")):
            self.strange += line[: _MOST_STRANGE - len(self.strange)] + b"\n"

    def _add(self, value: bytes, events: list[bytes]) -> None:
        if len(self._event) == 1 and not self._is_error and _is_whole(self._event[0]):
            self._flush(events)
        if value:
            self._event.append(value)
            self._size += len(value)
            if self._size > MAX_LINE_BYTES:
                raise self._failures.of(ProviderErrorKind.TRANSPORT)

    def _flush(self, events: list[bytes]) -> None:
        if self._event:
            value = self._event[0] if len(self._event) == 1 else b"\n".join(self._event)
            events.append(_as_error(value) if self._is_error else value)
            self._event.clear()
            self._size = 0
        self._is_error = False

    def _keep(self, tail: bytes) -> None:
        self._rest += tail
        if len(self._rest) > MAX_LINE_BYTES:
            raise self._failures.of(ProviderErrorKind.TRANSPORT)


def _is_whole(value: bytes) -> bool:
    """Returns whether a line is an event already, so that the next line is another."""
    try:
        decoded(value)
    except ValueError:
        return value == _DONE
    return True


def _as_error(value: bytes) -> bytes:
    """Returns an object with `value`, JSON or text, as its error."""
    try:
        return json.dumps({"error": decoded(value)}).encode()
    except ValueError:
        return json.dumps({"error": value.decode("utf-8", "replace")}).encode()


MAX_BODY_BYTES: Final = 1_048_576
"""Most bytes of an answer that is not streamed."""

_DONE: Final = b"[DONE]"
_FIELDS: Final = (b":", _DATA, _EVENT, _ERROR, b"id:", b"retry:")
_LONGEST_FIELD: Final = max(map(len, _FIELDS))
_NO_EVENTS: Final = (b"{", b"[", b"<")


class Payloads:
    """The JSON texts of an answer: its events, or the one body of a server that does not stream.

    Servers and proxies name the wrong type now and then, so a stream is recognised by its first bytes.
    """

    def __init__(self, reply: "Reply", failures: Failures) -> None:
        self._reply = reply
        self._failures = failures
        self.streamed = reply.headers.get("content-type", "").lower().startswith("text/event-stream")
        """True for events, False for one body; first as the answer names its type."""
        self._named = self.streamed
        self._known = False
        self._lines = EventLines(failures)
        self._body = bytearray()
        self._any = False
        self.ended = False
        """True once there is no more."""
        self.done = False
        """True where the server said so: by [DONE], or with a whole body."""

    async def read(self) -> list[bytes]:
        """Returns those that came with the next bytes, perhaps none. Raises ProviderError for what is no JSON."""
        chunk = await self._reply.read()
        self.ended = not chunk
        if not self._known:
            self._body += chunk
            self._known = self._look()
            if not self._known:
                return []
            chunk = bytes(self._body) if self.streamed else b""
        elif not self.streamed:
            self._body += chunk
        if not self.streamed:
            return self._whole_body()
        payloads = self._lines.feed(chunk)
        if self.ended:
            payloads += self._lines.end()
        if _DONE in payloads:
            payloads = payloads[: payloads.index(_DONE)]
            self.ended = self.done = True
        self._any = self._any or bool(payloads)
        if self.ended and not self._any and self._lines.strange:
            raise self._failures.of_body(bytes(self._lines.strange), self._reply.headers)
        return payloads

    def _whole_body(self) -> list[bytes]:
        """Returns the body once it is whole."""
        if len(self._body) > MAX_BODY_BYTES:
            raise self._failures.of(ProviderErrorKind.TRANSPORT)
        if not self.ended:
            return []
        self.done = True
        body = bytes(self._body).removeprefix(BOM)
        before, mark, behind = body.rpartition(_DATA)
        if mark and behind.strip() == _DONE:
            # A proxy ended the body like a stream.
            body = before
        try:
            value = decoded(body)
        except ValueError:
            raise self._failures.of_body(body, self._reply.headers, whole=True) from None
        if not isinstance(value, dict):
            raise self._failures.of_body(body, self._reply.headers)
        if "choices" not in value and not is_error(value):
            raise self._failures.of(ProviderErrorKind.CONFIGURATION, billed=False)
        return [body]

    def _look(self) -> bool:
        """Returns whether the first bytes say what it is, and notes it."""
        start = bytes(self._body[:MAX_LINE_BYTES]).removeprefix(BOM).lstrip()
        if not self.ended and len(start) < _LONGEST_FIELD and not start.startswith(_NO_EVENTS):
            return len(self._body) > MAX_LINE_BYTES
        self.streamed = start.startswith(_FIELDS) or (self._named and not start.startswith(_NO_EVENTS))
        return True
