"""What can be set about the storage service."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from servicekit.settings import Listen, ServiceSettings, TimeSpan, variables


class StorageSettings(ServiceSettings):
    """Settings of the storage service."""

    model_config = variables("STORAGE_", "audio_", "aws_", "segment_", "story_", "supabase_", "upstream_")

    listen: Listen = "127.0.0.1:50054"
    """gRPC bind address"""
    ops_listen: Listen = "127.0.0.1:9054"
    """HTTP bind address for operators"""
    data_dir: Path = Field(Path("./data"), validation_alias="TALE_DATA_DIR")
    """Folder of the embedded store"""
    backend: Literal["embedded", "supabase"] = "embedded"
    """Where stories are stored; embedded is SQLite and files"""
    sync: Literal["normal", "full"] = "normal"
    """What the embedded store survives: normal is kill -9, full also the loss of power"""
    readers: int = Field(4, ge=1, le=32)
    """Connections that the embedded store reads with"""
    audio_max_bytes: int = Field(512 << 20, ge=1 << 20, le=8 << 30)
    """Bytes of one story's audio at most"""
    upload_idle_seconds: float = Field(60.0, gt=0, le=3600)
    """Seconds to wait for the next piece of audio before an upload is given up"""
    story_retention: TimeSpan | None = Field(None, gt=timedelta(0))
    """How long stories are stored, such as 90d, 12h or 30m; unset: for good"""
    sweep_interval_seconds: float = Field(3600.0, ge=0.05, le=86_400)
    """Seconds between removals of old stories and of bytes that nothing refers to"""
    scrub_interval_seconds: float = Field(10.0, ge=0.05, le=86_400)
    """Seconds after which the database is written anew where something was deleted"""

    audio_store_url: str | None = None
    """Where finished audio is stored: file:///path or s3://bucket/prefix; unset: with the stories"""
    segment_store_url: str | None = None
    """Where segments are stored: file:///path or s3://bucket/prefix; unset: beside the audio"""
    segment_store_max_bytes: int = Field(2 << 30, ge=1 << 20, le=1 << 44)
    """Bytes of segments at most, the least recently used go first; those of unfinished stories stay"""
    audio_store_endpoint: str | None = None
    """Address of the S3 server where it is not Amazon's; before AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL"""
    audio_store_encryption: Literal["AES256", "none"] = "AES256"
    """Encryption that S3 is asked for; none is for a server that encrypts without being asked"""
    audio_store_kms_key_id: str = ""
    """Key of AWS KMS to encrypt audio with in place of S3's own"""
    audio_store_instance_role: bool = False
    """Takes credentials for S3 from the role of the EC2 machine where no key is set"""
    audio_store_timeout_seconds: float = Field(10.0, gt=0, le=600)
    """Seconds that S3 has to answer, and to take or give each 8 MiB of a file"""
    aws_access_key_id: str | None = None
    """Id of the key for S3"""
    aws_secret_access_key: SecretStr | None = None
    """Secret of the key for S3"""
    aws_session_token: SecretStr | None = None
    """Token of a temporary key for S3"""
    aws_region: str | None = None
    """Region of the bucket; unset: AWS_DEFAULT_REGION, or us-east-1"""
    aws_default_region: str | None = None
    """Region of the bucket where AWS_REGION is not set"""
    aws_endpoint_url_s3: str | None = None
    """Address of S3 where AUDIO_STORE_ENDPOINT is not set"""
    aws_endpoint_url: str | None = None
    """Address of S3 where none of the others is set"""

    supabase_url: str | None = None
    """Address of the project, such as https://abc.supabase.co"""
    supabase_key: SecretStr | None = None
    """A secret key of the project (service role)"""
    supabase_key_file: Path | None = None
    """File with that key; read again when it changes"""
    supabase_db_url: SecretStr | None = None
    """Connection string of the project's database, for `python -m storage_service migrate` alone"""
    supabase_timeout_seconds: float = Field(10.0, gt=0, le=600)
    """Seconds that Supabase has to answer, and to take or give the next bytes of a file"""
    upstream_allow_plain_http: bool = False
    """Lets keys and stories travel over plain http to hosts other than this one"""

    @property
    def folder(self) -> Path:
        """Where the embedded store lives."""
        return self.data_dir / "storage"

    @property
    def database(self) -> Path:
        """The database of the embedded store."""
        return self.folder / "tale.sqlite3"
