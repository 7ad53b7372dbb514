"""The settings of the story service."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from servicekit.secrets import SecretSource
from servicekit.settings import ApiUrl, CommaList, Listen, SharingSettings, variables
from story_service.models.names import ModelNames, provider_of
from story_service.ports import CHAT, OFFLINE, OPENROUTER
from story_service.providers.chat.dialect import check_key_format as check_chat_key
from story_service.providers.openrouter.dialect import OPENROUTER_URL, check_key_format

_KEY: Final = "OPENROUTER_API_KEY"
_CHAT_KEY: Final = "CHAT_API_KEY"
_OPENROUTER_DEFAULT: Final = "openai/gpt-4o-mini"


class StorySettings(SharingSettings):
    """Settings of the story service, from the environment."""

    model_config = variables("STORY_", "openrouter_", "chat_", "upstream_")
    prefixes = ("STORY_", "SERVICE_", "CIRCUIT_", "OPENROUTER_", "CHAT_", "UPSTREAM_")
    elsewhere = frozenset({"STORY_TARGET", "STORY_RETENTION"})

    listen: Listen = "127.0.0.1:50052"
    """gRPC bind address"""
    ops_listen: Listen = "127.0.0.1:9052"
    """HTTP bind address for operators"""
    # Before what is judged by it: fields are validated in this order.
    upstream_allow_plain_http: bool = False
    """Allows http addresses of providers and stores on other machines; only for a trusted network. Servers of models in
    the own network need no such permission
    """
    openrouter_base_url: ApiUrl = OPENROUTER_URL
    """URL of OpenRouter, or of a server with the same API"""
    openrouter_api_key: SecretStr | None = Field(None, validation_alias=_KEY)
    """API key of OpenRouter; unset, and CHAT_BASE_URL too: only the embedded writer is available"""
    openrouter_api_key_file: Path | None = Field(None, validation_alias=f"{_KEY}_FILE")
    """File with the API key of OpenRouter"""
    chat_base_url: ApiUrl = ""
    """Address of any server with OpenAI's /chat/completions, without that path, such as http://127.0.0.1:11434/v1
    (Ollama, LM Studio, llama.cpp, vLLM); no key needed
    """
    chat_api_key: SecretStr | None = None
    """API key of CHAT_BASE_URL; unset: none is sent"""
    chat_api_key_file: Path | None = None
    """File with the API key of CHAT_BASE_URL"""
    chat_concurrency: int | None = Field(None, ge=1, le=4096)
    """Maximum concurrent calls to CHAT_BASE_URL, the others wait; unset: 2 to a server in the own network, else
    STORY_CONCURRENCY
    """
    # After what they are judged by.
    model: str = ""
    """Default model: an OpenRouter id, a name such as GPT_4O_MINI, a model of CHAT_BASE_URL, or `offline`; the prefixes
    openrouter: and chat: say whose it is where both are set. Unset: openai/gpt-4o-mini, or without OPENROUTER_API_KEY
    the only model of CHAT_BASE_URL that writes
    """
    fallback_models: CommaList = ()
    """Fallback models, in order. If `offline` is among them, it is tried last, wherever it stands"""
    temperature: float = Field(0.7, ge=0, le=2)
    """Sampling temperature of requests that set none"""
    max_tokens: int | None = Field(None, ge=16, le=131_072)
    """Maximum tokens of an answer; unset: derived from the requested length"""
    max_retries: int = Field(3, ge=0, le=10)
    """Maximum retries of a failed call to one model"""
    max_calls: int = Field(8, ge=1, le=100)
    """Maximum calls to all models for one story, in all attempts, hand-overs and restarts together; once more for the
    outline and each scene of a story of six minutes or more
    """
    first_token_timeout_seconds: float | None = Field(None, gt=0, le=3_600)
    """Seconds until the first text or thought of an answer, after which the call fails; unset: 30, and 600 for a
    CHAT_BASE_URL in the own network
    """
    idle_timeout_seconds: float | None = Field(None, gt=0, le=3_600)
    """Seconds without text or thought after which the call fails; unset: 30, and 300 for a CHAT_BASE_URL in the own
    network
    """
    concurrency: int = Field(64, ge=1, le=4096)
    """Maximum concurrent calls to models; reduced for a while when the provider reports too many"""
    requests_per_minute: float | None = Field(None, gt=0)
    """Maximum calls to models per minute; unset: unlimited"""
    prompts_dir: Path | None = None
    """Folder with templates that replace the packaged ones"""
    offline_words_per_second: float | None = Field(None, gt=0, le=100_000)
    """Pace of the embedded writer in words per second, for demonstrations and tests; unset: unlimited"""
    safety_base_url: ApiUrl = ""
    """Address of a server with OpenAI's /moderations, or of the model that checks, such as https://api.openai.com/v1;
    unset: moderation is that of CHAT_BASE_URL, and a model is one of OpenRouter or CHAT_BASE_URL
    """
    safety_api_key: SecretStr | None = None
    """API key of STORY_SAFETY_BASE_URL; unset: none is sent"""
    safety_api_key_file: Path | None = None
    """File with the API key of STORY_SAFETY_BASE_URL"""
    safety_model: str = ""
    """Model that checks; unset: for moderation the server's own choice, for a model that of STORY_MODEL"""
    safety_timeout_seconds: float | None = Field(None, gt=0, le=600)
    """Seconds for one call of the safety check, which is made up to three times; unset: 10, and 60 to a server in the
    own network
    """
    # Behind what it is judged by.
    safety: Literal["off", "moderation", "model"] = "off"
    """What checks names, wish and notes before a story is written, and each passage before it is released: nothing, a
    moderation endpoint, or a model. What cannot be checked is not released
    """
    critic_model: str = ""
    """Model that judges scenes; unset: that of STORY_MODEL"""
    critic_threshold: int = Field(3, ge=2, le=5)
    """Score from 1 to 5 below which an aspect of a scene is weak, and the scene is written once more"""
    critic: Literal["off", "model"] = "off"
    """model: has each scene but the first of a story of six minutes or more judged (wish, age, arc, moral, coherence)
    before it is released, while the one before is heard
    """
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
    def _check_base_url(cls, value: str) -> str:
        return value or OPENROUTER_URL

    @field_validator("openrouter_api_key", "chat_api_key", "safety_api_key")
    @classmethod
    def _check_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None:
            _check_address(info)
            _check_format(value.get_secret_value().strip(), info)
        return value

    @field_validator("openrouter_api_key_file", "chat_api_key_file", "safety_api_key_file")
    @classmethod
    def _check_key_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None:
            _check_address(info)
            key = SecretSource(None, value, name=_KEY).get()
            if not key:
                raise ValueError("must name a file that can be read and holds a key")
            try:
                _check_format(key, info)
            except ValueError as error:
                raise ValueError(f"holds no key: it {error}") from None
        return value

    @field_validator("model", "fallback_models")
    @classmethod
    def _resolve_models(cls, value: str | tuple[str, ...], info: ValidationInfo) -> str | tuple[str, ...]:
        if isinstance(value, tuple):
            return tuple(_resolved(name, info) for name in value)
        return _resolved(value, info) if value else value

    @field_validator("critic")
    @classmethod
    def _check_critic(cls, value: str, info: ValidationInfo) -> str:
        if value == "model":
            _check_judge("STORY_CRITIC_MODEL", str(info.data.get("critic_model")), info, named=False)
        return value

    @field_validator("safety")
    @classmethod
    def _check_safety(cls, value: str, info: ValidationInfo) -> str:
        own = info.data.get("safety_base_url")
        if value == "moderation" and not (own or info.data.get("chat_base_url")):
            raise ValueError(
                "needs a server with /moderations: set STORY_SAFETY_BASE_URL, such as https://api.openai.com/v1"
            )
        if value == "model":
            _check_judge("STORY_SAFETY_MODEL", str(info.data.get("safety_model")), info, named=bool(own))
        return value

    def contradictions(self) -> Iterator[str]:
        """Yields settings of what is off, or is not set up."""
        if self.safety == "off" and (self.safety_model or self.safety_base_url):
            yield "STORY_SAFETY is off: nothing is checked, and its other settings are not used."
        if self.critic == "off" and self.critic_model:
            yield "STORY_CRITIC_MODEL is set, and STORY_CRITIC is off: no scene is judged."
        if self.chat_key().get() and CHAT not in self.providers:
            yield "CHAT_API_KEY is set without CHAT_BASE_URL, and is not used."
        if self.openrouter_base_url != OPENROUTER_URL and OPENROUTER not in self.providers:
            yield "OPENROUTER_BASE_URL is set without OPENROUTER_API_KEY, and is not used."

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers that are configured."""
        return _configured(vars(self))

    @property
    def default_model(self) -> str:
        """The default model; "" where it is the only one of CHAT_BASE_URL."""
        return self.model or ("" if self.providers == (CHAT,) else _OPENROUTER_DEFAULT)

    def openrouter_key(self) -> SecretSource:
        """Returns the source of the key; it gives "" where none is set."""
        return SecretSource(self.openrouter_api_key, self.openrouter_api_key_file, name=_KEY)

    @property
    def safety_judge(self) -> str:
        """The model that checks, as it is named inside the service; at STORY_SAFETY_BASE_URL its id there."""
        return self.safety_model if self.safety_base_url else self._judge(self.safety_model)

    @property
    def critic_judge(self) -> str:
        """The model that judges scenes, as it is named inside the service."""
        return self._judge(self.critic_model)

    def _judge(self, model: str) -> str:
        return ModelNames(self.providers).resolve(model or self.default_model)

    def safety_key(self) -> SecretSource:
        """Returns the source of the key of STORY_SAFETY_BASE_URL; it gives "" where none is set."""
        return SecretSource(self.safety_api_key, self.safety_api_key_file, name="STORY_SAFETY_API_KEY")

    def chat_key(self) -> SecretSource:
        """Returns the source of the key of CHAT_BASE_URL; it gives "" where none is set."""
        return SecretSource(self.chat_api_key, self.chat_api_key_file, name=_CHAT_KEY)


def _configured(fields: Mapping[str, Any]) -> tuple[str, ...]:
    openrouter = fields.get("openrouter_api_key") or fields.get("openrouter_api_key_file")
    return tuple(name for name, is_set in ((OPENROUTER, openrouter), (CHAT, fields.get("chat_base_url"))) if is_set)


def _check_format(key: str, info: ValidationInfo) -> None:
    if not str(info.field_name).startswith(OPENROUTER):
        check_chat_key(key)
    else:
        check_key_format(key, base_url=str(info.data.get("openrouter_base_url", OPENROUTER_URL)))


def _check_address(info: ValidationInfo) -> None:
    """Sends no key anywhere that was not named with it."""
    if str(info.field_name).startswith("safety") and not info.data.get("safety_base_url"):
        raise ValueError("needs STORY_SAFETY_BASE_URL: the address that the key is sent to")


def _check_judge(variable: str, model: str, info: ValidationInfo, *, named: bool) -> None:
    """Raises ValueError where no model can judge; `named`: only `variable` says which."""
    providers, default = _configured(info.data), str(info.data.get("model", ""))
    if not model and (named or default == OFFLINE or (not default and providers == (CHAT,))):
        raise ValueError(f"needs {variable}: the model that is asked")
    if not named and not providers:
        raise ValueError("needs a model: set OPENROUTER_API_KEY or CHAT_BASE_URL")
    if not named and model and _resolved(model, info) == OFFLINE:
        raise ValueError(f"needs {variable} to be a language model, not {OFFLINE}")


def _resolved(name: str, info: ValidationInfo) -> str:
    providers = _configured(info.data)
    model = ModelNames(providers).resolve(name)
    provider = provider_of(model)
    if provider == OFFLINE or provider in providers or (provider == OPENROUTER and not providers):
        return model
    raise ValueError(f"must not name a model of {_MISSING[provider]}")


_MISSING: Final = {
    CHAT: "the chat server while CHAT_BASE_URL is not set",
    OPENROUTER: "OpenRouter while OPENROUTER_API_KEY is not set",
}
