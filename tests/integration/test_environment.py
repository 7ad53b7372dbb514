"""What clients take from the environment: proxies that name others, never this machine, and certificates of a CA."""

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
import trustme
from aiohttp import web
from pydantic import SecretStr
from support.recording_proxy import recording_proxy
from support.rpcs import RawApp, answer
from support.servers import running

from servicekit.errors import DomainError
from servicekit.resilience.errors import ProviderError
from servicekit.secrets import SecretSource
from servicekit.settings import ConfigurationError
from storage_service.object_store.bucket import Bucket
from storage_service.object_store.config import BucketConfig
from storage_service.supabase.client import build
from storage_service.supabase.config import SupabaseConfig
from storage_service.supabase.errors import SupabaseError
from story_service.providers.chat.dialect import chat_server
from story_service.providers.chat.model import ServerChatModel
from tale_client import AsyncTaleClient, TaleClient, TaleError
from voice_service.ports import VoiceSettings
from voice_service.providers.elevenlabs.api import ElevenLabsConfig, Endpoint
from voice_service.providers.elevenlabs.client import ElevenLabsClient
from voice_service.providers.elevenlabs.models import SpeechCall
from voice_service.providers.openai_api import OpenAIClient

KEY: Final = SecretSource(SecretStr("a-secret-key"), name="KEY")
HOST: Final = "provider.example"
"""A name that only a proxy could look up."""
DEAD: Final = "http://127.0.0.1:9"
VARIABLES: Final = tuple(
    spelled for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY") for spelled in (name, name.lower())
)


async def _elevenlabs_speech(url: str) -> None:
    client = ElevenLabsClient(ElevenLabsConfig(key=KEY, base_url=url), lambda *_: None)
    call = SpeechCall(
        endpoint=Endpoint.STREAM,
        voice_id="v" * 20,
        model_id="m",
        text="Once.",
        settings=VoiceSettings(),
        language_code=None,
        previous_text=None,
        output_format="mp3_44100_128",
        enable_logging=None,
    )
    try:
        async with client.speech.request(call, "key"):
            pass
    finally:
        await client.aclose()


async def _elevenlabs_lists(url: str) -> None:
    client = ElevenLabsClient(ElevenLabsConfig(key=KEY, base_url=url), lambda *_: None)
    try:
        await client.models("key")
    finally:
        await client.aclose()


async def _speech(url: str) -> None:
    import openai  # noqa: PLC0415 - takes more than a second

    client = OpenAIClient(f"{url}/v1", KEY, provider="speech")
    try:
        await (await client.get()).audio.speech.create(model="m", voice="v", input="Once.")
    except openai.APIStatusError:
        pass
    finally:
        await client.aclose()


async def _chat(url: str) -> None:
    model = ServerChatModel(chat_server(f"{url}/v1"), KEY)
    try:
        await model.models(timeout=5)
    finally:
        await model.aclose()


async def _supabase(url: str) -> None:
    client = await build(SupabaseConfig(url, KEY))
    try:
        await client.bucket()
    finally:
        await client.close()


async def _s3(url: str) -> None:
    config = BucketConfig(
        bucket="tales",
        endpoint=url,
        access_key_id="a",
        secret_access_key="b",  # noqa: S106 - no server of the tests reads it
        retries=0,
    )
    await Bucket(config).get("x", 0, 1)


CLIENTS: Final[dict[str, Callable[[str], Awaitable[None]]]] = {
    "chat": _chat,
    "ElevenLabs, speech": _elevenlabs_speech,
    "ElevenLabs, lists": _elevenlabs_lists,
    "speech and transcription": _speech,
    "Supabase": _supabase,
    "S3": _s3,
}
every_client = pytest.mark.parametrize("call", CLIENTS.values(), ids=CLIENTS)
without_s3 = pytest.mark.parametrize("call", list(CLIENTS.values())[:-1], ids=list(CLIENTS)[:-1])


