"""Answers links: audio with ranges, also while it is being made, texts, books and feeds."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar
from urllib.parse import quote

import grpc
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.door.web.books import Book, epub, read_along
from gateway.door.web.downloads import file_name
from gateway.door.web.feed import Feed
from gateway.door.web.links import FEED, ExpiredLinkError, InvalidLinkError, Link, LinkAuthenticator, Links
from gateway.door.web.site import CutError
from gateway.runs.followed_stories import ENDED
from servicekit.context import Caller, RequestContext, bound
from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.waiting import Places
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from tale.profile.v1 import profile_pb2_grpc

_CALL_SECONDS: Final = 10.0
_STREAM_SECONDS: Final = 4 * 3600.0
_RANGE: Final = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")
_OFFSET: Final = re.compile(r"[0-9]{1,15}")
_STATUS: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 503,
}
_SANDBOX: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; media-src data:"
)


T = TypeVar("T")


class Media:
    """The files and feeds behind links. What is read is read by the gateway's RPCs, for the owner of the link."""

    def __init__(self, channel: grpc.aio.Channel, links: Links, callers: LinkAuthenticator) -> None:
        self._stub: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
        self._links = links
        self._callers = callers
        self._feed = Feed(self._stub, profile_pb2_grpc.ProfileServiceStub(channel), links)
        # A book is in a file while it is sent.
        self._books = Places(4, each=2, seconds=_CALL_SECONDS, refusal="Too many books are being made.")
        self.routes = [
            Route("/media/{token}/{name}", self._file, methods=["GET"]),
            Route("/feed/{token}.xml", self._show_feed, methods=["GET"]),
        ]

    async def _file(self, request: Request) -> Response:
        link = self._link(request)
        answer: Callable[[Request, Link], Awaitable[Response]] | None = {
            "AUDIO": self._audio,
            "TEXT": self._text,
            "EPUB": self._epub,
            "READ_ALONG": self._read_along,
        }.get(link.kind)
        if answer is None:
            raise HTTPException(404, "This link is for no file.")
        return await _answered(answer(request, link))

    async def _show_feed(self, request: Request) -> Response:
        link = self._link(request)
        if link.kind != FEED:
            raise HTTPException(404, "This link is for no feed.")
        body = await _answered(self._feed.of(link, self._callers.metadata(link)))
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"etag": tag, "cache-control": "private, max-age=300"}
        if _is_known(request, tag):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/rss+xml")

    def _link(self, request: Request) -> Link:
        try:
            return self._links.read(request.path_params["token"])
        except ExpiredLinkError:
            raise HTTPException(410, "This link has expired. Ask for a new one.") from None
        except InvalidLinkError:
            raise HTTPException(404, "This link is not valid.") from None

    async def _story(self, link: Link, *, full: bool = False) -> common_pb2.Story:
        view = common_pb2.STORY_VIEW_FULL if full else common_pb2.STORY_VIEW_BASIC
        wanted = gateway_pb2.GetStoryRequest(story_id=link.subject, view=view)
        response: gateway_pb2.GetStoryResponse = await self._stub.GetStory(
            wanted, metadata=self._callers.metadata(link), timeout=_CALL_SECONDS
        )
        return response.story

    async def _audio(self, request: Request, link: Link) -> Response:
        story = await self._story(link)
        audio_id, offset = _position(request)
        other = audio_id not in {"", story.audio.audio_id}
        if other or not story.audio.size_bytes:
            if story.state not in ENDED:
                return await self._audio_in_the_making(request, link, story, audio_id, offset)
            raise HTTPException(404, "The story has no such audio.")
        size, tag = max(0, story.audio.size_bytes - offset), f'"{story.audio.audio_id}"'
        headers = _headers(story, "AUDIO", "inline") | {"etag": tag, "accept-ranges": "bytes"}
        if _is_known(request, tag):
            return Response(status_code=304, headers=headers)
        start, end = part_of(request.headers, size, tag)
        if start >= end:
            return Response(status_code=416, headers={"content-range": f"bytes */{size}"})
        whole = (start, end) == (0, size)
        headers["content-length"] = str(end - start)
        if not whole:
            headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
        pieces = None
        if request.method != "HEAD":
            pieces = await self._read(link, story.audio.audio_id, offset + start, end - start)
        return _streamed(pieces, 200 if whole else 206, headers, story.audio.content_type)

    async def _read(self, link: Link, audio_id: str, start: int, size: int) -> AsyncIterator[bytes]:
        """Returns bytes of a stored narration; the call has begun, so that what it refuses is a status."""
        wanted = gateway_pb2.ReadStoryAudioRequest(story_id=link.subject, audio_id=audio_id, offset=start, limit=size)
        call = self._stub.ReadStoryAudio(wanted, metadata=self._callers.metadata(link), timeout=_STREAM_SECONDS)
        await anext(aiter(call))
        return _chunks(call)

    async def _audio_in_the_making(
        self, request: Request, link: Link, story: common_pb2.Story, audio_id: str, offset: int
    ) -> Response:
        """Returns audio as it is made, up to its end."""
        wanted = gateway_pb2.WatchStoryRequest(
            story_id=link.subject, include_audio=True, audio_id=audio_id, audio_offset=offset
        )
        call = self._stub.WatchStory(wanted, metadata=self._callers.metadata(link), timeout=_STREAM_SECONDS)
        headers = _headers(story, "AUDIO", "inline") | {"accept-ranges": "none", "cache-control": "no-store"}
        content_type = ""
        async for response in call:
            if response.event.HasField("audio_header"):
                content_type = response.event.audio_header.content_type
            if response.event.HasField("audio"):
                if audio_id not in {"", response.event.audio.audio_id}:
                    call.cancel()
                    break
                if request.method == "HEAD":
                    call.cancel()
                    return _streamed(None, 200, headers, content_type)
                return _streamed(_followed(call, response.event.audio), 200, headers, content_type)
        raise HTTPException(404, "The story has no such audio.")

    async def _text(self, request: Request, link: Link) -> Response:
        del request
        story = await self._story(link)
        return PlainTextResponse(f"{story.title}\n\n{story.content}\n", headers=_headers(story, "TEXT", "attachment"))

    async def _epub(self, request: Request, link: Link) -> Response:
        del request
        async with AsyncExitStack() as stack:
            with bound(RequestContext(new_id(), Caller(link.owner))):
                await stack.enter_async_context(self._books.place())
                story = await self._story(link, full=True)
                book = await asyncio.to_thread(Book, story)
                pieces = None
                if book.heard:
                    pieces = await self._read(link, story.audio.audio_id, 0, story.audio.size_bytes)
                file = await epub(book, pieces)
                # Also where the response is never begun.
                stack.callback(file.file.close)
            headers = {**_headers(story, "EPUB", "attachment"), "content-length": str(file.size)}
            return HoldingResponse(file.pieces(), stack.pop_all(), headers)

    async def _read_along(self, request: Request, link: Link) -> Response:
        story = await self._story(link, full=True)
        if not story.audio.size_bytes:
            raise HTTPException(404, "The story has no audio.")
        headers = {**_headers(story, "READ_ALONG", "attachment"), "content-security-policy": _SANDBOX}
        if request.method == "HEAD":
            return _streamed(None, 200, headers, "text/html; charset=utf-8")
        book = await asyncio.to_thread(Book, story)
        pieces = await self._read(link, story.audio.audio_id, 0, story.audio.size_bytes)
        return _streamed(read_along(book, pieces), 200, headers, "text/html; charset=utf-8")


