"""Further servers of speech, declared as JSON in SPEECH_PROVIDERS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import structlog
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
)

from servicekit.addresses import CorrectedUrl, check_api_url, is_own_network
from servicekit.ids import is_language
from servicekit.secrets import SecretSource
from servicekit.settings import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


SpeechFormat: TypeAlias = Literal["pcm", "wav", "mp3", "flac", "opus"]
"""Format that is requested. All but `pcm` is decoded here."""

_log: Final = structlog.stdlib.get_logger(__name__)

NAME: Final = "speech"
DISPLAY_NAME: Final = "OpenAI-compatible speech"
SAMPLE_RATE: Final = 24_000
"""Hz of raw samples as OpenAI, OpenRouter and Kokoro-FastAPI send them."""
MAX_TEXT_LENGTH: Final = 4_096
"""Code points that OpenAI's API takes in one request."""
FALLBACK_LANGUAGE: Final = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechConfig:
    """Configuration of one server.

    `voices` are voice ids by language (BCP-47), the first of a language being preferred; `voice` reads the languages
    that are not there, and is the first of `voices` where it is not given. Without a voice, or a model of a server in
    the own network, the server's lists are read (`discovery`). `sample_rate` in Hz is that of raw samples from this
    server; a server that states another one is believed and resampled. `languages` are what the model speaks, those of
    `voices` by default. `concurrency` are the calls that it answers at once, 0 where that is not known. `extra` goes
    into the body of every request. `key_variable` is named where `key` is needed and is not there.
    """

    base_url: str
    key: SecretSource
    model: str
    name: str = NAME
    display_name: str = DISPLAY_NAME
    voice: str = ""
    voices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    response_format: SpeechFormat = "pcm"
    sample_rate: int = SAMPLE_RATE
    languages: tuple[str, ...] = ()
    max_text_length: int = MAX_TEXT_LENGTH
    concurrency: int = 0
    paid: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    key_variable: str = ""

    @property
    def default_voice(self) -> str:
        """The voice for languages without a voice of their own; "" if there is none."""
        return self.voice or next((ids[0] for ids in self.voices.values() if ids), "")

    @property
    def spoken_languages(self) -> tuple[str, ...]:
        """Languages of the model as configured; "en" by default."""
        return self.languages or tuple(self.voices) or (FALLBACK_LANGUAGE,)

    @property
    def is_complete(self) -> bool:
        """Whether a model and a voice are known; the server is asked for what is not."""
        return bool(self.model and self.default_voice)

    def missing(self) -> str:
        """What has to be set before the server can be called, else ""."""
        if not self.base_url:
            return "set SPEECH_BASE_URL to the address of a server with OpenAI's /audio/speech"
        if not self.model and not is_own_network(self.base_url):
            # A provider's models cost different amounts, and OpenAI's own end in January 2027.
            return "set SPEECH_MODEL to a speech model of SPEECH_BASE_URL; only a server of your own has a default"
        if self.key_variable and not self.key.get():
            return f"set {self.key_variable} to the API key of {self.base_url}"
        return ""


VARIABLE: Final = "SPEECH_PROVIDERS"
OWN_FIELDS: Final = frozenset({"input", "model", "voice", "response_format", "speed", "stream_format"})
"""What the adapter itself puts into a request, so that `extra` cannot."""

_MAX_PROVIDERS: Final = 32


def _voices(value: object) -> object:
    """A voice for a language may be given as bare text."""
    if isinstance(value, dict):
        return {language: (ids,) if isinstance(ids, str) else ids for language, ids in value.items()}
    return value


def _language(value: str) -> str:
    if not is_language(value):
        raise ValueError("must be by language, such as en or pt-BR")
    return value


Language: TypeAlias = Annotated[str, AfterValidator(_language)]
VoiceId: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
VoiceMap: TypeAlias = Annotated[
    dict[Language, Annotated[tuple[VoiceId, ...], Field(min_length=1, max_length=100)]], BeforeValidator(_voices)
]
"""Voice ids by language (BCP-47): `{"en": "af_heart", "es": ["ef_dora", "em_alex"]}`."""


class DeclaredServer(BaseModel):
    """One entry of SPEECH_PROVIDERS."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    """Name of the provider, as DEFAULT_VOICE_PROVIDER and callers say it."""
    display_name: str = Field(default="", max_length=100)
    """Name to show; default: the name."""
    base_url: str = Field(min_length=1)
    """Address up to /audio/speech, such as http://127.0.0.1:8880/v1."""
    key_variable: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    """Environment variable with the API key (with _FILE appended: the path of a file with it); empty: no key."""
    model: str = Field(min_length=1, max_length=200)
    """Model that speaks."""
    voice: str = Field(default="", max_length=200)
    """Voice that reads what `voices` has none for."""
    voices: VoiceMap = Field(default_factory=dict)
    """Voices by language."""
    format: SpeechFormat = "pcm"
    """Format that is requested."""
    sample_rate: int = Field(default=SAMPLE_RATE, ge=8_000, le=192_000)
    """Hz of `pcm` from this server."""
    languages: tuple[Language, ...] = ()
    """Languages that the model speaks; default: those of `voices`."""
    max_text_length: int = Field(default=MAX_TEXT_LENGTH, ge=100, le=100_000)
    """Code points that the server takes in one request."""
    concurrency: int = Field(default=0, ge=0, le=4096)
    """Concurrent calls; default: 2, and VOICE_PAID_CONCURRENCY where they are billed."""
    paid: bool | None = None
    """Whether calls are billed; default: where there is a key."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """More fields of the request's body."""


