"""StorageService on the wire: messages in, domain calls, messages out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any, Final, TypeAlias

import grpc

from servicekit.context import current
from servicekit.errors import DomainError
from storage_service import removal_requests, requests
from storage_service.audio import AudioLibrary
from storage_service.bounds import within_bounds
from storage_service.errors import UploadStalledError, field_error
from storage_service.paging import from_token, to_token
from storage_service.ports import RemovalStore, StoryStore
from storage_service.records import Cancel, Change, Lease, Narrate, NewStory, Position, Rate, RepeatKey, Retry
from storage_service.remover import Remover
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

_HEAR_OUT_SECONDS: Final = 5.0

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class StorageServicer(storage_pb2_grpc.StorageServiceServicer):
    """Answers for the stories and the audio of the owner who asks.

    CreateStory and UpdateStory answer with the BASIC view.
    """

    def __init__(self, stories: StoryStore, audio: AudioLibrary, remover: Remover, removals: RemovalStore) -> None:
        self._stories = stories
        self._audio = audio
        self._remover = remover
        self._removals = removals

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
        removed = await self._remover.delete_story(current().owner, request.story_id)
        return storage_pb2.DeleteStoryResponse(segment_sha256=removed.segment_sha256)

    async def EraseChild(  # noqa: N802 - the contract's name
        self, request: storage_pb2.EraseChildRequest, context: _Context
    ) -> storage_pb2.EraseChildResponse:
        """Removes a child, some of its stories a call."""
        del context
        removal_requests.check_erase(request)
        erasure = await self._remover.erase_child(current().owner, request.child_id)
        return storage_pb2.EraseChildResponse(
            story_count=erasure.story_count, audio_count=erasure.audio_count, done=erasure.done
        )

    async def ListForgettable(  # noqa: N802 - the contract's name
        self, request: storage_pb2.ListForgettableRequest, context: _Context
    ) -> storage_pb2.ListForgettableResponse:
        """Lists what caches must forget."""
        del context
        removal_requests.check_list(request)
        stories = await self._removals.list_forgettable(current().owner, request.child_id, most=request.max_count)
        return storage_pb2.ListForgettableResponse(stories=stories)

    async def ConfirmForgotten(  # noqa: N802 - the contract's name
        self, request: storage_pb2.ConfirmForgottenRequest, context: _Context
    ) -> storage_pb2.ConfirmForgottenResponse:
        """Notes what caches have forgotten."""
        del context
        removal_requests.check_confirm(request)
        await self._removals.confirm_forgotten(request.story_ids)
        return storage_pb2.ConfirmForgottenResponse()

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
        """Keeps what runs have made."""
        del context
        requests.check_checkpoints(request)
        results = await self._stories.checkpoint(request.lease_duration.ToMicroseconds(), request.checkpoints)
        return storage_pb2.CheckpointStoriesResponse(results=results)

    async def ReleaseStories(  # noqa: N802 - the contract's name
        self, request: storage_pb2.ReleaseStoriesRequest, context: _Context
    ) -> storage_pb2.ReleaseStoriesResponse:
        """Takes leases back."""
        del context
        requests.check_release(request)
        return storage_pb2.ReleaseStoriesResponse(released_count=await self._stories.release(request.leases))

    async def WriteAudio(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[storage_pb2.WriteAudioRequest], context: _Context
    ) -> storage_pb2.WriteAudioResponse:
        """Takes audio in."""
        del context
        pieces = aiter(request_iterator)
        try:
            first = await anext(pieces, None)
            if first is None or first.WhichOneof("piece") != "header":
                raise field_error("header", "must come first")
            requests.check_audio_header(first.header)
            return storage_pb2.WriteAudioResponse(audio=await self._audio.write(first.header, pieces))
        except UploadStalledError:
            raise
        except DomainError:
            await _hear_out(pieces)
            raise

    async def ReadAudio(  # noqa: N802 - the contract's name
        self, request: storage_pb2.ReadAudioRequest, context: _Context
    ) -> AsyncIterator[storage_pb2.ReadAudioResponse]:
        """Gives audio out."""
        del context
        requests.check_read(request)
        owner = current().owner
        kept = await self._audio.find(owner, request.story_id, request.audio_id)
        if request.offset > kept.audio.size_bytes:
            raise field_error("offset", "must not be beyond the end of the audio")
        yield storage_pb2.ReadAudioResponse(header=kept.audio)
        offset = request.offset
        limit = request.limit if request.HasField("limit") else None
        async with aclosing(self._audio.read(owner, kept, offset=offset, limit=limit)) as chunks:
            async for data in chunks:
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
        kept = await self._audio.find(current().owner, request.story_id, "")
        signed = await self._audio.url(kept, expiry=expiry)
        response = storage_pb2.GetAudioUrlResponse(url=signed.url)
        response.expire_time.FromMicroseconds(signed.expire_time)
        return response


async def _hear_out(pieces: AsyncIterator[storage_pb2.WriteAudioRequest]) -> None:
    """Lets a caller finish sending, for a while.

    A client of grpc.aio that is still sending when its call fails reports INTERNAL instead of the status it was given.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_HEAR_OUT_SECONDS):
            async for _ in pieces:
                pass


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
    return Lease(lease.runner, lease.duration.ToMicroseconds())
