"""Where Supabase is, from the settings; what is missing or wrong is said in one line."""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Final

from servicekit.addresses import check_base_url
from servicekit.secrets import SecretSource
from servicekit.settings import ConfigurationError
from storage_service.settings import StorageSettings

_WHERE: Final = "Project Settings, API Keys"
_KEY: Final = re.compile(r"[!-~]{8,4096}")


@dataclass(frozen=True, slots=True)
class SupabaseConfig:
    """A project of Supabase. `url` is its address, `key` a secret key (service role); times are in seconds.

    `retries` are attempts after the first, `retry_delay` the longest wait before the first of them.
    """

    url: str
    key: SecretSource
    timeout_seconds: float = 10.0
    connections: int = 32
    retries: int = 2
    retry_delay: float = 0.25
    schema: str = "tales"
    bucket: str = "tales"


def config_of(settings: StorageSettings) -> SupabaseConfig:
    """Returns how to reach the project; ConfigurationError where a setting is missing or not valid."""
    if not settings.supabase_url:
        raise ConfigurationError(
            "SUPABASE_URL must be set to the address of the project, such as https://abc.supabase.co"
        )
    try:
        url = check_base_url(settings.supabase_url, allow_plain_http=settings.upstream_allow_plain_http)
    except ValueError as error:
        raise ConfigurationError(f"SUPABASE_URL {error}") from None
    key = SecretSource(settings.supabase_key, settings.supabase_key_file, name="SUPABASE_KEY")
    _check_key(key.get())
    return SupabaseConfig(url, key)


def _check_key(key: str) -> None:
    if not key:
        raise ConfigurationError(
            f"SUPABASE_KEY, or a file named by SUPABASE_KEY_FILE, must hold a secret key of the project ({_WHERE})"
        )
    if not _KEY.fullmatch(key):
        raise ConfigurationError("SUPABASE_KEY must be a key as Supabase shows it, without blanks or quotes")
    if key.startswith("sb_publishable_") or _role(key) in {"anon", "authenticated"}:
        raise ConfigurationError(f"SUPABASE_KEY must be a secret key (service role), not a publishable one ({_WHERE})")


def _role(key: str) -> str:
    """Returns the role that a key of the older kind, a JWT, is for; "" for one that says none."""
    parts = key.split(".")
    if len(parts) != 3:
        return ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return ""
    return str(claims.get("role", "")) if isinstance(claims, dict) else ""
