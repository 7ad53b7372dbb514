"""GatewayService: proto <-> domain and nothing else."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc

from gateway.cursor import Cursor, R
from gateway.stories import Stories
from gateway.system import System
from gateway.validation import check_filter, check_offsets, check_spec, check_voice
from gateway.watching import Sources, Watching
from servicekit.context import current
from servicekit.deadline import remaining
from servicekit.validation import Violations
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2, gateway_pb2_grpc

DEFAULT_SECONDS: Final = 10.0
"""Deadline of a call to storage where the caller set none."""

ERASE_SECONDS: Final = 120.0
"""Deadline of EraseChild where the caller set none: storage writes its file anew."""

MAX_URL_SECONDS: Final = 7 * 24 * 3600

Context = grpc.aio.ServicerContext[Any, Any]


class GatewayServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """The gateway's own RPCs."""

    def __init__(
        self,
        stories: Stories,
        sources: Sources,
        system: System,
    ) -> None:
        self._stories = stories
        self._sources = sources
        self._system = system

    async def CreateStory(  # noqa: N802
        self, request: gateway_pb2.CreateStoryRequest, context: Context
    ) -> gateway_pb2.CreateStoryResponse:
        """Asks for a story."""
        problems = Violations()
        problems.check_token("request_id", request.request_id)
        check_spec(problems, request.spec)
        problems.raise_if_any()
        story = await self._stories.create(request.request_id, request.spec, timeout=_left(context))
        return gateway_pb2.CreateStoryResponse(story=story)

    async def TellStory(  # noqa: N802
        self, request: gateway_pb2.TellStoryRequest, context: Context
    ) -> AsyncIterator[gateway_pb2.TellStoryResponse]:
        """Asks for a story and follows it."""
        problems = Violations()
        problems.check_token("request_id", request.request_id)
        check_spec(problems, request.spec)
        check_offsets(problems, request)
        problems.raise_if_any()
        story = await self._stories.create(request.request_id, request.spec, timeout=_left(context))
        async for response in self._watching(gateway_pb2.TellStoryResponse, story.id, request).responses():
            yield response

    async def WatchStory(  # noqa: N802
        self, request: gateway_pb2.WatchStoryRequest, context: Context
    ) -> AsyncIterator[gateway_pb2.WatchStoryResponse]:
        """Follows a story."""
        del context
        problems = Violations()
        problems.check_uuid7("story_id", request.story_id)
        check_offsets(problems, request)
        problems.raise_if_any()
        watching = self._watching(gateway_pb2.WatchStoryResponse, request.story_id, request)
        async for response in watching.responses():
            yield response

    async def GetStory(  # noqa: N802
        self, request: gateway_pb2.GetStoryRequest, context: Context
    ) -> gateway_pb2.GetStoryResponse:
        """Returns a story."""
        problems = Violations()
        problems.check_uuid7("story_id", request.story_id)
        problems.check(
            request.view in common_pb2.StoryView.values(), "view", "must be STORY_VIEW_BASIC or STORY_VIEW_FULL"
        )
        problems.raise_if_any()
        story = await self._stories.get(request.story_id, view=request.view, timeout=_left(context))
        return gateway_pb2.GetStoryResponse(story=story)

    async def ListStories(  # noqa: N802
        self, request: gateway_pb2.ListStoriesRequest, context: Context
    ) -> gateway_pb2.ListStoriesResponse:
        """Lists stories."""
        problems = Violations()
        problems.page_size(request.page_size)
        check_filter(problems, request.filter)
        problems.raise_if_any()
        return await self._stories.list(request, timeout=_left(context))

    async def CancelStory(  # noqa: N802
        self, request: gateway_pb2.CancelStoryRequest, context: Context
    ) -> gateway_pb2.CancelStoryResponse:
        """Stops a story."""
        _check_story_id(request.story_id)
        story = await self._stories.cancel(request.story_id, timeout=_left(context))
        return gateway_pb2.CancelStoryResponse(story=story)

    async def RetryStory(  # noqa: N802
        self, request: gateway_pb2.RetryStoryRequest, context: Context
    ) -> gateway_pb2.RetryStoryResponse:
        """Lets a failed story go on."""
        problems = Violations()
        problems.check_token("request_id", request.request_id)
        problems.check_uuid7("story_id", request.story_id)
        problems.raise_if_any()
        story = await self._stories.retry(request, timeout=_left(context))
        return gateway_pb2.RetryStoryResponse(story=story)

    async def NarrateStory(  # noqa: N802
        self, request: gateway_pb2.NarrateStoryRequest, context: Context
    ) -> gateway_pb2.NarrateStoryResponse:
        """Tells a story again."""
        problems = Violations()
        problems.check_token("request_id", request.request_id)
        problems.check_uuid7("story_id", request.story_id)
        check_voice(problems, request.voice)
        problems.raise_if_any()
        story = await self._stories.narrate(request, timeout=_left(context))
        return gateway_pb2.NarrateStoryResponse(story=story)

    async def RateStory(  # noqa: N802
        self, request: gateway_pb2.RateStoryRequest, context: Context
    ) -> gateway_pb2.RateStoryResponse:
        """Keeps a rating."""
        problems = Violations()
        problems.check_uuid7("story_id", request.story_id)
        if problems.check(request.HasField("rating"), "rating", "must be given, from 1 to 10"):
            problems.in_range("rating", request.rating, 1, 10)
        if request.HasField("expected_revision"):
            problems.check(request.expected_revision >= 0, "expected_revision", "must not be negative")
        problems.raise_if_any()
        story = await self._stories.rate(request, timeout=_left(context))
        return gateway_pb2.RateStoryResponse(story=story)

    async def DeleteStory(  # noqa: N802
        self, request: gateway_pb2.DeleteStoryRequest, context: Context
    ) -> gateway_pb2.DeleteStoryResponse:
        """Removes a story."""
        _check_story_id(request.story_id)
        await self._stories.delete(request.story_id, timeout=_left(context))
        return gateway_pb2.DeleteStoryResponse()

    async def ReadStoryAudio(  # noqa: N802
        self, request: gateway_pb2.ReadStoryAudioRequest, context: Context
    ) -> AsyncIterator[gateway_pb2.ReadStoryAudioResponse]:
        """Returns audio."""
        problems = Violations()
        problems.check_uuid7("story_id", request.story_id)
        problems.check_uuid7("audio_id", request.audio_id, required=False)
        problems.check(request.offset >= 0, "offset", "must not be negative")
        problems.raise_if_any()
        async for response in self._stories.read_audio(request, timeout=context.time_remaining()):
            yield response

    async def GetAudioUrl(  # noqa: N802
        self, request: gateway_pb2.GetAudioUrlRequest, context: Context
    ) -> gateway_pb2.GetAudioUrlResponse:
        """Returns an address of stored audio."""
        problems = Violations()
        problems.check_uuid7("story_id", request.story_id)
        if request.HasField("expiry"):
            problems.in_range("expiry", request.expiry.seconds, 1, MAX_URL_SECONDS)
        problems.raise_if_any()
        return await self._stories.audio_url(request, timeout=_left(context))

    async def EraseChild(  # noqa: N802
        self, request: gateway_pb2.EraseChildRequest, context: Context
    ) -> gateway_pb2.EraseChildResponse:
        """Erases a child."""
        problems = Violations()
        problems.check_uuid7("child_id", request.child_id)
        problems.raise_if_any()
        return await self._stories.erase_child(request.child_id, timeout=remaining(context, default=ERASE_SECONDS))

    async def GetSystemStatus(  # noqa: N802
        self, request: gateway_pb2.GetSystemStatusRequest, context: Context
    ) -> gateway_pb2.GetSystemStatusResponse:
        """Describes the cluster."""
        del request, context
        return await self._system.status(running_stories=self._sources.runs.count)

    async def ResetCircuit(  # noqa: N802
        self, request: gateway_pb2.ResetCircuitRequest, context: Context
    ) -> gateway_pb2.ResetCircuitResponse:
        """Closes a circuit breaker of any service; without a service, of the one that has a circuit of that name.

        It is for operators. Whoever may call the gateway may call it, until there is authentication and, with it, a
        way to tell operators from other callers.
        """
        problems = Violations()
        problems.check(bool(request.name), "name", "must be given")
        problems.check(
            not request.service or request.service in self._system.services,
            "service",
            f"must be one of {', '.join(self._system.services)}, or empty",
        )
        problems.raise_if_any()
        circuit = await self._system.reset_circuit(request.service, request.name, timeout=_left(context))
        return gateway_pb2.ResetCircuitResponse(circuit=circuit)

    def _watching(
        self,
        response: Callable[[], R],
        story_id: str,
        request: gateway_pb2.TellStoryRequest | gateway_pb2.WatchStoryRequest,
    ) -> Watching[R]:
        cursor = Cursor(
            response,
            story_id,
            text_offset=request.text_offset,
            audio_id=request.audio_id,
            audio_offset=request.audio_offset,
        )
        return Watching(cursor, self._sources, owner=current().owner, include_audio=request.include_audio)


def _left(context: Context) -> float:
    return remaining(context, default=DEFAULT_SECONDS)


def _check_story_id(story_id: str) -> None:
    problems = Violations()
    problems.check_uuid7("story_id", story_id)
    problems.raise_if_any()
