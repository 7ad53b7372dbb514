"""`tale demo` and `tale up` with the four real services."""

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme
from google.protobuf.json_format import Parse
from support.cutting_proxy import cutting_proxy

from tale.common.v1 import common_pb2
from tale_client import AsyncTaleClient
from tale_cluster.commands import QUIET
from tale_cluster.layout import GATEWAY, Layout

SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]


async def start(folder: Path, environ: Mapping[str, str], *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tale_client",
        *arguments,
        cwd=folder,
        env={**environ, "PYTHONIOENCODING": "utf-8"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def environment() -> dict[str, str]:
    """Returns this environment without settings of the services."""
    prefixes = ("GATEWAY_", "STORY_", "VOICE_", "STORAGE_", "TALE_", "OPENROUTER_", "ELEVENLABS_", "SPEECH_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


async def test_demo_creates_a_story_without_any_key(tmp_path: Path) -> None:
    """Text, both files, the embedded parts with the settings that replace them, exit code 0."""
    environ = {**environment(), "TALE_DEMO_NAME": "Ann", "TALE_DEMO_MINUTES": "1", "TALE_DEMO_AGE": ""}
    async with asyncio.timeout(SECONDS):
        process = await start(tmp_path, environ, "demo", "--interests", "owls, rain")
        out, err = await process.communicate()
    assert 0 == process.returncode
    assert b"" == (err if process.returncode else b"")
    text = out.decode()
    assert "Ann" in text
    for variable in ("OPENROUTER_API_KEY", "ELEVENLABS_API_KEY", "SUPABASE_URL"):
        assert variable in text
    (document,) = (tmp_path / "out").glob("*.md")
    (sound,) = (tmp_path / "out").glob("*.mp3")
    assert document.stem == sound.stem
    assert "- Child: Ann, 6\n" in document.read_text()
    # About a minute at 128 kbit/s.
    assert 400_000 < sound.stat().st_size < 2_500_000
    assert "serving" in (tmp_path / "data" / "demo.log").read_text()


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "socks4://127.0.0.1:9"])
async def test_demo_works_where_proxies_are_set(tmp_path: Path, proxy: str) -> None:
    """Nothing that stays on this machine goes through one, whether it answers or not."""
    names = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
    proxies = {spelled: proxy for name in names for spelled in (name, name.upper())}
    async with asyncio.timeout(SECONDS):
        process = await start(tmp_path, {**environment(), **proxies}, "demo", "--minutes", "1", "--json")
        out, _ = await process.communicate()
    assert common_pb2.STORY_STATE_READY == Parse(out, common_pb2.Story()).state


async def test_demo_says_which_certificates_are_missing(tmp_path: Path) -> None:
    """The line of the service that does not start."""
    async with asyncio.timeout(SECONDS):
        process = await start(tmp_path, {**environment(), "SSL_CERT_FILE": "none.pem"}, "demo", "--minutes", "1")
        _, err = await process.communicate()
    assert 0 != process.returncode
    assert "SSL_CERT_FILE is none.pem, which cannot be read" in err.decode()


async def test_demo_with_json_prints_the_story_alone(tmp_path: Path) -> None:
    """Standard output is protobuf JSON; progress, notes and embedded parts go to standard error."""
    async with asyncio.timeout(SECONDS):
        process = await start(tmp_path, environment(), "demo", "--minutes", "1", "--json")
        out, err = await process.communicate()
    assert 0 == process.returncode
    story = Parse(out, common_pb2.Story())
    assert common_pb2.STORY_STATE_READY == story.state
    for said in ("Written 100 %", "Narrated 100 %", "OPENROUTER_API_KEY"):
        assert said in err.decode()


def test_up_names_loggers_that_exist() -> None:
    """A logger that is renamed would fill the terminal again."""
    for name in (each.partition("=")[0] for each in QUIET.split(",")):
        folder = ROOT / name.partition(".")[0]
        named = any(f'get_logger("{name}")' in path.read_text() for path in folder.rglob("*.py"))
        assert named or (ROOT / name.replace(".", "/")).with_suffix(".py").exists()


async def test_up_serves_until_sigterm(tmp_path: Path) -> None:
    """Announces itself, ends on SIGTERM with exit code 0; a story is complete over cut connections."""
    layout = Layout.on_free_ports()
    async with asyncio.timeout(SECONDS):
        process = await start(tmp_path, layout.environment(environment()), "up")
        assert process.stdout is not None
        announced = (await process.stdout.readuntil(b"Stop: Ctrl-C\n")).decode()
        assert layout[GATEWAY].listen in announced
        async with AsyncTaleClient(layout[GATEWAY].listen) as client:
            status = await client.system_status()
        assert status.healthy
        assert 4 == len(status.services)
        async with (
            cutting_proxy(layout[GATEWAY].listen, [2_000, 40_000, 400_000]) as proxy,
            AsyncTaleClient(proxy.target) as client,
        ):
            spec = common_pb2.StorySpec(child=common_pb2.Child(name="Ann"), length_minutes=2)
            events = [event async for event in client.tell(spec, include_audio=True)]
            assert 0 == proxy.left
            kept = events[-1].done.story
            sound = b"".join([chunk async for chunk in client.read_audio(kept.id)])
        assert kept.content == "".join(event.text.delta for event in events)
        assert sound == b"".join(event.audio.chunk for event in events)
        assert kept.audio.sha256 == hashlib.sha256(sound).digest()
        process.send_signal(signal.SIGTERM)
        out, err = await process.communicate()
    assert 0 == process.returncode
    assert b"" == err
    assert out.decode().endswith("Stopped.\n")
    assert b"upstream call" not in out


@pytest.mark.parametrize("name", ["127.0.0.1", "tale.example"])
async def test_up_with_a_certificate_announces_itself(tmp_path: Path, name: str) -> None:
    """Also where the certificate is for another name than the address on this machine."""
    certificate = trustme.CA().issue_cert(name)
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(certificate.cert_chain_pems[0].bytes())
    key.write_bytes(certificate.private_key_pem.bytes())
    tls = {"GATEWAY_TLS_CERT_FILE": str(chain), "GATEWAY_TLS_KEY_FILE": str(key)}
    async with asyncio.timeout(SECONDS):
        process = await start(tmp_path, {**Layout.on_free_ports().environment(environment()), **tls}, "up")
        assert process.stdout is not None
        announced = (await process.stdout.readuntil(b"Stop: Ctrl-C\n")).decode()
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert 0 == process.returncode
    assert f"--tls-ca {chain} --name Mia" in announced
    assert ("Could not read the status" in announced) == (name == "tale.example")


async def test_up_with_authentication_leaves_no_refusal_in_the_audit_log(tmp_path: Path) -> None:
    """The supervisor has no key, and makes no call that needs one."""
    environ = {**Layout.on_free_ports().environment(environment()), "GATEWAY_AUTH": "api_key", "LOG_LEVEL": "INFO"}
    async with asyncio.timeout(SECONDS):
        process = await start(tmp_path, environ, "up")
        assert process.stdout is not None
        announced = (await process.stdout.readuntil(b"Stop: Ctrl-C\n")).decode()
        process.send_signal(signal.SIGTERM)
        out, _ = await process.communicate()
    assert 0 == process.returncode
    assert "tale keys create NAME" in announced
    assert "UNAUTHENTICATED" not in announced + out.decode()
