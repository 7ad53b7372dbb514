"""What a caller sees of a call, of every kind, whatever its handler does."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from pydantic import SecretStr
from support.rpcs import KINDS, SERVICE, Context, RawApp, answer, call, failure
from support.servers import running

from servicekit.authentication import Anonymous
from servicekit.channel import PeerChannel, open_channel
from servicekit.context import Caller, current
from servicekit.errors import DomainError, FieldViolation, not_found, unavailable, validation_failed
from servicekit.ids import is_id
from servicekit.settings import ServiceSettings
from servicekit.status import from_rpc_error
from tale.common.v1 import status_pb2

SECRET = "/home/mia/secret path"  # noqa: S105 - what must not get out
every_kind = pytest.mark.parametrize("kind", KINDS)
# Without a stream of requests: a client of grpc.aio that is sending may lose a status that the kit did not send.
single_request = pytest.mark.parametrize("kind", ["UnaryUnary", "UnaryStream", "Writer"])


def raw(kind: Callable[..., Any], method: str) -> Any:
    """A method that takes and gives bytes."""
    return kind(method)


def everything(error: grpc.aio.AioRpcError) -> str:
    """All that a caller can read of an error."""
    return f"{error!r} {error.details()} {error.debug_error_string()} {error.trailing_metadata()}"


@every_kind
async def test_an_answer_comes_through(kind: str) -> None:
    """A handler that succeeds is not changed by the kit."""

    async def behaviour(_: Context) -> bytes:
        return b"fine"

    async with running(RawApp(behaviour)) as service:
        assert b"fine" == await answer(service.channel, kind)


@every_kind
async def test_a_defect_tells_nothing_but_its_correlation_id(kind: str) -> None:
    """An unexpected exception is INTERNAL with the request id, without text, type or path."""

    async def behaviour(_: Context) -> bytes:
        raise RuntimeError(SECRET) from OSError(SECRET)

    async with running(RawApp(behaviour)) as service:
        error = await failure(service.channel, kind, metadata=[("x-request-id", "req-1")])
    seen = from_rpc_error(error)

    assert grpc.StatusCode.INTERNAL is error.code()
    assert ("INTERNAL", {"correlation_id": "req-1"}) == (seen.reason, seen.metadata)
    assert re.search(r"secret|RuntimeError|OSError|\.py", everything(error)) is None


@every_kind
async def test_a_defect_is_logged_by_type_and_frames_alone(kind: str) -> None:
    """The log knows where a defect is; the exception's text, which may be a user's, is not in it."""

    async def behaviour(_: Context) -> bytes:
        raise RuntimeError(SECRET)

    async with running(RawApp(behaviour)) as service:
        with structlog.testing.capture_logs() as lines:
            await failure(service.channel, kind)
    [line] = [line for line in lines if line["event"] == "unexpected error"]

    assert "builtins.RuntimeError" == line["errors"][0]["type"]
    assert line["errors"][0]["frames"][-1].endswith(" behaviour")
    assert SECRET not in repr(lines)


@every_kind
async def test_all_violations_arrive(kind: str) -> None:
    """BadRequest carries every violation, and the text names them all."""
    violations = (FieldViolation("spec.wish", "must be given"), FieldViolation("page_size", "must be from 0 to 100"))

    async def behaviour(_: Context) -> bytes:
        raise validation_failed(violations)

    async with running(RawApp(behaviour)) as service:
        seen = from_rpc_error(await failure(service.channel, kind))

    assert (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED", violations) == (
        seen.code,
        seen.reason,
        seen.violations,
    )
    assert "spec.wish must be given; page_size must be from 0 to 100" == seen.message


@every_kind
async def test_a_cancellation_within_the_handler_still_sends_a_status(kind: str) -> None:
    """A handler whose own inner task was cancelled fails the call; the caller does not wait for its deadline."""

    async def behaviour(_: Context) -> bytes:
        inner = asyncio.create_task(asyncio.Event().wait())
        inner.cancel()
        await inner
        return b"never"

    async with running(RawApp(behaviour)) as service:
        error = await failure(service.channel, kind)

    assert (grpc.StatusCode.INTERNAL, "INTERNAL") == (error.code(), from_rpc_error(error).reason)


@single_request
async def test_a_handlers_abort_passes(kind: str) -> None:
    """`context.abort` works as without the kit."""

    async def behaviour(context: Context) -> bytes:
        await context.abort(grpc.StatusCode.DATA_LOSS, "said by the handler")

    async with running(RawApp(behaviour)) as service:
        error = await failure(service.channel, kind)

    assert (grpc.StatusCode.DATA_LOSS, "said by the handler") == (error.code(), error.details())


@single_request
async def test_an_abort_within_a_task_group_passes(kind: str) -> None:
    """The group that wraps an AbortError does not turn the sent status into another."""

    async def behaviour(context: Context) -> bytes:
        async with asyncio.TaskGroup() as group:
            group.create_task(context.abort(grpc.StatusCode.DATA_LOSS, "said by the handler"))
        return b"never"

    with structlog.testing.capture_logs() as lines:
        async with running(RawApp(behaviour)) as service:
            error = await failure(service.channel, kind)

    assert grpc.StatusCode.DATA_LOSS is error.code()
    assert [] == [line for line in lines if line["event"] == "unexpected error"]


async def test_a_failure_after_an_abort_does_not_replace_it(caplog: pytest.LogCaptureFixture) -> None:
    """What a handler raises once it has aborted reaches nobody but the log."""

    async def behaviour(context: Context) -> bytes:
        try:
            await context.abort(grpc.StatusCode.DATA_LOSS, "said by the handler")
        except grpc.aio.AbortError:
            raise RuntimeError(SECRET) from None

    async with running(RawApp(behaviour)) as service:
        error = await failure(service.channel, "UnaryUnary")

    assert grpc.StatusCode.DATA_LOSS is error.code()
    assert SECRET not in everything(error)
    # gRPC itself has nothing to complain of.
    assert [] == caplog.records


@every_kind
async def test_a_domain_error_within_a_task_group_is_the_answer(kind: str) -> None:
    """Handlers may use task groups: the typed error of a member is what the caller gets."""

    async def missing() -> None:
        raise not_found("STORY_NOT_FOUND", "No such story.", story_id="1")

    async def behaviour(_: Context) -> bytes:
        async with asyncio.TaskGroup() as group:
            group.create_task(missing())
        return b"never"

    async with running(RawApp(behaviour)) as service:
        seen = from_rpc_error(await failure(service.channel, kind))

    assert ("STORY_NOT_FOUND", {"story_id": "1"}) == (seen.reason, seen.metadata)


async def test_a_group_with_a_defect_in_it_is_internal() -> None:
    """A typed error beside a defect does not hide the defect."""

    async def behaviour(_: Context) -> bytes:
        raise ExceptionGroup(SECRET, [not_found("STORY_NOT_FOUND", "No such story."), RuntimeError(SECRET)])

    async with running(RawApp(behaviour)) as service:
        error = await failure(service.channel, "UnaryUnary")

    assert grpc.StatusCode.INTERNAL is error.code()
    assert SECRET not in everything(error)


@every_kind
async def test_a_siblings_error_is_passed_on_as_it_was(kind: str) -> None:
    """A typed failure two services away arrives with reason, metadata and retry hint, not as a repr."""

    async def inner(_: Context) -> bytes:
        raise unavailable("CIRCUIT_OPEN", "The provider rests.", retry_after=2.5)

    async with running(RawApp(inner)) as sibling:

        async def outer(_: Context) -> bytes:
            return await answer(sibling.channel, "UnaryUnary")

        async with running(RawApp(outer)) as service:
            error = await failure(service.channel, kind)
    seen = from_rpc_error(error)

    assert (grpc.StatusCode.UNAVAILABLE, "CIRCUIT_OPEN", "The provider rests.", 2.5) == (
        seen.code,
        seen.reason,
        seen.message,
        seen.retry_after,
    )
    assert "AioRpcError" not in str(error.details())


async def test_a_sibling_that_is_gone_is_upstream_unavailable() -> None:
    """A transport error becomes a typed one with a retry hint and without addresses."""
    async with running(RawApp(None)) as sibling:  # type: ignore[arg-type] # is never called
        address = sibling.address

    async def outer(_: Context) -> bytes:
        async with open_channel(address, health_checked=False) as channel:
            return await answer(channel, "UnaryUnary", timeout=5)

    async with running(RawApp(outer)) as service:
        error = await failure(service.channel, "UnaryUnary")
    seen = from_rpc_error(error)

    assert ("UPSTREAM_UNAVAILABLE", 1.0) == (seen.reason, seen.retry_after)
    assert address not in everything(error)


async def test_a_defect_of_a_sibling_without_the_kit_gets_our_correlation_id() -> None:
    """A bare UNKNOWN, with the exception's text in it, becomes INTERNAL under the id that our log knows."""

    async def inner(*_: object) -> bytes:
        raise RuntimeError(SECRET)

    sibling = grpc.aio.server()
    handlers: dict[str, Any] = {"UnaryUnary": grpc.unary_unary_rpc_method_handler(inner)}
    sibling.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = sibling.add_insecure_port("127.0.0.1:0")
    await sibling.start()

    async def outer(_: Context) -> bytes:
        async with open_channel(f"127.0.0.1:{port}", health_checked=False) as channel:
            return await answer(channel, "UnaryUnary")

    async with running(RawApp(outer)) as service:
        error = await failure(service.channel, "UnaryUnary", metadata=[("x-request-id", "req-2")])
    await sibling.stop(None)
    seen = from_rpc_error(error)

    assert ("INTERNAL", {"correlation_id": "req-2"}) == (seen.reason, seen.metadata)
    assert SECRET not in everything(error)


