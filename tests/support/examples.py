"""Examples in other languages, in a copy of the folders that they name."""

import asyncio
import shutil
from pathlib import Path

from support.tale_command import environment

ROOT = Path(__file__).resolve().parents[2]


def copied(language: str, folder: Path) -> Path:
    """Copies an example, and the contracts to where it looks for them; returns its folder."""
    place = folder / "docs" / "examples" / language
    shutil.copytree(ROOT / "docs" / "examples" / language, place, ignore=shutil.ignore_patterns("node_modules", "gen"))
    (folder / "protos").symlink_to(ROOT / "protos")
    return place


async def run(commands: str, *, folder: Path, target: str, seconds: float, **variables: str) -> str:
    """Runs a block of commands, which must succeed, and returns what they print. Node and buf are there."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", commands),
        cwd=folder,
        env=environment(target, **variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(seconds):
        printed, _ = await process.communicate()
    assert not process.returncode, printed.decode()
    return printed.decode()
