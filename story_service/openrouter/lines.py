"""Server-sent events, as far as chat completions use them: one `data:` line each."""

from typing import Final

from servicekit.resilience.errors import ProviderErrorKind
from story_service.openrouter.failures import failure

MAX_LINE_BYTES: Final = 262_144
"""Most bytes of one line."""

BOM: Final = b"\xef\xbb\xbf"
"""May stand before the first line."""

_DATA: Final = b"data:"


class EventLines:
    """Cuts a stream of bytes into what stands behind `data:`. Comments, other fields and empty lines are dropped."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that end in `chunk`. Raises ProviderError TRANSPORT when a line has no end within its bound."""
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
        """The event of a last line without a line break."""
        return self.feed(b"\n")

    def _keep(self, tail: bytes) -> None:
        self._rest += tail
        if len(self._rest) > MAX_LINE_BYTES:
            raise failure(ProviderErrorKind.TRANSPORT)
