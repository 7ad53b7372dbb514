"""Links to files and feeds, for the RPCs that return them."""

import time
from typing import Final

from google.protobuf.duration_pb2 import Duration
from pathvalidate import sanitize_filename

from gateway.door.web.links import FEED, Link, Links
from gateway.peers.clients import invoke
from gateway.runs.followed_stories import ENDED
from servicekit.context import current
from servicekit.errors import DomainError
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc

DEFAULT_SECONDS: Final = 3600
_PREFIX: Final = "DOWNLOAD_FORMAT_"
_AUDIO_ENDINGS: Final = {"audio/mpeg": "mp3", "audio/wav": "wav", "audio/ogg": "ogg"}
_ENDINGS: Final = {"TEXT": "txt", "EPUB": "epub", "READ_ALONG": "html"}
_LONGEST_NAME: Final = 80


class Downloads:
    """Makes the links of the caller of a call, which has been admitted to the story or child."""

    def __init__(self, links: Links, profiles: "profile_pb2_grpc.ProfileServiceAsyncStub") -> None:
        self._links = links
        self._profiles = profiles

    @property
    def possible(self) -> bool:
        """Whether a link would be answered."""
        return self._links.possible

    def file(
        self, story: common_pb2.Story, request: gateway_pb2.GetDownloadUrlRequest
    ) -> gateway_pb2.GetDownloadUrlResponse:
        """Returns the link to a story as a file; AUDIO_NOT_FOUND or WRONG_STATE where there will be none."""
        kind = gateway_pb2.DownloadFormat.Name(request.format).removeprefix(_PREFIX)
        _check(story, kind)
        validity = request.expiry if request.HasField("expiry") else Duration(seconds=DEFAULT_SECONDS)
        expires = int(time.time() + validity.ToTimedelta().total_seconds())
        link = Link(current().owner, kind, story.id, expires)
        response = gateway_pb2.GetDownloadUrlResponse(url=self._links.url(link, file_name(story, kind)))
        response.expire_time.FromSeconds(expires)
        return response

    async def feed(self, child_id: str, *, timeout: float) -> str:
        """Returns the link to the feed of a child."""
        wanted = profile_pb2.GetChildRequest(child_id=child_id)
        await invoke(self._profiles.GetChild, wanted, timeout=timeout, repeatable=True)
        return self._links.url(Link(current().owner, FEED, child_id), "")


def file_name(story: common_pb2.Story, kind: str) -> str:
    """Returns the name of a story's file: its title, which may have any letters."""
    ending = _ENDINGS.get(kind) or _AUDIO_ENDINGS.get(story.audio.content_type, "mp3")
    return f"{sanitize_filename(story.title)[:_LONGEST_NAME].strip(' .') or 'story'}.{ending}"


def _check(story: common_pb2.Story, kind: str) -> None:
    making = story.state not in ENDED
    if kind == "TEXT" and not story.content:
        raise DomainError("WRONG_STATE", "The story has no text yet.")
    if kind in {"EPUB", "READ_ALONG"} and (making or not story.content_complete):
        raise DomainError("WRONG_STATE", "A book can be made of a finished story.")
    if (kind == "READ_ALONG" or (kind == "AUDIO" and not making)) and not story.audio.size_bytes:
        raise DomainError("AUDIO_NOT_FOUND", "The story has no audio.")
