"""Every command of the README does what the README says."""

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from standins.processes import Cluster, cluster

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines() if line.strip()]
PROGRAMS = [block for language, block in BLOCKS if language == "python"]
SERVED = [line for line in COMMANDS if not line.startswith("make") and not line.endswith("tale up")]


@pytest_asyncio.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A cluster as `tale up` starts it, on ports of its own."""
    async with cluster(tmp_path_factory.mktemp("readme"), DEFAULT_VOICE_PROVIDER="mock") as it:
        yield it


async def run(*command: str, folder: Path, **environment: str) -> str:
    """What a command prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(100):
        output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, f"{command}:\n{text}"
    return text


def test_the_readme_has_the_commands_that_are_known_here() -> None:
    """A command that is added to the README has to be run by one of these tests."""
    assert ["make demo", 'make demo NAME=Mia AGE=6 INTERESTS="dragons, the sea" MORAL=kindness MINUTES=3'] == [
        line for line in COMMANDS if line.startswith("make demo")
    ]
    # `make test` is what runs this test; `tale up` has a test of its own below.
    assert ["make test"] == [line for line in COMMANDS if line.startswith("make") and "demo" not in line]
    assert [".venv/bin/tale up"] == [line for line in COMMANDS if line.endswith("tale up")]
    assert 1 == len(PROGRAMS)
    assert all(line.startswith((".venv/bin/tale ", ".venv/bin/buf curl ")) for line in SERVED)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("make demo")])
async def test_the_demo_tells_a_story(tmp_path: Path, line: str) -> None:
    """Text and sound, and in plain words what was embedded and what brings the real parts."""
    output = await run(*shlex.split(line), f"OUT={tmp_path / 'out'}", folder=ROOT, TALE_DATA_DIR=str(tmp_path / "data"))
    (story,) = await asyncio.to_thread(lambda: list((tmp_path / "out").glob("*.md")))
    sound = story.with_suffix(".mp3")
    assert story.read_text().strip()
    assert sound.stat().st_size > 100_000
    for variable in ("OPENROUTER_API_KEY", "ELEVENLABS_API_KEY", "STORAGE_BACKEND"):
        assert variable in output


@pytest.mark.parametrize("line", SERVED)
async def test_the_commands_for_a_running_cluster_work(house: Cluster, tmp_path: Path, line: str) -> None:
    """As they stand, but for the address and the folder."""
    command = shlex.split(line.replace("127.0.0.1:50051", house.target))
    output = await run(str(BIN / Path(command[0]).name), *command[1:], folder=tmp_path, GATEWAY_TARGET=house.target)
    if "--list-services" in line:
        assert {"tale.gateway.v1.GatewayService", "grpc.health.v1.Health"} <= set(output.split())
    elif "TellStory" in line:
        decoder, events, rest = json.JSONDecoder(), [], output.strip()
        while rest:
            event, end = decoder.raw_decode(rest)
            events.append(event["event"])
            rest = rest[end:].strip()
        assert "STORY_STATE_READY" == events[-1]["done"]["story"]["state"]
        assert (
            "".join(event["text"]["delta"] for event in events if "text" in event)
            == (events[-1]["done"]["story"]["content"])
        )
    elif "ListStories" in line:
        assert "stories" in json.loads(output)
    elif " tell " in line:
        assert {".md", ".mp3"} == {
            path.suffix for path in await asyncio.to_thread(lambda: list(tmp_path.rglob("*.m*")))
        }


async def test_the_program_in_the_readme_tells_a_story(house: Cluster, tmp_path: Path) -> None:
    """And saves its sound."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAMS[0])
    assert await run(sys.executable, str(script), folder=tmp_path, GATEWAY_TARGET=house.target)
    assert (tmp_path / "story.mp3").stat().st_size > 100_000
