"""The cluster in containers tells stories, keeps them, and is locked up."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from packaging.markers import Marker
from support.compose import Compose
from support.kubernetes import environment

from standins.processes import MODULES
from standins.watcher import spec
from tale.common.v1 import common_pb2
from tale_client import AsyncTaleClient

pytestmark = pytest.mark.system

USER = 10001
NETWORKS = {
    "gateway": {"to-story", "to-voice", "to-storage", "door", "scrape-gateway"},
    "story": {"to-story", "story-outward", "scrape-story"},
    "voice": {"to-voice", "to-storage", "voice-outward", "scrape-voice"},
    "storage": {"to-storage", "storage-outward", "scrape-storage"},
}
PORTS = {"gateway": 50051, "story": 50052, "voice": 50053, "storage": 50054}
SCAN = """
import grpc, json, socket
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tale.common.v1 import status_pb2, status_pb2_grpc

found = {}
for name, port in PORTS.items():
    for other in (port, port - 41000):
        try:
            socket.create_connection((name, other), 2).close()
        except OSError:
            continue
        if other != port:
            found[f"{name}, for operators"] = "open"
            continue
        with grpc.insecure_channel(f"{name}:{port}") as channel:
            healthy = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5).status
            try:
                status_pb2_grpc.StatusServiceStub(channel).GetStatus(status_pb2.GetStatusRequest(), timeout=5)
                answer = "all"
            except grpc.RpcError as error:
                answer = error.code().name
        found[name] = answer if healthy == 1 else "not healthy"
