"""Every knob of the story service."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from servicekit.settings import CommaList, Listen, ServiceSettings
from story_service.catalogue import is_model_id


def _model(value: str) -> str:
    if not is_model_id(value):
        raise ValueError('must be "offline" or of the form vendor/name, such as openai/gpt-4o-mini')
    return value


def _models(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        _model(name)
    return value


class StorySettings(ServiceSettings):
    """Settings of the story service, from the environment."""

    listen: Listen = Field(default="127.0.0.1:50052", validation_alias="STORY_LISTEN", description="gRPC bind address")
    ops_listen: Listen = Field(
        default="127.0.0.1:9052", validation_alias="STORY_OPS_LISTEN", description="HTTP bind address for operators"
    )
    openrouter_api_key: SecretStr | None = Field(
        default=None,
        validation_alias="OPENROUTER_API_KEY",
        description="Key of OpenRouter; without it the embedded writer is the only one",
    )
    model: Annotated[str, AfterValidator(_model)] = Field(
        default="openai/gpt-4o-mini", validation_alias="STORY_MODEL", description="Model that is asked first"
    )
    fallback_models: Annotated[CommaList, AfterValidator(_models)] = Field(
        default=(),
        validation_alias="STORY_FALLBACK_MODELS",
        description="Models that are asked in turn when the first fails; `offline` may be the last",
    )
    offline_words_per_second: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        validation_alias="STORY_OFFLINE_WORDS_PER_SECOND",
        description="Pace of the embedded writer, for demonstrations and tests; unset: all at once",
    )
    idle_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        le=600,
        validation_alias="STORY_IDLE_TIMEOUT_SECONDS",
        description="Seconds without a sign of life after which a writer is given up",
    )
    total_timeout_seconds: float = Field(
        default=2700.0,
        gt=0,
        le=86_400,
        validation_alias="STORY_TOTAL_TIMEOUT_SECONDS",
        description="Seconds that one call may write",
    )
