"""Runs the `tale` command as a process."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

SECONDS = 30.0


async def start(target: str, folder: Path, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
    """Starts it in `folder` against the gateway at `target`, with more `variables`."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tale_client",
        *arguments,
        cwd=folder,
        env=environment(target, **variables),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def environment(target: str, **more: str) -> Mapping[str, str]:
    """Returns this environment with the gateway at `target` and the project's commands on the PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "GATEWAY_TARGET": target, "PYTHONIOENCODING": "utf-8", "PATH": path, **more}


async def tale(target: str, folder: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Runs it to its end; returns exit code, standard output, standard error. A traceback fails the test."""
    async with asyncio.timeout(SECONDS):
        process = await start(target, folder, *arguments, **variables)
        out, err = await process.communicate()
    assert b"Traceback" not in err
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
