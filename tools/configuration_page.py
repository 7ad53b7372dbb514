"""Renders docs/configuration.md, .env.example and the settings in docker-compose.yml from the services' settings."""

import re
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode

from gateway.settings import GatewaySettings
from servicekit.settings import ServiceSettings, default_text, env_name
from storage_service.settings import StorageSettings
from story_service.settings import StorySettings
from voice_service.settings import VoiceServiceSettings

ROOT: Final = Path(__file__).resolve().parent.parent
COMPOSE_FILE: Final = ROOT / "docker-compose.yml"
SERVICES: Final[tuple[tuple[str, type[ServiceSettings]], ...]] = (
    ("gateway", GatewaySettings),
    ("story_service", StorySettings),
    ("voice_service", VoiceServiceSettings),
    ("storage_service", StorageSettings),
)
FIRST: Final = (
    "OPENROUTER_API_KEY",
    "CHAT_BASE_URL",
    "STORY_MODEL",
    "STORY_FALLBACK_MODELS",
    "ELEVENLABS_API_KEY",
    "SPEECH_BASE_URL",
    "VOICE_PROVIDER_FALLBACK",
    "STORAGE_BACKEND",
    "TALE_DATA_DIR",
    "LOG_LEVEL",
)
"""The ten that people need, in the order in which they need them."""

_BOUNDS: Final = {
    "ge": "{} or more",
    "gt": "more than {}",
    "le": "at most {}",
    "lt": "less than {}",
    "min_length": "at least {} long",
    "max_length": "at most {} long",
    "pattern": "matching `{}`",
}
"""Attributes of pydantic's metadata, and what they say."""

_INTRODUCTION: Final = """\
# Configuration

Every setting is an environment variable. A wrong value stops the service at start with one line that names the
variable, what is wrong and what to set. A variable that is set but empty counts as unset. A variable that begins like
the settings of a service (`STORY_`, `ELEVENLABS_`) and is none is a warning in its log at start, with the nearest known
name. Settings that contradict each other, such as SUPABASE_URL with STORAGE_BACKEND=embedded, are warnings in the log
and in `tale status`. `DRAIN_SECONDS` must be shorter than the time that a container gets to stop (`stop_grace_period`,
`terminationGracePeriodSeconds`). This page is generated from the settings by `make docs`: {count} variables, of which
most installations need fewer than ten.

| kind | syntax |
|---|---|
| list | items separated by commas: `offline,openai/gpt-4o-mini`; white space around items is ignored |
| pairs | `name=value` pairs separated by commas: `servicekit.audit=WARNING,gateway=DEBUG` |
| JSON | a JSON object or array |
| boolean | `1` or `0`, `true` or `false` |
| time span | a whole number and its unit `d`, `h`, `m` or `s`: `90d` |
| secret | text that is never logged |

A secret whose variable has a counterpart that ends in `_FILE` can be in a file. It overrides the variable and is read
again when it changes.

## Proxies and certificates

Providers and stores are called through the proxy that `HTTPS_PROXY`, `HTTP_PROXY` or `ALL_PROXY` names, over HTTP or
SOCKS 5 (S3: over HTTP only), except the hosts and networks in `NO_PROXY`. This machine, names of its own network (such
as `ollama` or `host.docker.internal`) and the services of the cluster are never called through one. A value that cannot
be used is a warning in log and status.

`SSL_CERT_FILE` or `SSL_CERT_DIR` names the certificates that are trusted in place of the usual ones, such as those of a
private CA. Where it names none, no service starts.
"""


@dataclass(frozen=True)
class Setting:
    """One environment variable as the documents show it."""

    variable: str
    kind: str
    default: str
    meaning: str


