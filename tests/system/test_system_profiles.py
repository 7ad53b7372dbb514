"""What the profiles of compose add, the image of the `tale` command, and what images say of themselves."""

import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.compose import ROOT, Compose

pytestmark = pytest.mark.system

SERVICES = {"gateway", "story", "voice", "storage"}
ADDED = {
    "": set[str](),
    "cli": {"tale"},
    "local": {"ollama", "ollama-model", "kokoro"},
    "supabase": {"supabase", "supabase-db", "supabase-migrate", "supabase-rest", "supabase-storage"},
    "scale": {"gateway-2", "story-2", "voice-2", "proxy"},
}


@pytest_asyncio.fixture(scope="module")
async def cluster(house: Compose) -> AsyncIterator[Compose]:
    """As `docker compose up` makes it."""
    await house.fresh()
    yield house


async def configured(house: Compose, lines: str) -> dict[str, Any]:
    """The services of the project with these lines in .env."""
    (house.folder / "profile.env").write_text(lines)
    services: dict[str, Any] = json.loads(await house("--env-file", "profile.env", "config", "--format", "json"))[
        "services"
    ]
    return services


@pytest.mark.parametrize("profile", ADDED)
async def test_profile_adds_its_services_and_sets_nothing_empty(cluster: Compose, profile: str) -> None:
    """Every file is valid; the four services get no variable that is set and empty, in no profile."""
    services = await configured(cluster, f"COMPOSE_PROFILES={profile}\n")
    assert SERVICES | ADDED[profile] == set(services)
    for name in SERVICES | {"gateway-2", "story-2", "voice-2"}.intersection(services):
        assert [] == [key for key, value in services[name]["environment"].items() if value == ""], name
    for service in services.values():
        image = service.get("image", "")
        assert not image or re.search(r":v?\d", image), f"{image} is not pinned"


async def test_profile_local_reaches_the_services_that_use_it(cluster: Compose) -> None:
    """With the lines of deploy/compose/local.env; the addresses are those of its servers."""
    services = await configured(cluster, (ROOT / "deploy" / "compose" / "local.env").read_text())
    assert "http://ollama:11434/v1" == services["story"]["environment"]["CHAT_BASE_URL"]
    assert "http://kokoro:8880/v1" == services["voice"]["environment"]["SPEECH_BASE_URL"]
    assert set(services["ollama"]["networks"]) <= set(services["story"]["networks"])
    assert set(services["kokoro"]["networks"]) <= set(services["voice"]["networks"])
    assert not any("ports" in services[name] for name in ADDED["local"])


async def test_profile_supabase_gives_each_part_its_secrets_alone(cluster: Compose) -> None:
    """The password of the database does not reach the storage service; every run makes other secrets."""
    script = (sys.executable, str(cluster.folder / "deploy" / "compose" / "supabase-env"))
    lines, others = await cluster.run(*script), await cluster.run(*script)
    assert lines != others
    secrets = dict(re.findall(r"^(\w+)=(.*)$", lines, re.MULTILINE))
    services = await configured(cluster, lines)
    having = {
        key: {name for name, service in services.items() if secrets[key] in json.dumps(service)}
        for key in ("SUPABASE_KEY", "LOCAL_SUPABASE_JWT_SECRET", "LOCAL_SUPABASE_PASSWORD")
    }
    assert {"storage", "supabase-storage", "supabase-migrate"} == having["SUPABASE_KEY"]
    assert {"supabase-db", "supabase-storage", "supabase-rest"} == having["LOCAL_SUPABASE_JWT_SECRET"]
    assert {"supabase-db", "supabase-storage", "supabase-rest", "supabase-migrate"} == having["LOCAL_SUPABASE_PASSWORD"]
    assert "supabase" == services["storage"]["environment"]["STORAGE_BACKEND"]
    assert {"supabase", "storage-outward"} == set(services["supabase"]["networks"])
    assert not any("ports" in services[name] for name in ADDED["supabase"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
async def test_command_writes_as_the_owner_of_the_folder(cluster: Compose) -> None:
    """Not as root, which it starts as, nor as the user of the images."""
    out = cluster.folder / "out"
    os.chown(out, 12_345, 54_321)
    before = set(out.iterdir())
    await cluster("run", "--rm", "--no-TTY", "tale", "tell", "--name", "Mia", "--minutes", "1")
    written = set(out.iterdir()) - before
    assert {".md", ".mp3"} == {path.suffix for path in written}
    assert {(12_345, 54_321)} == {(path.stat().st_uid, path.stat().st_gid) for path in written}


async def test_command_draws_on_a_terminal_alone(cluster: Compose) -> None:
    """Its progress bar with colours, as outside of a container."""
    command = "docker compose run --rm tale tell --name Mia --minutes 1"
    plain = await cluster.run("bash", "-c", f"{command} 2>&1")
    shown = await cluster.run("script", "--quiet", "--return", "--command", f"{command} 2>/dev/null", "/dev/null")
    assert "\x1b[" not in plain
    assert "\x1b[" in shown
    assert "Wrote " in plain
    assert "Wrote " in shown


async def test_image_names_its_version_and_licence(cluster: Compose) -> None:
    """In the labels that registries and scanners read."""
    for name in ("gateway", "tale"):
        found = await cluster.run(
            "docker", "image", "inspect", "--format", "{{json .Config.Labels}}", f"{cluster.project}-{name}"
        )
        labels = {key.removeprefix("org.opencontainers.image."): value for key, value in json.loads(found).items()}
        assert "Apache-2.0" == labels["licenses"]
        assert {"title", "version", "revision", "source"} <= set(labels)


async def test_list_of_packages_is_that_of_the_lock(cluster: Compose, tmp_path: Path) -> None:
    """CycloneDX, by the target `sbom`."""
    image = cluster.environment.get("PYTHON_IMAGE", "python:3.12-slim")
    secret = f"id=pip,src={cluster.environment['PIP_CONFIG_FILE']}"
    command = shlex.split(f"docker build --build-arg PYTHON_IMAGE={image} --build-arg SERVICE=gateway --target sbom")
    await cluster.run(*command, "--secret", secret, "--output", str(tmp_path), ".")
    listed = json.loads((tmp_path / "sbom.cdx.json").read_text())
    assert "CycloneDX" == listed["bomFormat"]
    found = {f"{each['name'].lower().replace('_', '-')}=={each['version']}" for each in listed["components"]}
    lock = (cluster.folder / "requirements" / "gateway.txt").read_text()
    assert {"grpcio", "limits", "pyjwt"} <= {each.partition("==")[0] for each in found}
    assert found <= {pin.lower().replace("_", "-") for pin in re.findall(r"^[\w.-]+==[\w.]+", lock, re.MULTILINE)}
