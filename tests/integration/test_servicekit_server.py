"""The life of a server: start, health, reflection, status, drain."""

import asyncio
from typing import Any, cast

import grpc
import pytest
from aiohttp import ClientSession
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support.rpcs import SERVICE, Behaviour, Context, RawApp, answer, call, failure
from support.servers import running

from servicekit.app import Description
from servicekit.channel import open_channel
from servicekit.metrics import Metrics
from servicekit.resilience.manager import BreakerManager
from servicekit.server import Server
from servicekit.settings import ConfigurationError, ServiceSettings
from servicekit.status import from_rpc_error
from servicekit.version import VERSION
from tale.common.v1 import status_pb2, status_pb2_grpc

STATUS_SERVICE = "tale.common.v1.StatusService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def fine(_: Context) -> bytes:
    """A behaviour without events."""
    return b"fine"


class Recorder(RawApp):
    """Writes down what the kit asks of it; holds `start` and calls until it is let go on."""

    def __init__(self, behaviour: Behaviour = fine) -> None:
        super().__init__(behaviour)
        self.said: list[str] = []
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.starting = asyncio.Event()
        self.begun = asyncio.Event()
        self.draining = asyncio.Event()
        self.may_end = asyncio.Event()

    async def start(self) -> None:
        """Waits for `may_start`."""
        self.starting.set()
        await self.may_start.wait()
        self.said.append("start")

    async def begin_drain(self) -> None:
        """Tells that the drain has begun."""
        self.said.append("begin_drain")
        self.draining.set()

    async def stop(self) -> None:
        """Only notes it."""
        self.said.append("stop")

    async def until_told(self, _: Context) -> bytes:
        """A behaviour: answers once `may_end` is set."""
        self.begun.set()
        await self.may_end.wait()
        return b"told"

    async def until_drain(self, _: Context) -> bytes:
        """A behaviour: answers once the server drains."""
        self.begun.set()
        await self.draining.wait()
        self.said.append("call ended")
        return b"ended by itself"

    async def forever(self, _: Context) -> bytes:
        """A behaviour: never answers."""
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.said.append("call cut")
        return b"never"


def recorder(behaviour: str) -> Recorder:
    """A Recorder that answers by one of its own behaviours."""
    app = Recorder()
    app._behaviour = getattr(app, behaviour)
    return app


def health_stub(channel: grpc.aio.Channel) -> Any:
    """The library's stub, whose methods its types do not know."""
    return health_pb2_grpc.HealthStub(channel)


async def check(channel: grpc.aio.Channel, service: str = "") -> int:
    """Health of one service."""
    response = await health_stub(channel).Check(
        health_pb2.HealthCheckRequest(service=service), timeout=10, wait_for_ready=True
    )
    return int(response.status)


async def test_health_is_told_per_service() -> None:
    """Health knows the whole server and each service by name, and no other."""
    async with running(RawApp(fine)) as service:
        known = [await check(service.channel, name) for name in ("", SERVICE, STATUS_SERVICE, "grpc.health.v1.Health")]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(service.channel, "test.Unknown")

    assert [SERVING] * 4 == known
    assert grpc.StatusCode.NOT_FOUND is caught.value.code()


async def test_not_serving_until_the_app_has_started() -> None:
    """While the app starts, health says NOT_SERVING, /readyz 503, and a call that comes waits for the start."""
    app = Recorder()
    app.may_start.clear()
    server = Server(app, ServiceSettings(drain_seconds=1), service="test")
    start = asyncio.create_task(server.start())
    await asyncio.wait_for(app.starting.wait(), 10)
    try:
        async with (
            open_channel(server.address, health_checked=False) as channel,
            ClientSession(f"http://{server.ops_address}") as http,
        ):
            early = asyncio.create_task(answer(channel, "UnaryUnary"))
            before = await check(channel), await check(channel, SERVICE), (await http.get("/readyz")).status
            alive = (await http.get("/healthz")).status
            answered_early = early.done()
            app.may_start.set()
            await start
            after = await check(channel), await check(channel, SERVICE), (await http.get("/readyz")).status
            given = await early
    finally:
        app.may_start.set()
        await start
        await server.drain()

    assert (NOT_SERVING, NOT_SERVING, 503) == before
    assert 200 == alive
    assert (SERVING, SERVING, 200) == after
    assert (False, b"fine") == (answered_early, given)