CLIENT: Final = (
    Setting("GATEWAY_TARGET", "text", "127.0.0.1:50051", "Address of the gateway for `tale` and the client library"),
    Setting("TALE_TOKEN", "secret", "", "API key or token that `tale` and the client library send"),
    Setting("TALE_TLS", "boolean", "0", "1: the gateway of `tale` has TLS"),
    Setting("TALE_TLS_CA", "path", "", "Certificates (PEM) that sign the gateway's, for `tale`"),
)
TRACES: Final = (
    Setting("OTEL_EXPORTER_OTLP_ENDPOINT", "URL", "", "OTLP collector for HTTP, such as http://127.0.0.1:4318"),
    Setting("OTEL_EXPORTER_OTLP_HEADERS", "secret", "", "Headers for it, such as api-key=…"),
    Setting("OTEL_TRACES_EXPORTER", "otlp | console | none", "", "otlp where an endpoint is set, else none"),
    Setting("OTEL_TRACES_SAMPLER", "text", "parentbased_always_on", "Which traces are made, such as traceidratio"),
    Setting("OTEL_TRACES_SAMPLER_ARG", "text", "", "Argument of the sampler, such as 0.1"),
    Setting("OTEL_RESOURCE_ATTRIBUTES", "pairs", "", "Attributes of every span, such as deployment.environment=home"),
    Setting("OTEL_SDK_DISABLED", "boolean", "false", "true: no traces"),
)
"""What the SDK of OpenTelemetry reads; its other variables are read too."""
COMPOSE: Final = (
    Setting("PYTHON_IMAGE", "text", "python:3.12-slim", "Base image: Python 3.11 or newer with pip and venv"),
    Setting("PIP_CONFIG_FILE", "path", "", "pip's configuration for the build, where packages come through a mirror"),
    Setting("VERSION", "text", "unknown", "Version in the labels of the images that are built"),
    Setting("REVISION", "text", "unknown", "Revision of the source in those labels; another one makes other images"),
    Setting("GATEWAY_PORT", "integer", "50051", "Port of the gateway on this machine's loopback address"),
    Setting("GATEWAY_WEB_PORT", "integer", "8080", "Port of the page on this machine's loopback address"),
    Setting("COMPOSE_PROFILES", "list", "", "Profiles that are on: `local`, `supabase`, `scale`, `observability`"),
    Setting("GATEWAY_2_PORT", "integer", "50061", "Port of the second gateway (profile `scale`)"),
    Setting("PROXY_PORT", "integer", "50050", "Port of the proxy before both gateways (profile `scale`)"),
    Setting("PROXY_WEB_PORT", "integer", "8081", "Port of the page behind that proxy (profile `scale`)"),
    Setting("OLLAMA_MODEL", "text", "llama3.2:3b", "Model that is downloaded (profile `local`)"),
    Setting("OLLAMA_CONTEXT_LENGTH", "integer", "8192", "Tokens of a prompt and its answer (profile `local`)"),
    Setting(
        "STOP_GRACE_PERIOD",
        "duration",
        "60s",
        "Time after which Docker kills a service that does not stop; more than DRAIN_SECONDS",
    ),
    Setting("MEMORY_LIMIT", "size", "1500m", "Memory of each service, above which Docker ends and restarts it"),
)


def configuration_page() -> str:
    """Returns docs/configuration.md."""
    sections = _sections()
    count = len({setting.variable for section in sections.values() for setting in section})
    lines = [_INTRODUCTION.format(count=count)]
    for title, section in sections.items():
        lines += [f"## {title}", "", *_table(section), ""]
    return "\n".join(lines).rstrip() + "\n"


def env_example() -> str:
    """Returns .env.example: every setting with its default, commented out."""
    fixed = {variable for name, _ in SERVICES for variable in _fixed(_compose_part(name)[1])}
    lines = [
        "# Every setting with its default (generated by `make docs`). Copy this file to .env and remove the # of each",
        "# line that you change. docker compose reads .env by itself, and gives each service only its own settings.",
    ]
    by_hand: list[str] = []
    for title, section in _sections().items():
        lines += ["", f"## {title}"]
        for setting in section:
            (by_hand if setting.variable in fixed else lines).extend(_env_lines(setting))
    lines += ["", "## Set by docker-compose.yml; for services that are started in another way", *by_hand]
    return "\n".join(lines) + "\n"


def compose_file() -> str:
    """Returns docker-compose.yml in which each service is given every setting of its own that the file does not set."""
    text = COMPOSE_FILE.read_text(encoding="utf-8")
    for name, settings in SERVICES:
        before, own, after = _compose_part(name, text)
        every = (*_settings(settings), *TRACES)
        names = [each.variable for each in every if each.variable not in _fixed(own)]
        text = before + own + "".join(f"      {variable}:\n" for variable in names) + after
    return text


def _sections() -> Mapping[str, list[Setting]]:
    """Returns all settings by heading, each once: the ten most used, the shared ones, then those of each service."""
    services = {name: _settings(settings) for name, settings in SERVICES}
    shared = _shared(services)
    everything = {each.variable: each for settings in services.values() for each in settings}
    known = {**everything, **{each.variable: each for each in shared}}
    first = [known[variable] for variable in FIRST]
    listed = {*FIRST, *(each.variable for each in shared)}
    return {
        "The ten most used": first,
        "Shared by services": [each for each in shared if each.variable not in FIRST],
        **{name: [each for each in settings if each.variable not in listed] for name, settings in services.items()},
        "Traces, for each service": list(TRACES),
        "tale (the command and the client library)": list(CLIENT),
        "docker compose": list(COMPOSE),
    }


