"""StoryService on the wire."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any, Final

import grpc

from servicekit.channel import remaining
from servicekit.errors import FieldViolation, validation_failed
from servicekit.validation import MAX_PAGE_SIZE
from story_service.errors import generation_failed
from story_service.generation.content import Delta
from story_service.generation.generation import StoryGenerator, StoryItem
from story_service.models.catalogue import ModelList
from story_service.wire.requests import read_call, read_request
from story_service.wire.responses import models_response, story_response
from tale.story.v1 import story_pb2, story_pb2_grpc

GATHER_SECONDS: Final = 0.02
"""A message costs both services about 0.1 ms, whatever its size; a shorter delay is not noticed."""
HEARTBEAT_SECONDS: Final = 15.0
FIRST_SECONDS: Final = 0.5
"""Seconds until the first heartbeat: the caller learns soon that the service is there, however long a model takes."""
_HEARTBEAT: Final = story_pb2.GenerateStoryResponse(heartbeat=story_pb2.Heartbeat())


async def gathered(
    items: AsyncGenerator[StoryItem, None], *, seconds: float = GATHER_SECONDS
) -> AsyncGenerator[StoryItem | None, None]:
    """Yields `items` in order, deltas joined that come within `seconds` of the last one that was passed on.

    What comes after a longer pause is passed on at once, and None whenever nothing came for `HEARTBEAT_SECONDS`, before
    the first item for `FIRST_SECONDS`. Raises what `items` raises, after all that came before.
    """
    waiting: list[StoryItem] = []
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        try:
            async with aclosing(items):
                async for item in items:
                    before = waiting[-1] if waiting else None
                    if isinstance(item, Delta) and isinstance(before, Delta):
                        waiting[-1] = Delta(before.offset, before.text + item.text)
                    else:
                        waiting.append(item)
                    arrived.set()
        finally:
            ended.set()
            arrived.set()

    reading, beat = asyncio.create_task(read(), name="story items"), FIRST_SECONDS
    try:
        while waiting or not ended.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(beat):
                    await arrived.wait()
            beat = HEARTBEAT_SECONDS
            if not arrived.is_set():
                yield None
                continue
            arrived.clear()
            taken = waiting.copy()
            waiting.clear()
            for item in taken:
                yield item
            if taken and isinstance(taken[-1], Delta):
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await ended.wait()
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


class StoryServicer(story_pb2_grpc.StoryServiceServicer):
    """Converts messages; the generator and the catalogue do the work. Raises DomainError."""

    def __init__(
        self,
        *,
        generator: StoryGenerator,
        catalogue: ModelList,
        total_timeout: float = 14_400.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`total_timeout` bounds a call of GenerateStory beside its waits for providers, in seconds; `now` is UTC."""
        self._generator = generator
        self._total_timeout = total_timeout
        self._catalogue = catalogue
        self._now = now

    async def GenerateStory(  # type: ignore[override] # noqa: N802 - gRPC's name; it does the sending itself
        self,
        request: story_pb2.GenerateStoryRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> None:
        """Writes a story, or continues one."""
        assignment = read_request(request)
        deadline = asyncio.get_running_loop().time() + self._total_timeout + assignment.provider_wait
        # No retry starts that the caller would not wait for; the caller's deadline itself ends the call.
        useful = asyncio.get_running_loop().time() + remaining(context, default=self._total_timeout)
        generating = self._generator.generate(
            assignment, deadline=min(deadline, useful), unsettled=map(read_call, request.unsettled)
        )
        try:
            # Around the sending too, so that a caller that stops reading does not hold the call.
            async with (
                asyncio.timeout_at(deadline),
                aclosing(gathered(generating)) as items,
            ):
                async for item in items:
                    await context.write(_HEARTBEAT if item is None else story_response(item, self._now))
        except TimeoutError:
            raise generation_failed(
                "TIMEOUT", "The call reached its time limit before the story was complete."
            ) from None

    async def ListModels(  # noqa: N802 - gRPC's name
        self,
        request: story_pb2.ListModelsRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> story_pb2.ListModelsResponse:
        """Lists the models."""
        del context
        try:
            page = self._catalogue.page(request.page_size or MAX_PAGE_SIZE, request.page_token)
        except ValueError:
            raise validation_failed(
                [FieldViolation("page_token", "must be the next_page_token of an earlier response")]
            ) from None
        return models_response(page)