class HoldingResponse(StreamingResponse):
    """An EPUB that is sent from a file, whose place and file it gives back at its end, however that comes."""

    def __init__(self, pieces: AsyncIterator[bytes], held: AsyncExitStack, headers: Mapping[str, str]) -> None:
        super().__init__(pieces, headers=headers, media_type="application/epub+zip")
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the book."""
        async with self._held:
            await super().__call__(scope, receive, send)


async def _answered(answer: Awaitable[T]) -> T:
    """Returns the answer; what an RPC refused becomes an HTTP status."""
    try:
        return await answer
    except grpc.aio.AioRpcError as error:
        raise HTTPException(_STATUS.get(error.code(), 500), error.details() or "") from None
    except DomainError as error:
        raise HTTPException(_STATUS.get(error.code, 500), error.message) from None


async def _chunks(call: Any) -> AsyncIterator[bytes]:
    try:
        async for response in call:
            yield response.chunk.chunk
    except grpc.aio.AioRpcError:
        raise CutError from None
    finally:
        call.cancel()


async def _followed(call: Any, first: gateway_pb2.AudioEvent) -> AsyncIterator[bytes]:
    """Yields the audio of one narration. One that starts over would begin in the middle of what was heard."""
    try:
        yield first.chunk
        async for response in call:
            if response.event.HasField("audio"):
                if response.event.audio.audio_id != first.audio_id:
                    raise CutError
                yield response.event.audio.chunk
    except grpc.aio.AioRpcError:
        raise CutError from None
    finally:
        call.cancel()


def _position(request: Request) -> tuple[str, int]:
    """Returns what the query asks for: the id of a narration (empty: any), and its first byte."""
    offset = request.query_params.get("offset", "0")
    if not _OFFSET.fullmatch(offset):
        raise HTTPException(
            400, f"offset={offset[:20]} is no number of bytes. Give one from 0 on, together with audio_id."
        )
    return request.query_params.get("audio_id", ""), int(offset)


def _streamed(
    pieces: AsyncIterator[bytes] | None, status: int, headers: Mapping[str, str], media_type: str
) -> Response:
    if pieces is None:
        return Response(status_code=status, headers=headers, media_type=media_type)
    return StreamingResponse(pieces, status, headers, media_type)


def _headers(story: common_pb2.Story, kind: str, disposition: str) -> dict[str, str]:
    name = quote(file_name(story, kind), safe="")
    return {
        "content-disposition": f"{disposition}; filename*=UTF-8''{name}",
        "cache-control": "private, no-cache",
        "cross-origin-resource-policy": "cross-origin",
    }


def _is_known(request: Request, tag: str) -> bool:
    known = request.headers.get("if-none-match", "")
    return tag in {each.strip().removeprefix("W/") for each in known.split(",")} or known.strip() == "*"


def part_of(headers: Mapping[str, str], size: int, tag: str) -> tuple[int, int]:
    """Returns the bytes [start, end) that a request asks for; an empty range if there are none.

    The whole is returned for what is no single range of bytes (RFC 9110 allows it), and where `If-Range` names another
    version.
    """
    found = _RANGE.fullmatch(headers.get("range", "").strip())
    if found is None or found[0] == "bytes=-" or headers.get("if-range", tag) != tag:
        return 0, size
    first, last = found[1], found[2]
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return 0, size
    return int(first), min(size, int(last) + 1) if last else size
