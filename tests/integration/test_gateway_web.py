"""The gateway's HTTP port: its files, its RPCs as JSON, Connect and gRPC-Web, and whom it refuses."""

import asyncio
import io
import json
import socket
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
import trustme
from support.house import House, house

from gateway.door.keys import KeyFile
from gateway.settings import GatewaySettings
from servicekit.settings import ConfigurationError, load

BUF = Path(sys.executable).with_name("buf")
ROOT = Path(__file__).resolve().parents[2]
GATEWAY = "/tale.gateway.v1.GatewayService/"
JSON = {"content-type": "application/json"}
WISH = {"spec": {"child": {"name": "Mia", "age": 6}, "lengthMinutes": 1}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A cluster with a page, without authentication."""
    async with house(tmp_path_factory.mktemp("data"), web_listen="127.0.0.1:0") as it:
        yield it


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A browser's connections."""
    async with aiohttp.ClientSession() as session:
        yield session


async def call(
    http: aiohttp.ClientSession, url: str, path: str, message: Any, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """The status and the JSON of a response."""
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    async with http.post(url + path, data=data, headers={**JSON, **(headers or {})}) as answer:
        return answer.status, await answer.json()


async def run(*command: str) -> str:
    """The standard output of a command that must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT
    )
    out, err = await process.communicate()
    assert 0 == process.returncode, err.decode()
    return out.decode()


async def events(http: aiohttp.ClientSession, url: str, message: Any) -> AsyncGenerator[tuple[int, Any]]:
    """The flags and messages of TellStory in the Connect protocol, the end included, as they come."""
    body = json.dumps(message).encode()
    request = b"\0" + len(body).to_bytes(4, "big") + body
    headers = {"content-type": "application/connect+json"}
    async with http.post(f"{url}{GATEWAY}TellStory", data=request, headers=headers) as answer:
        assert 200 == answer.status
        while True:
            head = await answer.content.readexactly(5)
            yield head[0], json.loads(await answer.content.readexactly(int.from_bytes(head[1:], "big")))
            if head[0] & 2:
                return


async def test_curl_lists_stories(home: House) -> None:
    """As the documents say."""
    url = f"{home.url}{GATEWAY}ListStories"
    assert {} == json.loads(await run("curl", "-sf", "-H", "content-type: application/json", "-d", "{}", url))


@pytest.mark.parametrize("protocol", ["connect", "grpcweb"])
async def test_buf_curl_tells_a_story(home: House, protocol: str) -> None:
    """The same stream as over gRPC, up to `done`."""
    command = (str(BUF), "curl", "--schema", "protos", "--protocol", protocol, "-d", json.dumps(WISH))
    out = await run(*command, f"{home.url}{GATEWAY}TellStory")
    assert '"delta"' in out
    assert '"STORY_STATE_READY"' in out


async def test_stream_passes_each_event_on_at_once(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """Its first event comes while the story is being written; a caller that leaves ends the call, not the story."""
    async with house(tmp_path, words_per_second=20, web_listen="127.0.0.1:0") as it:
        following = events(http, it.url, WISH)
        _, first = await anext(following)
        story = await it.get(first["event"]["storyId"])
        assert "STORY_STATE_PENDING" == first["event"]["state"]["state"]
        assert not story.content
        await following.aclose()
        for _ in range(400):
            if ended := await it.calls("CANCELLED"):
                break
            await asyncio.sleep(0.05)
        assert 'grpc_method="TellStory"' in next(iter(ended))


async def test_errors_carry_reason_and_remedy_in_json(home: House, http: aiohttp.ClientSession) -> None:
    """The details of gRPC, which can be read without their descriptors."""
    status, error = await call(http, home.url, f"{GATEWAY}GetStory", {"storyId": "x"}, {"x-request-id": "mine"})
    assert 400 == status
    assert "invalid_argument" == error["code"]
    info, violations = (each["debug"] for each in error["details"])
    assert "VALIDATION_FAILED" == info["reason"]
    assert info["metadata"]["remedy"]
    assert ["story_id"] == [each["field"] for each in violations["fieldViolations"]]


@pytest.mark.parametrize("message", [b"{", b'{"filtr": {}}', b'{"pageSize": "many"}', b"[" * 100_000, b"\xff"])
async def test_malformed_message_is_a_violation(home: House, http: aiohttp.ClientSession, message: bytes) -> None:
    """A field that does not exist is one as well."""
    status, error = await call(http, home.url, f"{GATEWAY}ListStories", message)
    assert 400 == status
    assert "VALIDATION_FAILED" == error["details"][0]["debug"]["reason"]


async def test_message_has_a_bound(home: House, http: aiohttp.ClientSession) -> None:
    """It is refused before it is read."""
    body = io.BytesIO(b" " * (2 << 20))
    async with http.post(f"{home.url}{GATEWAY}ListStories", data=body, headers=JSON) as answer:
        assert 429 == answer.status
        assert "resource_exhausted" == (await answer.json())["code"]


async def test_request_id_and_deadline_pass(home: House, http: aiohttp.ClientSession) -> None:
    """The id comes back; a deadline that has passed is that of the call."""
    headers = {**JSON, "x-request-id": "request-of-mine"}
    async with http.post(f"{home.url}{GATEWAY}ListStories", data=b"{}", headers=headers) as answer:
        assert "request-of-mine" == answer.headers["x-request-id"]
    status, error = await call(http, home.url, f"{GATEWAY}ListStories", {}, {"connect-timeout-ms": "0"})
    assert (504, "deadline_exceeded") == (status, error["code"])


async def test_rpc_that_the_grpc_port_does_not_answer_is_not_found(home: House, http: aiohttp.ClientSession) -> None:
    """Those of the services behind it among them."""
    for path in ("/tale.storage.v1.StorageService/EraseChild", "/tale.voice.v1.VoiceService/SynthesizeSpeech"):
        async with http.post(home.url + path, data=b"{}", headers=JSON) as answer:
            assert answer.status in {404, 405}


async def test_page_is_revalidated_and_guarded(home: House, http: aiohttp.ClientSession) -> None:
    """No script but its own, no guessed types, no addresses to others; a file that is known is not sent again."""
    async with http.get(home.url) as answer:
        assert "text/html; charset=utf-8" == answer.headers["content-type"]
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "nosniff" == answer.headers["x-content-type-options"]
        assert "no-referrer" == answer.headers["referrer-policy"]
        assert "no-cache" == answer.headers["cache-control"]
        tag = answer.headers["etag"]
    async with http.get(home.url, headers={"if-none-match": tag}) as answer:
        assert 304 == answer.status
    async with http.get(f"{home.url}/../settings.py") as answer:
        assert 404 == answer.status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:1"}, 200),
        ({"host": "tales.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "[::"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
    ],
)
async def test_what_another_page_sends_is_refused(
    home: House, http: aiohttp.ClientSession, headers: dict[str, str], status: int
) -> None:
    """A name that was bound to this address, and another origin; there are no headers for other origins."""
    async with http.post(f"{home.url}{GATEWAY}ListStories", data=b"{}", headers={**JSON, **headers}) as answer:
        assert status == answer.status
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_own_page_and_own_url_are_allowed(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """Behind a proxy too."""
    settings: dict[str, Any] = {"web_listen": "127.0.0.1:0", "web_url": "https://tales.example"}
    async with house(tmp_path, **settings) as it:
        address = f"http://{it.servers['gateway'].server._app._web.address}"  # type: ignore[attr-defined]
        for headers in (
            {"origin": address},
            {"host": "tales.example", "origin": "https://tales.example"},
            {"origin": "https://tales.example"},
        ):
            status, _ = await call(http, address, f"{GATEWAY}ListStories", {}, headers)
            assert 200 == status


async def test_authentication_and_owners_hold(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """Those of the gRPC port: no key, a stranger's, and one's own."""
    keys = KeyFile(tmp_path / "keys.json")
    mia, ann = (f"Bearer {keys.create(owner)[0]}" for owner in ("mia", "ann"))
    settings: dict[str, Any] = {"auth": "api_key", "api_keys_file": tmp_path / "keys.json", "web_listen": "127.0.0.1:0"}
    async with house(tmp_path / "data", **settings) as it:
        status, error = await call(http, it.url, f"{GATEWAY}CreateStory", WISH)
        assert (401, "TOKEN_MISSING") == (status, error["details"][0]["debug"]["reason"])
        # A caller cannot say for whom it calls.
        headers = {"authorization": ann, "x-tale-owner": "mia"}
        _, made = await call(http, it.url, f"{GATEWAY}CreateStory", WISH, {"authorization": mia})
        wanted = {"storyId": made["story"]["id"]}
        assert 404 == (await call(http, it.url, f"{GATEWAY}GetStory", wanted, headers))[0]
        assert 200 == (await call(http, it.url, f"{GATEWAY}GetStory", wanted, {"authorization": mia}))[0]
        # The page itself is no secret, and with authentication any name will do.
        async with http.get(it.url, headers={"host": "tales.example"}) as answer:
            assert 200 == answer.status


async def test_drain_ends_streams_with_reconnect(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """As over gRPC."""
    async with house(tmp_path, words_per_second=5, web_listen="127.0.0.1:0") as it:
        following = events(http, it.url, WISH)
        await anext(following)
        draining = asyncio.create_task(it.servers["gateway"].server.drain())
        flags, end = [each async for each in following][-1]
        assert flags & 2
        assert "unavailable" == end["error"]["code"]
        assert "RECONNECT" == end["error"]["details"][0]["debug"]["reason"]
        await draining


async def test_tls_is_that_of_the_grpc_port(tmp_path: Path) -> None:
    """A certificate that changes is the new one at the next connection."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"

    def issue() -> ssl.SSLContext:
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        chain.write_bytes(certificate.cert_chain_pems[0].bytes())
        key.write_bytes(certificate.private_key_pem.bytes())
        trusted = ssl.create_default_context()
        authority.configure_trust(trusted)
        return trusted

    settings: dict[str, Any] = {"web_listen": "127.0.0.1:0", "tls_cert_file": chain, "tls_key_file": key}
    trusted = issue()
    async with house(tmp_path / "data", **settings) as it:
        assert it.url.startswith("https://")
        for _ in range(2):
            async with aiohttp.ClientSession() as session, session.get(it.url, ssl=trusted) as answer:
                assert 200 == answer.status
            trusted = issue()


async def test_address_that_was_set_must_be_free(tmp_path: Path) -> None:
    """The default one may be another program's: then there is no page, and the status says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=f"GATEWAY_WEB_LISTEN: {listen} is in use"):
            async with house(tmp_path / "set", web_listen=listen):
                pass
        async with house(tmp_path / "default") as it:
            settings = it.gateway_settings.model_copy(update={"web_listen": listen})
            settings.model_fields_set.discard("web_listen")
            async with it.another_gateway() as _:
                pass
            it.gateway_settings = settings
            async with it.another_gateway() as other:
                status = await other.status()
                assert any("GATEWAY_WEB_LISTEN" in each for each in status.services[0].warnings)
                assert "" == other.url


def test_page_beyond_this_machine_needs_authentication(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the gRPC port does."""
    monkeypatch.setenv("GATEWAY_WEB_LISTEN", "0.0.0.0:8080")
    with pytest.raises(ConfigurationError, match="GATEWAY_WEB_LISTEN must be a loopback address"):
        load(GatewaySettings)
    monkeypatch.setenv("GATEWAY_AUTH", "api_key")
    assert "0.0.0.0:8080" == load(GatewaySettings).web_listen


def test_page_is_off_where_its_address_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset, it has the default one."""
    assert "" == load(GatewaySettings).web_listen
    monkeypatch.delenv("GATEWAY_WEB_LISTEN")
    assert "127.0.0.1:8080" == load(GatewaySettings).web_listen


async def test_requests_are_counted(home: House, http: aiohttp.ClientSession) -> None:
    """By part and status, among the metrics of the process."""
    await call(http, home.url, f"{GATEWAY}ListStories", {})
    async with http.get(f"http://{home.servers['gateway'].server.ops_address}/metrics") as answer:
        assert 'http_requests_total{code="200",part="rpc"}' in await answer.text()


async def test_request_without_a_path_is_answered(home: House) -> None:
    """`OPTIONS *` asks about the server, and is no defect of it."""
    place = urlsplit(home.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(f"OPTIONS * HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode())
    status = await reader.readline()
    writer.close()

    assert status.split()[1] in {b"404", b"405"}
