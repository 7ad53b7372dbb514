"""Has the voice service forget what it cached of removed stories: at once where asked, else from time to time.

Storage remembers what is to be forgotten until that is confirmed, so a voice service that is away delays it and nothing
gets lost. Stories that storage removed by itself, when they were too old, are forgotten here too.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.siblings import SIBLING_ERRORS, Siblings, classify
from gateway.storage_client import CALL_SECONDS
from servicekit.context import RequestContext, bound
from servicekit.failures import log_defect
from servicekit.ids import new_id
from tale.storage.v1 import storage_pb2
from tale.voice.v1 import voice_pb2

STORIES_AT_ONCE: Final = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a step has had forgotten."""

    story_count: int = 0
    audio_count: int = 0
    segment_count: int = 0


class Forgetting:
    """Works off what storage says is to be forgotten."""

    def __init__(self, siblings: Siblings, *, interval_seconds: float) -> None:
        self._siblings = siblings
        self._interval_seconds = interval_seconds
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Starts to look for what is left to forget."""
        self._task = asyncio.create_task(self._look_out(), name="forgetting")
        self._task.add_done_callback(_tell_defect)

    async def end(self) -> None:
        """Stops looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def left(self, child_id: str = "") -> Sequence[storage_pb2.ForgettableStory]:
        """Some of what is to be forgotten now, of one child or of anybody; nothing when all is forgotten."""
        request = storage_pb2.ListForgettableRequest(child_id=child_id, max_count=STORIES_AT_ONCE)
        return (await self._siblings.storage.list_forgettable(request)).stories

    async def forget(self, stories: Sequence[storage_pb2.ForgettableStory]) -> Forgotten:
        """Has these forgotten and confirms it; SIBLING_ERRORS where a service does not do its part."""
        ids = [story.story_id for story in stories]
        request = voice_pb2.ForgetSegmentsRequest(
            story_ids=ids, segment_sha256=[sha256 for story in stories for sha256 in story.segment_sha256]
        )
        segment_count = await self._siblings.voice.forget(request, timeout=CALL_SECONDS)
        await self._siblings.storage.confirm_forgotten(storage_pb2.ConfirmForgottenRequest(story_ids=ids))
        return Forgotten(len(ids), sum(story.audio_count for story in stories), segment_count)

    async def _look_out(self) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            try:
                with bound(RequestContext(request_id=new_id(), owner="local")):
                    while stories := await self.left():
                        forgotten = await self.forget(stories)
                        log.info("segments_forgotten", stories=forgotten.story_count, segments=forgotten.segment_count)
            except SIBLING_ERRORS as error:
                log.warning("segments_not_forgotten", reason=classify(error).error.reason)


def _tell_defect(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log_defect(error)