async def test_an_app_that_can_not_start_takes_nothing_with_it() -> None:
    """The app's error comes out of `start`, the app is stopped, and the ports are free again."""

    class Broken(Recorder):
        async def start(self) -> None:
            raise ConfigurationError("TALE_DATA_DIR is not writable; set it to a folder that is")

    app = Broken()
    server = Server(app, ServiceSettings(), service="test")
    with pytest.raises(ConfigurationError):
        await server.start()

    again = ServiceSettings(listen=server.address, ops_listen=server.ops_address, drain_seconds=1)
    async with running(RawApp(fine), settings=again) as service:
        assert b"fine" == await answer(service.channel, "UnaryUnary")
    assert ["stop"] == app.said


@pytest.mark.parametrize(("field", "variable"), [("listen", "SERVICE_LISTEN"), ("ops_listen", "SERVICE_OPS_LISTEN")])
async def test_a_taken_port_is_one_clear_line(field: str, variable: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A second server on a port fails with one line that names variable, address and remedy, and prints nothing."""
    async with running(RawApp(fine)) as service:
        taken = service.address if field == "listen" else service.server.ops_address
        second = Server(RawApp(fine), ServiceSettings().model_copy(update={field: taken}), service="second")
        capfd.readouterr()
        with pytest.raises(ConfigurationError) as caught:
            await second.start()
        still = await answer(service.channel, "UnaryUnary")

    assert (
        f"{variable}: {taken} is in use; end the program that listens there or set {variable} to another port"
        == str(caught.value)
    )
    assert "" == capfd.readouterr().err
    assert b"fine" == still


async def test_a_port_taken_at_the_last_moment_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should another server come between the look and the bind, gRPC refuses the port rather than share it."""

    async def looks_free(_: str) -> None:
        """Nothing to see."""

    monkeypatch.setattr("servicekit.server.check_free", looks_free)
    async with running(RawApp(fine)) as service:
        with pytest.raises(ConfigurationError, match=r"^SERVICE_LISTEN: cannot listen on "):
            await Server(RawApp(fine), ServiceSettings(listen=service.address), service="second").start()


async def test_an_address_of_another_machine_is_one_clear_line() -> None:
    """An address that cannot be bound is told from one that is in use."""
    settings = ServiceSettings(listen="192.0.2.1:50051", service_allow_anonymous=True)
    with pytest.raises(ConfigurationError, match=r"^SERVICE_LISTEN: cannot listen on 192\.0\.2\.1:50051 \(.+\); set"):
        await Server(RawApp(fine), settings, service="test").start()


async def test_reflection_lists_every_service() -> None:
    """Reflection names the app's services, status, health and itself, and knows their files."""
    async with running(RawApp(fine)) as service:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", service.channel))
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=STATUS_SERVICE),
        ]
        listed, found = [response async for response in stub.ServerReflectionInfo(iter(requests), timeout=10)]

    assert [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        STATUS_SERVICE,
        SERVICE,
    ] == sorted(one.name for one in listed.list_services_response.service)
    assert found.file_descriptor_response.file_descriptor_proto


async def test_reflection_can_be_switched_off() -> None:
    """Then nothing lists what the port offers."""
    async with running(RawApp(fine), settings=ServiceSettings(reflection=False)) as service:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", service.channel))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")])).read()

    assert grpc.StatusCode.UNIMPLEMENTED == caught.value.code()


class Described(RawApp):
    """Has something of everything to tell."""

    circuits = BreakerManager()
    circuits.get("openrouter")

    async def describe(self) -> Description:
        """One of each."""
        return Description(
            embedded_parts=[status_pb2.EmbeddedPart(part="writer", implementation="offline")],
            providers=[status_pb2.ProviderStatus(name="offline", configured=True)],
            warnings=["The writer is embedded."],
        )


async def test_status_tells_what_the_app_and_the_kit_know() -> None:
    """GetStatus joins the app's description with name, version, health and times."""
    async with running(Described(fine), service="story") as service:
        stub = status_pb2_grpc.StatusServiceStub(service.channel)
        status = (await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=10)).status

    assert ("story", VERSION, status_pb2.SERVICE_HEALTH_SERVING) == (
        status.service,
        status.version,
        status.health,
    )
    assert ("writer", "offline", "openrouter", "The writer is embedded.") == (
        status.embedded_parts[0].part,
        status.providers[0].name,
        status.circuits[0].name,
        status.warnings[0],
    )
    assert status.HasField("start_time")
    assert status.uptime.ToNanoseconds() > 0


