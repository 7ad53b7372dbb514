"""The commands of docs/security.md are run as they stand."""

import asyncio
import os
import re
import sys
from pathlib import Path

from support.house import house

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
KEYS, UP, USE = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


async def shell(commands: str, folder: Path, target: str) -> str:
    """What commands print; they must succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", commands),
        cwd=folder,
        env={**os.environ, "PATH": path, "GATEWAY_TARGET": target},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert 0 == process.returncode, out.decode()
    return out.decode()


async def test_keys_are_made_and_used_as_the_page_says(tmp_path: Path) -> None:
    """`tale up` itself is run by the tests of the README; here its setting is that of a gateway in this process."""
    assert "GATEWAY_AUTH=api_key tale up\n" == UP
    async with house(tmp_path / "store", auth="api_key", api_keys_file=tmp_path / "data" / "api-keys.json") as it:
        listed = await shell(KEYS, tmp_path, it.servers["gateway"].address)
        status = await shell(USE, tmp_path, it.servers["gateway"].address)

    assert ["mia-family", "house"] == [line.split()[1] for line in listed.splitlines() if "never" in line]
    assert "gateway" in status
    assert 0o600 == (tmp_path / "mia.key").stat().st_mode & 0o777
