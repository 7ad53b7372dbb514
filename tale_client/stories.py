"""Calls that concern stories."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Final

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.calls import PAGE_SIZE, Calls, new_request_id
from tale_client.errors import own_error
from tale_client.follow import Follower
from tale_client.stream import AudioDownload, StoryStream, resumed
from tale_client.transport import PartialFile, Rpc

CREATE_STORY: Final = Rpc(gateway_pb2.CreateStoryRequest, gateway_pb2.CreateStoryResponse)
GET_STORY: Final = Rpc(gateway_pb2.GetStoryRequest, gateway_pb2.GetStoryResponse)
LIST_STORIES: Final = Rpc(gateway_pb2.ListStoriesRequest, gateway_pb2.ListStoriesResponse)
CANCEL_STORY: Final = Rpc(gateway_pb2.CancelStoryRequest, gateway_pb2.CancelStoryResponse)
RETRY_STORY: Final = Rpc(gateway_pb2.RetryStoryRequest, gateway_pb2.RetryStoryResponse)
NARRATE_STORY: Final = Rpc(gateway_pb2.NarrateStoryRequest, gateway_pb2.NarrateStoryResponse)
RATE_STORY: Final = Rpc(gateway_pb2.RateStoryRequest, gateway_pb2.RateStoryResponse)
DELETE_STORY: Final = Rpc(gateway_pb2.DeleteStoryRequest, gateway_pb2.DeleteStoryResponse)
GET_AUDIO_URL: Final = Rpc(gateway_pb2.GetAudioUrlRequest, gateway_pb2.GetAudioUrlResponse)
GET_DOWNLOAD_URL: Final = Rpc(gateway_pb2.GetDownloadUrlRequest, gateway_pb2.GetDownloadUrlResponse)
GET_FEED_URL: Final = Rpc(gateway_pb2.GetFeedUrlRequest, gateway_pb2.GetFeedUrlResponse)


class StoryCalls(Calls):
    """Creates, follows, reads and changes stories."""

    async def create_story(self, spec: common_pb2.StorySpec, *, request_id: str = "") -> common_pb2.Story:
        """Creates a story and returns it; it is made even if no client follows it."""
        request = gateway_pb2.CreateStoryRequest(request_id=request_id or new_request_id(), spec=spec)
        return (await self._unary(CREATE_STORY, request)).story

    def tell(
        self, spec: common_pb2.StorySpec, *, request_id: str = "", include_audio: bool = False
    ) -> AsyncGenerator[gateway_pb2.StoryEvent, None]:
        """Creates a story and follows it to its end, over any number of lost connections.

        Yields each event once, in order and without gaps: text by code points, audio by bytes. An `audio_header` with a
        new `audio_id` means that the audio starts again at byte 0. `done` is the last event, also of a story that
        failed; see its `state` and `problems`.
        """
        return self._follow(Follower(include_audio=include_audio), request_id or new_request_id(), spec)

    def watch(
        self,
        story_id: str,
        *,
        include_audio: bool = False,
        text_offset: int = 0,
        audio_id: str = "",
        audio_offset: int = 0,
    ) -> AsyncGenerator[gateway_pb2.StoryEvent, None]:
        """Follows a story from the caller's position, as `tell` does."""
        follower = Follower(
            include_audio=include_audio,
            story_id=story_id,
            text_offset=text_offset,
            audio_id=audio_id,
            audio_offset=audio_offset,
        )
        return self._follow(follower)

    async def get_story(self, story_id: str, *, full: bool = False) -> common_pb2.Story:
        """Returns a stored story; `full`: with its attempts, segments and the answers of the providers."""
        view = common_pb2.STORY_VIEW_FULL if full else common_pb2.STORY_VIEW_BASIC
        request = gateway_pb2.GetStoryRequest(story_id=story_id, view=view)
        return (await self._unary(GET_STORY, request)).story

    async def list_stories(
        self, story_filter: common_pb2.StoryFilter | None = None, *, page_size: int = PAGE_SIZE
    ) -> AsyncGenerator[common_pb2.StorySummary, None]:
        """Yields stored stories, newest first, page after page."""
        request = gateway_pb2.ListStoriesRequest(filter=story_filter, page_size=page_size)
        async with aclosing(self._pages(LIST_STORIES, request)) as found:
            async for page in found:
                for summary in page.stories:
                    yield summary

    async def cancel_story(self, story_id: str) -> common_pb2.Story:
        """Stops a story that is being made, and returns it. What was written so far is stored."""
        return (await self._unary(CANCEL_STORY, gateway_pb2.CancelStoryRequest(story_id=story_id))).story

    async def retry_story(self, story_id: str, *, request_id: str = "") -> common_pb2.Story:
        """Continues a FAILED story from what is stored, and returns it; `watch` follows it."""
        request = gateway_pb2.RetryStoryRequest(story_id=story_id, request_id=request_id or new_request_id())
        return (await self._unary(RETRY_STORY, request)).story

    async def narrate_story(
        self, story_id: str, voice: common_pb2.VoiceSelection | None = None, *, request_id: str = ""
    ) -> common_pb2.Story:
        """Narrates a stored story again and returns it; `watch` follows it. The earlier audio stays until then."""
        request = gateway_pb2.NarrateStoryRequest(
            story_id=story_id, request_id=request_id or new_request_id(), voice=voice
        )
        return (await self._unary(NARRATE_STORY, request)).story

    async def rate_story(self, story_id: str, rating: int, *, expected_revision: int | None = None) -> common_pb2.Story:
        """Rates a story, 1 to 10, and returns it; with `expected_revision` only if the story has that revision."""
        request = gateway_pb2.RateStoryRequest(story_id=story_id, rating=rating, expected_revision=expected_revision)
        # With an expected revision a repetition would find the revision that the first call made.
        return (await self._unary(RATE_STORY, request, repeatable=expected_revision is None)).story

    async def delete_story(self, story_id: str) -> None:
        """Deletes a story and its audio."""
        await self._delete(DELETE_STORY, gateway_pb2.DeleteStoryRequest(story_id=story_id))

    async def get_audio_url(self, story_id: str, *, expiry: float | None = None) -> gateway_pb2.GetAudioUrlResponse:
        """Returns a URL of the stored audio and its expiry time; `expiry`: 1 to 604,800 seconds, None for 3,600.

        TaleError AUDIO_URL_UNSUPPORTED if neither the store nor the gateway has URLs.
        """
        request = gateway_pb2.GetAudioUrlRequest(story_id=story_id)
        if expiry is not None:
            request.expiry.FromNanoseconds(round(expiry * 1e9))
        return await self._unary(GET_AUDIO_URL, request)

    async def get_download_url(
        self, story_id: str, file_format: gateway_pb2.DownloadFormat.ValueType, *, expiry: float | None = None
    ) -> gateway_pb2.GetDownloadUrlResponse:
        """Returns a URL of the story as a file, for which no key is needed; `expiry` as in `get_audio_url`."""
        request = gateway_pb2.GetDownloadUrlRequest(story_id=story_id, format=file_format)
        if expiry is not None:
            request.expiry.FromNanoseconds(round(expiry * 1e9))
        return await self._unary(GET_DOWNLOAD_URL, request)

    async def get_feed_url(self, child_id: str) -> str:
        """Returns the URL of a podcast feed of the child's stories, for which no key is needed."""
        return (await self._unary(GET_FEED_URL, gateway_pb2.GetFeedUrlRequest(child_id=child_id))).url

    async def read_audio(self, story_id: str, *, audio_id: str = "", offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yields the stored audio from byte `offset`, over any number of lost connections.

        TaleError AUDIO_CORRUPT at the end if its size or (from byte 0) its SHA-256 are wrong.
        """
        download = AudioDownload(
            self._transport, self._reconnect, self._correlated(), story_id, audio_id=audio_id, offset=offset
        )
        async with aclosing(download.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk

    async def save_audio(self, story_id: str, path: Path | str, *, audio_id: str = "") -> common_pb2.StoryAudio:
        """Writes the verified audio to `path` and returns its facts; an error leaves `path` unchanged. Also OSError."""
        place = Path(path)
        download = AudioDownload(self._transport, self._reconnect, self._correlated(), story_id, audio_id=audio_id)
        partial = PartialFile(place.parent, place.suffix, self._transport.offload)
        async with partial as file, aclosing(download.chunks()) as chunks:
            async for chunk in chunks:
                await file.write(chunk)
            await file.commit(place)
        if download.header is None:
            raise own_error("AUDIO_CORRUPT", "The gateway sent no header of the audio.")
        return download.header

    def _follow(
        self, follower: Follower, request_id: str = "", spec: common_pb2.StorySpec | None = None
    ) -> AsyncGenerator[gateway_pb2.StoryEvent, None]:
        stream = StoryStream(
            self._transport,
            follower,
            deadline=self._reconnect.stream_deadline,
            metadata=self._correlated(request_id),
            request_id=request_id,
            spec=spec,
        )
        return resumed(stream, self._transport, self._reconnect)
