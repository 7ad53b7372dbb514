"""Makes the podcast feed of a child: its newest stories with audio."""

import asyncio
from collections.abc import Iterable, Sequence
from email.utils import format_datetime
from typing import Any, Final

import grpc
from cachetools import LRUCache

from gateway.door.web.books import for_xml, rendered
from gateway.door.web.downloads import file_name
from gateway.door.web.links import Link, Links
from servicekit.authentication import Metadata
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2

MOST_STORIES: Final = 100
_CALL_SECONDS: Final = 10.0
_AT_ONCE: Final = 8
_MOST_KNOWN: Final = 2_000
_TITLES: Final = {"ru": "Сказки: {}"}
_TITLE: Final = "Stories for {}"


class Feed:
    """Feeds by link. What stories say of their audio is read once for each version of a story."""

    def __init__(self, stories: Any, profiles: Any, links: Links) -> None:
        """Takes stubs of the gateway's own RPCs."""
        self._stories = stories
        self._profiles = profiles
        self._links = links
        self._known = LRUCache[tuple[str, str, int], common_pb2.Story](_MOST_KNOWN)

    async def of(self, link: Link, metadata: Metadata) -> bytes:
        """Returns the feed of the link's child as RSS; CHILD_NOT_FOUND once the child is erased."""
        wanted = profile_pb2.GetChildRequest(child_id=link.subject)
        child = (await self._profiles.GetChild(wanted, metadata=metadata, timeout=_CALL_SECONDS)).child
        request = gateway_pb2.ListStoriesRequest(
            filter=common_pb2.StoryFilter(child_id=link.subject, states=[common_pb2.STORY_STATE_READY]),
            page_size=MOST_STORIES,
        )
        page = await self._stories.ListStories(request, metadata=metadata, timeout=_CALL_SECONDS)
        listed = [each for each in page.stories if each.HasField("audio_duration")]
        found = zip(listed, await self._read(link.owner, listed, metadata), strict=True)
        stories = [(summary, story) for summary, story in found if story is not None]
        language = stories[0][0].language_code if stories else "en"
        url = self._links.url(link, "")
        text = await asyncio.to_thread(
            rendered,
            "feed.xml",
            title=for_xml(_TITLES.get(language.partition("-")[0], _TITLE).format(child.name)),
            page=url.partition("/feed/")[0],
            url=url,
            language=language,
            items=list(self._items(link.owner, stories)),
        )
        return text.encode()

    async def _read(
        self, owner: str, summaries: Iterable[common_pb2.StorySummary], metadata: Metadata
    ) -> Sequence[common_pb2.Story | None]:
        """Returns the stories; None for one that was deleted after it was listed."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def read(summary: common_pb2.StorySummary) -> common_pb2.Story | None:
            key = owner, summary.id, summary.update_time.ToNanoseconds()
            if key not in self._known:
                async with places:
                    wanted = gateway_pb2.GetStoryRequest(story_id=summary.id)
                    try:
                        response = await self._stories.GetStory(wanted, metadata=metadata, timeout=_CALL_SECONDS)
                    except grpc.aio.AioRpcError as error:
                        if error.code() is not grpc.StatusCode.NOT_FOUND:
                            raise
                        return None
                # Of the whole story only this is used.
                self._known[key] = common_pb2.Story(title=response.story.title, audio=response.story.audio)
            return self._known[key]

        return await asyncio.gather(*map(read, summaries))

    def _items(
        self, owner: str, stories: Iterable[tuple[common_pb2.StorySummary, common_pb2.Story]]
    ) -> Iterable[dict[str, Any]]:
        for summary, story in stories:
            yield {
                "id": summary.id,
                "title": for_xml(summary.title) or "—",
                "excerpt": for_xml(summary.excerpt),
                "published": format_datetime(summary.create_time.ToDatetime()),
                "url": self._links.url(Link(owner, "AUDIO", summary.id), file_name(story, "AUDIO")),
                "size": story.audio.size_bytes,
                "content_type": story.audio.content_type,
                "seconds": round(story.audio.duration.ToNanoseconds() / 1e9),
            }
