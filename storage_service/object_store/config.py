"""Places for bytes, from the settings; what is missing or wrong is said in one line."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from servicekit.addresses import check_base_url
from servicekit.settings import ConfigurationError
from storage_service.settings import StorageSettings

_LOCAL: Final = {"", "localhost"}
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ROLES: Final = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""Set by the platform for a container or pod that has a role."""

_SHAPE: Final = "{} must be file:///path (three slashes, an absolute path) or s3://bucket/prefix"

AUDIO: Final = "AUDIO_STORE_URL"
SEGMENTS: Final = "SEGMENT_STORE_URL"


@dataclass(frozen=True, slots=True)
class BucketConfig:
    """A bucket. Objects lie under `prefix`; `variable` is what an operator sets to name it; times are in seconds.

    `endpoint` is "" for Amazon's own. Without `access_key_id` the role of the machine, container or pod counts, which
    the client finds by itself. `kms_key_id` "" is AES256 with the store's own key, None no encryption header at all.
    `retries` are attempts after the first, `retry_delay` the longest wait before the first of them.
    """

    bucket: str
    variable: str = "AUDIO_STORE_URL"
    prefix: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    kms_key_id: str | None = ""
    timeout_seconds: float = 10.0
    retries: int = 2
    retry_delay: float = 0.25


Place: TypeAlias = Path | BucketConfig
"""A folder or a bucket."""


def places_of(settings: StorageSettings, environment: Mapping[str, str] = os.environ) -> Mapping[str, Place]:
    """Returns the folders and buckets that the settings name, by the variable that names them.

    `environment` says whether the platform gives a role. Raises ConfigurationError.
    """
    given = {AUDIO: settings.audio_store_url, SEGMENTS: settings.segment_store_url}
    return {variable: _place(variable, url, settings, environment) for variable, url in given.items() if url}


def _place(variable: str, url: str, settings: StorageSettings, environment: Mapping[str, str]) -> Place:
    shape = ConfigurationError(_SHAPE.format(variable))
    try:
        parts = urlsplit(url)
    except ValueError:
        raise shape from None
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise shape
    if parts.scheme == "file" and parts.netloc in _LOCAL and parts.path.startswith("/"):
        return Path(unquote(parts.path))
    if parts.scheme == "s3" and _BUCKET.fullmatch(parts.netloc):
        return _bucket(variable, parts, settings, environment)
    raise shape


def _bucket(
    variable: str, parts: SplitResult, settings: StorageSettings, environment: Mapping[str, str]
) -> BucketConfig:
    if settings.audio_store_kms_key_id and settings.audio_store_encryption == "none":
        raise ConfigurationError("AUDIO_STORE_ENCRYPTION must not be none where AUDIO_STORE_KMS_KEY_ID is set")
    access_key_id, secret, token = _credentials(variable, settings, environment)
    return BucketConfig(
        bucket=parts.netloc,
        variable=variable,
        prefix=unquote(parts.path).strip("/"),
        endpoint=_endpoint(settings),
        region=settings.aws_region or settings.aws_default_region or "us-east-1",
        access_key_id=access_key_id,
        secret_access_key=secret,
        session_token=token,
        kms_key_id=None if settings.audio_store_encryption == "none" else settings.audio_store_kms_key_id,
    )


def _endpoint(settings: StorageSettings) -> str:
    given = {
        "AWS_ENDPOINT_URL_S3": settings.aws_endpoint_url_s3,
        "AWS_ENDPOINT_URL": settings.aws_endpoint_url,
    }
    for variable, url in given.items():
        if url:
            try:
                return check_base_url(url, allow_plain_http=settings.upstream_allow_plain_http)
            except ValueError as error:
                raise ConfigurationError(f"{variable} {error}") from None
    return ""


def _credentials(variable: str, settings: StorageSettings, environment: Mapping[str, str]) -> tuple[str, str, str]:
    access_key_id = settings.aws_access_key_id or ""
    secret, token = (
        value.get_secret_value() if value is not None else ""
        for value in (settings.aws_secret_access_key, settings.aws_session_token)
    )
    if bool(access_key_id) != bool(secret):
        missing = "AWS_SECRET_ACCESS_KEY" if access_key_id else "AWS_ACCESS_KEY_ID"
        raise ConfigurationError(f"{missing} must be set: a key of S3 has both an id and a secret")
    if not access_key_id and not settings.audio_store_instance_role and not any(map(environment.get, _ROLES)):
        raise ConfigurationError(
            f"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set for {variable}=s3://…; "
            "on a machine of EC2 that has a role, set AUDIO_STORE_INSTANCE_ROLE=1 instead"
        )
    return access_key_id, secret, token
