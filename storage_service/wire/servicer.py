"""StorageService on the wire: messages in, domain calls, messages out."""

from collections.abc import AsyncIterator, Awaitable, Collection, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import grpc

from servicekit.context import current
from servicekit.validation import DEFAULT_PAGE_SIZE
from storage_service.audio.finishing import AudioFinisher
from storage_service.audio.library import AudioLibrary
from storage_service.errors import field_error
from storage_service.messages import chunks_of, within_bounds
from storage_service.ports import StoryStore
from storage_service.records import (
    Cancel,
    Change,
    Narrate,
    NewStory,
    ObjectKind,
    Position,
    Rate,
    RepeatKey,
    Retry,
)
from storage_service.stories.absence import Absence
from storage_service.stories.housekeeper import Remover
from storage_service.stories.quotas import DEFAULT_DAYS
from storage_service.wire.paging import page_of
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

_MAX_NEWS: Final = 768 << 10
"""Bytes of an answer of FollowStories, about."""

_URL_MICROSECONDS: Final = 3_600 * 1_000_000

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
_Repeatable: TypeAlias = storage_pb2.CreateStoryRequest | storage_pb2.RetryChange | storage_pb2.NarrateChange


class StorageServicer(storage_pb2_grpc.StorageServiceServicer):
    """Answers for the stories and the audio of the owner who asks.

    CreateStory and UpdateStory answer with the BASIC view.
    """

    def __init__(
        self, stories: StoryStore, audio: AudioLibrary, finisher: AudioFinisher, remover: Remover, absence: Absence
    ) -> None:
        self._stories = stories
        self._audio = audio
        self._finisher = finisher
        self._remover = remover
        self._absence = absence

    async def CreateStory(  # noqa: N802 - the contract's name
        self, request: storage_pb2.CreateStoryRequest, context: _Context
    ) -> storage_pb2.CreateStoryResponse:
        """Keeps a new story."""
        del context
        # No rule bounds them; the spec has what a caller sent.
        request.story.DiscardUnknownFields()
        new = NewStory(
            story_id=request.story_id,
            spec=request.spec,
            story=request.story,
            repeat=_repeat_key(request),
            lease=_lease_of(request),
            quota=_quota_of(request),
        )
        record, created = await self._stories.create(current().owner, new)
        return storage_pb2.CreateStoryResponse(record=record, created=created)

    async def GetStory(self, request: storage_pb2.GetStoryRequest, context: _Context) -> storage_pb2.GetStoryResponse:  # noqa: N802 - the contract's name
        """Gives a story."""
        del context
        full = request.view == common_pb2.STORY_VIEW_FULL
        record = await self._stories.get(current().owner, request.story_id, full=full)
        return storage_pb2.GetStoryResponse(record=within_bounds(record))

    async def ListStories(  # noqa: N802 - the contract's name
        self, request: storage_pb2.ListStoriesRequest, context: _Context
    ) -> storage_pb2.ListStoriesResponse:
        """Lists stories."""
        del context
        size, owner, chosen = request.page_size or DEFAULT_PAGE_SIZE, current().owner, request.filter

        def load(limit: int, after: Position | None) -> Awaitable[Sequence[common_pb2.StorySummary]]:
            return self._stories.list_page(owner, chosen, limit=limit, after=after)

        page, token = await page_of(owner, chosen, size, request.page_token, load)
        return storage_pb2.ListStoriesResponse(stories=page, next_page_token=token)

    async def UpdateStory(  # noqa: N802 - the contract's name
        self, request: storage_pb2.UpdateStoryRequest, context: _Context
    ) -> storage_pb2.UpdateStoryResponse:
        """Changes a story."""
        del context
        expected = request.expected_revision if request.HasField("expected_revision") else None
        record, changed = await self._stories.update(
            current().owner, request.story_id, _change(request), expected_revision=expected
        )
        return storage_pb2.UpdateStoryResponse(record=record, changed=changed)

    async def DeleteStory(  # noqa: N802 - the contract's name
        self, request: storage_pb2.DeleteStoryRequest, context: _Context
    ) -> storage_pb2.DeleteStoryResponse:
        """Removes a story."""
        del context
        await self._remover.delete_story(current().owner, request.story_id)
        return storage_pb2.DeleteStoryResponse()

    async def EraseChild(  # noqa: N802 - the contract's name
        self, request: storage_pb2.EraseChildRequest, context: _Context
    ) -> storage_pb2.EraseChildResponse:
        """Removes a child with all its stories."""
        del context
        erased = await self._remover.erase_child(current().owner, request.child_id)
        return storage_pb2.EraseChildResponse(
            story_count=erased.story_count,
            audio_count=erased.count(ObjectKind.AUDIO),
            segment_count=erased.count(ObjectKind.SEGMENT),
        )

    async def FollowStories(  # noqa: N802 - the contract's name
        self, request: storage_pb2.FollowStoriesRequest, context: _Context
    ) -> storage_pb2.FollowStoriesResponse:
        """Returns what is new in stories."""
        del context
        _check_each_once("positions", request.positions)
        changes, truncated = await self._stories.follow(request.positions, max_bytes=_MAX_NEWS)
        return storage_pb2.FollowStoriesResponse(changes=changes, truncated=truncated)

    async def ClaimStories(  # noqa: N802 - the contract's name
        self, request: storage_pb2.ClaimStoriesRequest, context: _Context
    ) -> storage_pb2.ClaimStoriesResponse:
        """Hands out work."""
        del context
        lease, story_ids = request.lease.duration.ToMicroseconds(), frozenset(request.story_ids)
        claim = self._stories.claim(
            lease,
            most=request.max_count,
            story_ids=story_ids,
            expired=lambda: not self._absence.holds_back(lease),
        )
        claimed = await self._absence.observe(claim)
        return storage_pb2.ClaimStoriesResponse(stories=claimed)

    async def CheckpointStories(  # noqa: N802 - the contract's name
        self, request: storage_pb2.CheckpointStoriesRequest, context: _Context
    ) -> storage_pb2.CheckpointStoriesResponse:
        """Stores what runs have made."""
        del context
        _check_each_once("checkpoints", request.checkpoints)
        storing = self._stories.checkpoint(request.lease_duration.ToMicroseconds(), request.checkpoints)
        results = await self._absence.observe(storing)
        return storage_pb2.CheckpointStoriesResponse(results=results)

    async def ReleaseStories(  # noqa: N802 - the contract's name
        self, request: storage_pb2.ReleaseStoriesRequest, context: _Context
    ) -> storage_pb2.ReleaseStoriesResponse:
        """Takes leases back."""
        del context
        return storage_pb2.ReleaseStoriesResponse(released_count=await self._stories.release(request.leases))

    async def FinishAudio(  # noqa: N802 - the contract's name
        self, request: storage_pb2.FinishAudioRequest, context: _Context
    ) -> storage_pb2.FinishAudioResponse:
        """Composes audio."""
        del context
        audio = await self._finisher.finish(request.story_id, request.lease_token, request.audio_id)
        return storage_pb2.FinishAudioResponse(audio=audio)

    async def ReadAudio(  # noqa: N802 - the contract's name
        self, request: storage_pb2.ReadAudioRequest, context: _Context
    ) -> AsyncIterator[storage_pb2.ReadAudioResponse]:
        """Reads audio, finished or in progress."""
        del context
        owner, story_id, offset = current().owner, request.story_id, request.offset
        found = await self._audio.find(owner, story_id, request.audio_id)
        if offset > found.audio.size_bytes:
            raise field_error("offset", "must not be beyond the end of the audio")
        yield storage_pb2.ReadAudioResponse(header=found.audio)
        limit = request.limit if request.HasField("limit") else None
        async with aclosing(self._audio.read(owner, story_id, found, offset=offset, limit=limit)) as blocks:
            async for block in blocks:
                for data in chunks_of(block):
                    # Filled in place: a message that is given to another's constructor is coded, decoded and copied.
                    response = storage_pb2.ReadAudioResponse()
                    response.chunk.offset, response.chunk.data = offset, data
                    yield response
                    offset += len(data)

    async def GetAudioUrl(  # noqa: N802 - the contract's name
        self, request: storage_pb2.GetAudioUrlRequest, context: _Context
    ) -> storage_pb2.GetAudioUrlResponse:
        """Gives an address for audio."""
        del context
        expiry = request.expiry.ToMicroseconds() if request.HasField("expiry") else _URL_MICROSECONDS
        signed = await self._audio.url(current().owner, request.story_id, expiry=expiry)
        response = storage_pb2.GetAudioUrlResponse(url=signed.url)
        response.expire_time.FromMicroseconds(signed.expire_time)
        return response

    async def GetUsage(self, request: storage_pb2.GetUsageRequest, context: _Context) -> storage_pb2.GetUsageResponse:  # noqa: N802 - the contract's name
        """Returns what was used."""
        del context
        owner = None if request.all_owners else current().owner
        return storage_pb2.GetUsageResponse(entries=await self._stories.usage(owner, request.days or DEFAULT_DAYS))


