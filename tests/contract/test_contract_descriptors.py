"""Every RPC of every .proto, by its descriptor: it is served, and an empty request gets the answer that fits."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Final, cast

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from support.grpc_testing_aio import AioServer, Find, Outcome, RecordingServer
from support.servers import running

import gateway.bootstrap
import gateway.settings
import storage_service.bootstrap
import storage_service.settings
import story_service.bootstrap
import story_service.settings
import voice_service.bootstrap
import voice_service.settings
from servicekit.app import App
from servicekit.authentication import TrustedCaller
from servicekit.health import StatusServicer
from servicekit.interceptor import CallInterceptor
from servicekit.resilience.manager import BreakerManager
from servicekit.runner import CallTracker
from tale.common.v1 import status_pb2_grpc

PROTOS: Final = Path(__file__).parents[2] / "protos"


@asynccontextmanager
async def _story(folder: Path) -> AsyncIterator[App]:
    del folder
    yield story_service.bootstrap.build(story_service.settings.StorySettings())


@asynccontextmanager
async def _voice(folder: Path) -> AsyncIterator[App]:
    del folder
    yield voice_service.bootstrap.build(voice_service.settings.VoiceServiceSettings())


@asynccontextmanager
async def _storage(folder: Path) -> AsyncIterator[App]:
    yield storage_service.bootstrap.build_app(storage_service.settings.StorageSettings(data_dir=folder))


@asynccontextmanager
async def _gateway(folder: Path) -> AsyncIterator[App]:
    """The gateway before a real storage service; of the two others it needs nothing here."""
    async with _storage(folder) as storage, running(storage, service="storage") as kept:
        yield gateway.bootstrap.build(
            gateway.settings.GatewaySettings(
                storage_target=kept.address, story_target="127.0.0.1:1", voice_target="127.0.0.1:1"
            )
        )


SERVED_BY: Final[Mapping[str, Callable[[Path], AbstractAsyncContextManager[App]]]] = {
    "tale.common.v1.StatusService": _story,
    "tale.gateway.v1.GatewayService": _gateway,
    "tale.profile.v1.ProfileService": _storage,
    "tale.storage.v1.SegmentService": _storage,
    "tale.storage.v1.StorageService": _storage,
    "tale.story.v1.StoryService": _story,
    "tale.voice.v1.VoiceService": _voice,
}
"""Which app serves a service. A new service in the protos fails until it stands here."""

UNIMPLEMENTED: Final[frozenset[str]] = frozenset()
"""RPCs of a later version. One that is implemented must leave this table."""

TAKE_EMPTY: Final = frozenset(
    {
        "tale.common.v1.StatusService.GetStatus",
        "tale.gateway.v1.GatewayService.GetSystemStatus",
        "tale.gateway.v1.GatewayService.GetUsage",
        "tale.gateway.v1.GatewayService.ListStories",
        "tale.profile.v1.ProfileService.ListChildren",
        "tale.profile.v1.ProfileService.ListHeroes",
        "tale.storage.v1.StorageService.GetUsage",
        "tale.storage.v1.StorageService.ListStories",
        "tale.story.v1.StoryService.ListModels",
        "tale.voice.v1.VoiceService.ListProviders",
        "tale.voice.v1.VoiceService.ListVoices",
    }
)
"""RPCs that rightly take an empty request: listings and questions about the server itself."""


def _services() -> Iterator[ServiceDescriptor]:
    for proto in sorted(PROTOS.glob("tale/*/v*/*.proto")):
        module = ".".join(proto.relative_to(PROTOS).with_suffix("").parts) + "_pb2"
        yield from import_module(module).DESCRIPTOR.services_by_name.values()


SERVICES: Final = {service.full_name: service for service in _services()}
METHODS: Final = {method.full_name: method for service in SERVICES.values() for method in service.methods}
_EVERY_RPC = pytest.mark.parametrize("name", sorted(METHODS))


class House:
    """Every service of the cluster, put together by its own bootstrap when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = AsyncExitStack()
        self._found: dict[object, Find] = {}

    async def find(self, method: MethodDescriptor) -> object:
        """The handler that the served service has for `method`, or None."""
        return (await self._finder(method))(method)

    async def call(self, method: MethodDescriptor, *requests: Message) -> Outcome:
        """Call `method` as a sibling would."""
        tracker = CallTracker()
        tracker.open()
        server = AioServer(
            [method.containing_service],
            await self._finder(method),
            asyncio.get_running_loop(),
            CallInterceptor(tracker, TrustedCaller()),
        )
        return await asyncio.to_thread(server.call, method, requests)

    async def aclose(self) -> None:
        """Stop what was started."""
        await self._open.aclose()

    async def _finder(self, method: MethodDescriptor) -> Find:
        build = SERVED_BY[method.containing_service.full_name]
        if build not in self._found:
            folder = self._folder / build.__name__
            app = await self._open.enter_async_context(build(folder))
            recorder = RecordingServer()
            server = cast("grpc.aio.Server", recorder)
            app.register(server)
            status = StatusServicer(app, BreakerManager(), "test", lambda: True)
            status_pb2_grpc.add_StatusServiceServicer_to_server(status, server)
            self._open.push_async_callback(app.stop)
            await app.start()
            self._found[build] = recorder.find
        return self._found[build]


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """The services, one of each for all tests here."""
    house = House(tmp_path_factory.mktemp("house"))
    yield house
    await house.aclose()


