"""The cluster in containers: a project of its own, on a copy of the files, gone at the end."""

import ast
import asyncio
import json
import os
import shutil
import sys
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from servicekit.channel import open_channel
from standins.processes import MODULES, free_ports

ROOT = Path(__file__).resolve().parents[2]
# What an image is made of, and what the documentation speaks of.
FILES = (
    *("Dockerfile", ".dockerignore", "docker-compose.yml", ".env.example", "LICENSE", "NOTICE", "pyproject.toml"),
    *("docs/client.md", "out/.gitignore"),
)
FOLDERS = ("requirements", "protos", "servicekit", "offline_writer", "supabase", "deploy", "tale_client")
PIP_OPTIONS = {"index-url", "extra-index-url", "trusted-host", "proxy", "cert"}
COMMAND_SECONDS = 600.0


class Compose:
    """`docker compose` on a project that nobody else has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "house"
        self.project = f"tale-test-{uuid.uuid4().hex[:12]}"
        self.target, self.second, self.proxy, self.page, self.proxied_page = (
            f"127.0.0.1:{port}" for port in free_ports(5)
        )
        self.environment = {
            **{key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG"} or "DOCKER" in key},
            **({"PYTHON_IMAGE": os.environ["PYTHON_IMAGE"]} if os.environ.get("PYTHON_IMAGE") else {}),
            "COMPOSE_PROJECT_NAME": self.project,
            "BUILDKIT_PROGRESS": "plain",
            "PIP_CONFIG_FILE": str(folder / "pip.conf"),
            "GATEWAY_PORT": self.target.rpartition(":")[2],
            "GATEWAY_2_PORT": self.second.rpartition(":")[2],
            "PROXY_PORT": self.proxy.rpartition(":")[2],
            "GATEWAY_WEB_PORT": self.page.rpartition(":")[2],
            "PROXY_WEB_PORT": self.proxied_page.rpartition(":")[2],
            "GATEWAY_TARGET": self.target,
        }

    async def prepare(self) -> None:
        """Copies the files and builds the images; pip is set up in the build as it is here."""
        await asyncio.to_thread(_copy, self.folder)
        listed = await self.run(sys.executable, "-m", "pip", "config", "list", environment=dict(os.environ))
        await asyncio.to_thread(Path(self.environment["PIP_CONFIG_FILE"]).write_text, _pip_conf(listed))
        await self("--profile", "*", "build")

    async def __call__(self, *arguments: str) -> str:
        """What `docker compose …` prints; it must succeed."""
        return await self.run("docker", "compose", *arguments)

    async def run(self, *command: str, environment: Mapping[str, str] | None = None) -> str:
        """What a command prints in the project's folder; it must succeed."""
        code, output = await self.attempt(*command, environment=environment)
        assert 0 == code, f"{' '.join(command)}:\n{output}"
        return output

    async def attempt(self, *command: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """The exit code of a command and what it prints."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env=environment or self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(COMMAND_SECONDS):
            output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(errors="replace")

    async def fresh(self, *up: str, **knobs: str) -> None:
        """A cluster with no data and these knobs in its .env, once it is healthy."""
        await self("--profile", "*", "down", "--volumes", "--remove-orphans")
        lines = [f"{name}={value}\n" for name, value in knobs.items()]
        await asyncio.to_thread((self.folder / ".env").write_text, "".join(lines))
        await self("up", "--detach", "--wait", *up)

    async def containers(self, service: str) -> list[dict[str, Any]]:
        """What `docker inspect` says of a service's containers, running or not; the first replica first."""
        ids = (await self("ps", "--all", "--quiet", service)).split()
        found: list[dict[str, Any]] = json.loads(await self.run("docker", "inspect", *ids))
        return sorted(found, key=lambda each: str(each["Name"]))

    async def inside(self, service: str, program: str) -> str:
        """What a Python program prints in a service's container."""
        return (await self("exec", "--no-TTY", service, "python", "-c", program)).strip()

    def channel(self, target: str = "") -> grpc.aio.Channel:
        """A channel to the gateway's published port, or to another one."""
        return open_channel(target or self.target)


@asynccontextmanager
async def compose(folder: Path) -> AsyncIterator[Compose]:
    """A project whose images are built; with all that belongs to it removed at the end."""
    it = Compose(folder)
    code, output = await _probe()
    if code:
        # Nothing that follows could be told apart from this.
        pytest.exit(f"make test-system needs a working `docker compose`: {output}", returncode=1)
    try:
        await it.prepare()
        yield it
    finally:
        await it("--profile", "*", "down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "2")


async def _probe() -> tuple[int, str]:
    for command in (("docker", "compose", "version"), ("docker", "info", "--format", "{{.ServerVersion}}")):
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
            )
        except FileNotFoundError:
            return 1, "there is no `docker` command"
        _, said = await process.communicate()
        if process.returncode:
            return process.returncode, " ".join(said.decode(errors="replace").split())
    return 0, ""


def _copy(folder: Path) -> None:
    folder.mkdir()
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    for name in (*FOLDERS, *MODULES.values()):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def _pip_conf(listed: str) -> str:
    """Of `pip config list`, where packages come from. Folders of this machine are not in the build's."""
    sections: dict[str, list[str]] = defaultdict(list)
    for line in listed.splitlines():
        name, equals, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if not equals or option not in PIP_OPTIONS:
            continue
        values = [each for each in str(ast.literal_eval(value)).split() if not each.startswith("file:")]
        if values:
            sections["global" if section == ":env:" else section].append(f"{option} = {' '.join(values)}\n")
    return "".join(f"[{section}]\n{''.join(dict.fromkeys(lines))}" for section, lines in sections.items())
