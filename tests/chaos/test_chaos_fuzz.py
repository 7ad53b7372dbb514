"""Random requests to every RPC of the gateway: none ends with INTERNAL or UNKNOWN."""

import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from support.house import House, house
from support.random_messages import random_message

from standins.watcher import spec
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2

DEFECTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
METHODS: list[MethodDescriptor] = [
    *gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].methods,
    *profile_pb2.DESCRIPTOR.services_by_name["ProfileService"].methods,
    *(
        voice_pb2.DESCRIPTOR.services_by_name["VoiceService"].methods_by_name[n]
        for n in ("ListProviders", "ListVoices")
    ),
    story_pb2.DESCRIPTOR.services_by_name["StoryService"].methods_by_name["ListModels"],
]
FEW, MANY = 40, 2000


@pytest_asyncio.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A cluster."""
    async with house(tmp_path_factory.mktemp("fuzz")) as it:
        yield it


async def code_of(home: House, method: MethodDescriptor, request: bytes) -> grpc.StatusCode:
    """How a call with these bytes ends. A stream is read to its third answer."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    channel: Any = home.channel
    try:
        if method.server_streaming:
            call = channel.unary_stream(path)(request, timeout=20)
            for _ in range(3):
                if await call.read() is grpc.aio.EOF:
                    break
            call.cancel()
        else:
            await channel.unary_unary(path)(request, timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def fuzz(home: House, method: MethodDescriptor, count: int) -> None:
    """Sends `count` random requests, every tenth of them broken bytes."""
    chance = random.Random(method.full_name)
    for number in range(count):
        request = random_message(chance, method.input_type).SerializeToString()
        if number % 10 == 9:
            request = bytes(chance.randrange(256) for _ in range(chance.randrange(60)))
        code = await code_of(home, method, request)
        assert code not in DEFECTS, GetMessageClass(method.input_type).FromString(request)


@pytest.mark.parametrize("method", METHODS, ids=[method.full_name for method in METHODS])
async def test_random_requests_cause_no_server_failure(home: House, method: MethodDescriptor) -> None:
    """A few for each RPC."""
    await fuzz(home, method, FEW)
    assert (await home.stub.GetSystemStatus(gateway_pb2.GetSystemStatusRequest(), timeout=10)).healthy


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("method", METHODS, ids=[method.full_name for method in METHODS])
async def test_two_thousand_requests_cause_no_server_failure(home: House, method: MethodDescriptor) -> None:
    """Many for each RPC, and a story is made after them."""
    await fuzz(home, method, MANY)
    watcher = await home.tell(spec(1))
    assert watcher.done is not None
