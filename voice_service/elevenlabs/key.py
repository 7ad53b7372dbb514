"""The key, and whether ElevenLabs takes it."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.elevenlabs.config import NAME
from voice_service.elevenlabs.errors import KeyRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servicekit.secrets import SecretSource

_UNSET: Final = "set ELEVENLABS_API_KEY, or ELEVENLABS_API_KEY_FILE"
_MALFORMED: Final = "ELEVENLABS_API_KEY is no key: it must be printable ASCII without spaces, 512 characters at most"
_REFUSED: Final = "ElevenLabs refuses the key; set another ELEVENLABS_API_KEY"
_LONGEST: Final = 512


class ApiKey:
    """Gives the key of the moment, and remembers that it was refused until another one comes or it is taken after all.

    What is remembered is a hash.
    """

    def __init__(self, source: SecretSource) -> None:
        self._source = source
        self._refused = b""

    def trouble(self) -> str:
        """Say why no call can be made with the key, and what to do; "" where it may well be taken."""
        key = self._source.get()
        if not key:
            return _UNSET
        if not _is_sane(key):
            return _MALFORMED
        return _REFUSED if _digest(key) == self._refused else ""

    def is_set(self) -> bool:
        """Tell whether there is a key, of whatever form."""
        return bool(self._source.get())

    def is_sane(self) -> bool:
        """Tell whether there is a key, and whether it has the form of one."""
        return _is_sane(self._source.get())

    @contextmanager
    def used(self) -> Iterator[str]:
        """Give the key for a call, and learn from how the call ends. Raises AUTH where there is no key."""
        key = self._source.get()
        if not _is_sane(key):
            raise ProviderError(ProviderErrorKind.AUTH, _MALFORMED if key else _UNSET, provider=NAME)
        try:
            yield key
        except KeyRefusedError:
            self._refused = _digest(key)
            raise
        if self._refused == _digest(key):
            self._refused = b""


def _is_sane(key: str) -> bool:
    return 0 < len(key) <= _LONGEST and all("!" <= character <= "~" for character in key)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