_ENTRIES: Final = TypeAdapter(tuple[DeclaredServer, ...])


def read_speech_providers(
    text: str, environment: Mapping[str, str], *, reserved: Collection[str] = (), allow_plain_http: bool = False
) -> tuple[SpeechConfig, ...]:
    """Returns the servers that the JSON list `text` declares; none where it is blank.

    `reserved` are names of other providers, which none of them may have.
    Keys are looked up in `environment` by the variables that the entries name. Raises ConfigurationError, one line
    that names what is wrong first and repeats no value but names.
    """
    if not text.strip():
        return ()
    try:
        servers = _ENTRIES.validate_json(text)
    except ValidationError as error:
        raise ConfigurationError(_one_line(error)) from None
    if len(servers) > _MAX_PROVIDERS:
        raise ConfigurationError(f"{VARIABLE} must have at most {_MAX_PROVIDERS} entries")
    _check_names(servers, reserved)
    return tuple(
        _config(index, server, environment, allow_plain_http=allow_plain_http) for index, server in enumerate(servers)
    )


def _check_names(servers: Sequence[DeclaredServer], reserved: Collection[str]) -> None:
    seen: set[str] = set()
    for index, server in enumerate(servers):
        if server.name in reserved:
            raise ConfigurationError(f"{VARIABLE}[{index}].name must be none of {', '.join(sorted(reserved))}")
        if server.name in seen:
            raise ConfigurationError(f"{VARIABLE}[{index}].name must be another one than those before")
        seen.add(server.name)


def _config(
    index: int, server: DeclaredServer, environment: Mapping[str, str], *, allow_plain_http: bool
) -> SpeechConfig:
    place = f"{VARIABLE}[{index}]"
    if not server.voice and not server.voices:
        raise ConfigurationError(f"{place}.voice must be given, or voices by language")
    try:
        base_url = check_api_url(server.base_url, allow_plain_http=allow_plain_http)
    except ValueError as error:
        raise ConfigurationError(f"{place}.base_url {error}") from None
    if isinstance(base_url, CorrectedUrl):
        warning = f"{place}.base_url is {base_url.given}; {base_url} is used."
        _log.warning("set-up warning", warning=warning)
    taken = sorted(OWN_FIELDS & server.extra.keys())
    if taken:
        raise ConfigurationError(f"{place}.extra must not set {', '.join(taken)}")
    same = server.model_dump(exclude={"base_url", "display_name", "format", "paid"})
    return SpeechConfig(
        **same,
        base_url=base_url,
        display_name=server.display_name or server.name,
        key=_key(server.key_variable, environment),
        response_format=server.format,
        paid=bool(server.key_variable) if server.paid is None else server.paid,
    )


def _key(variable: str, environment: Mapping[str, str]) -> SecretSource:
    if not variable:
        return SecretSource(None, name=VARIABLE)
    value, file = environment.get(variable, ""), environment.get(f"{variable}_FILE", "")
    return SecretSource(SecretStr(value) if value else None, Path(file) if file else None, name=variable)


def _one_line(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    location, kind = problem["loc"], problem["type"]
    if kind == "json_invalid" or not location:
        return f"{VARIABLE} must be a JSON list, such as {_EXAMPLE}"
    if kind in {"string_pattern_mismatch", "value_error"}:
        # The key of a map is followed by "[key]".
        field = next((part for part in location if part in _PATTERNS), "")
        place = "".join(_step(part) for part in location[: location.index(field) + 1]) if field else ""
        return f"{VARIABLE}{place} must be {_PATTERNS.get(str(field), 'written otherwise')}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "must")
    said = {"missing": "must be given", "extra_forbidden": "is not known"}.get(kind, message)
    return f"{VARIABLE}{''.join(map(_step, location))} {said[:1].lower()}{said[1:]}"


def _step(part: int | str) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part}"


_PATTERNS: Final = {
    "name": "lower-case letters, digits, _ and -, a letter first",
    "key_variable": "the name of an environment variable",
    "voices": "by language, such as en or pt-BR",
    "languages": "language codes, such as en or pt-BR",
}
_EXAMPLE: Final = '[{"name": "kokoro", "base_url": "http://127.0.0.1:8880/v1", "model": "kokoro", "voice": "af_heart"}]'