async def test_a_caller_that_is_still_sending_learns_why_it_failed() -> None:
    """A client in the midst of its stream gets the typed error, every time, not its own library's INTERNAL."""

    async def behaviour(_: Context) -> bytes:
        raise not_found("STORY_NOT_FOUND", "No such story.")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 65_536

    async with running(RawApp(behaviour)) as service:
        codes = []
        for _ in range(20):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw(service.channel.stream_unary, f"/{SERVICE}/StreamUnary")(chunks(), timeout=10)
            codes.append(caught.value.code())

    assert [grpc.StatusCode.NOT_FOUND] * 20 == codes


async def test_a_caller_that_is_still_sending_what_breaks_the_rules_learns_why_it_failed() -> None:
    """The first message that breaks one is named, however many follow."""

    async def messages() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield status_pb2.ResetCircuitRequest(name="x" * 65_536).SerializeToString()

    async with running(Reader()) as service:
        codes = []
        for _ in range(20):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw(service.channel.stream_unary, f"/{SERVICE}/StreamUnary")(messages(), timeout=10)
            codes.append(caught.value.code())

    assert [grpc.StatusCode.INVALID_ARGUMENT] * 20 == codes


async def test_a_caller_that_sends_without_end_is_not_waited_for() -> None:
    """What the caller of a failed call still sends is read for a moment only."""

    async def behaviour(_: Context) -> bytes:
        raise not_found("STORY_NOT_FOUND", "No such story.")

    async with running(RawApp(behaviour)) as service:
        begun = raw(service.channel.stream_stream, f"/{SERVICE}/StreamStream")(timeout=60)
        await begun.write(b"and then nothing, nor an end")
        code = await asyncio.wait_for(begun.code(), 20)

    assert grpc.StatusCode.NOT_FOUND is code


