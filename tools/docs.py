"""Generate what repeats the settings and the contracts, or check it.

docs/configuration.md, .env.example, the knobs in docker-compose.yml from the settings; docs/api.md from the contracts.

python tools/docs.py            write them
python tools/docs.py --check    exit 1 when a committed document differs from what would be written
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb
from pydantic_settings import BaseSettings

from gateway.settings import GatewaySettings
from servicekit.settings import SettingDescription, describe_settings
from storage_service.settings import StorageSettings
from story_service.settings import StorySettings
from voice_service.settings import VoiceServiceSettings

ROOT = Path(__file__).resolve().parent.parent
SERVICES: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("gateway", GatewaySettings),
    ("story_service", StorySettings),
    ("voice_service", VoiceServiceSettings),
    ("storage_service", StorageSettings),
)
CLIENT = (
    SettingDescription(
        "GATEWAY_TARGET", "text", "127.0.0.1:50051", "Where `tale` and the client library find the gateway"
    ),
)
COMPOSE = (
    SettingDescription(
        "PYTHON_IMAGE", "text", "python:3.12-slim", "Base image: Python 3.11 or newer with pip and venv"
    ),
    SettingDescription(
        "PIP_CONFIG_FILE", "path", "", "pip's configuration for the build, where packages come by a mirror"
    ),
    SettingDescription("GATEWAY_PORT", "integer", "50051", "Port of this machine's loopback that leads to the gateway"),
    SettingDescription(
        "STOP_GRACE_PERIOD", "duration", "60s", "When a service that will not end is killed; more than DRAIN_SECONDS"
    ),
)
TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in pb.FieldDescriptorProto.Type.items()}


def configuration() -> str:
    """The reference of every environment variable."""
    lines = [
        "# Configuration",
        "",
        "Every knob is an environment variable. A wrong value stops the service at start with one line that names the",
        "variable and the mend. This page is generated from the settings by `make docs`.",
    ]
    for name, settings in SERVICES:
        lines += ["", f"## {name}", "", *_table(describe_settings(settings))]
    lines += ["", "## tale (the command and the client library)", "", *_table(CLIENT)]
    lines += ["", "## docker compose", "", *_table(COMPOSE)]
    return "\n".join(lines) + "\n"


def _table(rows: object) -> Iterator[str]:
    yield "| variable | kind | default | meaning |"
    yield "|---|---|---|---|"
    for variable, kind, default, meaning in rows:  # type: ignore[attr-defined]
        kind_cell, default_cell = kind.replace("|", "\\|"), f"`{default}`" if default else ""
        yield f"| `{variable}` | {kind_cell} | {default_cell} | {meaning} |"


def env_example() -> str:
    """Every knob with its default, commented out, in the form of a .env file."""
    knobs = {name: describe_settings(settings) for name, settings in SERVICES}
    common = [knob for knob in knobs["gateway"] if all(knob in others for others in knobs.values())]
    fixed = {variable for name, _ in SERVICES for variable in _fixed(_compose_part(name)[1])}
    sections = {
        "docker compose": COMPOSE,
        "Every service": common,
        **{name: [knob for knob in service if knob not in common] for name, service in knobs.items()},
        "tale (the command and the client library)": CLIENT,
    }
    lines = [
        "# Every knob with its default (made by `make docs`). Copy this to .env and take the # from what you change:",
        "# docker compose reads .env by itself, and gives each service only what is its own.",
    ]
    by_hand: list[str] = []
    for title, section in sections.items():
        lines += ["", f"## {title}"]
        for knob in section:
            (by_hand if knob.variable in fixed else lines).extend(_env_lines(knob))
    lines += ["", "## Set by docker-compose.yml itself; for services that are started otherwise", *by_hand]
    return "\n".join(lines) + "\n"


def _env_lines(knob: SettingDescription) -> Iterator[str]:
    yield f"# {knob.description} ({knob.type})"
    yield f"#{knob.variable}={knob.default}"


def compose() -> str:
    """docker-compose.yml, in which each service is given every knob of its own that the file does not set."""
    text = (ROOT / "docker-compose.yml").read_text()
    for name, settings in SERVICES:
        before, own, after = _compose_part(name, text)
        knobs = [knob.variable for knob in describe_settings(settings) if knob.variable not in _fixed(own)]
        text = before + own + "".join(f"      {knob}:\n" for knob in knobs) + after
    return text


def _compose_part(name: str, text: str | None = None) -> tuple[str, str, str]:
    """What stands before the environment of a service, the environment as written by hand, what follows the knobs."""
    if text is None:
        text = (ROOT / "docker-compose.yml").read_text()
    head, mark, tail = text.partition(f"(written by `make docs`): {name}\n")
    _, end, after = tail.partition("      # End.\n")
    before, opening, own = head.rpartition("    environment:\n")
    if not (mark and end and opening):
        raise SystemExit(f"docker-compose.yml has no place for the knobs of {name}")
    return before + opening, own + mark, end + after


def _fixed(environment: str) -> set[str]:
    return set(re.findall(r"^      ([A-Z_]+):", environment, re.MULTILINE))


def api() -> str:
    """The reference of every RPC and message, from the contracts' own comments."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        buf = Path(sys.executable).parent / "buf"
        subprocess.run([str(buf), "build", "--as-file-descriptor-set", "-o", str(image)], cwd=ROOT, check=True)
        files = pb.FileDescriptorSet.FromString(image.read_bytes()).file
    lines = ["# API reference", "", "Generated from the contracts in `protos/` by `make docs`."]
    for file in sorted(files, key=lambda file: file.name):
        if file.package.startswith("tale."):
            lines += _file(file)
    return "\n".join(lines) + "\n"


