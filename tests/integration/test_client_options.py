"""Metadata, request ids, the one deadline and refused connections of both clients."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
import pytest
import trustme
from support.scripted_gateway import Failure, ScriptedGateway, scripted_gateway

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client import AsyncTaleClient, TaleClient, TaleError

ID = "0197a5a0-0000-7000-8000-000000000001"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ANSWER = gateway_pb2.GetStoryResponse(story=common_pb2.Story(id=ID))
DONE = gateway_pb2.StoryEvent(story_id=ID, done=gateway_pb2.DoneEvent(story=common_pb2.Story(id=ID)))

Reading = Callable[..., Awaitable[TaleError | None]]


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as scripted:
        yield scripted


async def read(target: str, *, call: Mapping[str, Any], **options: Any) -> TaleError | None:
    """Reads and watches a story; `call`: options of these calls."""
    async with AsyncTaleClient(target, **options) as client:
        try:
            await client.with_options(**call).get_story(ID)
            _ = [event async for event in client.with_options(**call).watch(ID)]
        except TaleError as error:
            return error
    return None


async def read_in_thread(target: str, *, call: Mapping[str, Any], **options: Any) -> TaleError | None:
    """Does the same without an event loop."""

    def work() -> TaleError | None:
        with TaleClient(target, **options) as client:
            try:
                client.with_options(**call).get_story(ID)
                list(client.with_options(**call).watch(ID))
            except TaleError as error:
                return error
        return None

    return await asyncio.to_thread(work)


both = pytest.mark.parametrize("reading", [read, read_in_thread])


@both
async def test_metadata_of_client_and_call_reach_the_gateway(gateway: ScriptedGateway, reading: Reading) -> None:
    """With unary calls and streams; names in lower case, as gRPC wants them."""
    gateway.queue("GetStory", ANSWER)
    gateway.queue("WatchStory", gateway_pb2.WatchStoryResponse(event=DONE))
    call = {"metadata": {"Traceparent": TRACE, "x-request-id": "mine"}}
    assert await reading(gateway.target, metadata={"x-tenant": "a"}, call=call) is None
    for sent in [each for each in gateway.metadata if "x-tenant" in each]:
        assert TRACE == sent["traceparent"]
        assert "mine" == sent["x-request-id"]
    assert 2 == len([each for each in gateway.metadata if each.get("x-tenant") == "a"])


@both
async def test_error_has_the_request_id_of_its_call(gateway: ScriptedGateway, reading: Reading) -> None:
    """The one that the logs of the services have, whether the client made it or the caller."""
    gateway.queue("GetStory", Failure(grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND"))
    error = await reading(gateway.target, call={})
    assert error is not None
    assert gateway.metadata[-1]["x-request-id"] == error.request_id
    gateway.queue("GetStory", ANSWER)
    gateway.queue("WatchStory", Failure(grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND"))
    error = await reading(gateway.target, call={"metadata": {"x-request-id": "mine"}})
    assert error is not None
    assert "mine" == error.request_id


@both
async def test_timeout_ends_the_repetitions(gateway: ScriptedGateway, reading: Reading) -> None:
    """Attempts do not: a service that is down for a moment is waited for, one that stays down for the timeout."""
    gateway.answer("GetStory", lambda _: [Failure(grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE")])
    begin = time.monotonic()
    error = await reading(gateway.target, call={"timeout": 1.5})
    assert error is not None
    assert "STORAGE_UNAVAILABLE" == error.reason
    assert time.monotonic() - begin < 5
    assert error.attempts == len(gateway.requests("GetStory")) > 2


@both
async def test_timeout_bounds_the_wait_for_the_gateway(reading: Reading) -> None:
    """A longer connect timeout does not extend it."""
    begin = time.monotonic()
    error = await reading("127.0.0.1:1", call={"timeout": 0.3}, connect_timeout=30)
    assert error is not None
    assert "GATEWAY_UNREACHABLE" == error.reason
    assert "" == error.request_id
    assert time.monotonic() - begin < 5


@both
@pytest.mark.parametrize(
    ("name", "trusted", "said"),
    [
        ("127.0.0.1", False, "is not signed by a trusted authority"),
        ("example.org", True, "is for another name"),
        ("", True, "has no TLS"),
    ],
)
async def test_refused_certificate_is_said_at_once(*, reading: Reading, name: str, trusted: bool, said: str) -> None:
    """It does not look like a gateway that is down, and is not waited for."""
    authority = trustme.CA()
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    if name:
        issued = authority.issue_cert(name)
        pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    known = authority if trusted else trustme.CA()
    credentials = grpc.ssl_channel_credentials(known.cert_pem.bytes())
    begin = time.monotonic()
    error = await reading(f"127.0.0.1:{port}", call={}, credentials=credentials, connect_timeout=30)
    await server.stop(None)
    assert error is not None
    assert "TLS_FAILED" == error.reason
    assert said in error.message
    assert time.monotonic() - begin < 5


@both
async def test_port_that_closes_connections_may_have_tls(reading: Reading) -> None:
    """The error for a plain connection to it says so."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    error = await reading(f"127.0.0.1:{port}", call={}, connect_timeout=1)
    await server.stop(None)
    assert error is not None
    assert "GATEWAY_UNREACHABLE" == error.reason
    assert "it may have TLS" in error.message


@pytest.mark.parametrize("client", [AsyncTaleClient, TaleClient])
@pytest.mark.parametrize("target", ["gateway", "dns:///gateway", "10.0.0.1", "[::1]"])
def test_target_without_a_port_is_refused(client: type[AsyncTaleClient | TaleClient], target: str) -> None:
    """gRPC would use 443."""
    with pytest.raises(TaleError, match="has no port") as caught:
        client(target)
    assert "target" == caught.value.violations[0].field


def test_target_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable."""
    monkeypatch.setenv("GATEWAY_TARGET", "gateway")
    with pytest.raises(TaleError, match="GATEWAY_TARGET 'gateway' has no port"):
        TaleClient()


@pytest.mark.parametrize("target", ["gateway:50051", "dns:///gateway:1", "unix:/run/tale.sock", "[::1]:50051"])
def test_target_with_a_port_or_a_path_is_taken(target: str) -> None:
    """The forms of gRPC."""
    with TaleClient(target) as client:
        assert target == client.target


async def test_client_says_what_it_waits_for(gateway: ScriptedGateway) -> None:
    """While the gateway is away, and nothing when it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        target = f"127.0.0.1:{free.getsockname()[1]}"
    async with AsyncTaleClient(target, connect_timeout=0.2) as away:
        with pytest.raises(TaleError):
            await away.get_story(ID)
        waiting = away.waiting
    assert waiting is not None
    assert "GATEWAY_UNREACHABLE" == waiting[1].reason
    assert waiting[0] > 0
    gateway.queue("GetStory", ANSWER)
    async with AsyncTaleClient(gateway.target) as client:
        await client.get_story(ID)
        assert client.waiting is None
