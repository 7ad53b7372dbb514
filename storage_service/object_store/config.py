"""Where the bucket is, how to get in, and how its objects are encrypted."""

from __future__ import annotations

from dataclasses import dataclass, field


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