async def test_an_unknown_method_is_a_rich_unimplemented() -> None:
    """Even a method that does not exist fails the typed way."""

    async def behaviour(_: Context) -> bytes:
        return b"fine"

    async with running(RawApp(behaviour)) as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw(service.channel.unary_unary, f"/{SERVICE}/Nothing")(b"", timeout=10)
    seen = from_rpc_error(caught.value)

    assert (grpc.StatusCode.UNIMPLEMENTED, "This server has no such method.") == (seen.code, seen.message)


async def test_bytes_that_are_no_message_are_the_callers_fault() -> None:
    """A request that does not parse is INVALID_ARGUMENT, in a unary call as anywhere."""

    async def behaviour(_: Context) -> bytes:
        return b"fine"

    async with running(RawApp(behaviour)) as service:
        reset = raw(service.channel.unary_unary, "/tale.common.v1.StatusService/ResetCircuit")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reset(b"\xff\xff\xff", timeout=10)
    seen = from_rpc_error(caught.value)

    assert (grpc.StatusCode.INVALID_ARGUMENT, "request") == (seen.code, seen.violations[0].field)


class Reader(RawApp):
    """Answers a stream of ResetCircuitRequests with their names."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type] # is never called
        self.names: list[str] = []

    def _handlers(self) -> dict[str, Any]:
        decode = status_pb2.ResetCircuitRequest.FromString
        return {"StreamUnary": grpc.stream_unary_rpc_method_handler(self._read, decode)}

    async def _read(self, requests: Any, _: Context) -> bytes:
        async for request in requests:
            self.names.append(request.name)
        return b""


async def test_a_malformed_message_in_a_stream_is_the_callers_fault() -> None:
    """A message that does not parse in mid-stream ends the call the same way."""
    async with running(Reader()) as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw(service.channel.stream_unary, f"/{SERVICE}/StreamUnary")(iter([b"\xff\xff\xff"]), timeout=10)

    assert grpc.StatusCode.INVALID_ARGUMENT is caught.value.code()


async def test_each_message_of_a_stream_is_validated_before_the_handler_sees_it() -> None:
    """By the rules in its .proto file."""
    reader = Reader()
    messages = [status_pb2.ResetCircuitRequest(name=name).SerializeToString() for name in ("one", "", "three")]
    async with running(reader) as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw(service.channel.stream_unary, f"/{SERVICE}/StreamUnary")(iter(messages), timeout=10)

    assert (FieldViolation("name", "must be given"),) == from_rpc_error(caught.value).violations
    assert ["one"] == reader.names


@every_kind
async def test_a_given_request_id_is_used_and_returned(kind: str) -> None:
    """The caller's request id is bound for the handler and comes back in the initial metadata."""

    async def behaviour(_: Context) -> bytes:
        return current().request_id.encode()

    async with running(RawApp(behaviour)) as service:
        begun = call(service.channel, kind, metadata=[("x-request-id", "mine-1")])
        metadata = dict(await begun.initial_metadata())
        given = await answer(service.channel, kind, metadata=[("x-request-id", "mine-1")])

    assert ("mine-1", b"mine-1") == (metadata["x-request-id"], given)


