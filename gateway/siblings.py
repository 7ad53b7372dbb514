"""The other services as the gateway calls them: stubs, deadlines and metadata in one place."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc

from gateway.storage_client import StorageClient
from servicekit.channel import call_metadata
from servicekit.errors import DomainError, unavailable
from servicekit.status import connection_broke, from_rpc_error
from tale.story.v1 import story_pb2, story_pb2_grpc
from tale.voice.v1 import voice_pb2_grpc


class FailureKind(Enum):
    """What a failed call to a sibling means for the run that made it."""

    UNREACHABLE = "unreachable"
    """No answer: the service is down, starting, going away or overloaded. Calling again costs nothing."""
    TRANSIENT = "transient"
    """It answered that it cannot now. Call again, a few times."""
    PERMANENT = "permanent"
    """It answered that it will not. Calling again changes nothing."""


SIBLING_ERRORS = (grpc.aio.AioRpcError, DomainError)
"""What a failed call to a sibling raises."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call: its kind, and what to say of it."""

    kind: FailureKind
    error: DomainError


def classify(error: grpc.aio.AioRpcError | DomainError | TimeoutError) -> Failure:
    """Tells a sibling that cannot be reached from one that answered no."""
    if isinstance(error, TimeoutError):
        silent = DomainError(grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", "A service fell silent.")
        return Failure(FailureKind.TRANSIENT, silent)
    if isinstance(error, grpc.aio.AioRpcError):
        known = from_rpc_error(error)
        if known.reason == "RECONNECT" or connection_broke(error):
            return Failure(FailureKind.UNREACHABLE, known)
        if known.code is grpc.StatusCode.CANCELLED:
            # gRPC's server cancels a call that its application does not take up for long: it is overloaded.
            return Failure(FailureKind.UNREACHABLE, unavailable("UPSTREAM_UNAVAILABLE", "A service is overloaded."))
    else:
        known = error
    passing = {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
    return Failure(FailureKind.TRANSIENT if known.code in passing else FailureKind.PERMANENT, known)


class StoryClient:
    """The story service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = story_pb2_grpc.StoryServiceStub(channel)

    def generate(self, request: story_pb2.GenerateStoryRequest, *, timeout: float) -> Any:
        """The call whose iteration gives `GenerateStoryResponse`s."""
        return self._stub.GenerateStory(request, timeout=timeout, metadata=call_metadata())


class VoiceClient:
    """The voice service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = voice_pb2_grpc.VoiceServiceStub(channel)

    def synthesize(self, *, timeout: float) -> Any:
        """The call that requests are written to, and whose iteration gives `SynthesizeSpeechResponse`s."""
        return self._stub.SynthesizeSpeech(timeout=timeout, metadata=call_metadata())


@dataclass(frozen=True, slots=True)
class Siblings:
    """All that the gateway calls."""

    storage: StorageClient
    story: StoryClient
    voice: VoiceClient
