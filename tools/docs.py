"""Generate what repeats the settings and the contracts, or check it.

docs/configuration.md, .env.example, the knobs in docker-compose.yml from the settings; docs/api.md from the contracts.

python -m tools.docs            write them
python -m tools.docs --check    exit 1 when a committed document differs from what would be written
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic_settings import BaseSettings

from gateway.settings import GatewaySettings
from servicekit.settings import SettingDescription, describe_settings
from storage_service.settings import StorageSettings
from story_service.settings import StorySettings
from tools.api_page import api_page
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


def main() -> None:
    """Write or check, as the command line says."""
    pages = {
        "docs/configuration.md": configuration(),
        "docs/api.md": api_page(),
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