def _file(file: pb.FileDescriptorProto) -> Iterator[str]:
    comments = {tuple(place.path): " ".join(place.leading_comments.split()) for place in file.source_code_info.location}
    yield from ("", f"## {file.package} ({file.name})")
    for number, service in enumerate(file.service):
        yield from ("", f"### {service.name}", "", comments.get((6, number), ""), "", "| RPC | takes | gives | |")
        yield "|---|---|---|---|"
        for index, method in enumerate(service.method):
            takes = ("stream " if method.client_streaming else "") + _short(method.input_type)
            gives = ("stream " if method.server_streaming else "") + _short(method.output_type)
            yield f"| `{method.name}` | {takes} | {gives} | {comments.get((6, number, 2, index), '')} |"
    for number, message in enumerate(file.message_type):
        yield from ("", f"#### {message.name}", "", comments.get((4, number), ""))
        if message.field:
            yield from ("", "| field | type | |", "|---|---|---|")
        for index, field in enumerate(message.field):
            yield f"| `{field.name}` | {_type(message, field)} | {comments.get((4, number, 2, index), '')} |"
    for number, enum in enumerate(file.enum_type):
        yield from ("", f"#### {enum.name}", "", comments.get((5, number), ""), "", "| value | |", "|---|---|")
        for index, value in enumerate(enum.value):
            yield f"| `{value.name}` = {value.number} | {comments.get((5, number, 2, index), '')} |"


def _type(message: pb.DescriptorProto, field: pb.FieldDescriptorProto) -> str:
    name = _short(field.type_name) if field.type_name else TYPES[field.type]
    for nested in message.nested_type:
        if nested.options.map_entry and field.type_name.endswith("." + nested.name):
            key, value = nested.field
            return f"map of {TYPES[key.type]} to {TYPES[value.type]}"
    if field.label == pb.FieldDescriptorProto.LABEL_REPEATED:
        return f"list of {name}"
    if field.HasField("oneof_index") and not field.proto3_optional:
        return f"{name}, one of `{message.oneof_decl[field.oneof_index].name}`"
    return f"optional {name}" if field.proto3_optional else name


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def main() -> None:
    """Write or check, as the command line says."""
    pages = {
        "docs/configuration.md": configuration(),
        "docs/api.md": api(),
        ".env.example": env_example(),
        "docker-compose.yml": compose(),
    }
    stale = [name for name, text in pages.items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text]
    if "--check" in sys.argv[1:]:
        if stale:
            raise SystemExit(f"documents differ from what they are generated from, run `make docs`: {', '.join(stale)}")
        return
    for name in stale:
        (ROOT / name).write_text(pages[name])


if __name__ == "__main__":
    main()
