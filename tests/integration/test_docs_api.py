"""The examples of docs/api.md at a cluster without keys: each public RPC succeeds, or fails as the page says."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import grpc
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from servicekit.channel import open_channel
from standins.processes import Cluster, cluster
from tools.api_page import load_contracts, load_examples

STORY, RUNNING, CHILD, OTHER_CHILD, HERO = (f"0197a5a0-0000-7000-8000-00000000000{digit}" for digit in "abcde")
"""The ids of the examples."""

WITHOUT_KEYS: Final = {
    "tale.gateway.v1.GatewayService/ResetCircuit": "CIRCUIT_NOT_FOUND",
    "tale.gateway.v1.GatewayService/RetryStory": "WRONG_STATE",
    "tale.voice.v1.VoiceService/Transcribe": "INVALID_CONFIGURATION",
}
"""RPCs that a cluster without keys refuses, or that the state of the examples' story does not allow."""

LAST: Final = (
    "tale.gateway.v1.GatewayService/NarrateStory",
    "tale.gateway.v1.GatewayService/DeleteStory",
    "tale.profile.v1.ProfileService/DeleteChild",
    "tale.profile.v1.ProfileService/DeleteHero",
    "tale.gateway.v1.GatewayService/EraseChild",
)
"""RPCs whose effects the others would notice, in this order."""


class Caller:
    """Calls any RPC of the contracts by its path with requests as JSON."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._ids: dict[str, str] = {}

    def name(self, example: str, made: str) -> None:
        """From now on stands `made` for the id of the examples."""
        self._ids[example] = made

    async def __call__(self, path: str, requests: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        """Returns the responses as JSON."""
        method = _method(path)
        text = json.dumps(list(requests))
        for example, made in self._ids.items():
            text = text.replace(example, made)
        sent = [ParseDict(each, GetMessageClass(method.input_type)()) for each in json.loads(text)]
        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        call = getattr(self._channel, kind)(
            f"/{path}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )(iter(sent) if method.client_streaming else sent[0], timeout=60, wait_for_ready=True)
        received = [each async for each in call] if method.server_streaming else [await call]
        return [MessageToDict(each, preserving_proto_field_name=True) for each in received]


def _method(path: str) -> MethodDescriptor:
    service, _, name = path.partition("/")
    package = service.rpartition(".")[0]
    module = import_module(f"{package}.{package.split('.')[1]}_pb2")
    found: MethodDescriptor = module.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].methods_by_name[name]
    return found


def _reason(error: grpc.aio.AioRpcError) -> str:
    details = dict(error.trailing_metadata() or ())
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(details["grpc-status-details-bin"]).details:
        detail.Unpack(info)
    return str(info.reason)


@pytest_asyncio.fixture(scope="module")
async def house(tmp_path_factory: Any) -> AsyncIterator[Cluster]:
    """A cluster without keys whose voice is silent and quick."""
    async with cluster(tmp_path_factory.mktemp("api"), DEFAULT_VOICE_PROVIDER="mock") as it:
        yield it


async def test_the_examples_of_public_rpcs_do_what_the_page_says(house: Cluster) -> None:
    """In the order of the page, deletions last; what fails, fails with a reason that the page lists."""
    examples, rpcs = load_examples(), {rpc.path: rpc for rpc in load_contracts().methods() if rpc.public}
    async with open_channel(house.target) as channel:
        call = Caller(channel)
        await _prepare(call, examples)
        outcomes: dict[str, str] = {}
        for path in [*(path for path in rpcs if path not in LAST), *LAST]:
            try:
                await call(path, examples[path])
            except grpc.aio.AioRpcError as error:
                outcomes[path] = _reason(error)
    assert WITHOUT_KEYS == outcomes
    assert [] == [path for path, reason in outcomes.items() if reason not in rpcs[path].reasons]


async def _prepare(call: Caller, examples: Mapping[str, Sequence[Any]]) -> None:
    """Makes what the examples name: two children, a hero, a story that is ready and one that is being made."""
    (child,) = await call(
        "tale.profile.v1.ProfileService/CreateChild", examples["tale.profile.v1.ProfileService/CreateChild"]
    )
    (other,) = await call("tale.profile.v1.ProfileService/CreateChild", [{"child": {"name": "Leo"}}])
    (hero,) = await call(
        "tale.profile.v1.ProfileService/CreateHero", examples["tale.profile.v1.ProfileService/CreateHero"]
    )
    call.name(CHILD, child["child"]["id"])
    call.name(OTHER_CHILD, other["child"]["id"])
    call.name(HERO, hero["hero"]["id"])
    events = await call(
        "tale.gateway.v1.GatewayService/TellStory", [{"spec": {"child": {"name": "Mia"}, "length_minutes": 1}}]
    )
    call.name(STORY, events[-1]["event"]["done"]["story"]["id"])
    (running,) = await call(
        "tale.gateway.v1.GatewayService/CreateStory", [{"spec": {"child": {"name": "Mia"}, "length_minutes": 30}}]
    )
    call.name(RUNNING, running["story"]["id"])
