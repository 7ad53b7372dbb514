"""The cache that VOICE_CACHE_URL names."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from obstore.store import LocalStore, MemoryStore

from servicekit.settings import ConfigurationError
from voice_service.cache.forgotten import FORGOTTEN_SECONDS, ForgottenStories
from voice_service.cache.objects import ObjectCache

_LOCAL: Final = {"", "localhost"}


def open_cache(
    url: str, data_dir: Path, max_bytes: int, *, forgotten_seconds: float = FORGOTTEN_SECONDS
) -> ObjectCache:
    """Return the cache at `url` ("file:///path", "memory://", or "" for a folder of `data_dir`).

    Stories that are forgotten stay so for `forgotten_seconds`, whatever is under way for them. Raises
    ConfigurationError.
    """
    parts = urlsplit(url)
    forgotten = ForgottenStories(forgotten_seconds)
    if not url:
        return ObjectCache(_folder(data_dir / "voice-cache"), max_bytes, forgotten)
    if parts.scheme == "file" and parts.netloc in _LOCAL and parts.path.startswith("/"):
        return ObjectCache(_folder(Path(unquote(parts.path))), max_bytes, forgotten)
    if parts.scheme == "memory":
        return ObjectCache(MemoryStore(), max_bytes, forgotten)
    if parts.scheme == "s3":
        raise ConfigurationError(
            "VOICE_CACHE_URL: s3:// is not supported by this version; use file:///path or memory://"
        )
    raise ConfigurationError("VOICE_CACHE_URL must be file:///path (three slashes, an absolute path) or memory://")


def _folder(folder: Path) -> LocalStore:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return LocalStore(folder.resolve(), automatic_cleanup=True)
    except OSError as error:
        raise ConfigurationError(
            f"VOICE_CACHE_URL: the folder can not be made ({error.strerror}); name one that can be written"
        ) from None
