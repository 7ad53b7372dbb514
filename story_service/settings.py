"""The settings of the story service."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from servicekit.addresses import check_base_url
from servicekit.secrets import SecretSource
from servicekit.settings import CommaList, Listen, SharingSettings, variables
from story_service.models.catalogue import resolve
from story_service.providers.openrouter.dialect import OPENROUTER_URL, check_key_format

_KEY: str = "OPENROUTER_API_KEY"


def _models(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(resolve, value))


class StorySettings(SharingSettings):
    """Settings of the story service, from the environment."""

    model_config = variables("STORY_", "openrouter_", "chat_", "upstream_")
    prefixes = ("STORY_", "CIRCUIT_", "OPENROUTER_", "CHAT_", "UPSTREAM_")
    elsewhere = frozenset({"STORY_TARGET", "STORY_RETENTION"})

    listen: Listen = "127.0.0.1:50052"
    """gRPC bind address"""
    ops_listen: Listen = "127.0.0.1:9052"
    """HTTP bind address for operators"""
    # Before what is judged by it: fields are validated in this order.
    upstream_allow_plain_http: bool = False
    """Allows http addresses of providers and stores on other machines; only for a trusted network"""
    openrouter_base_url: str = OPENROUTER_URL
    """URL of OpenRouter, or of a server with the same API"""
    openrouter_api_key: SecretStr | None = Field(None, validation_alias=_KEY)
    """API key of OpenRouter; unset: only the embedded writer is available"""
    openrouter_api_key_file: Path | None = Field(None, validation_alias=f"{_KEY}_FILE")
    """File with the API key of OpenRouter"""
    chat_base_url: str = ""
    """Address of any server with OpenAI's /chat/completions, without that path, such as http://127.0.0.1:11434/v1
    (Ollama, LM Studio, llama.cpp, vLLM); no key needed
    """
    chat_api_key: SecretStr | None = None
    """API key of CHAT_BASE_URL; unset: none is sent"""
    chat_api_key_file: Path | None = None
    """File with the API key of CHAT_BASE_URL"""
    model: Annotated[str, AfterValidator(resolve)] = "openai/gpt-4o-mini"
    """Default model: an OpenRouter id, a name such as GPT_4O_MINI, or `offline`"""
    fallback_models: Annotated[CommaList, AfterValidator(_models)] = ()
    """Fallback models, in order. If `offline` is among them, it is tried last, wherever it stands"""
    temperature: float = Field(0.7, ge=0, le=2)
    """Sampling temperature of requests that set none"""
    max_tokens: int | None = Field(None, ge=16, le=131_072)
    """Maximum tokens of an answer; unset: derived from the requested length"""
    max_retries: int = Field(3, ge=0, le=10)
    """Maximum retries of a failed call to one model"""
    max_calls: int = Field(8, ge=1, le=100)
    """Maximum calls to all models for one story, in all attempts, hand-overs and restarts together"""
    first_token_timeout_seconds: float = Field(30.0, gt=0, le=600)
    """Seconds until the first text of an answer, after which the call fails"""
    idle_timeout_seconds: float = Field(30.0, gt=0, le=600)
    """Seconds without text after which the call fails"""
    concurrency: int = Field(64, ge=1, le=4096)
    """Maximum concurrent calls to models; reduced for a while when the provider reports too many"""
    requests_per_minute: float | None = Field(None, gt=0)
    """Maximum calls to models per minute; unset: unlimited"""
    prompts_dir: Path | None = None
    """Folder with templates that replace the packaged ones"""
    offline_words_per_second: float | None = Field(None, gt=0, le=100_000)
    """Pace of the embedded writer in words per second, for demonstrations and tests; unset: unlimited"""
    openrouter_data_collection: Literal["deny", "allow"] = "deny"
    """deny: OpenRouter calls only companies that do not store prompts; allow: also companies that store what is written
    about a child
    """
    openrouter_provider_order: CommaList = Field(())
    """Companies that OpenRouter prefers to run a model, in order"""
    openrouter_provider_only: CommaList = Field(())
    """Only these companies may run a model; empty: any"""
    openrouter_zdr: bool | None = None
    """1 requires zero data retention of the company that runs a model"""

    @field_validator("openrouter_base_url")
    @classmethod
    def _check_base_url(cls, value: str, info: ValidationInfo) -> str:
        return check_base_url(value, allow_plain_http=bool(info.data.get("upstream_allow_plain_http")))

    @field_validator("openrouter_api_key")
    @classmethod
    def _check_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None:
            check_key_format(value.get_secret_value().strip(), base_url=_base_url(info))
        return value

    @field_validator("openrouter_api_key_file")
    @classmethod
    def _check_key_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None:
            key = SecretSource(None, value, name=_KEY).get()
            if not key:
                raise ValueError("must name a file that can be read and holds a key")
            try:
                check_key_format(key, base_url=_base_url(info))
            except ValueError as error:
                raise ValueError(f"holds no key: it {error}") from None
        return value

    def openrouter_key(self) -> SecretSource:
        """Returns the source of the key; it gives "" where none is set."""
        return SecretSource(self.openrouter_api_key, self.openrouter_api_key_file, name=_KEY)


def _base_url(info: ValidationInfo) -> str:
    return str(info.data.get("openrouter_base_url", OPENROUTER_URL))
