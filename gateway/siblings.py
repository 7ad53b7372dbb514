"""The other services as the gateway calls them: stubs, deadlines and metadata in one place."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import grpc

from servicekit.channel import call_metadata
from servicekit.errors import DomainError
from servicekit.status import from_rpc_error
from tale.storage.v1 import storage_pb2, storage_pb2_grpc
from tale.story.v1 import story_pb2, story_pb2_grpc
from tale.voice.v1 import voice_pb2, voice_pb2_grpc

CALL_SECONDS: Final = 10.0
"""Deadline in seconds of a call to storage where the caller's own leaves more."""


class FailureKind(Enum):
    """What a failed call to a sibling means for the run that made it."""

    UNREACHABLE = "unreachable"
    """Nobody answered: the sibling is down, starting or going away. Ask again; it costs nothing."""
    TRANSIENT = "transient"
    """It answered that it can not now. Ask again, a few times."""
    PERMANENT = "permanent"
    """It answered that it will not. Asking again changes nothing."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call: its kind, and what to say of it."""

    kind: FailureKind
    error: DomainError


def classify(error: grpc.aio.AioRpcError | DomainError | TimeoutError) -> Failure:
    """Tells a sibling that can not be reached from one that answered no."""
    if isinstance(error, TimeoutError):
        silent = DomainError(grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", "A service fell silent.")
        return Failure(FailureKind.TRANSIENT, silent)
    if isinstance(error, grpc.aio.AioRpcError):
        known = from_rpc_error(error)
        answered = any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())
        if known.reason == "RECONNECT" or (not answered and error.code() is grpc.StatusCode.UNAVAILABLE):
            return Failure(FailureKind.UNREACHABLE, known)
    else:
        known = error
    passing = {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
    return Failure(FailureKind.TRANSIENT if known.code in passing else FailureKind.PERMANENT, known)


class StorageClient:
    """The storage service. Errors are `grpc.aio.AioRpcError`; the outermost interceptor or `classify` reads them."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = storage_pb2_grpc.StorageServiceStub(channel)

    async def create_story(
        self, request: storage_pb2.CreateStoryRequest, *, timeout: float
    ) -> storage_pb2.CreateStoryResponse:
        """Keeps a story. Repeatable, so a storage service that is just starting is waited for."""
        answer: storage_pb2.CreateStoryResponse = await self._stub.CreateStory(
            request, timeout=timeout, metadata=call_metadata(), wait_for_ready=True
        )
        return answer

    async def get_story(self, story_id: str, *, view: Any, timeout: float = CALL_SECONDS) -> storage_pb2.StoryRecord:
        """Gives a kept story of the present owner."""
        answer: storage_pb2.GetStoryResponse = await self._stub.GetStory(
            storage_pb2.GetStoryRequest(story_id=story_id, view=view),
            timeout=timeout,
            metadata=call_metadata(),
            wait_for_ready=True,
        )
        return answer.record

    async def list_stories(
        self, request: storage_pb2.ListStoriesRequest, *, timeout: float
    ) -> storage_pb2.ListStoriesResponse:
        """Lists the present owner's stories."""
        answer: storage_pb2.ListStoriesResponse = await self._stub.ListStories(
            request, timeout=timeout, metadata=call_metadata(), wait_for_ready=True
        )
        return answer

    async def update_story(
        self, request: storage_pb2.UpdateStoryRequest, *, timeout: float
    ) -> storage_pb2.UpdateStoryResponse:
        """Makes one change that is not a run's."""
        answer: storage_pb2.UpdateStoryResponse = await self._stub.UpdateStory(
            request, timeout=timeout, metadata=call_metadata()
        )
        return answer

    async def delete_story(self, story_id: str, *, timeout: float) -> storage_pb2.DeleteStoryResponse:
        """Removes a story."""
        answer: storage_pb2.DeleteStoryResponse = await self._stub.DeleteStory(
            storage_pb2.DeleteStoryRequest(story_id=story_id), timeout=timeout, metadata=call_metadata()
        )
        return answer

    async def erase_child(self, child_id: str, *, timeout: float) -> storage_pb2.EraseChildResponse:
        """Removes a child and some of its stories. Repeatable."""
        answer: storage_pb2.EraseChildResponse = await self._stub.EraseChild(
            storage_pb2.EraseChildRequest(child_id=child_id), timeout=timeout, metadata=call_metadata()
        )
        return answer

    async def list_forgettable(
        self, request: storage_pb2.ListForgettableRequest
    ) -> storage_pb2.ListForgettableResponse:
        """Lists removed stories that caches must forget."""
        answer: storage_pb2.ListForgettableResponse = await self._stub.ListForgettable(
            request, timeout=CALL_SECONDS, metadata=call_metadata()
        )
        return answer

    async def confirm_forgotten(self, request: storage_pb2.ConfirmForgottenRequest) -> None:
        """Says that caches have forgotten stories. Repeatable."""
        await self._stub.ConfirmForgotten(request, timeout=CALL_SECONDS, metadata=call_metadata())

    async def claim(self, request: storage_pb2.ClaimStoriesRequest) -> storage_pb2.ClaimStoriesResponse:
        """Takes leases."""
        answer: storage_pb2.ClaimStoriesResponse = await self._stub.ClaimStories(
            request, timeout=CALL_SECONDS, metadata=call_metadata(), wait_for_ready=True
        )
        return answer

    async def checkpoint(
        self, request: storage_pb2.CheckpointStoriesRequest, *, timeout: float
    ) -> storage_pb2.CheckpointStoriesResponse:
        """Keeps what runs have made."""
        answer: storage_pb2.CheckpointStoriesResponse = await self._stub.CheckpointStories(
            request, timeout=timeout, metadata=call_metadata()
        )
        return answer

    async def release(self, request: storage_pb2.ReleaseStoriesRequest, *, timeout: float) -> int:
        """Gives leases back; says how many were still held."""
        answer: storage_pb2.ReleaseStoriesResponse = await self._stub.ReleaseStories(
            request, timeout=timeout, metadata=call_metadata()
        )
        return answer.released_count

    async def write_audio(
        self, pieces: AsyncIterator[storage_pb2.WriteAudioRequest], *, timeout: float
    ) -> storage_pb2.WriteAudioResponse:
        """Keeps a story's audio. Repeatable with the same bytes."""
        answer: storage_pb2.WriteAudioResponse = await self._stub.WriteAudio(
            pieces, timeout=timeout, metadata=call_metadata()
        )
        return answer

    def read_audio(self, request: storage_pb2.ReadAudioRequest, *, timeout: float | None) -> Any:
        """The call whose iteration gives `ReadAudioResponse`s."""
        return self._stub.ReadAudio(request, timeout=timeout, metadata=call_metadata(), wait_for_ready=True)

    async def get_audio_url(
        self, request: storage_pb2.GetAudioUrlRequest, *, timeout: float
    ) -> storage_pb2.GetAudioUrlResponse:
        """Gives a signed address."""
        answer: storage_pb2.GetAudioUrlResponse = await self._stub.GetAudioUrl(
            request, timeout=timeout, metadata=call_metadata()
        )
        return answer


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

    def synthesize(self, pieces: AsyncIterator[voice_pb2.SynthesizeSpeechRequest], *, timeout: float) -> Any:
        """The call whose iteration gives `SynthesizeSpeechResponse`s."""
        return self._stub.SynthesizeSpeech(pieces, timeout=timeout, metadata=call_metadata())

    async def forget(self, request: voice_pb2.ForgetSegmentsRequest, *, timeout: float) -> int:
        """Takes segments out of the cache; says how many."""
        answer: voice_pb2.ForgetSegmentsResponse = await self._stub.ForgetSegments(
            request, timeout=timeout, metadata=call_metadata()
        )
        return answer.forgotten_count


@dataclass(frozen=True, slots=True)
class Siblings:
    """All that the gateway calls."""

    storage: StorageClient
    story: StoryClient
    voice: VoiceClient
