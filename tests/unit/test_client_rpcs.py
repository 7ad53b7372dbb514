"""The RPCs of the client against the contracts."""

from importlib import import_module

import pytest
from google.protobuf.descriptor import ServiceDescriptor

from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2
from tale_client.transport import Rpc

SERVICES: tuple[ServiceDescriptor, ...] = (
    gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"],
    profile_pb2.DESCRIPTOR.services_by_name["ProfileService"],
    story_pb2.DESCRIPTOR.services_by_name["StoryService"],
    voice_pb2.DESCRIPTOR.services_by_name["VoiceService"],
)
METHODS = {f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods}
MODULES = [import_module(f"tale_client.{name}") for name in ("services", "stories", "stream")]
RPCS = {name: each for module in MODULES for name, each in vars(module).items() if isinstance(each, Rpc)}


@pytest.mark.parametrize("name", RPCS)
def test_every_rpc_matches_the_contract(name: str) -> None:
    """Path and both messages."""
    rpc = RPCS[name]
    method = METHODS[rpc.path]
    assert method.input_type == rpc.request.DESCRIPTOR
    assert method.output_type == rpc.response.DESCRIPTOR


def test_every_public_rpc_has_a_method() -> None:
    """Except those that only services call."""
    left_out = {"GenerateStory", "SynthesizeSpeech"}
    known = {rpc.path for rpc in RPCS.values()}
    assert left_out == {method.name for path, method in METHODS.items() if path not in known}