def _shared(services: Mapping[str, list[Setting]]) -> list[Setting]:
    """Returns the settings that several services read; where these say different things, all that they say."""
    by_variable: dict[str, dict[str, Setting]] = {}
    for name, settings in services.items():
        for each in settings:
            by_variable.setdefault(each.variable, {})[name] = each
    shared = []
    for found in by_variable.values():
        if len(found) == 1:
            continue
        setting = next((each for each in found.values() if each.default), next(iter(found.values())))
        if len(set(found.values())) > 1:
            differ = len({each.default for each in found.values()}) > 1
            said = [
                f"{name}: {each.meaning}" + (f" (default: {each.default or 'unset'})" if differ else "")
                for name, each in found.items()
            ]
            setting = replace(setting, default="" if differ else setting.default, meaning=". ".join(said))
        elif len(found) < len(services):
            setting = replace(setting, meaning=f"{setting.meaning} ({', '.join(found)})")
        shared.append(setting)
    return shared


def _settings(cls: type[BaseSettings]) -> list[Setting]:
    """Returns the settings of a service in the order of its fields."""
    described = zip(describe_settings(cls), cls.model_fields.values(), strict=True)
    return [
        Setting(each.variable, _kind(field, each.type), each.default, each.description) for each, field in described
    ]


class SettingDescription(NamedTuple):
    """One setting, for the documentation. `default` is empty if there is none."""

    variable: str
    type: str
    default: str
    description: str


def describe_settings(cls: type[BaseSettings]) -> list[SettingDescription]:
    """Returns every setting of `cls`, in the order of its fields."""
    return [
        SettingDescription(
            env_name(cls, name), _type_text(field.annotation), default_text(field), field.description or ""
        )
        for name, field in cls.model_fields.items()
    ]


def _type_text(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_text(arguments[0])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in {Union, types.UnionType}:
        return " | ".join(_type_text(argument) for argument in arguments if argument is not type(None))
    if origin in {tuple, list, frozenset}:
        return "list"
    known = {
        timedelta: "time span",
        str: "text",
        int: "integer",
        float: "number",
        bool: "boolean",
        Path: "path",
        SecretStr: "secret",
    }
    return known.get(annotation, "map" if origin else str(getattr(annotation, "__name__", annotation)))


def _kind(field: FieldInfo, named: str) -> str:
    """Returns the kind of a setting with its bounds: "integer, 1 to 100"."""
    decoded = not any(isinstance(each, NoDecode) or each is NoDecode for each in field.metadata)
    annotation = _bare(field.annotation)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        named = " | ".join(str(each.value) for each in annotation)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        named = "JSON"
    elif named == "map":
        named = "JSON" if decoded else "pairs"
    elif named == "list" and decoded:
        named = "JSON"
    return ", ".join([named, *_bounds(field.metadata)])


def _bare(annotation: Any) -> Any:
    """Returns the type without Annotated and None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        (first, *_) = [each for each in get_args(annotation) if each is not type(None)]
        return _bare(first)
    return annotation


def _bounds(metadata: Iterable[object]) -> Iterator[str]:
    """Returns the bounds that pydantic checks, in words."""
    found = {
        name: getattr(each, name) for each in metadata for name in _BOUNDS if getattr(each, name, None) is not None
    }
    if "ge" in found and "le" in found:
        yield f"{_number(found.pop('ge'))} to {_number(found.pop('le'))}"
    if found.get("min_length") == 1:
        del found["min_length"]
    for name, bound in found.items():
        yield _BOUNDS[name].format(_number(bound))


def _number(bound: Any) -> str:
    if isinstance(bound, timedelta):
        bound = bound.total_seconds()
    return f"{bound:,g}" if isinstance(bound, float) else f"{bound:,}" if isinstance(bound, int) else str(bound)


def _table(rows: Iterable[Setting]) -> Iterator[str]:
    yield "| variable | kind | default | meaning |"
    yield "|---|---|---|---|"
    for each in rows:
        kind, default = each.kind.replace("|", "\\|"), f"`{each.default}`" if each.default else ""
        yield f"| `{each.variable}` | {kind} | {default} | {each.meaning} |"


def _env_lines(setting: Setting) -> Iterator[str]:
    yield from wrap(f"{setting.meaning} ({setting.kind})", 118, initial_indent="# ", subsequent_indent="# ")
    yield f"#{setting.variable}={setting.default}"


def _compose_part(name: str, text: str = "") -> tuple[str, str, str]:
    """Returns what is before the environment of a service, the part of it written by hand, and what follows."""
    text = text or COMPOSE_FILE.read_text(encoding="utf-8")
    head, mark, tail = text.partition(f"(written by `make docs`): {name}\n")
    _, end, after = tail.partition("      # End.\n")
    before, opening, own = head.rpartition("    environment:\n")
    if not (mark and end and opening):
        raise SystemExit(f"docker-compose.yml has no place for the settings of {name}")
    return before + opening, own + mark, end + after


def _fixed(environment: str) -> set[str]:
    return set(re.findall(r"^      ([A-Z_]+):", environment, re.MULTILINE))
