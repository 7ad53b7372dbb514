"""Where Supabase is and how long to wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servicekit.secrets import SecretSource


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