def _check_each_once(
    field: str, entries: Collection[storage_pb2.StoryPosition] | Collection[storage_pb2.StoryCheckpoint]
) -> None:
    """Raises VALIDATION_FAILED where a story is named twice. Not in the contract: in CEL it takes 50 ms a request."""
    if len({entry.story_id for entry in entries}) < len(entries):
        raise field_error(field, "must name each story once")


def _change(request: storage_pb2.UpdateStoryRequest) -> Change:
    match request.WhichOneof("change"):
        case "rating":
            return Rate(request.rating)
        case "retry":
            return Retry(_repeat_key(request.retry), _lease_of(request.retry), _quota_of(request))
        case "narrate":
            narrate = request.narrate
            return Narrate(narrate.voice, _repeat_key(narrate), _lease_of(narrate), _quota_of(request))
        case _:
            return Cancel()


def _repeat_key(asked: _Repeatable) -> RepeatKey | None:
    return RepeatKey(asked.request_id, asked.fingerprint) if asked.request_id else None


def _lease_of(asked: _Repeatable) -> int | None:
    return asked.lease.duration.ToMicroseconds() if asked.HasField("lease") else None


def _quota_of(asked: storage_pb2.CreateStoryRequest | storage_pb2.UpdateStoryRequest) -> storage_pb2.Quota | None:
    return asked.quota if asked.HasField("quota") else None
