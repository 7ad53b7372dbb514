"""The storage service as the gateway calls it: stubs, deadlines and repeats in one place."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from tenacity import AsyncRetrying, retry_if_exception, stop_before_delay, wait_random_exponential

from gateway.stream import read_alive
from servicekit.channel import call_metadata
from servicekit.errors import DomainError, unavailable
from servicekit.status import connection_broke
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

CALL_SECONDS: Final = 10.0
"""Longest that a unary call to storage lasts, in seconds."""


class StorageClient:
    """The storage service.

    Unary calls of callers last `timeout` seconds, and never more than CALL_SECONDS; those that may be repeated are,
    while storage is starting or the connection breaks. Errors are `grpc.aio.AioRpcError` or DomainError, UNAVAILABLE /
    UPSTREAM_UNAVAILABLE where storage gave no answer in time.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = storage_pb2_grpc.StorageServiceStub(channel)

    async def create_story(
        self, request: storage_pb2.CreateStoryRequest, *, timeout: float
    ) -> storage_pb2.CreateStoryResponse:
        """Keeps a story. Repeatable, so a storage service that is just starting is waited for."""
        answer: storage_pb2.CreateStoryResponse = await self._ask(
            self._stub.CreateStory, request, timeout=timeout, repeatable=True
        )
        return answer

    async def get_story(self, story_id: str, *, view: Any, timeout: float = CALL_SECONDS) -> storage_pb2.StoryRecord:
        """Returns a story of the present owner."""
        answer: storage_pb2.GetStoryResponse = await self._ask(
            self._stub.GetStory,
            storage_pb2.GetStoryRequest(story_id=story_id, view=view),
            timeout=timeout,
            repeatable=True,
        )
        return answer.record

    async def list_stories(
        self, request: storage_pb2.ListStoriesRequest, *, timeout: float
    ) -> storage_pb2.ListStoriesResponse:
        """Lists the present owner's stories."""
        answer: storage_pb2.ListStoriesResponse = await self._ask(
            self._stub.ListStories, request, timeout=timeout, repeatable=True
        )
        return answer

    async def update_story(
        self, request: storage_pb2.UpdateStoryRequest, *, timeout: float
    ) -> storage_pb2.UpdateStoryResponse:
        """Makes one change that is not a run's."""
        repeatable = request.WhichOneof("change") == "cancel"
        answer: storage_pb2.UpdateStoryResponse = await self._ask(
            self._stub.UpdateStory, request, timeout=timeout, repeatable=repeatable
        )
        return answer

    async def delete_story(self, story_id: str, *, timeout: float) -> None:
        """Deletes a story."""
        await self._ask(
            self._stub.DeleteStory, storage_pb2.DeleteStoryRequest(story_id=story_id), timeout=timeout, repeatable=False
        )

    async def erase_child(self, child_id: str, *, timeout: float) -> storage_pb2.EraseChildResponse:
        """Erases a child with all that is stored for it. Repeatable, and long: storage writes its file anew."""
        answer: storage_pb2.EraseChildResponse = await self._ask(
            self._stub.EraseChild,
            storage_pb2.EraseChildRequest(child_id=child_id),
            timeout=timeout,
            repeatable=True,
            most=timeout,
        )
        return answer

    async def follow(
        self, positions: Sequence[storage_pb2.StoryPosition], *, timeout: float
    ) -> storage_pb2.FollowStoriesResponse:
        """Returns what is new behind `positions`, of all owners."""
        answer: storage_pb2.FollowStoriesResponse = await self._stub.FollowStories(
            storage_pb2.FollowStoriesRequest(positions=positions), timeout=timeout, metadata=call_metadata()
        )
        return answer

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

    async def finish_audio(
        self, request: storage_pb2.FinishAudioRequest, *, timeout: float
    ) -> storage_pb2.FinishAudioResponse:
        """Composes a narration into the story's file. Repeatable."""
        answer: storage_pb2.FinishAudioResponse = await self._stub.FinishAudio(
            request, timeout=timeout, metadata=call_metadata()
        )
        return answer

    async def read_audio(
        self, request: storage_pb2.ReadAudioRequest, *, timeout: float | None
    ) -> AsyncGenerator[storage_pb2.ReadAudioResponse, None]:
        """Returns a header, then chunks. UNAVAILABLE where storage falls silent; read it to its end, or close it."""
        call = self._stub.ReadAudio(request, timeout=timeout, metadata=call_metadata(), wait_for_ready=True)
        try:
            async for response in read_alive(call, idle_seconds=CALL_SECONDS):
                yield response
        except TimeoutError:
            raise _away() from None
        finally:
            call.cancel()

    async def get_audio_url(
        self, request: storage_pb2.GetAudioUrlRequest, *, timeout: float
    ) -> storage_pb2.GetAudioUrlResponse:
        """Gives a signed address."""
        answer: storage_pb2.GetAudioUrlResponse = await self._ask(
            self._stub.GetAudioUrl, request, timeout=timeout, repeatable=True
        )
        return answer

    async def _ask(
        self, call: Any, request: Message, *, timeout: float, repeatable: bool, most: float = CALL_SECONDS
    ) -> Any:
        longest = min(timeout, most)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + longest
        attempts = AsyncRetrying(
            retry=retry_if_exception(
                lambda error: repeatable and isinstance(error, grpc.aio.AioRpcError) and connection_broke(error)
            ),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            stop=stop_before_delay(longest),
            reraise=True,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    left = max(0.0, deadline - loop.time())
                    return await call(request, timeout=left, metadata=call_metadata(), wait_for_ready=repeatable)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise _away() from error
            raise
        raise AssertionError("unreachable: the last attempt returns or raises")


def _away() -> DomainError:
    return unavailable("UPSTREAM_UNAVAILABLE", "The storage service does not answer.")
