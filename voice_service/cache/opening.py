"""The cache that VOICE_CACHE_URL names."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from obstore.store import LocalStore, MemoryStore

from servicekit.settings import ConfigurationError
from voice_service.cache.objects import ObjectCache

_LOCAL: Final = {"", "localhost"}


def open_cache(url: str, data_dir: Path, max_bytes: int) -> ObjectCache:
    """Return the cache at `url` ("file:///path", "memory://", or "" for a folder of `data_dir`).

    Raises ConfigurationError.
    """
    parts = urlsplit(url)
    if not url:
        return _in_folder(data_dir / "voice-cache", max_bytes)
    if parts.scheme == "file" and parts.netloc in _LOCAL and parts.path.startswith("/"):
        return _in_folder(Path(unquote(parts.path)), max_bytes)
    if parts.scheme == "memory":
        return ObjectCache(MemoryStore(), max_bytes)
    if parts.scheme == "s3":
        raise ConfigurationError(
            "VOICE_CACHE_URL: s3:// is not supported by this version; use file:///path or memory://"
        )
    raise ConfigurationError("VOICE_CACHE_URL must be file:///path (three slashes, an absolute path) or memory://")


def _in_folder(folder: Path, max_bytes: int) -> ObjectCache:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        store = LocalStore(folder.resolve(), automatic_cleanup=True)
    except OSError as error:
        raise ConfigurationError(
            f"VOICE_CACHE_URL: the folder can not be made ({error.strerror}); name one that can be written"
        ) from None
    return ObjectCache(store, max_bytes)
