"""What can be asked of stories, apart from watching them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, Final

import structlog

from gateway.audio_reader import AudioReader
from gateway.cursor import CHUNK_BYTES, fill_audio
from gateway.presenting import basic, within_bounds
from gateway.runs import Runs
from gateway.siblings import SIBLING_ERRORS, Siblings, classify
from servicekit.fingerprint import fingerprint
from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.storage.v1 import storage_pb2

DEFAULT_LANGUAGE: Final = "en"
DEFAULT_MINUTES: Final = 5
FIRST_TOKEN: Final = 1
"""Of a lease that was taken in the call that created the story."""

_WITHOUT_REQUEST_ID: Final = frozenset({"request_id"})

log = structlog.get_logger(__name__)


class Stories:
    """The gateway's unary work. Requests are checked already; `timeout` is seconds for the call to storage."""

    def __init__(self, siblings: Siblings, runs: Runs, reader: AudioReader) -> None:
        self._siblings = siblings
        self._runs = runs
        self._reader = reader

    async def create(self, request_id: str, spec: common_pb2.StorySpec, *, timeout: float) -> common_pb2.Story:
        """Keeps a new story and begins to make it; with a request id that is known, the story it named."""
        return await _to_the_end(self._create(request_id, spec, timeout=timeout))

    async def _create(self, request_id: str, spec: common_pb2.StorySpec, *, timeout: float) -> common_pb2.Story:
        since = self._runs.now()
        request = storage_pb2.CreateStoryRequest(
            story_id=new_id(),
            request_id=request_id,
            fingerprint=fingerprint(spec),
            spec=spec,
            story=_opening(spec),
            lease=self._runs.lease_request(),
        )
        answer = await self._siblings.storage.create_story(request, timeout=timeout)
        # Of a call that had to be repeated the answer says that the story was there; its id was made for this call.
        ours = answer.record.story.id == request.story_id and answer.record.run.lease_token == FIRST_TOKEN
        self._begin_if_leased(answer.record, leased=ours and request.HasField("lease"), since=since)
        return answer.record.story

    async def retry(self, request: gateway_pb2.RetryStoryRequest, *, timeout: float) -> common_pb2.Story:
        """Lets a failed story go on."""
        change = storage_pb2.UpdateStoryRequest(
            story_id=request.story_id,
            retry=storage_pb2.RetryChange(
                request_id=request.request_id,
                fingerprint=fingerprint(request, without=_WITHOUT_REQUEST_ID),
                lease=self._runs.lease_request(),
            ),
        )
        return await self._change_and_begin(change, leased=change.retry.HasField("lease"), timeout=timeout)

    async def narrate(self, request: gateway_pb2.NarrateStoryRequest, *, timeout: float) -> common_pb2.Story:
        """Has a story narrated again."""
        voice = request.voice
        if not request.HasField("voice"):
            record = await self._siblings.storage.get_story(
                request.story_id, view=common_pb2.STORY_VIEW_BASIC, timeout=timeout
            )
            voice = record.story.voice
        change = storage_pb2.UpdateStoryRequest(
            story_id=request.story_id,
            narrate=storage_pb2.NarrateChange(
                request_id=request.request_id,
                fingerprint=fingerprint(request, without=_WITHOUT_REQUEST_ID),
                lease=self._runs.lease_request(),
                voice=voice,
            ),
        )
        return await self._change_and_begin(change, leased=change.narrate.HasField("lease"), timeout=timeout)

    async def rate(self, request: gateway_pb2.RateStoryRequest, *, timeout: float) -> common_pb2.Story:
        """Keeps a rating."""
        change = storage_pb2.UpdateStoryRequest(story_id=request.story_id, rating=request.rating)
        if request.HasField("expected_revision"):
            change.expected_revision = request.expected_revision
        answer = await self._siblings.storage.update_story(change, timeout=timeout)
        return basic(answer.record.story)

    async def cancel(self, story_id: str, *, timeout: float) -> common_pb2.Story:
        """Stops a story. A run of another gateway learns of it from storage, within a second."""
        change = storage_pb2.UpdateStoryRequest(story_id=story_id, cancel=storage_pb2.CancelChange())
        story = (await self._siblings.storage.update_story(change, timeout=timeout)).record.story
        if await self._runs.cancelled(story_id, story.state):
            try:
                record = await self._siblings.storage.get_story(
                    story_id, view=common_pb2.STORY_VIEW_BASIC, timeout=timeout
                )
            except SIBLING_ERRORS as error:
                log.warning("cancelled_story_not_read", story_id=story_id, reason=classify(error).error.reason)
            else:
                story = record.story
        return basic(story)

    async def get(self, story_id: str, *, view: int, timeout: float) -> common_pb2.Story:
        """Returns a story."""
        wanted = common_pb2.STORY_VIEW_FULL if view == common_pb2.STORY_VIEW_FULL else common_pb2.STORY_VIEW_BASIC
        record = await self._siblings.storage.get_story(story_id, view=wanted, timeout=timeout)
        return within_bounds(record.story)

    async def list(self, request: gateway_pb2.ListStoriesRequest, *, timeout: float) -> gateway_pb2.ListStoriesResponse:
        """Lists stories."""
        wanted = storage_pb2.ListStoriesRequest(page_size=request.page_size, page_token=request.page_token)
        if request.HasField("filter"):
            wanted.filter.CopyFrom(request.filter)
        answer = await self._siblings.storage.list_stories(wanted, timeout=timeout)
        return gateway_pb2.ListStoriesResponse(stories=answer.stories, next_page_token=answer.next_page_token)

    async def delete(self, story_id: str, *, timeout: float) -> None:
        """Deletes a story with its audio, and stops its run."""
        await self._siblings.storage.delete_story(story_id, timeout=timeout)
        await self._runs.deleted(story_id)

    async def erase_child(self, child_id: str, *, timeout: float) -> gateway_pb2.EraseChildResponse:
        """Erases a child with its stories, and stops their runs. Those of other gateways learn it from storage."""
        erased = await self._siblings.storage.erase_child(child_id, timeout=timeout)
        await self._runs.erased(child_id)
        log.info("child_erased", child_id=child_id, stories=erased.story_count, segments=erased.segment_count)
        return gateway_pb2.EraseChildResponse(
            story_count=erased.story_count, audio_count=erased.audio_count, segment_count=erased.segment_count
        )

    async def audio_url(
        self, request: gateway_pb2.GetAudioUrlRequest, *, timeout: float
    ) -> gateway_pb2.GetAudioUrlResponse:
        """Gives a signed address of a story's audio."""
        wanted = storage_pb2.GetAudioUrlRequest(story_id=request.story_id)
        if request.HasField("expiry"):
            wanted.expiry.CopyFrom(request.expiry)
        answer = await self._siblings.storage.get_audio_url(wanted, timeout=timeout)
        return gateway_pb2.GetAudioUrlResponse(url=answer.url, expire_time=answer.expire_time)

    async def read_audio(
        self, request: gateway_pb2.ReadStoryAudioRequest, *, timeout: float | None
    ) -> AsyncIterator[gateway_pb2.ReadStoryAudioResponse]:
        """Audio, finished or in the making: a header, then bytes."""
        wanted = storage_pb2.ReadAudioRequest(
            story_id=request.story_id, audio_id=request.audio_id, offset=request.offset
        )
        audio_id = ""
        async with aclosing(self._reader.read(wanted, timeout=timeout)) as responses:
            async for response in responses:
                if response.WhichOneof("piece") == "header":
                    audio_id = response.header.audio_id
                    head = gateway_pb2.ReadStoryAudioResponse()
                    head.header.CopyFrom(response.header)
                    yield head
                    continue
                offset, data = response.chunk.offset, response.chunk.data
                for start in range(0, len(data), CHUNK_BYTES):
                    piece = gateway_pb2.ReadStoryAudioResponse()
                    fill_audio(
                        piece.chunk, audio_id=audio_id, offset=offset + start, chunk=data[start : start + CHUNK_BYTES]
                    )
                    yield piece

    async def _change_and_begin(
        self, change: storage_pb2.UpdateStoryRequest, *, leased: bool, timeout: float
    ) -> common_pb2.Story:
        return await _to_the_end(self._change(change, leased=leased, timeout=timeout))

    async def _change(
        self, change: storage_pb2.UpdateStoryRequest, *, leased: bool, timeout: float
    ) -> common_pb2.Story:
        since = self._runs.now()
        answer = await self._siblings.storage.update_story(change, timeout=timeout)
        if answer.changed and leased:
            # The run needs the ledger and the old responses as well.
            record = await self._siblings.storage.get_story(change.story_id, view=common_pb2.STORY_VIEW_FULL)
            self._begin_if_leased(record, leased=record.run.lease_token == answer.record.run.lease_token, since=since)
        return basic(answer.record.story)

    def _begin_if_leased(self, record: storage_pb2.StoryRecord, *, leased: bool, since: float) -> None:
        if leased:
            self._runs.start(record, since=since)


async def _to_the_end(work: Coroutine[Any, Any, common_pb2.Story]) -> common_pb2.Story:
    """Does `work` even when the caller goes away in the middle: a lease that storage has granted must be used."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(task)


def _opening(spec: common_pb2.StorySpec) -> common_pb2.Story:
    """The story as it begins: what was asked for, with the defaults filled in. Storage adds a stored child or hero."""
    return common_pb2.Story(
        kind=spec.kind or common_pb2.STORY_KIND_CHILD,
        child_id=spec.child_id,
        hero_id=spec.hero_id,
        child=spec.child if spec.HasField("child") else None,
        hero=spec.hero if spec.HasField("hero") else None,
        moral=spec.moral,
        theme=spec.theme,
        wish=spec.wish,
        language_code=spec.language_code or DEFAULT_LANGUAGE,
        length_minutes=spec.length_minutes if spec.HasField("length_minutes") else DEFAULT_MINUTES,
        parent_story_id=spec.parent_story_id,
        narrate=spec.narrate if spec.HasField("narrate") else True,
        voice=spec.voice,
    )
