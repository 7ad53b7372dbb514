"""A story service that writes what it is told to and notes what it was asked."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import grpc

from servicekit.app import App
from tale.story.v1 import story_pb2, story_pb2_grpc

if TYPE_CHECKING:
    from servicekit.errors import DomainError


class ScriptedStories(App, story_pb2_grpc.StoryServiceServicer):
    """Answers every GenerateStory with one title and one text."""

    def __init__(self, title: str, text: str) -> None:
        self.title = title
        self.text = text
        self.asked: list[story_pb2.GenerateStoryRequest] = []
        self.failures: list[DomainError] = []
        """Raised by the next calls, one each."""

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds StoryService."""
        story_pb2_grpc.add_StoryServiceServicer_to_server(self, server)
        return (story_pb2.DESCRIPTOR.services_by_name["StoryService"].full_name,)

    async def GenerateStory(  # noqa: N802 - the contract's name
        self, request: story_pb2.GenerateStoryRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[story_pb2.GenerateStoryResponse]:
        """Writes the story."""
        del context
        self.asked.append(request)
        if self.failures:
            raise self.failures.pop(0)
        yield story_pb2.GenerateStoryResponse(started=story_pb2.GenerationStarted(model="scripted"))
        yield story_pb2.GenerateStoryResponse(title=story_pb2.GenerationTitle(title=self.title))
        yield story_pb2.GenerateStoryResponse(delta=story_pb2.TextDelta(text=self.text))
        digest = hashlib.sha256(self.text.encode()).digest()
        complete = story_pb2.GenerationComplete(model="scripted", content_length=len(self.text), content_sha256=digest)
        yield story_pb2.GenerateStoryResponse(complete=complete)

    async def ListModels(  # noqa: N802 - the contract's name
        self, request: story_pb2.ListModelsRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> story_pb2.ListModelsResponse:
        """Names none."""
        del request, context
        return story_pb2.ListModelsResponse()
