"""Settings of the storage service, from the environment."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import Field, SecretStr

from servicekit.settings import Listen, ServiceSettings, TimeSpan, variables


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a program that embeds the service may adjust; times are in seconds."""

    upload_idle: float = 60.0
    """Wait for the next chunk of a segment before its upload is given up."""
    scrub_interval: float = 10.0
    """Time after which the embedded database file is rewritten where something was deleted."""


class StorageSettings(ServiceSettings):
    """What an operator sets. The rest of what can be adjusted is `Tuning`."""

    model_config = variables("STORAGE_", "audio_", "aws_", "segment_", "story_", "supabase_", "upstream_")
    prefixes = ("STORAGE_", "SERVICE_", "AUDIO_", "SEGMENT_", "SUPABASE_", "UPSTREAM_")
    elsewhere = frozenset({"STORAGE_TARGET"})
    replaced = MappingProxyType({"AUDIO_STORE_ENDPOINT": "AWS_ENDPOINT_URL_S3"})

    listen: Listen = "127.0.0.1:50054"
    """gRPC bind address"""
    ops_listen: Listen = "127.0.0.1:9054"
    """HTTP bind address for operators"""
    data_dir: Path = Field(Path("./data"), validation_alias="TALE_DATA_DIR")
    """Folder of the embedded store"""
    backend: Literal["embedded", "supabase"] = "embedded"
    """Where stories are stored; embedded: SQLite and files"""
    sync: Literal["normal", "full"] = "normal"
    """What the embedded store survives: normal a kill of the process, full also a loss of power"""
    audio_max_bytes: int = Field(512 << 20, ge=1 << 20, le=8 << 30)
    """Maximum size of a story's audio in bytes; a text that needs more is refused"""
    story_retention: TimeSpan | None = Field(None, gt=timedelta(0))
    """How long stories are stored, such as 90d, 12h or 30m; unset: without limit"""
    sweep_interval_seconds: float = Field(3600.0, ge=0.05, le=86_400)
    """Seconds between deletions of expired stories and of audio that no record refers to"""

    audio_store_url: str | None = None
    """Where finished audio is stored: file:///path or s3://bucket/prefix; unset: with the stories"""
    segment_store_url: str | None = None
    """Where segments are stored: file:///path or s3://bucket/prefix; unset: beside the audio"""
    segment_store_max_bytes: int = Field(2 << 30, ge=1 << 20, le=1 << 44)
    """Maximum size of the segment store in bytes; least recently used segments of finished stories are deleted first"""
    audio_store_encryption: Literal["AES256", "none"] = "AES256"
    """Server-side encryption requested from S3; none: no encryption header is sent"""
    audio_store_kms_key_id: str = ""
    """Id of the AWS KMS key that encrypts audio; unset: the key of S3"""
    audio_store_instance_role: bool = False
    """Uses the role of the EC2 instance if no key for S3 is set"""
    aws_access_key_id: str | None = None
    """Access key id for S3"""
    aws_secret_access_key: SecretStr | None = None
    """Secret access key for S3"""
    aws_session_token: SecretStr | None = None
    """Session token of a temporary key for S3"""
    aws_region: str | None = None
    """Region of the bucket; unset: AWS_DEFAULT_REGION, or us-east-1"""
    aws_default_region: str | None = None
    """Region of the bucket if AWS_REGION is not set"""
    aws_endpoint_url_s3: str | None = None
    """Address of the S3 server if it is not Amazon's"""
    aws_endpoint_url: str | None = None
    """Address of the S3 server if AWS_ENDPOINT_URL_S3 is not set"""

    supabase_url: str | None = None
    """Address of the project, such as https://abc.supabase.co"""
    supabase_key: SecretStr | None = None
    """A secret key of the project (service role)"""
    supabase_key_file: Path | None = None
    """File with the secret key of Supabase"""
    supabase_db_url: SecretStr | None = None
    """Connection string of the project's database; used by `python -m storage_service migrate` only"""
    upstream_allow_plain_http: bool = False
    """Allows http addresses of providers and stores on other machines; only for a trusted network. Servers of models in
    the own network need no such permission
    """

    def contradictions(self) -> Iterator[str]:
        """Yields settings of stores that are not in use."""
        given = [name for name in ("supabase_url", "supabase_key", "supabase_key_file") if getattr(self, name)]
        if given and self.backend == "embedded":
            named = " and ".join(name.upper() for name in given)
            yield (
                f"{named} {'are' if given[1:] else 'is'} set, and STORAGE_BACKEND is embedded: stories are stored in"
                f" {self.data_dir}. Set STORAGE_BACKEND=supabase to store them there."
            )
        in_bucket = any((url or "").startswith("s3:") for url in (self.audio_store_url, self.segment_store_url))
        for field in ("audio_store_kms_key_id", "audio_store_instance_role"):
            if getattr(self, field) and not in_bucket:
                yield f"{field.upper()} is set without a bucket in AUDIO_STORE_URL, and is not used."
        if self.audio_store_url and self.audio_store_url == self.segment_store_url:
            yield "SEGMENT_STORE_URL is AUDIO_STORE_URL, beside which segments are stored anyway: it can be removed."

    @property
    def folder(self) -> Path:
        """Returns the folder of the embedded store."""
        return self.data_dir / "storage"

    @property
    def database(self) -> Path:
        """Returns the database file of the embedded store."""
        return self.folder / "tale.sqlite3"