async def test_circuits_are_reset_by_name() -> None:
    """ResetCircuit gives the circuit, asks for a name, and knows which there are."""
    async with running(Described(fine)) as service:
        stub = status_pb2_grpc.StatusServiceStub(service.channel)
        reset = await stub.ResetCircuit(status_pb2.ResetCircuitRequest(name="openrouter"), timeout=10)
        reasons = []
        for name in ("", "other"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ResetCircuit(status_pb2.ResetCircuitRequest(name=name), timeout=10)
            reasons.append(from_rpc_error(caught.value).reason)

    assert status_pb2.CIRCUIT_STATE_CLOSED == reset.circuit.state
    assert ["VALIDATION_FAILED", "CIRCUIT_NOT_FOUND"] == reasons


async def test_an_app_without_circuits_says_so() -> None:
    """CIRCUIT_NOT_FOUND."""
    async with running(RawApp(fine)) as service:
        stub = status_pb2_grpc.StatusServiceStub(service.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ResetCircuit(status_pb2.ResetCircuitRequest(name="any"), timeout=10)

    assert "CIRCUIT_NOT_FOUND" == from_rpc_error(caught.value).reason


async def test_a_drain_lets_calls_end() -> None:
    """Drain: health first, then the app ends its streams, then calls end by themselves, then the app closes."""
    app = recorder("until_drain")
    async with running(app, drain_seconds=20) as service:
        watch = health_stub(service.channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        first = (await watch.read()).status
        open_call = asyncio.create_task(answer(service.channel, "UnaryStream"))
        await asyncio.wait_for(app.begun.wait(), 10)
        in_flight = service.server.in_flight
        drain = asyncio.create_task(service.server.drain())
        second = (await watch.read()).status
        given = await open_call
        # Not held up by the watch, which is still open.
        await asyncio.wait_for(drain, 10)

    assert 1 == in_flight
    assert (SERVING, NOT_SERVING) == (first, second)
    assert b"ended by itself" == given
    assert ["start", "begin_drain", "call ended", "stop"] == app.said


@pytest.mark.parametrize("kind", ["UnaryUnary", "UnaryStream", "StreamStream", "Writer"])
async def test_a_drain_that_runs_out_of_time_cuts_calls_with_reconnect(kind: str) -> None:
    """A call that does not end in time gets UNAVAILABLE / RECONNECT, before the app closes what it uses."""
    app = recorder("forever")
    async with running(app, drain_seconds=0.05) as service:
        open_call = asyncio.create_task(failure(service.channel, kind))
        await asyncio.wait_for(app.begun.wait(), 10)
        await service.server.drain()
        seen = from_rpc_error(await open_call)

    assert (grpc.StatusCode.UNAVAILABLE, "RECONNECT") == (seen.code, seen.reason)
    assert ["start", "begin_drain", "call cut", "stop"] == app.said


async def test_a_draining_server_takes_no_new_call() -> None:
    """While it drains, new calls get RECONNECT, health and status say NOT_SERVING, calls in flight go on."""
    app = recorder("until_told")
    async with running(app, drain_seconds=20) as service:
        open_call = asyncio.create_task(answer(service.channel, "UnaryStream"))
        await asyncio.wait_for(app.begun.wait(), 10)
        drain = asyncio.create_task(service.server.drain())
        await asyncio.wait_for(app.draining.wait(), 10)
        refused = from_rpc_error(await failure(service.channel, "UnaryUnary"))
        health = await check(service.channel)
        stub = status_pb2_grpc.StatusServiceStub(service.channel)
        status = (await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=10)).status
        app.may_end.set()
        given = await open_call
        await drain

    assert (grpc.StatusCode.UNAVAILABLE, "RECONNECT", 0.2) == (refused.code, refused.reason, refused.retry_after)
    assert (NOT_SERVING, status_pb2.SERVICE_HEALTH_NOT_SERVING) == (health, status.health)
    assert b"told" == given


async def test_replicas_come_and_go_unnoticed() -> None:
    """Of two replicas under load one drains: no call fails, since the channel watches their health."""
    settings = ServiceSettings(drain_seconds=5)
    answered = asyncio.Condition()
    answers: list[bytes] = []

    async def load(channel: grpc.aio.Channel) -> None:
        while True:
            answers.append(await answer(channel, "UnaryUnary", wait_for_ready=True))
            async with answered:
                answered.notify_all()

    async def fifty_more() -> None:
        enough = len(answers) + 50
        async with answered:
            await answered.wait_for(lambda: len(answers) >= enough)

    async with (
        Server(RawApp(fine), settings, service="test") as first,
        Server(RawApp(fine), settings, service="test") as second,
        open_channel(f"ipv4:{first.address},{second.address}") as channel,
        asyncio.timeout(30),
        asyncio.TaskGroup() as group,
    ):
        workers = [group.create_task(load(channel)) for _ in range(4)]
        await fifty_more()
        await first.drain()
        await fifty_more()
        for worker in workers:
            worker.cancel()

    assert {b"fine"} == set(answers)


async def test_stop_does_not_wait() -> None:
    """`stop` cuts calls whatever the drain's budget is, and stopping twice is once."""
    app = recorder("forever")
    async with running(app, drain_seconds=3600) as service:
        open_call = asyncio.create_task(failure(service.channel, "UnaryUnary"))
        await asyncio.wait_for(app.begun.wait(), 10)
        await service.server.stop()
        await service.server.stop()
        error = await open_call

    assert "RECONNECT" == from_rpc_error(error).reason
    assert 1 == app.said.count("stop")


async def test_a_handler_that_is_cancelled_by_the_drain_says_reconnect() -> None:
    """An app that ends a stream in its drain by cancelling what the handler awaits gives RECONNECT, not INTERNAL."""

    class Cancelling(Recorder):
        async def begin_drain(self) -> None:
            self.inner.cancel()

        async def waiting(self, _: Context) -> bytes:
            self.inner = asyncio.create_task(asyncio.Event().wait())
            self.begun.set()
            await self.inner
            return b"never"

    app = Cancelling()
    app._behaviour = app.waiting
    async with running(app, drain_seconds=20) as service:
        open_call = asyncio.create_task(failure(service.channel, "UnaryStream"))
        await asyncio.wait_for(app.begun.wait(), 10)
        await service.server.drain()
        error = await open_call

    assert "RECONNECT" == from_rpc_error(error).reason


async def test_an_app_that_fails_to_drain_is_closed_all_the_same() -> None:
    """An error of `begin_drain` comes out of `drain`, after calls were ended and the app stopped."""

    class Failing(Recorder):
        async def begin_drain(self) -> None:
            raise RuntimeError("no")

    app = Failing()
    server = Server(app, ServiceSettings(drain_seconds=1), service="test")
    await server.start()
    with pytest.raises(RuntimeError, match="no"):
        await server.drain()

    assert ["start", "stop"] == app.said


async def test_uncounted_calls_do_not_hold_up_a_drain() -> None:
    """Health watches and reflection streams stay open; only real calls count as in flight."""
    app = recorder("until_drain")
    async with running(app, drain_seconds=20) as service:
        watch = health_stub(service.channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        await watch.read()
        real = call(service.channel, "UnaryUnary")
        await asyncio.wait_for(app.begun.wait(), 10)

        assert 1 == service.server.in_flight
        await asyncio.wait_for(service.server.drain(), 10)
        assert 0 == service.server.in_flight
        assert b"ended by itself" == await real


async def test_full_server_refuses_calls_by_itself_and_stays_observable() -> None:
    """OVERLOADED with a time to wait, counted; health and status are answered, and an ended call makes a place."""
    waiting, may_end = asyncio.Semaphore(0), asyncio.Event()

    async def hold(_: Context) -> bytes:
        waiting.release()
        await may_end.wait()
        return b"held"

    held = RawApp(hold)
    held.metrics = Metrics()
    async with running(held, most_calls=2) as service:
        inside = [asyncio.create_task(answer(service.channel, kind)) for kind in ("UnaryUnary", "StreamStream")]
        for _ in inside:
            await waiting.acquire()
        for kind in ("UnaryUnary", "StreamUnary", "UnaryStream", "StreamStream"):
            refused = from_rpc_error(await failure(service.channel, kind))
            assert "OVERLOADED" == refused.reason
            assert refused.retryable
            assert 1.0 <= (refused.retry_after or 0.0) <= 2.0
        assert 4 == held.metrics.registry.get_sample_value("grpc_server_overloaded_total")
        health: Any = health_pb2_grpc.HealthStub(service.channel)
        assert SERVING == (await health.Check(health_pb2.HealthCheckRequest(), timeout=10)).status
        status: Any = status_pb2_grpc.StatusServiceStub(service.channel)
        assert await status.GetStatus(status_pb2.GetStatusRequest(), timeout=10)
        may_end.set()
        assert [b"held"] * 2 == await asyncio.gather(*inside)
        assert b"held" == await answer(service.channel, "UnaryUnary")


async def test_a_new_channel_does_not_inherit_the_failures_of_another() -> None:
    """A server that comes up where another one was is reached at once, though an older channel still pauses."""
    async with running(RawApp(fine)) as first:
        address = first.address
        old = open_channel(address, health_checked=False)
        await answer(old, "UnaryUnary")
    for _ in range(8):
        error = await failure(old, "UnaryUnary")
        assert grpc.StatusCode.UNAVAILABLE is error.code()
        # The pause after each failure is longer than the one before.
        await asyncio.sleep(0.1)
    second = Server(RawApp(fine), ServiceSettings(listen=address, drain_seconds=1), service="test")
    async with second, open_channel(address, health_checked=False) as new:
        assert b"fine" == await answer(new, "UnaryUnary")
    await old.close()