def _empty(method: MethodDescriptor) -> Message:
    return GetMessageClass(method.input_type)()


def _details(outcome: Outcome) -> tuple[error_details_pb2.ErrorInfo, list[str]]:
    """The ErrorInfo of a failed call, and the fields that it complains of."""
    raw = outcome.trailing_metadata["grpc-status-details-bin"]
    assert isinstance(raw, bytes)
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(raw).details:
        detail.Unpack(info)
        detail.Unpack(bad_request)
    return info, [violation.field for violation in bad_request.field_violations]


def test_every_service_of_the_protos_is_served_by_some_app() -> None:
    """No service is forgotten, and none is listed that is gone."""
    assert set(SERVICES) == set(SERVED_BY)


def test_the_tables_name_rpcs_that_exist() -> None:
    """The tables cannot outlive what they speak of, nor say two things of one RPC."""
    assert (UNIMPLEMENTED | TAKE_EMPTY) <= set(METHODS)
    assert not UNIMPLEMENTED & TAKE_EMPTY


@_EVERY_RPC
async def test_every_rpc_is_served_by_an_async_handler_of_its_kind(house: House, name: str) -> None:
    """The service registers the RPC, streaming as the contract says, and not by the generated default."""
    method = METHODS[name]
    handler = await house.find(method)

    assert isinstance(handler, grpc.RpcMethodHandler)
    assert (method.client_streaming, method.server_streaming) == (
        bool(handler.request_streaming),
        bool(handler.response_streaming),
    )
    behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    assert inspect.iscoroutinefunction(behaviour) or inspect.isasyncgenfunction(behaviour)


@_EVERY_RPC
async def test_an_empty_request_gets_the_answer_that_fits(house: House, name: str) -> None:
    """INVALID_ARGUMENT with the fields that are missing, but for the RPCs of the two tables."""
    outcome = await house.call(METHODS[name], _empty(METHODS[name]))

    if name in TAKE_EMPTY:
        assert outcome.code is grpc.StatusCode.OK
        assert len(outcome.responses) == 1
        return
    info, fields = _details(outcome)
    assert info.domain == "tale"
    if name in UNIMPLEMENTED:
        assert outcome.code is grpc.StatusCode.UNIMPLEMENTED
    else:
        assert (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED") == (outcome.code, info.reason)
        assert fields
        assert [] == outcome.responses


@pytest.mark.parametrize("name", sorted(name for name, method in METHODS.items() if method.client_streaming))
async def test_a_stream_of_no_requests_is_refused_likewise(house: House, name: str) -> None:
    """Half-closing at once is an empty request too."""
    outcome = await house.call(METHODS[name])

    expected = grpc.StatusCode.UNIMPLEMENTED if name in UNIMPLEMENTED else grpc.StatusCode.INVALID_ARGUMENT
    assert expected is outcome.code