@pytest.mark.parametrize("unusable", ["", "a b", "a/../b", "x" * 129])
async def test_an_unusable_request_id_is_replaced(unusable: str) -> None:
    """What could spoil a log line or a path is replaced by a new UUIDv7."""

    async def behaviour(_: Context) -> bytes:
        return current().request_id.encode()

    async with running(RawApp(behaviour)) as service:
        given = await answer(service.channel, "UnaryUnary", metadata=[("x-request-id", unusable)])

    assert is_id(given.decode())


async def test_request_id_and_owner_go_across_services() -> None:
    """What a handler is bound to is what the service that it calls is bound to."""

    async def inner(_: Context) -> bytes:
        return f"{current().request_id} {current().owner}".encode()

    async with running(RawApp(inner)) as sibling:

        async def outer(_: Context) -> bytes:
            return await answer(PeerChannel(sibling.channel), "UnaryUnary")

        async with running(RawApp(outer)) as service:
            given = await answer(
                service.channel, "UnaryUnary", metadata=[("x-request-id", "r-7"), ("x-tale-owner", "mia")]
            )

    assert b"r-7 mia" == given


async def test_an_inner_service_takes_no_impossible_owner() -> None:
    """An owner's name that could be a path is refused, not taken for somebody else."""

    async def behaviour(_: Context) -> bytes:
        return b"fine"

    async with running(RawApp(behaviour)) as service:
        seen = from_rpc_error(await failure(service.channel, "UnaryUnary", metadata=[("x-tale-owner", "../mia")]))

    assert ("VALIDATION_FAILED", "x-tale-owner") == (seen.reason, seen.violations[0].field)


