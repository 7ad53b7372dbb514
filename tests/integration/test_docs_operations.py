"""The commands of docs/operations.md work; those that its alerts name are commands of `tale`."""

import asyncio
import os
import re
import sys
from pathlib import Path

from support.house import house
from support.promql import ROOT
from support.tale_command import SECONDS, environment, tale

TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"(?ms)^```sh\n(.*?)^```", TEXT) for line in block.splitlines()]
CURL = f"""#!{sys.executable}
import sys, urllib.request
sys.stdout.write(urllib.request.urlopen(sys.argv[-1], timeout=10).read().decode())
"""


async def test_commands_that_look_do_what_is_said(tmp_path: Path) -> None:
    """Those of `tale` and of curl; tests/system has promtool and `docker compose config`; the rest needs images."""
    curl = tmp_path / "curl"
    curl.write_text(CURL)
    curl.chmod(0o700)
    looks = [each for each in COMMANDS if each.startswith(("tale ", "curl "))]
    async with house(tmp_path / "house") as home:
        ops, target = home.servers["gateway"].server.ops_address, home.servers["gateway"].address
        variables = {**environment(target), "NO_PROXY": "*"}
        variables["PATH"] = f"{tmp_path}{os.pathsep}{variables['PATH']}"
        for line in looks:
            process = await asyncio.create_subprocess_exec(
                *("bash", "-euo", "pipefail", "-c", line.replace("127.0.0.1:9051", ops)),
                env=variables,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            async with asyncio.timeout(SECONDS):
                out, _ = await process.communicate()
            assert 0 == process.returncode, f"{line}:\n{out.decode()}"

    assert {"docker", "promtool", "tale", "curl"} == {each.split()[0] for each in COMMANDS}
    assert 6 == len(looks)


async def test_repairs_are_commands_of_tale(tmp_path: Path) -> None:
    """Each that the text names, with its subcommand and its options."""
    named = {tuple(each.split()) for each in re.findall(r"`tale ([a-z][^`]*)`", TEXT)}
    assert len(named) > 5
    for words in named:
        command = [word for word in words if word.islower() and not word.startswith("-")]
        plain = command[: 2 if command[0] == "circuits" else 1]
        code, out, _ = await tale("127.0.0.1:1", tmp_path, *plain, "--help")
        assert 0 == code, words
        assert all(word in out for word in words if word.startswith("--")), words
