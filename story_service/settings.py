"""Every knob of the story service."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from servicekit.endpoints import check_base_url
from servicekit.secrets import SecretSource
from servicekit.settings import CommaList, Listen, ServiceSettings, variables
from story_service.models.catalogue import resolve
from story_service.providers.openrouter.options import OPENROUTER_URL, check_header_value, check_key_format

_KEY: str = "OPENROUTER_API_KEY"


def _models(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(resolve, value))


def _prices(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        prompt, completion = (float(part) for part in value.split(","))
    except ValueError:
        raise ValueError("must be two prices with a comma between them, such as 0.5,2") from None
    return prompt, completion


def _positive(value: tuple[float, float] | None) -> tuple[float, float] | None:
    if value is not None and not all(0 < price < float("inf") for price in value):
        raise ValueError("must be two prices above 0")
    return value


class StorySettings(ServiceSettings):
    """Settings of the story service, from the environment."""

    model_config = variables("STORY_", "openrouter_", "upstream_")

    listen: Listen = "127.0.0.1:50052"
    """gRPC bind address"""
    ops_listen: Listen = "127.0.0.1:9052"
    """HTTP bind address for operators"""
    # Before what is judged by it: fields are validated in this order.
    upstream_allow_plain_http: bool = False
    """Allows http addresses of providers and stores on other machines; only for a trusted network"""
    openrouter_base_url: str = OPENROUTER_URL
    """Address of OpenRouter, or of a server that speaks its API"""
    openrouter_api_key: SecretStr | None = Field(None, validation_alias=_KEY)
    """Key of OpenRouter; without it the embedded writer is the only one"""
    openrouter_api_key_file: Path | None = Field(None, validation_alias=f"{_KEY}_FILE")
    """File with the key of OpenRouter, read again when it changes; it wins over OPENROUTER_API_KEY"""
    model: Annotated[str, AfterValidator(resolve)] = "openai/gpt-4o-mini"
    """Model that is asked first: an OpenRouter id, a name such as GPT_4O_MINI, or `offline`"""
    fallback_models: Annotated[CommaList, AfterValidator(_models)] = ()
    """Models that are asked in turn when the first fails; `offline` comes last wherever it stands"""
    temperature: float = Field(0.7, ge=0, le=2)
    """How freely models write where the request does not say"""
    max_tokens: int | None = Field(None, ge=16, le=1_000_000)
    """Most tokens of an answer; unset: as many as the asked length may take"""
    max_retries: int = Field(3, ge=0, le=10)
    """How often a model is asked again after the first time"""
    retry_delay_seconds: float = Field(1.0, ge=0, le=60, validation_alias="STORY_RETRY_DELAY")
    """Seconds before the first retry at most; the wait is drawn at random below that"""
    retry_backoff: float = Field(2.0, ge=1, le=10)
    """What the longest wait is multiplied by with each retry"""
    first_token_timeout_seconds: float = Field(30.0, gt=0, le=600)
    """Seconds within which a model must begin to write"""
    idle_timeout_seconds: float = Field(30.0, gt=0, le=600)
    """Seconds without text after which a writer is given up"""
    attempt_timeout_seconds: float = Field(60.0, gt=0, le=3600)
    """Seconds that one answer of a model may take, beside those for its length"""
    attempt_timeout_per_minute_seconds: float = Field(30.0, ge=0, le=600)
    """Seconds that one answer may take for each minute of story that was asked for"""
    total_timeout_seconds: float = Field(2700.0, gt=0, le=86_400)
    """Seconds that one call may write"""
    concurrency: int = Field(64, ge=1, le=4096)
    """Calls to models at once; fewer for a while when the provider says that there are too many"""
    requests_per_minute: float | None = Field(None, gt=0)
    """Calls to models in a minute; unset: any number"""
    generation_info_wait_seconds: float = Field(3.0, ge=0, le=60)
    """Seconds that the end of a story waits for what OpenRouter tells of its cost"""
    models_refresh_seconds: float = Field(300.0, ge=1, le=86_400)
    """Seconds after which the list of models is fetched anew"""
    prompts_dir: Path | None = None
    """Folder with templates that take the place of the packaged ones"""
    offline_words_per_second: float | None = Field(None, gt=0, le=100_000)
    """Pace of the embedded writer, for demonstrations and tests; unset: all at once"""
    openrouter_data_collection: Literal["deny", "allow"] = "deny"
    """Whether companies may run a model that keep what is written about a child"""
    openrouter_provider_order: CommaList = Field(())
    """Companies that OpenRouter asks first to run a model, in this order"""
    openrouter_provider_only: CommaList = Field(())
    """Companies that alone may run a model"""
    openrouter_max_price: Annotated[
        tuple[float, float] | None, NoDecode, BeforeValidator(_prices), AfterValidator(_positive)
    ] = None
    """Highest prices at which a model may be run, US dollars for a million tokens: PROMPT,COMPLETION"""
    openrouter_zdr: bool | None = None
    """1: only where nothing is retained at all"""
    openrouter_title: Annotated[str, AfterValidator(check_header_value)] = ""
    """Name under which OpenRouter's statistics show the calls"""
    openrouter_referer: Annotated[str, AfterValidator(check_header_value)] = ""
    """Address under which OpenRouter's statistics show the calls"""

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
        """The key, from wherever it is set; it gives "" where none is."""
        return SecretSource(self.openrouter_api_key, self.openrouter_api_key_file, name=_KEY)


def _base_url(info: ValidationInfo) -> str:
    return str(info.data.get("openrouter_base_url", OPENROUTER_URL))
