"""StoryService on the wire."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import grpc

from servicekit.deadline import remaining
from servicekit.errors import FieldViolation, validation_failed
from servicekit.validation import MAX_PAGE_SIZE
from story_service.errors import generation_failed
from story_service.generation.generation import StoryGenerator
from story_service.models.catalogue import Catalogue, ModelFacts
from story_service.wire.gathering import gathered
from story_service.wire.requests import read_request
from story_service.wire.responses import models_response, story_response
from tale.story.v1 import story_pb2, story_pb2_grpc


class StoryServicer(story_pb2_grpc.StoryServiceServicer):
    """Messages in, messages out; everything else is the generator's and the catalogue's. Raises DomainError."""

    def __init__(
        self,
        *,
        generator: StoryGenerator,
        catalogue: Catalogue,
        total_timeout: float,
        facts: Callable[[], Mapping[str, ModelFacts]] = dict,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`total_timeout` bounds a call of GenerateStory, in seconds; `facts` is by model id; `now` is in UTC."""
        self._generator = generator
        self._total_timeout = total_timeout
        self._catalogue = catalogue
        self._facts = facts
        self._now = now

    async def GenerateStory(  # type: ignore[override] # noqa: N802 - gRPC's name; it does the sending itself
        self,
        request: story_pb2.GenerateStoryRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> None:
        """Write a story, or go on with one."""
        assignment = read_request(request)
        deadline = asyncio.get_running_loop().time() + self._total_timeout
        # Nothing is begun that the caller would not live to see; its own end is the caller's business.
        useful = asyncio.get_running_loop().time() + remaining(context, default=self._total_timeout)
        try:
            # Around the sending too, so that a caller who stops reading does not hold the call for ever.
            async with (
                asyncio.timeout_at(deadline),
                aclosing(gathered(self._generator.generate(assignment, deadline=min(deadline, useful)))) as items,
            ):
                async for item in items:
                    await context.write(story_response(item, self._now))
        except TimeoutError:
            raise generation_failed("TIMEOUT", "Writing took longer than one call may take.") from None

    async def ListModels(  # noqa: N802 - gRPC's name
        self,
        request: story_pb2.ListModelsRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> story_pb2.ListModelsResponse:
        """List the models."""
        del context
        try:
            page = self._catalogue.page(request.page_size or MAX_PAGE_SIZE, request.page_token, self._facts())
        except ValueError:
            raise validation_failed(
                [FieldViolation("page_token", "must be the next_page_token of an earlier answer")]
            ) from None
        return models_response(page)
