"""The cache that VOICE_CACHE_URL names."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, S3Store

from servicekit.endpoints import check_base_url
from servicekit.settings import ConfigurationError
from voice_service.cache.forgotten import FORGOTTEN_SECONDS, ForgottenStories
from voice_service.cache.objects import ObjectCache

if TYPE_CHECKING:
    from obstore.store import S3Config

_LOCAL: Final = {"", "localhost"}
_TIMEOUT: Final = timedelta(seconds=10)


def open_cache(
    url: str,
    data_dir: Path,
    max_bytes: int,
    *,
    forgotten_seconds: float = FORGOTTEN_SECONDS,
    endpoint: str = "",
    allow_plain_http: bool = False,
) -> ObjectCache:
    """Return the cache at `url` ("file:///path", "s3://bucket/prefix", "memory://", or "" for a folder of `data_dir`).

    `endpoint` is that of an S3-compatible store; keys and region are those of the AWS_* variables. Stories that are
    forgotten stay so for `forgotten_seconds`, whatever is under way for them. Raises ConfigurationError.
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
        return ObjectCache(_bucket(parts, endpoint, allow_plain_http=allow_plain_http), max_bytes, forgotten)
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


def _bucket(parts: SplitResult, endpoint: str, *, allow_plain_http: bool) -> S3Store:
    """A bucket, or a folder of one; its keys are found by the client itself. What is kept is encrypted at rest."""
    options: S3Config = {
        "region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        "server_side_encryption": "AES256",
        "virtual_hosted_style_request": False,
    }
    if endpoint:
        try:
            endpoint = check_base_url(endpoint, allow_plain_http=allow_plain_http)
        except ValueError as error:
            raise ConfigurationError(f"VOICE_CACHE_ENDPOINT {error}") from None
        # The one that goes before all others, also those that the client finds in the environment.
        options["aws_endpoint_url_s3"] = endpoint
    try:
        return S3Store(
            parts.netloc,
            prefix=unquote(parts.path).strip("/") or None,
            config=options,
            client_options={"allow_http": endpoint.startswith("http://"), "timeout": _TIMEOUT},
            retry_config={"max_retries": 2, "retry_timeout": _TIMEOUT},
        )
    except BaseError:
        raise ConfigurationError(
            "VOICE_CACHE_URL: the bucket can not be used; see AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