TOKENS = "the-present-secret-1,the-former-secret-2"


@pytest.mark.parametrize(
    ("sent", "refusal"),
    [
        (None, "callers use the gateway"),
        ("", "callers use the gateway"),
        ("the-present-secret", "different values of SERVICE_TOKEN"),
        ("the-present-secret-1,the-former-secret-2", "different values of SERVICE_TOKEN"),
        ("the-present-secret-1", ""),
        ("the-former-secret-2", ""),
    ],
)
async def test_a_guarded_port_answers_health_alone(sent: str | None, refusal: str) -> None:
    """Without the token of the cluster there is no call, no status and no list of what there is."""

    async def behaviour(_: Context) -> bytes:
        return current().owner.encode()

    metadata = [("x-tale-owner", "mia"), *([] if sent is None else [("x-tale-service-token", sent)])]
    paths = ("/tale.common.v1.StatusService/GetStatus", "/grpc.reflection.v1alpha.ServerReflection/None")
    async with running(RawApp(behaviour), settings=ServiceSettings(service_token=SecretStr(TOKENS))) as service:
        health = await raw(service.channel.unary_unary, "/grpc.health.v1.Health/Check")(b"", timeout=10)
        if not refusal:
            assert b"mia" == await answer(service.channel, "UnaryUnary", metadata=metadata)
            return
        refused = [await failure(service.channel, kind, metadata=metadata) for kind in KINDS]
        for path in paths:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw(service.channel.unary_unary, path)(b"", timeout=10, metadata=metadata)
            refused.append(caught.value)

    assert b"\x08\x01" == health
    assert {grpc.StatusCode.UNAUTHENTICATED} == {each.code() for each in refused}
    assert all(refusal in (each.details() or "") for each in refused)


async def test_services_call_each_other_with_the_token(tmp_path: Path) -> None:
    """The present one is sent; a caller with another one learns that the set-up is wrong, not its own credentials."""
    file = tmp_path / "token"
    file.write_text(TOKENS)
    settings = ServiceSettings(service_token_file=file)

    async def inner(_: Context) -> bytes:
        return current().owner.encode()

    async with running(RawApp(inner), settings=settings) as peer:
        tokens = (settings.peer_token, ServiceSettings(service_token=SecretStr("quite-another-secret")).peer_token)
        channels = iter(PeerChannel(peer.channel, token) for token in tokens)

        async def outer(_: Context) -> bytes:
            return await answer(next(channels), "UnaryUnary")

        async with running(RawApp(outer)) as service:
            given = await answer(service.channel, "UnaryUnary", metadata=[("x-tale-owner", "mia")])
            error = await failure(service.channel, "UnaryUnary")

    assert b"mia" == given
    assert (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_CONFIGURATION") == (
        error.code(),
        from_rpc_error(error).reason,
    )
    assert "SERVICE_TOKEN" in (error.details() or "")


async def test_an_anonymous_gateway_believes_nobody() -> None:
    """Without authentication everybody is "local", whatever metadata they send."""

    async def behaviour(_: Context) -> bytes:
        return current().owner.encode()

    async with running(RawApp(behaviour), authenticator=Anonymous()) as service:
        assert b"local" == await answer(service.channel, "UnaryUnary", metadata=[("x-tale-owner", "mia")])


