"""StorageService on the wire: messages in, domain calls, messages out."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import grpc

from servicekit.context import current
from storage_service import requests
from storage_service.audio.finishing import AudioFinisher
from storage_service.audio.library import AudioLibrary
from storage_service.bounds import chunks_of, within_bounds
from storage_service.checkpoint_requests import check_checkpoints
from storage_service.errors import field_error
from storage_service.paging import from_token, to_token
from storage_service.ports import StoryStore
from storage_service.records import (
    Cancel,
    Change,
    Lease,
    Narrate,
    NewStory,
    ObjectKind,
    Position,
    Rate,
    RepeatKey,
    Retry,
)
from storage_service.remover import Remover
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

_MAX_NEWS: Final = 768 << 10
"""Bytes of an answer of FollowStories, about."""

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class StorageServicer(storage_pb2_grpc.StorageServiceServicer):
    """Answers for the stories and the audio of the owner who asks.

    CreateStory and UpdateStory answer with the BASIC view.
    """

    def __init__(self, stories: StoryStore, audio: AudioLibrary, finisher: AudioFinisher, remover: Remover) -> None:
        self._stories = stories
        self._audio = audio
        self._finisher = finisher
        self._remover = remover

    async def CreateStory(  # noqa: N802 - the contract's name
        self, request: storage_pb2.CreateStoryRequest, context: _Context
    ) -> storage_pb2.CreateStoryResponse:
        """Keeps a new story."""
        del context
        requests.check_create(request)
        new = NewStory(
            story_id=request.story_id,
            spec=request.spec,
            story=request.story,
            repeat=_repeat_key(request.request_id, request.fingerprint),
            lease=_lease(request.lease) if request.HasField("lease") else None,
        )
        record, created = await self._stories.create(current().owner, new)
        return storage_pb2.CreateStoryResponse(record=record, created=created)

    async def GetStory(self, request: storage_pb2.GetStoryRequest, context: _Context) -> storage_pb2.GetStoryResponse:  # noqa: N802 - the contract's name
        """Gives a story."""
        del context
        requests.check_get(request)
        full = request.view == common_pb2.STORY_VIEW_FULL
        record = await self._stories.get(current().owner, request.story_id, full=full)
        return storage_pb2.GetStoryResponse(record=within_bounds(record))

    async def ListStories(  # noqa: N802 - the contract's name
        self, request: storage_pb2.ListStoriesRequest, context: _Context
    ) -> storage_pb2.ListStoriesResponse:
        """Lists stories."""
        del context
        size = requests.check_list(request)
        owner = current().owner
        after = None
        if request.page_token:
            after = from_token(request.page_token, owner, request.filter)
            if after is None:
                raise field_error("page_token", "must be the next_page_token of a listing with the same filter")
        # One more than asked for tells whether there is a next page.
        found = list(await self._stories.list_page(owner, request.filter, limit=size + 1, after=after))
        response = storage_pb2.ListStoriesResponse(stories=found[:size])
        if len(found) > size:
            last = found[size - 1]
            response.next_page_token = to_token(
                Position(last.create_time.ToMicroseconds(), last.id), owner, request.filter
            )
        return response

    async def UpdateStory(  # noqa: N802 - the contract's name
        self, request: storage_pb2.UpdateStoryRequest, context: _Context
    ) -> storage_pb2.UpdateStoryResponse:
        """Changes a story."""
        del context
        requests.check_update(request)
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
        requests.check_story_id(request.story_id)
        await self._remover.delete_story(current().owner, request.story_id)
        return storage_pb2.DeleteStoryResponse()

    async def EraseChild(  # noqa: N802 - the contract's name
        self, request: storage_pb2.EraseChildRequest, context: _Context
    ) -> storage_pb2.EraseChildResponse:
        """Removes a child with all its stories."""
        del context
        requests.check_erase(request)
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
        requests.check_follow(request)
        changes, truncated = await self._stories.follow(request.positions, max_bytes=_MAX_NEWS)
        return storage_pb2.FollowStoriesResponse(changes=changes, truncated=truncated)

    async def ClaimStories(  # noqa: N802 - the contract's name
        self, request: storage_pb2.ClaimStoriesRequest, context: _Context
    ) -> storage_pb2.ClaimStoriesResponse:
        """Hands out work."""
        del context
        requests.check_claim(request)
        claimed = await self._stories.claim(
            _lease(request.lease), most=request.max_count, story_ids=frozenset(request.story_ids)
        )
        return storage_pb2.ClaimStoriesResponse(stories=claimed)

    async def CheckpointStories(  # noqa: N802 - the contract's name
        self, request: storage_pb2.CheckpointStoriesRequest, context: _Context
    ) -> storage_pb2.CheckpointStoriesResponse:
        """Stores what runs have made."""
        del context
        check_checkpoints(request)
        results = await self._stories.checkpoint(request.lease_duration.ToMicroseconds(), request.checkpoints)
        return storage_pb2.CheckpointStoriesResponse(results=results)

    async def ReleaseStories(  # noqa: N802 - the contract's name
        self, request: storage_pb2.ReleaseStoriesRequest, context: _Context
    ) -> storage_pb2.ReleaseStoriesResponse:
        """Takes leases back."""
        del context
        requests.check_release(request)
        return storage_pb2.ReleaseStoriesResponse(released_count=await self._stories.release(request.leases))

    async def FinishAudio(  # noqa: N802 - the contract's name
        self, request: storage_pb2.FinishAudioRequest, context: _Context
    ) -> storage_pb2.FinishAudioResponse:
        """Composes audio."""
        del context
        requests.check_finish(request)
        audio = await self._finisher.finish(request.story_id, request.lease_token, request.audio_id)
        return storage_pb2.FinishAudioResponse(audio=audio)

    async def ReadAudio(  # noqa: N802 - the contract's name
        self, request: storage_pb2.ReadAudioRequest, context: _Context
    ) -> AsyncIterator[storage_pb2.ReadAudioResponse]:
        """Reads audio, finished or in the making."""
        del context
        requests.check_read(request)
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
        expiry = requests.check_audio_url(request)
        signed = await self._audio.url(current().owner, request.story_id, expiry=expiry)
        response = storage_pb2.GetAudioUrlResponse(url=signed.url)
        response.expire_time.FromMicroseconds(signed.expire_time)
        return response


def _change(request: storage_pb2.UpdateStoryRequest) -> Change:
    match request.WhichOneof("change"):
        case "rating":
            return Rate(request.rating)
        case "retry":
            asked = request.retry
            lease = _lease(asked.lease) if asked.HasField("lease") else None
            return Retry(_repeat_key(asked.request_id, asked.fingerprint), lease)
        case "narrate":
            again = request.narrate
            lease = _lease(again.lease) if again.HasField("lease") else None
            return Narrate(again.voice, _repeat_key(again.request_id, again.fingerprint), lease)
        case _:
            return Cancel()


def _repeat_key(request_id: str, fingerprint: bytes) -> RepeatKey | None:
    return RepeatKey(request_id, fingerprint) if request_id else None


def _lease(lease: storage_pb2.LeaseRequest) -> Lease:
    return Lease(lease.duration.ToMicroseconds())
