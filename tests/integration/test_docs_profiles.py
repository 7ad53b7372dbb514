"""The commands of docs/profiles.md do what it says."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from standins.processes import cluster

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "profiles.md").read_text(), re.MULTILINE | re.DOTALL)


def answers(output: str) -> list[dict[str, Any]]:
    """The JSON messages that were printed."""
    decoder, found, rest = json.JSONDecoder(), [], output.strip()
    while rest:
        message, end = decoder.raw_decode(rest)
        found.append(message)
        rest = rest[end:].strip()
    return found


async def test_the_commands_work_in_the_order_in_which_they_stand(tmp_path: Path) -> None:
    """From the first child to its erasure, each as it stands but for the address."""
    async with cluster(tmp_path, DEFAULT_VOICE_PROVIDER="mock") as it:
        script = "\n".join(BLOCKS).replace("127.0.0.1:50051", it.target).replace(".venv/bin/buf", str(BIN / "buf"))
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            script,
            cwd=tmp_path,
            env={**os.environ},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(100):
            output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    older, cleared, children, hero, *watched, sequel, combined, stories, gone, erased = answers(output.decode())
    assert (7, ["dragons"]) == (older["child"]["age"], older["child"]["interests"])
    assert (7, None) == (cleared["child"]["age"], cleared["child"].get("interests"))
    assert [cleared["child"]] == children["children"]
    assert "Captain Fox" == hero["hero"]["name"]
    assert "STORY_STATE_READY" == watched[-1]["event"]["done"]["story"]["state"]
    first = watched[-1]["event"]["storyId"]
    assert first == sequel["story"]["parentStoryId"]
    assert hero["hero"]["id"] == combined["story"]["heroId"]
    assert {first, sequel["story"]["id"], combined["story"]["id"]} == {story["id"] for story in stories["stories"]}
    assert ({}, 3) == (gone, erased["storyCount"])
