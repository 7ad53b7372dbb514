"""Settings from the environment: each typed, described and named by its variable."""

import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    AfterValidator,
    AliasGenerator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from servicekit.addresses import CorrectedUrl, check_address, check_api_url, check_target, is_loopback
from servicekit.authentication import ServiceToken

_TIME_SPAN: Final = re.compile(r"(\d{1,6})([dhms])")
_DATABASE: Final = re.compile(r"/?|/\d{1,5}")
_OF_KUBERNETES: Final = re.compile(r"_(SERVICE_HOST|(SERVICE_)?PORT(_\w+)?)$")
"""Ends of the variables that Kubernetes gives a container for each Service, whose name may be that of a service."""


class ConfigurationError(Exception):
    """The settings do not allow a start. The text is one line that names the variable and the remedy."""


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _levels(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not name.strip() or not equals for name, equals, _ in pairs):
        raise ValueError("must be name=LEVEL,name=LEVEL")
    return {name.strip(): level.strip() for name, _, level in pairs}


def _time_span(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = _TIME_SPAN.fullmatch(value.strip())
    if found is None:
        raise ValueError("must be a whole number and d, h, m or s, such as 90d")
    return timedelta(seconds=int(found[1]) * {"d": 86_400, "h": 3_600, "m": 60, "s": 1}[found[2]])


def _api_url(value: str, info: ValidationInfo) -> str:
    if not value.strip():
        return ""
    return check_api_url(value, allow_plain_http=bool(info.data.get("upstream_allow_plain_http")))


LogLevel: TypeAlias = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
TimeSpan: TypeAlias = Annotated[timedelta, BeforeValidator(_time_span)]
"""A whole number and its unit: "90d", "12h", "30m" or "45s"."""
Listen: TypeAlias = Annotated[str, AfterValidator(check_address)]
"""An address to bind, "host:port"."""
Target: TypeAlias = Annotated[str, AfterValidator(check_target)]
"""A target of gRPC with a port, "dns:///host:port"; "" for none."""
ApiUrl: TypeAlias = Annotated[str, AfterValidator(_api_url)]
"""The base URL of a server with OpenAI's API, "" for none; it is corrected, see `check_api_url`. Where there is a field
`upstream_allow_plain_http`, it has to stand before."""
CommaList: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A comma-separated list; blanks around the items do not count."""


def variables(prefix: str, *bare: str) -> SettingsConfigDict:
    """Returns the configuration of settings whose variables are `prefix` and the field's name.

    Names that begin with one of `bare` have no prefix; a `validation_alias` goes before both.
    """

    def variable(name: str) -> str:
        return name.upper() if name.startswith(bare) else prefix + name.upper()

    return SettingsConfigDict(alias_generator=AliasGenerator(validation_alias=variable))


class ServiceSettings(BaseSettings):
    """The settings that every service has; a service adds its own.

    A field's variable is the prefix of its class and its name, unless it has a `validation_alias`; its docstring says
    what it is for::

        class StorySettings(ServiceSettings):
            model_config = variables("STORY_")

            pace: float = Field(2.5, gt=0)
            "Words a second"

    In code the fields are given by name: `StorySettings(listen="127.0.0.1:0")`. Secrets are `SecretStr`. A variable
    that is set but empty counts as unset.
    """

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=True,
        # Fields can be given by name in code; without a prefix the bare name (LISTEN) would be read from the
        # environment as well.
        env_prefix="tale_field_",
        use_attribute_docstrings=True,
    )

    prefixes: ClassVar[tuple[str, ...]] = ()
    """Each variable that begins with one of these is a setting of the class, or one of `elsewhere`, or a mistake."""
    elsewhere: ClassVar[frozenset[str]] = frozenset()
    """Variables of other programs of the project that begin with one of `prefixes`."""
    replaced: ClassVar[Mapping[str, str]] = {}
    """Variables that must not be set any more, since to ignore them does harm, and what is set instead."""

    listen: Listen = Field("127.0.0.1:0", validation_alias="SERVICE_LISTEN")
    """gRPC bind address"""
    ops_listen: Listen = Field("127.0.0.1:0", validation_alias="SERVICE_OPS_LISTEN")
    """HTTP bind address for operators"""
    drain_seconds: float = Field(30.0, ge=0, le=3600, validation_alias="DRAIN_SECONDS")
    """Seconds that calls in flight get to end when the service shuts down"""
    log_level: LogLevel = Field("INFO", validation_alias="LOG_LEVEL")
    """Minimum log level"""
    log_levels: Annotated[Mapping[str, LogLevel], NoDecode, BeforeValidator(_levels)] = Field(
        {}, validation_alias="LOG_LEVELS"
    )
    """Minimum log levels of single loggers: name=LEVEL,name=LEVEL"""
    log_format: Literal["auto", "console", "json"] = Field("auto", validation_alias="LOG_FORMAT")
    """Format of the log lines; auto is console on a terminal, else json"""
    service_token: SecretStr = Field(SecretStr(""), validation_alias="SERVICE_TOKEN")
    """Secret with which the services of the cluster call each other, the same for all. A service behind the gateway
    then answers health checks, and calls that carry it, alone. Of several, separated by commas, the first is sent and
    each is accepted"""
    service_token_file: Path | None = Field(None, validation_alias="SERVICE_TOKEN_FILE")
    """File with that secret, before SERVICE_TOKEN. It is read again when it changes, and made if there is none"""
    reflection: bool = Field(default=True, validation_alias="SERVICE_REFLECTION")
    """0 switches server reflection off, with which grpcurl learns what a port offers"""
    service_allow_anonymous: bool = Field(default=False, validation_alias="SERVICE_ALLOW_ANONYMOUS")
    """1 lets a service behind the gateway listen without SERVICE_TOKEN on an address other than loopback"""

    @model_validator(mode="after")
    def _check_reach(self) -> Self:
        # A secret that is too short is refused on every address.
        guarded = self.peer_token is not None
        if not is_loopback(self.listen) and (refused := self.unguarded(guarded=guarded)):
            raise ValueError(refused)
        return self

    @property
    def peer_token(self) -> "ServiceToken | None":
        """The secret of the services; None where none is set."""
        if self.service_token_file is None and not self.service_token.get_secret_value().strip():
            return None
        return ServiceToken(self.service_token, self.service_token_file)

    def contradictions(self) -> Iterator[str]:
        """Yields a sentence for each setting that has no effect, or not the one it seems to have, beside the others."""
        yield from ()

    def unguarded(self, *, guarded: bool) -> str | None:
        """Returns why the service must not listen beyond this machine, and the remedy; None if it may.

        `guarded` says that its callers need the secret of the services.
        """
        if self.service_allow_anonymous or guarded:
            return None
        listen = env_name(type(self), "listen")
        return (
            f"{listen} must be a loopback address while SERVICE_TOKEN is not set: all that reaches the port could"
            " read and change what belongs to others (or set SERVICE_ALLOW_ANONYMOUS=1)"
        )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Holds every field to a variable's name and a docstring, which may be wrapped."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if not isinstance(field.validation_alias, str) or not field.description:
                raise TypeError(f"{cls.__name__}.{name} needs a variable and a docstring")
            field.description = " ".join(field.description.split())


def _store_url(value: SecretStr) -> SecretStr:
    if value.get_secret_value() and not _is_store_url(value.get_secret_value()):
        raise ValueError(
            "must be redis://:password@host:port/number (or rediss://, valkey://, valkeys://), "
            "with %23, %2F, %3F and %40 for #, /, ? and @ in the password"
        )
    return value


def _is_store_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Its text may show the password.
        return False
    return (
        parts.scheme in {"redis", "rediss", "valkey", "valkeys"}
        and bool(parts.hostname)
        and port != 0
        and _DATABASE.fullmatch(parts.path) is not None
        and not parts.fragment
        and not any(character.isspace() for character in url)
        and all(key.startswith("ssl_") for key, _ in parse_qsl(parts.query, keep_blank_values=True))
    )


StoreUrl: TypeAlias = Annotated[SecretStr, AfterValidator(_store_url)]
"""Address of a Redis or Valkey server"""


class SharingSettings(ServiceSettings):
    """The settings of a service whose replicas can share their circuit breakers."""

    circuit_store_url: StoreUrl = Field(SecretStr(""), validation_alias="CIRCUIT_STORE_URL")
    """Redis or Valkey through which the replicas of a service share their circuit breakers, such as
    redis://:password@host:6379/0; unset: each replica has its own"""


S = TypeVar("S", bound=BaseSettings)


def load(cls: type[S]) -> S:
    """Returns the settings of the environment; ConfigurationError names every wrong variable and its remedy."""
    for variable, successor in getattr(cls, "replaced", {}).items():
        if os.environ.get(variable):
            raise ConfigurationError(f"{variable} is not a setting any more: set {successor} instead")
    try:
        return cls()
    except ValidationError as error:
        raise ConfigurationError(_one_line(cls, error)) from None
    except SettingsError as error:
        raise ConfigurationError(_unreadable(cls, error)) from None


def warnings_of(settings: ServiceSettings) -> list[str]:
    """Returns what an operator should know, a sentence each; the service logs it and shows it in its status.

    These are addresses that are used otherwise than they were given, and settings that contradict each other.
    """
    corrected = [
        f"{env_name(type(settings), name)} is {value.given}; {value} is used."
        for name, value in settings
        if isinstance(value, CorrectedUrl)
    ]
    return [*corrected, *settings.contradictions()]


def unknown_variables(cls: type[ServiceSettings], environment: Mapping[str, str]) -> list[str]:
    """Returns a line for each variable that looks like a setting of `cls` and is none, with the nearest known name.

    A variable whose name is in the value of a setting is used, as are the keys of SPEECH_PROVIDERS.
    """
    known = {env_name(cls, field) for field in cls.model_fields}
    named = " ".join(value for name, value in environment.items() if name.upper() in known)
    lines = []
    for name in sorted(name for name, value in environment.items() if value and name.startswith(cls.prefixes)):
        if name in known | cls.elsewhere or name.removesuffix("_FILE") in named or _OF_KUBERNETES.search(name):
            continue
        nearest = "".join(f"; did you mean {one}?" for one in get_close_matches(name, sorted(known), n=1))
        lines.append(f"{name} is not a setting{nearest}")
    return lines


def env_name(cls: type[BaseSettings], field: str) -> str:
    """Returns the environment variable of a field."""
    alias = cls.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else field.upper()


def default_text(field: FieldInfo) -> str:
    """Returns the default of a setting as a variable holds it; empty for a secret or if there is none."""
    default = field.get_default(call_default_factory=True, validated_data={})
    if field.is_required() or default is None or isinstance(default, SecretStr):
        return ""
    if isinstance(default, bool):
        return "1" if default else "0"
    if isinstance(default, (tuple, list, frozenset)):
        return ",".join(map(str, default))
    if isinstance(default, Mapping):
        return ",".join(f"{key}={value}" for key, value in default.items())
    return f"{default:g}" if isinstance(default, float) else str(default)


def _one_line(cls: type[BaseSettings], error: ValidationError) -> str:
    said: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        location = problem["loc"]
        variable = _variable(cls, str(location[0])) if location else cls.__name__
        message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        remedy = "must be set" if problem["type"] == "missing" else message
        said.setdefault(variable, f"{variable} {remedy}{_purpose(cls, variable)}")
    return " ".join("; ".join(said.values()).split())


def _unreadable(cls: type[BaseSettings], error: SettingsError) -> str:
    # The library's text names the field in quotes and, unlike its cause, no value.
    parts = str(error).split('"')
    variable = _variable(cls, parts[1]) if len(parts) > 1 else cls.__name__
    return f"{variable} must be JSON{_purpose(cls, variable)}"


def _variable(cls: type[BaseSettings], location: str) -> str:
    return env_name(cls, location) if location in cls.model_fields else location


def _purpose(cls: type[BaseSettings], variable: str) -> str:
    for name, field in cls.model_fields.items():
        if env_name(cls, name) == variable:
            default = default_text(field)
            return f" ({field.description}{f'; default {default}' if default else ''})"
    return ""