@dataclass(slots=True)
class TlsServer:
    """A server with a certificate of a CA of its own that answers everything with 404."""

    port: int = 0
    ca: trustme.CA = field(default_factory=trustme.CA)
    calls: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Notes the call."""
        self.calls.append(request.host)
        return web.json_response({"error": "not found"}, status=404)


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TlsServer]:
    """A server whose CA the environment names; of proxies the environment names none."""
    for name in (*VARIABLES, "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    async with _tls_server() as serving:
        serving.ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        yield serving


@asynccontextmanager
async def _tls_server() -> AsyncIterator[TlsServer]:
    serving = TlsServer()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.ca.issue_cert(HOST, "localhost").configure_cert(context)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", serving.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    serving.port = runner.addresses[0][1]
    try:
        yield serving
    finally:
        await runner.cleanup()


async def _called(call: Callable[[str], Awaitable[None]], url: str) -> None:
    """Makes the call, whose answer is 404."""
    with suppress(ProviderError, SupabaseError, DomainError):
        await call(url)


@every_client
async def test_a_private_ca_is_trusted(server: TlsServer, call: Callable[[str], Awaitable[None]]) -> None:
    """SSL_CERT_FILE names it: the call arrives."""
    await _called(call, f"https://localhost:{server.port}")

    assert [f"localhost:{server.port}"] == server.calls


@every_client
async def test_another_ca_is_not_trusted(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch, call: Callable[[str], Awaitable[None]]
) -> None:
    """Without the variable no call arrives, so that the test above shows what it says."""
    monkeypatch.delenv("SSL_CERT_FILE")
    with suppress(Exception):
        await _called(call, f"https://localhost:{server.port}")

    assert [] == server.calls


@every_client
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_other_hosts_are_called_through_the_proxy(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch, call: Callable[[str], Awaitable[None]], variable: str
) -> None:
    """By any of the variables; the certificate is still checked."""
    async with recording_proxy(f"127.0.0.1:{server.port}") as proxy:
        monkeypatch.setenv(variable, proxy.url)
        await _called(call, f"https://{HOST}")

    assert [f"{HOST}:443"] == proxy.asked
    assert [HOST] == server.calls


@without_s3
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks"])
async def test_a_socks_proxy_is_used(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch, call: Callable[[str], Awaitable[None]], scheme: str
) -> None:
    """As ALL_PROXY names it; `socks` is what desktops write."""
    async with recording_proxy(f"127.0.0.1:{server.port}") as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.socks_url.replace("socks5", scheme))
        await _called(call, f"https://{HOST}")

    assert [f"{HOST}:443"] == proxy.asked
    assert [HOST] == server.calls


@every_client
async def test_this_machine_is_called_without_a_proxy(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch, call: Callable[[str], Awaitable[None]]
) -> None:
    """Whatever the environment names."""
    for name in VARIABLES[:6]:
        monkeypatch.setenv(name, DEAD)
    await _called(call, f"https://localhost:{server.port}")

    assert [f"localhost:{server.port}"] == server.calls


async def test_peer_services_are_called_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the channels of the services and of the client library, of both kinds."""
    for name in (*VARIABLES[:6], "grpc_proxy"):
        monkeypatch.setenv(name, DEAD)

    async def behave(_: object) -> bytes:
        return b"here"

    def called(target: str) -> str:
        with TaleClient(target) as client, pytest.raises(TaleError) as caught:
            client.system_status()
        return caught.value.code.name

    async with running(RawApp(behave)) as service, AsyncTaleClient(service.address) as client:
        assert b"here" == await answer(service.channel, "UnaryUnary")
        # It arrives at a service that has no such method.
        with pytest.raises(TaleError) as caught:
            await client.system_status()
        assert "UNIMPLEMENTED" == caught.value.code.name
        assert "UNIMPLEMENTED" == await asyncio.to_thread(called, service.address)


async def test_s3_behind_a_socks_proxy_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client knows HTTP proxies alone; the error names what to set."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:1080")

    with pytest.raises(
        ConfigurationError, match=r"AUDIO_STORE_URL.* HTTPS_PROXY .*NO_PROXY to s3\.eu\.example$"
    ) as caught:
        Bucket(BucketConfig(bucket="tales", endpoint="https://s3.eu.example"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("service", ["gateway", "story_service", "voice_service", "storage_service"])
async def test_certificates_that_are_not_there_stop_a_service_at_the_start(tmp_path: Path, service: str) -> None:
    """With one line that names the variable, its value, what is wrong and what to set."""
    missing = tmp_path / "none.pem"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        service,
        cwd=tmp_path,
        env={**os.environ, "SSL_CERT_FILE": str(missing)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(process.communicate(), 60)

    assert 2 == process.returncode
    (line,) = err.decode().splitlines()
    assert line.endswith(
        f": SSL_CERT_FILE is {missing}, which cannot be read (No such file or directory); "
        "set SSL_CERT_FILE to a file with certificates in PEM, or unset it"
    )
