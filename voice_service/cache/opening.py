"""The cache that VOICE_CACHE_URL names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, S3Store

from servicekit.endpoints import check_base_url
from servicekit.settings import ConfigurationError
from voice_service.cache.forgotten import FORGOTTEN_SECONDS, ForgottenStories
from voice_service.cache.objects import ObjectCache

_LOCAL: Final = {"", "localhost"}
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def open_cache(
    url: str,
    data_dir: Path,
    max_bytes: int,
    *,
    forgotten_seconds: float = FORGOTTEN_SECONDS,
    allow_plain_http: bool = False,
) -> ObjectCache:
    """Return the cache at `url` ("file:///path", "s3://bucket/prefix", "memory://", or "" for a folder of `data_dir`).

    Keys, region and endpoint of S3 are those of the AWS_* variables. Stories that are forgotten stay so for
    `forgotten_seconds`, whatever is under way for them. Raises ConfigurationError.
    """
    parts = urlsplit(url)
    forgotten = ForgottenStories(forgotten_seconds)
    if not url:
        return ObjectCache(_folder(data_dir / "voice-cache"), max_bytes, forgotten)
    if parts.scheme == "file" and parts.netloc in _LOCAL and parts.path.startswith("/"):
        return ObjectCache(_folder(Path(unquote(parts.path))), max_bytes, forgotten)
    if parts.scheme == "memory":
        return ObjectCache(MemoryStore(), max_bytes, forgotten)
    if parts.scheme == "s3" and parts.netloc and not parts.query:
        return ObjectCache(_bucket(parts, allow_plain_http=allow_plain_http), max_bytes, forgotten)
    raise ConfigurationError(
        "VOICE_CACHE_URL must be file:///path (three slashes, an absolute path), s3://bucket/prefix or memory://"
    )


def _folder(folder: Path) -> LocalStore:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return LocalStore(folder.resolve(), automatic_cleanup=True)
    except OSError as error:
        raise ConfigurationError(
            f"VOICE_CACHE_URL: the folder can not be made ({error.strerror}); name one that can be written"
        ) from None


def _bucket(parts: SplitResult, *, allow_plain_http: bool) -> S3Store:
    variable = next((name for name in _ENDPOINTS if os.environ.get(name)), "")
    endpoint = os.environ.get(variable, "")
    try:
        if variable:
            endpoint = check_base_url(endpoint, allow_plain_http=allow_plain_http)
        return S3Store(
            parts.netloc,
            prefix=unquote(parts.path).strip("/") or None,
            config={"endpoint": endpoint} if endpoint else None,
            client_options={"allow_http": endpoint.startswith("http://")},
        )
    except ValueError as error:
        raise ConfigurationError(f"{variable} {error}") from None
    except BaseError:
        raise ConfigurationError(
            "VOICE_CACHE_URL: the bucket can not be used; see AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