print(json.dumps(found))
"""


@pytest_asyncio.fixture(scope="module")
async def cluster(house: Compose) -> AsyncIterator[Compose]:
    """As `docker compose up` makes it."""
    await house.fresh()
    yield house


async def kept(cluster: Compose, story_id: str) -> tuple[common_pb2.Story, bytes]:
    """A story as it is stored, and its audio."""
    async with AsyncTaleClient(cluster.target) as client:
        story = await client.get_story(story_id, full=True)
        return story, b"".join([chunk async for chunk in client.read_audio(story_id)])


async def test_the_command_on_the_host_tells_a_story(cluster: Compose, tmp_path: Path) -> None:
    """With no key, through the published port."""
    await cluster.run(
        sys.executable, "-m", "tale_client", "tell", "--name", "Mia", "--minutes", "1", "--out", str(tmp_path)
    )
    async with AsyncTaleClient(cluster.target) as client:
        (summary,) = [each async for each in client.list_stories()]
    story, sound = await kept(cluster, summary.id)
    assert common_pb2.STORY_STATE_READY == story.state
    (written,) = await asyncio.to_thread(lambda: [each.read_bytes() for each in tmp_path.glob("*.mp3")])
    assert story.audio.size_bytes == len(sound) > 100_000
    assert sound == written


async def test_what_was_kept_outlives_the_containers(cluster: Compose) -> None:
    """After `down` and `up` text and audio are the same, byte for byte."""
    async with AsyncTaleClient(cluster.target) as client:
        (*_, last) = [event async for event in client.tell(spec(1))]
    before, sound = await kept(cluster, last.done.story.id)
    assert common_pb2.STORY_STATE_READY == before.state
    containers = {each["Id"] for service in MODULES for each in await cluster.containers(service)}
    await cluster("down")
    await cluster("up", "--detach", "--wait")
    assert containers.isdisjoint({each["Id"] for service in MODULES for each in await cluster.containers(service)})
    assert (before, sound) == await kept(cluster, before.id)


@pytest.mark.parametrize("service", MODULES)
async def test_a_process_has_no_rights(cluster: Compose, service: str) -> None:
    """Not root, no capability left in any set, none to be gained."""
    status = await cluster.inside(service, "print(open('/proc/self/status').read())")
    facts = {line.split(":")[0]: line.split()[1:] for line in status.splitlines()}
    assert [str(USER)] * 4 == facts["Uid"] == facts["Gid"]
    assert {0} == {int(facts[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert ["1"] == facts["NoNewPrivs"]
    # The service itself, not only what was started beside it.
    owners = await cluster.inside(
        service, "import os; print({os.stat(f'/proc/{each}').st_uid for each in os.listdir('/proc') if each.isdigit()})"
    )
    assert f"{{{USER}}}" == owners


@pytest.mark.parametrize("service", MODULES)
async def test_the_file_system_is_read_only(cluster: Compose, service: str) -> None:
    """Only /tmp, in memory, the folder of the secret, and in storage what is mounted at /data can be written."""
    mounts = await cluster.inside(
        service,
        "import os\n"
        "for line in open('/proc/mounts'):\n"
        "    _, place, kind, options, *_ = line.split()\n"
        "    if 'rw' in options.split(',') and os.access(place, os.W_OK) and not place.startswith(('/proc', '/dev')):\n"
        "        print(place, kind)\n",
    )
    writable = dict(line.split() for line in mounts.splitlines())
    own = {"data"} if service == "storage" else set[str]()
    assert {"run/tale", "tmp"} | own == {place.strip("/") for place in writable}
    assert "tmpfs" == writable.pop("/tmp")  # noqa: S108 - the containers' own
    refused = await cluster.inside(
        service,
        "import errno\n"
        "for place in ('/app/x', '/venv/x', '/x', '/var/x'):\n"
        "    try: open(place, 'w')\n"
        "    except OSError as error: print(error.errno == errno.EROFS)\n",
    )
    assert ["True"] * 4 == refused.split()


async def test_only_the_gateway_is_published_and_on_loopback(cluster: Compose) -> None:
    """Other addresses of this machine do not lead to it, and no other service has a port."""
    port, page = cluster.target.rpartition(":")[2], cluster.page.rpartition(":")[2]
    published = {service: sorted(_published(*await cluster.containers(service))) for service in MODULES}
    ports = [("50051/tcp", "127.0.0.1", port), ("8080/tcp", "127.0.0.1", page)]
    assert {"gateway": ports, "story": [], "voice": [], "storage": []} == published
    (door,) = json.loads(await cluster.run("docker", "network", "inspect", f"{cluster.project}_door"))
    with pytest.raises(OSError):  # noqa: PT011 - refused or out of reach, as the system has it
        async with asyncio.timeout(5):
            await asyncio.open_connection(door["IPAM"]["Config"][0]["Gateway"], int(port))


async def test_services_meet_in_a_network_that_leads_nowhere(cluster: Compose) -> None:
    """Who calls providers, or a store that is elsewhere, has one that leads out as well."""
    for service, networks in NETWORKS.items():
        (container,) = await cluster.containers(service)
        assert {f"{cluster.project}_{name}" for name in networks} == set(container["NetworkSettings"]["Networks"])
    for name in ("to-story", "to-voice", "to-storage", *(f"scrape-{service}" for service in NETWORKS)):
        (inside,) = json.loads(await cluster.run("docker", "network", "inspect", f"{cluster.project}_{name}"))
        assert inside["Internal"]


@pytest.mark.parametrize(
    ("service", "reached"),
    [
        ("story", {"gateway"}),
        ("voice", {"gateway", "storage"}),
        ("storage", {"gateway", "voice"}),
        ("gateway", {"story", "voice", "storage"}),
    ],
)
async def test_a_port_answers_health_and_nothing_else(cluster: Compose, service: str, reached: set[str]) -> None:
    """A program without the secret in a service's container; the gateway's port is for everybody on this machine.

    Who shares a network with a service also reaches its metrics, which hold no secrets.
    """
    found = json.loads(await cluster.inside(service, f"PORTS = {PORTS!r}\n{SCAN}"))
    own = {service, f"{service}, for operators"}
    answers = {name: "all" if name == "gateway" else "UNAUTHENTICATED" for name in reached}
    metrics = {f"{name}, for operators": "open" for name in reached}
    assert answers | metrics == {name: answer for name, answer in found.items() if name not in own}


async def test_a_pod_answers_health_and_nothing_else(cluster: Compose, tmp_path: Path) -> None:
    """With the variables of its manifest, to a program without the secret in the same network."""
    network = f"{cluster.project}-pods"
    await cluster.run("docker", "network", "create", network)
    try:
        await asyncio.to_thread(_secrets, tmp_path)
        for name in MODULES:
            given = [
                part
                for each in environment(name).values()
                if "value" in each
                for part in ("--env", f"{each['name']}={each['value']}")
            ]
            data = ["--tmpfs", f"/data:uid={USER},mode=0700"] if name == "storage" else []
            await cluster.run(
                *("docker", "run", "--detach", "--name", f"{network}-{name}", "--network", network),
                *("--network-alias", name, "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),  # noqa: S108
                *("--volume", f"{tmp_path}:/run/tale:ro", *data, *given, f"{cluster.project}-{name}"),
            )
        program = f"PORTS = {PORTS!r}\n{SCAN}"
        scan = ("docker", "run", "--rm", "--network", network, f"{cluster.project}-gateway", "python", "-c", program)
        async with asyncio.timeout(60):
            # What another program does sends no event.
            while (found := json.loads(await cluster.run(*scan))).keys() != MODULES.keys():  # noqa: ASYNC110
                await asyncio.sleep(1)
        assert dict.fromkeys(MODULES, "UNAUTHENTICATED") == found
    finally:
        for name in MODULES:
            await cluster.attempt("docker", "rm", "--force", "--volumes", f"{network}-{name}")
        await cluster.run("docker", "network", "rm", network)


@pytest.mark.parametrize(("service", "package"), MODULES.items())
async def test_an_image_holds_what_its_service_needs_and_nothing_else(
    cluster: Compose, service: str, package: str
) -> None:
    """The packages of its lock, at the versions of the tests; no other service, no compiler, nothing of pip's."""
    program = (
        "import importlib.metadata as m, json, os, shutil, sys\n"
        "site = next(each for each in sys.path if each.startswith('/venv') and each.endswith('site-packages'))\n"
        "print(json.dumps({'packages': sorted(f'{each.name.lower()}=={each.version}'.replace('_', '-')"
        " for each in m.distributions(path=[site])),"
        " 'app': sorted(os.listdir('/app')),"
        " 'tools': [each for each in ('cc', 'gcc', 'make') if shutil.which(each)],"
        " 'cache': os.path.exists(os.path.expanduser('~root/.cache/pip')), 'python': sys.version_info[:2]}))"
    )
    image = json.loads(await cluster.inside(service, program))
    lock = await asyncio.to_thread((cluster.folder / "requirements" / f"{service}.txt").read_text)
    assert _pins(lock, tuple(image["python"])) == set(image["packages"])
    library = {"offline_writer"} if service == "story" else set()
    assert {"tale", "servicekit", package, "LICENSE", "NOTICE", *library} == set(image["app"])
    assert ([], False) == (image["tools"], image["cache"])


