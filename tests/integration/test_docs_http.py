"""The commands of docs/http.md work in their order, in one shell, beside a real cluster."""

import asyncio
import os
import re
import sys
import zipfile
from pathlib import Path

from support.house import house
from support.tale_command import environment

from standins.watcher import spec
from tale.common.v1 import common_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?ms)^```sh\n(.*?)^```", TEXT)


async def run(script: str, folder: Path, target: str, page: str) -> str:
    """Runs a block of commands; returns what it prints."""
    tools = Path(sys.executable).parent
    text = script.replace("http://127.0.0.1:8080", page).replace(".venv/bin/buf", str(tools / "buf"))
    variables = {**environment(target), "NO_PROXY": "*"}
    variables["PATH"] = f"{tools}{os.pathsep}{variables['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", text.replace("--schema protos", f"--schema {ROOT}/protos")),
        cwd=folder,
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert 0 == process.returncode, f"{script}\n{err.decode()}"
    return out.decode()


async def test_commands_of_the_page_about_http_work(tmp_path: Path) -> None:
    async with house(tmp_path / "house", web_listen="127.0.0.1:0") as home:
        profiles = profile_pb2_grpc.ProfileServiceStub(home.channel)
        child = common_pb2.Child(name="Mia", age=6)
        await profiles.CreateChild(profile_pb2.CreateChildRequest(child=child), timeout=10)
        await home.tell(spec(1))
        target = home.servers["gateway"].address
        outputs = [await run(block, tmp_path, target, home.url) for block in BLOCKS]

    assert '"story":' in outputs[0]
    assert "STORY_STATE_READY" in outputs[1]
    assert zipfile.is_zipfile(tmp_path / "story.epub")
    assert re.fullmatch(rf"{home.url}/feed/[\w.-]+\.xml\n", outputs[3])
