"""Server-sent events, as far as chat completions use them: one `data:` line each."""

from typing import Final

from servicekit.resilience.errors import ProviderErrorKind
from story_service.openrouter.failures import failure

MAX_LINE_BYTES: Final = 262_144
"""Most bytes of one line."""

_DATA: Final = b"data:"


class EventLines:
    """Cuts a stream of bytes into what stands behind `data:`. Comments, other fields and empty lines are dropped."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that end in `chunk`. Raises ProviderError TRANSPORT when a line has no end within its bound."""
        head, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            self._keep(chunk)
            return []
        lines = (bytes(self._rest) + head).split(b"\n")
        self._rest.clear()
        self._keep(tail)
        payloads = [line[len(_DATA) :].strip() for line in lines if line.startswith(_DATA)]
        return [payload for payload in payloads if payload]

    def end(self) -> list[bytes]:
        """The event of a last line without a line break."""
        return self.feed(b"\n")

    def _keep(self, tail: bytes) -> None:
        self._rest += tail
        if len(self._rest) > MAX_LINE_BYTES:
            raise failure(ProviderErrorKind.TRANSPORT)
