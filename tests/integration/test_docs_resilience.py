"""The commands and the tables of docs/resilience.md are true."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from support.circuit_services import circuit_cluster
from support.tale_command import SECONDS, environment

from servicekit.resilience.errors import TREATMENTS, ProviderErrorKind

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "resilience.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
MODEL, MODELS = "openrouter:openai/gpt-4o-mini", "openrouter:models"
CURL = f"""#!{sys.executable}
import sys, urllib.request
sys.stdout.write(urllib.request.urlopen(sys.argv[-1], timeout=10).read().decode())
"""


async def run(command: str, folder: Path, target: str) -> str:
    """What it prints; it must succeed."""
    variables = {**environment(target), "NO_PROXY": "*"}
    variables["PATH"] = f"{folder}{os.pathsep}{variables['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", command),
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    assert 0 == process.returncode, f"{command}:\n{out.decode()}{err.decode()}"
    return out.decode()


async def test_the_commands_do_what_is_said(tmp_path: Path) -> None:
    """One after the other, as they stand but for the addresses: circuits are shown, and closed."""
    curl = tmp_path / "curl"
    curl.write_text(CURL)
    curl.chmod(0o700)
    async with circuit_cluster(story=[MODEL, MODELS], voice=["elevenlabs"]) as cluster:
        story = cluster.servers["story"].server.ops_address
        said = {line: await run(line.replace("127.0.0.1:9052", story), tmp_path, cluster.address) for line in COMMANDS}
        states = cluster.apps["story"].states() | cluster.apps["voice"].states()
    report = json.loads(said["curl -s http://127.0.0.1:9052/metrics/circuit-breakers"])
    metrics = said["curl -s http://127.0.0.1:9052/metrics"]

    assert 6 == len(COMMANDS)
    assert {MODEL: "closed", MODELS: "open", "elevenlabs": "closed"} == states
    assert all(name in said["tale circuits"] for name in states)
    assert {"story": [MODELS, MODEL], "voice": ["elevenlabs"]} == {
        service["service"]: [circuit["name"] for circuit in service["circuits"]]
        for service in json.loads(said["tale circuits --json"])["services"]
        if "circuits" in service
    }
    assert (False, 2, 0, 2) == tuple(
        report[each] for each in ("healthy", "total_breakers", "healthy_breakers", "open_circuits_count")
    )
    assert [] == [name for name in [*report, *report["metrics"][MODEL]] if not _named(name)]
    assert [] == [name for name in _series(metrics) if not _named(name)]


def _named(name: str) -> bool:
    return f"`{name}`" in TEXT or name == "provider"


def _series(metrics: str) -> list[str]:
    names = re.findall(r"^# TYPE (\w+) (?:counter|gauge|histogram)$", metrics, re.MULTILINE)
    return [name for name in names if not name.startswith(("process_", "python_")) and not name.endswith("_created")]


def test_the_table_of_kinds_is_the_one_that_counts() -> None:
    """Each of the thirteen kinds with its four marks."""
    rows: dict[str, list[Any]] = {}
    for line in re.findall(r"^\| (.+) \|$", TEXT, re.MULTILINE):
        cells = [cell.strip() for cell in f" {line} ".split("|")]
        for kind in re.sub(r" \(.*?\)", "", cells[0]).split(", "):
            rows[kind.replace(" ", "_")] = [cell == "yes" for cell in cells[1:]]
    expected = {
        kind.value: [each.retry, each.fail_over, each.break_circuit, each.cool_down]
        for kind, each in TREATMENTS.items()
    }

    assert expected == {kind.value: rows.get(kind.value) for kind in ProviderErrorKind}
