"""Debian's Prometheus takes the shipped configuration and rules, and alerts when a provider is broken on purpose."""

import asyncio
import re
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from aiohttp import ClientError, ClientSession
from support.house import House
from support.openrouter_fake import error, story
from support.paid_house import MODEL, paid_house
from support.promql import FOLDER, ROOT
from support.story_models import WHOLE

from standins.processes import free_ports
from standins.watcher import spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.system

COMMANDS = re.findall(r"(?m)^promtool .+$", (ROOT / "docs" / "operations.md").read_text())
SECONDS = 60.0
"""In which an alert changes, at most."""


@pytest.fixture(autouse=True, scope="module")
def _prometheus() -> None:
    """What is not installed is a failure with its remedy, not a test that was left out."""
    assert shutil.which("prometheus"), "needs Debian's Prometheus: apt-get install prometheus"


async def output(command: str) -> str:
    """What a command of the documents prints; it succeeds."""
    process = await asyncio.create_subprocess_shell(
        command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(SECONDS):
        out, _ = await process.communicate()
    assert 0 == process.returncode, f"{command}:\n{out.decode()}"
    return out.decode()


def test_documents_name_both_checks() -> None:
    """Those that are run here."""
    assert {"promtool check", "promtool test"} == {" ".join(each.split()[:2]) for each in COMMANDS}


@pytest.mark.parametrize(
    "command",
    [
        *COMMANDS,
        "promtool check config deploy/observability/prometheus.yml",
        "promtool check rules deploy/observability/rules.yml",
    ],
)
async def test_prometheus_accepts_what_is_shipped(command: str) -> None:
    """Configurations, rules, and the tests of the rules."""
    assert "SUCCESS" in await output(command)


async def test_compose_accepts_the_profile() -> None:
    """It needs no images for that."""
    command = "docker compose --profile observability config --quiet"
    assert command in (ROOT / "docs" / "operations.md").read_text()
    assert "" == await output(command)


class Prometheus:
    """The API of a running Prometheus."""

    def __init__(self, http: ClientSession, log: Path) -> None:
        self._http = http
        self._log = log

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        async with self._http.get(f"/api/v1/query?query={quote(expression)}") as answer:
            found: list[dict[str, Any]] = (await answer.json())["data"]["result"]
        return found

    async def firing(self) -> set[tuple[str, str, str]]:
        """Alerts that fire: name, service and circuit."""
        async with self._http.get("/api/v1/alerts") as answer:
            alerts = (await answer.json())["data"]["alerts"]
        return {
            (each["labels"]["alertname"], each["labels"].get("service", ""), each["labels"].get("circuit", ""))
            for each in alerts
            if each["state"] == "firing"
        }

    async def until(self, what: str, enough: Callable[[set[tuple[str, str, str]]], bool]) -> None:
        """Waits until the alerts that fire are as they should be."""
        seen: set[tuple[str, str, str]] = set()
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    seen = await self.firing()
                    if enough(seen):
                        return
                    await asyncio.sleep(0.25)
        except TimeoutError:
            stories = await self.query("tale_stories_total")
            states = await self.query("circuit_breaker_state == 1")
            raise AssertionError(f"{what}: {SECONDS} s later these fire: {seen}\n{stories}\n{states}") from None

    async def until_answered(self, what: str, expression: str) -> None:
        """Waits until a query has a sample."""
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    if await self.query(expression):
                        return
                    await asyncio.sleep(0.25)
        except TimeoutError:
            log = self._log.read_text()[-2000:]
            raise AssertionError(f"{what}: {expression} has no sample {SECONDS} s later\n{log}") from None

    async def until_ready(self) -> None:
        """Waits until it serves."""
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    try:
                        async with self._http.get("/-/ready") as answer:
                            if answer.status == 200:
                                return
                    except ClientError:
                        pass
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"Prometheus does not start:\n{self._log.read_text()[-2000:]}") from None


def hasten(home: House, folder: Path) -> None:
    """Writes configuration and rules with the house's ports, intervals of a second, and `for` of two."""
    config = yaml.safe_load((FOLDER / "prometheus.local.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    for each in config["scrape_configs"][0]["static_configs"]:
        each["targets"] = [home.servers[each["labels"]["service"]].server.ops_address]
    rules = yaml.safe_load((FOLDER / "rules.yml").read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "2s"
    folder.mkdir()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))


@asynccontextmanager
async def prometheus(folder: Path, home: House) -> AsyncIterator[Prometheus]:
    """Debian's Prometheus beside a house, on loopback, with the shipped rules."""
    hasten(home, folder)
    log = folder / "log"
    (port,) = free_ports(1)
    with log.open("wb") as lines:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=lines,
            stderr=lines,
        )
    try:
        async with ClientSession(f"http://127.0.0.1:{port}") as http:
            it = Prometheus(http, log)
            await it.until_ready()
            yield it
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def test_alerts_name_the_provider_that_is_broken_on_purpose(tmp_path: Path) -> None:
    """None of them fires before; that of the circuit breaker resolves once it is closed, as operations.md says."""
    circuit = f"openrouter:{MODEL}"
    open_circuit = ("TaleCircuitOpen", "story", circuit)
    expected = {open_circuit, ("TaleProviderFailing", "story", circuit), ("TaleStoriesFailing", "", "")}
    async with (
        paid_house(tmp_path / "house", provider_wait_seconds=0) as paid,
        prometheus(tmp_path / "prometheus", paid.home) as observer,
    ):
        paid.writer.default = lambda _: story(WHOLE)
        told = await paid.home.tell(spec(1, narrate=False))
        assert told.done is not None
        assert common_pb2.STORY_STATE_READY == told.done.state
        await observer.until_answered("the four services are scraped", 'count(up{job="tale"} == 1) == 4')
        await observer.until_answered("the story is counted", 'tale_stories_total{state="READY"}')
        assert expected.isdisjoint(await observer.firing())

        paid.writer.default = lambda _: error(503)
        for number in range(2, 8):
            failed = await paid.home.tell(spec(number, narrate=False))
            assert failed.done is not None
            assert common_pb2.STORY_STATE_FAILED == failed.done.state
        await observer.until("the provider fails", expected.issubset)
        assert {circuit} == {each for _, _, each in await observer.firing()} - {""}

        paid.writer.default = lambda _: story(WHOLE)
        repaired = gateway_pb2.ResetCircuitRequest(service="story", name=circuit)
        await paid.home.stub.ResetCircuit(repaired, timeout=20)
        told = await paid.home.tell(spec(8, narrate=False))
        assert told.done is not None
        assert common_pb2.STORY_STATE_READY == told.done.state
        await observer.until("the provider answers again", lambda firing: open_circuit not in firing)