@every_kind
async def test_an_authenticator_refuses(kind: str) -> None:
    """A caller whom the authenticator does not know never reaches the handler; health checks need no credentials."""
    reached = []

    class Nobody:
        async def authenticate(self, _method: str, _metadata: object) -> Caller:
            raise DomainError("TOKEN_MISSING", "No token was sent.")

    async def behaviour(_: Context) -> bytes:
        reached.append(1)
        return b"fine"

    async with running(RawApp(behaviour), authenticator=Nobody()) as service:
        error = await failure(service.channel, kind)
        health = await raw(service.channel.unary_unary, "/grpc.health.v1.Health/Check")(b"", timeout=10)

    assert (grpc.StatusCode.UNAUTHENTICATED, []) == (error.code(), reached)
    assert b"\x08\x01" == health


@every_kind
async def test_one_access_line_a_call(kind: str) -> None:
    """Method, code, reason and duration of a call are one line of the log."""

    async def behaviour(_: Context) -> bytes:
        raise not_found("STORY_NOT_FOUND", "No such story.")

    with structlog.testing.capture_logs() as lines:
        async with running(RawApp(behaviour)) as service:
            await failure(service.channel, kind)

    [line] = [line for line in lines if line["event"] == "call" and line["log_level"] == "info"]
    assert (f"/{SERVICE}/{kind}", "NOT_FOUND", "STORY_NOT_FOUND") == (line["method"], line["code"], line["reason"])
    assert line["duration_ms"] >= 0


async def test_a_caller_that_cancels_ends_the_handler() -> None:
    """A cancelled call cancels its handler, closes its generator and is logged as CANCELLED."""
    waiting, closed = asyncio.Event(), asyncio.Event()

    async def behaviour(_: Context) -> bytes:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()
        return b"never"

    async with running(RawApp(behaviour)) as service:
        with structlog.testing.capture_logs() as lines:
            begun = call(service.channel, "UnaryStream")
            await asyncio.wait_for(waiting.wait(), 10)
            begun.cancel()
            await asyncio.wait_for(closed.wait(), 10)
            await service.server.drain()

    assert ["CANCELLED"] == [line["code"] for line in lines if line.get("method") == f"/{SERVICE}/UnaryStream"]


async def test_a_caller_that_cancels_before_its_message_sent_nothing_malformed() -> None:
    """Such a call is logged as CANCELLED; one that ends without a message is INVALID_ARGUMENT."""

    async def behaviour(_: Context) -> bytes:
        return b"fine"

    async with running(RawApp(behaviour)) as service:
        method = raw(service.channel.stream_stream, f"/{SERVICE}/UnaryUnary")
        with structlog.testing.capture_logs() as lines:
            for _ in range(20):
                begun = method(timeout=10)
                await begun.wait_for_connection()
                await asyncio.sleep(0.01)
                begun.cancel()
            empty = method(timeout=10)
            await empty.done_writing()
            assert grpc.StatusCode.INVALID_ARGUMENT is await empty.code()
            await service.server.drain()

    codes = [line["code"] for line in lines if line.get("method") == f"/{SERVICE}/UnaryUnary"]
    assert {"CANCELLED", "INVALID_ARGUMENT"} == set(codes)
    assert 1 == codes.count("INVALID_ARGUMENT")


async def test_a_stream_that_nobody_reads_is_closed_within_its_call() -> None:
    """A generator that waits to be read has its `finally` run by the call's own task when the caller goes."""
    waiting, closed = asyncio.Event(), asyncio.Event()
    tasks: list[object] = []

    class Flood(RawApp):
        async def _stream(self, _request: object, _context: Context) -> AsyncIterator[bytes]:
            tasks.append(asyncio.current_task())
            try:
                while True:
                    waiting.set()
                    yield b"x" * 1_000_000
            finally:
                tasks.append(asyncio.current_task())
                closed.set()

    async with running(Flood(None)) as service:  # type: ignore[arg-type] # is never called
        begun = call(service.channel, "UnaryStream")
        await asyncio.wait_for(waiting.wait(), 10)
        begun.cancel()
        await asyncio.wait_for(closed.wait(), 10)

    assert tasks[0] is tasks[1]