async def test_each_service_is_given_its_own_knobs_alone(cluster: Compose) -> None:
    """A key in .env reaches the service that uses it and no other."""
    (cluster.folder / "keys.env").write_text("OPENROUTER_API_KEY=sk-or-v1-0\nDRAIN_SECONDS=7\n")
    services = json.loads(await cluster("--env-file", "keys.env", "config", "--format", "json"))["services"]
    assert ["story"] == [name for name, each in services.items() if "sk-or-v1-0" in json.dumps(each)]
    assert {"7"} == {each["environment"]["DRAIN_SECONDS"] for each in services.values()}


def _secrets(folder: Path) -> None:
    (folder / "service-token").write_text("t" * 40)
    (folder / "api-keys.json").write_text('{"keys": []}')
    folder.chmod(0o755)


def _published(*containers: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (port, binding["HostIp"], binding["HostPort"])
        for container in containers
        for port, bindings in container["NetworkSettings"]["Ports"].items()
        for binding in bindings or []
    ]


def _pins(lock: str, python: tuple[int, int]) -> set[str]:
    pins = set()
    for pin, marker in re.findall(r"^([\w.-]+==[\w.]+)(?: ; ([^\n\\]*))?", lock, re.MULTILINE):
        here = {"python_full_version": ".".join(map(str, (*python, 0))), "python_version": ".".join(map(str, python))}
        if not marker or Marker(marker).evaluate(here):
            pins.add(pin.lower().replace("_", "-"))
    return pins
