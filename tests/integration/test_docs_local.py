"""The commands of docs/local.md, against stand-ins of Ollama and Kokoro: the two base URLs are all that is set."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from support.openrouter_fake import OpenRouterFake, openrouter_fake
from support.speech_fake import SpeechFake, speech_fake
from support.story_models import TITLE, goes_on

from servicekit.settings import load
from standins.processes import cluster
from story_service.settings import StorySettings
from voice_service.settings import VoiceServiceSettings

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs" / "local.md").read_text(encoding="utf-8")
BLOCKS: Final = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
GET, CHECK, TELL, UP, USE, COMPOSE = BLOCKS
MODEL: Final = "llama3.2:3b"
_OF_OTHERS: Final = ("ollama", "docker")
"""Programs of others, which only note how they were called."""


@dataclass(frozen=True)
class Machine:
    """A folder with the stand-ins beside it."""

    folder: Path
    chat: OpenRouterFake
    speech: SpeechFake

    def environment(self) -> dict[str, str]:
        """What a command gets, and nothing of the tests' own environment that could be a setting."""
        return {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8"}

    async def run(self, commands: str, **more: str) -> str:
        """Returns what commands print, with the ports of the stand-ins in them; they must succeed."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", self.placed(commands)),
            cwd=self.folder,
            env={**self.environment(), **more},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(100):
            out, _ = await process.communicate()
        assert 0 == process.returncode, out.decode()
        return out.decode()

    def placed(self, text: str) -> str:
        """Returns `text` with the addresses of the stand-ins."""
        text = text.replace("127.0.0.1:11434", urlsplit(self.chat.chat_url).netloc)
        return text.replace("127.0.0.1:8880", urlsplit(self.speech.url).netloc)


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """Ollama with one model, and one that writes nothing; Kokoro as it lists its voices."""
    (tmp_path / "bin").mkdir()
    for name in _OF_OTHERS:
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "$HOME/called"\n')
        program.chmod(0o755)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    async with openrouter_fake() as chat, speech_fake() as speech:
        chat.default = goes_on
        chat.models = [{"id": MODEL, "object": "model"}, {"id": "nomic-embed-text:latest", "object": "model"}]
        speech.models = {"data": [{"id": "tts-1"}, {"id": "tts-1-hd"}, {"id": "kokoro"}]}
        speech.voices = {"voices": ["af_alloy", "af_heart", "bf_emma", "ef_dora"]}
        yield Machine(tmp_path, chat, speech)


@asynccontextmanager
async def _up(machine: Machine) -> AsyncIterator[str]:
    """The cluster as `tale up` starts it, on ports of its own, with the two variables of the page."""
    variables = dict(re.findall(r"^(\w+)=(.*)$", machine.placed(TELL), re.MULTILINE))
    assert {"CHAT_BASE_URL", "SPEECH_BASE_URL"} == variables.keys()
    async with cluster(machine.folder, **variables) as it:
        yield it.target


def _files(folder: Path) -> set[str]:
    return {path.suffix for path in folder.rglob("*.m*")}


def test_page_has_the_commands_that_are_known_here() -> None:
    """A command that is added has to be run by one of these tests."""
    assert ".venv/bin/tale up" == UP.strip()
    assert "docker compose up -d --wait" == COMPOSE.strip().splitlines()[-1]
    assert all(line.startswith(_OF_OTHERS) for line in GET.splitlines())


async def test_first_story_is_told_with_the_two_base_urls_alone(machine: Machine) -> None:
    """`tale demo` with `.env`: the model and the voice of the machine, no key, and nothing embedded but the store."""
    await machine.run(GET)
    listed = await machine.run(CHECK)
    output = await machine.run(TELL, TALE_DATA_DIR=str(machine.folder / "data"))
    called = (machine.folder / "called").read_text()

    assert MODEL in listed
    assert "af_heart" in listed
    assert f"ollama pull {MODEL}" in called
    assert TITLE in output
    assert "writer: " not in output
    assert "voice: " not in output
    assert {".md", ".mp3"} == _files(machine.folder / "out")
    assert {MODEL} == {call.model for call in machine.chat.calls}
    assert {""} == {*machine.chat.keys}
    assert [] == machine.chat.strangers
    assert {("kokoro", "af_heart")} == {(each.body["model"], each.body["voice"]) for each in machine.speech.speeches}


async def test_commands_show_the_servers_of_the_machine(machine: Machine) -> None:
    """What writes, what speaks, and where it is."""
    async with _up(machine) as target:
        async with asyncio.timeout(60):
            # The lists of the servers are fetched beside the start.
            while MODEL not in await machine.run(".venv/bin/tale models", GATEWAY_TARGET=target):  # noqa: ASYNC110 - it is asked for over the wire
                await asyncio.sleep(0.2)
        for line in USE.strip().splitlines():
            output = await machine.run(line, GATEWAY_TARGET=target)
            match line.split()[1]:
                case "status":
                    assert f"provider chat (default): available, at {machine.chat.chat_url}" in output
                    assert "provider speech (default): available" in output
                    assert "warning" not in output
                case "models":
                    assert re.search(rf"^{re.escape(MODEL)} +available; default .*0\.00 / 0\.00", output, re.MULTILINE)
                    assert "nomic" not in output
                    assert "openai" not in output
                case "voices":
                    speech = output.partition("\nspeech: en")[2].partition("\n\n")[0]
                    assert ["af_heart", "af_alloy", "bf_emma"] == re.findall(r"^(\w+) ", speech, re.MULTILINE)
                case "tell":
                    assert TITLE in output
                    assert "Problem" not in output
                    assert {".md", ".mp3"} == _files(machine.folder / "out")


def test_containers_reach_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both services know host.docker.internal, and take plain http to it."""
    _, *services = re.split(r"^  (\w+):$", (ROOT / "docker-compose.yml").read_text(), flags=re.MULTILINE)
    known = {
        name: text.count('extra_hosts: ["host.docker.internal:host-gateway"]')
        for name, text in zip(*[iter(services)] * 2, strict=False)
    }
    assert (1, 1) == (known["story"], known["voice"])
    for variable in tuple(os.environ):
        if variable.startswith(("STORY_", "CHAT_", "OPENROUTER_", "VOICE_", "SPEECH_", "UPSTREAM_")):
            monkeypatch.delenv(variable)
    for variable, value in re.findall(r"^(\w+)=(.*)$", COMPOSE, re.MULTILINE):
        monkeypatch.setenv(variable, value)

    assert "http://host.docker.internal:11434/v1" == load(StorySettings).chat_base_url
    assert "http://host.docker.internal:8880/v1" == load(VoiceServiceSettings).speech_base_url


def _addresses() -> Iterator[tuple[str, str]]:
    for row in re.findall(r"^\| .*$", PAGE[PAGE.index("## Other servers") :].split("\n\n")[1], re.MULTILINE)[1:]:
        yield row.split("|")[1].strip(), re.findall(r"`(https?://[^`]+)`", row)[0]


@pytest.mark.parametrize(("server", "url"), list(_addresses()))
def test_base_urls_of_the_page_are_taken_as_they_are(server: str, url: str) -> None:
    """For stories and for speech."""
    chat: Any = StorySettings(chat_base_url=url)
    speech: Any = VoiceServiceSettings(speech_base_url=url)

    assert url == chat.chat_base_url == speech.speech_base_url, server
