"""The unary RPCs of stories: each is checked, done by storage, and answered from its answer."""

import time
from typing import Any, Final

import grpc
import structlog

from gateway.peers.clients import CALL_SECONDS, StorageStub, ask, read_story
from gateway.peers.retry import PEER_ERRORS, classify
from gateway.runs.active import Runs
from gateway.runs.ledger import now
from gateway.runs.live_story import basic
from servicekit.deadline import remaining
from servicekit.errors import FieldViolation, validation_failed
from servicekit.fingerprint import fingerprint
from servicekit.finishing import Finisher
from servicekit.ids import new_id
from servicekit.reasons import explained
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from tale.storage.v1 import storage_pb2

DEFAULT_LANGUAGE: Final = "en"
DEFAULT_MINUTES: Final = 5
FIRST_TOKEN: Final = 1
"""Of a lease that was taken in the call that created the story."""

ERASE_SECONDS: Final = 120.0
"""Deadline of EraseChild where the caller set none: storage writes its file anew."""

_MAX_SPEC_BYTES: Final = 128 * 1024
"""Above what all fields at their limits need; the rest are fields that this version does not know."""
MAX_STORY_BYTES: Final = 1_000_000
"""Bytes of a story in a response, so that the response stays under 1 MiB."""

_WITHOUT_REQUEST_ID: Final = frozenset({"request_id"})

Context = grpc.aio.ServicerContext[Any, Any]

log = structlog.get_logger(__name__)


class StoryServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """The RPCs that are one call to storage each; some of them begin or stop a run."""

    def __init__(self, storage: StorageStub, runs: Runs) -> None:
        self._storage = storage
        self._runs = runs
        # A lease that storage has granted must be used, also when the caller leaves.
        self._finisher = Finisher()

    async def CreateStory(  # noqa: N802
        self, request: gateway_pb2.CreateStoryRequest, context: Context
    ) -> gateway_pb2.CreateStoryResponse:
        """Asks for a story."""
        return gateway_pb2.CreateStoryResponse(story=await self._create(request, context))

    async def GetStory(  # noqa: N802
        self, request: gateway_pb2.GetStoryRequest, context: Context
    ) -> gateway_pb2.GetStoryResponse:
        """Returns a story."""
        full = request.view == common_pb2.STORY_VIEW_FULL
        record = await read_story(self._storage, request.story_id, full=full, timeout=seconds_left(context))
        return gateway_pb2.GetStoryResponse(story=within_bounds(record.story))

    async def ListStories(  # noqa: N802
        self, request: gateway_pb2.ListStoriesRequest, context: Context
    ) -> gateway_pb2.ListStoriesResponse:
        """Lists stories."""
        wanted = storage_pb2.ListStoriesRequest(
            page_size=request.page_size,
            page_token=request.page_token,
            filter=request.filter if request.HasField("filter") else None,
        )
        answer = await ask(self._storage.ListStories, wanted, timeout=seconds_left(context), repeatable=True)
        return gateway_pb2.ListStoriesResponse(stories=answer.stories, next_page_token=answer.next_page_token)

    async def CancelStory(  # noqa: N802
        self, request: gateway_pb2.CancelStoryRequest, context: Context
    ) -> gateway_pb2.CancelStoryResponse:
        """Stops a story. A run of another gateway learns of it from storage, within a second."""
        timeout = seconds_left(context)
        change = storage_pb2.UpdateStoryRequest(story_id=request.story_id, cancel=storage_pb2.CancelChange())
        try:
            record = (await ask(self._storage.UpdateStory, change, timeout=timeout, repeatable=True)).record
        except grpc.aio.AioRpcError as error:
            if classify(error).reason != "WRONG_STATE":
                raise
            record = await read_story(self._storage, request.story_id, timeout=timeout)
            if not _was_cancelled(record):
                raise
        if await self._runs.stop(request.story_id, record.story.state):
            try:
                record = await read_story(self._storage, request.story_id, timeout=timeout)
            except PEER_ERRORS as error:
                log.warning("cancelled_story_not_read", story_id=request.story_id, reason=classify(error).reason)
        return gateway_pb2.CancelStoryResponse(story=basic(record.story))

    async def RetryStory(  # noqa: N802
        self, request: gateway_pb2.RetryStoryRequest, context: Context
    ) -> gateway_pb2.RetryStoryResponse:
        """Resumes a failed story."""
        change = storage_pb2.RetryChange(
            request_id=request.request_id,
            fingerprint=fingerprint(request, without=_WITHOUT_REQUEST_ID),
            lease=self._runs.lease_request(),
        )
        wanted = storage_pb2.UpdateStoryRequest(story_id=request.story_id, retry=change)
        story = await self._finisher.run(self._begin_again(wanted, leased=change.HasField("lease"), context=context))
        return gateway_pb2.RetryStoryResponse(story=story)

    async def NarrateStory(  # noqa: N802
        self, request: gateway_pb2.NarrateStoryRequest, context: Context
    ) -> gateway_pb2.NarrateStoryResponse:
        """Has a story narrated again."""
        voice = request.voice
        if not request.HasField("voice"):
            voice = (await read_story(self._storage, request.story_id, timeout=seconds_left(context))).story.voice
        change = storage_pb2.NarrateChange(
            request_id=request.request_id,
            fingerprint=fingerprint(request, without=_WITHOUT_REQUEST_ID),
            lease=self._runs.lease_request(),
            voice=voice,
        )
        wanted = storage_pb2.UpdateStoryRequest(story_id=request.story_id, narrate=change)
        story = await self._finisher.run(self._begin_again(wanted, leased=change.HasField("lease"), context=context))
        return gateway_pb2.NarrateStoryResponse(story=story)

    async def RateStory(  # noqa: N802
        self, request: gateway_pb2.RateStoryRequest, context: Context
    ) -> gateway_pb2.RateStoryResponse:
        """Stores a rating."""
        change = storage_pb2.UpdateStoryRequest(story_id=request.story_id, rating=request.rating)
        if request.HasField("expected_revision"):
            change.expected_revision = request.expected_revision
        answer = await ask(self._storage.UpdateStory, change, timeout=seconds_left(context))
        return gateway_pb2.RateStoryResponse(story=basic(answer.record.story))

    async def DeleteStory(  # noqa: N802
        self, request: gateway_pb2.DeleteStoryRequest, context: Context
    ) -> gateway_pb2.DeleteStoryResponse:
        """Deletes a story with its audio, and stops its run."""
        wanted = storage_pb2.DeleteStoryRequest(story_id=request.story_id)
        await ask(self._storage.DeleteStory, wanted, timeout=seconds_left(context))
        await self._runs.stop(request.story_id)
        return gateway_pb2.DeleteStoryResponse()

    async def EraseChild(  # noqa: N802
        self, request: gateway_pb2.EraseChildRequest, context: Context
    ) -> gateway_pb2.EraseChildResponse:
        """Erases a child with its stories, and stops their runs. Those of other gateways learn it from storage."""
        wanted = storage_pb2.EraseChildRequest(child_id=request.child_id)
        timeout = remaining(context, default=ERASE_SECONDS)
        erased = await ask(self._storage.EraseChild, wanted, timeout=timeout, repeatable=True)
        await self._runs.erased(request.child_id)
        log.info("child_erased", child_id=request.child_id, stories=erased.story_count, segments=erased.segment_count)
        return gateway_pb2.EraseChildResponse(
            story_count=erased.story_count, audio_count=erased.audio_count, segment_count=erased.segment_count
        )

    async def GetAudioUrl(  # noqa: N802
        self, request: gateway_pb2.GetAudioUrlRequest, context: Context
    ) -> gateway_pb2.GetAudioUrlResponse:
        """Returns a signed address of a story's audio."""
        wanted = storage_pb2.GetAudioUrlRequest(
            story_id=request.story_id, expiry=request.expiry if request.HasField("expiry") else None
        )
        answer = await ask(self._storage.GetAudioUrl, wanted, timeout=seconds_left(context), repeatable=True)
        return gateway_pb2.GetAudioUrlResponse(url=answer.url, expire_time=answer.expire_time)

    async def _create(
        self, request: gateway_pb2.CreateStoryRequest | gateway_pb2.TellStoryRequest, context: Context
    ) -> common_pb2.Story:
        """Stores a new story and begins to make it; with a request id that is known, the story it named."""
        if request.spec.ByteSize() > _MAX_SPEC_BYTES:
            raise validation_failed([FieldViolation("spec", f"must have at most {_MAX_SPEC_BYTES} bytes in all")])
        wanted = storage_pb2.CreateStoryRequest(
            story_id=new_id(),
            request_id=request.request_id,
            fingerprint=fingerprint(request.spec),
            spec=request.spec,
            story=_opening(request.spec),
            lease=self._runs.lease_request(),
        )
        return await self._finisher.run(self._begin(wanted, timeout=seconds_left(context)))

    async def _begin(self, request: storage_pb2.CreateStoryRequest, *, timeout: float) -> common_pb2.Story:
        since = time.monotonic()
        record = (await ask(self._storage.CreateStory, request, timeout=timeout, repeatable=True)).record
        # Of a call that had to be repeated the answer says that the story was there; its id was made for this call.
        ours = record.story.id == request.story_id and record.run.lease_token == FIRST_TOKEN
        if ours and request.HasField("lease"):
            self._runs.start(record, since=since)
        return record.story

    async def _begin_again(
        self, change: storage_pb2.UpdateStoryRequest, *, leased: bool, context: Context
    ) -> common_pb2.Story:
        since = time.monotonic()
        answer = await ask(self._storage.UpdateStory, change, timeout=seconds_left(context))
        if answer.changed and leased:
            # The run needs the ledger and the old responses as well.
            record = await read_story(self._storage, change.story_id, full=True)
            if record.run.lease_token == answer.record.run.lease_token:
                self._runs.start(record, since=since)
        return basic(answer.record.story)


def _was_cancelled(record: storage_pb2.StoryRecord) -> bool:
    """Whether the last thing that ended is a narration that was cancelled, to which a cancelled story went back.

    Then the narration of its run is not its audio, and no problem says why.
    """
    audio_id = record.story.audio.audio_id
    failed = any(problem.metadata.get("audio_id", "") > audio_id for problem in record.story.problems)
    ready = record.story.state == common_pb2.STORY_STATE_READY
    return ready and bool(audio_id) and record.run.narration.audio_id != audio_id and not failed


def seconds_left(context: Context) -> float:
    """Seconds for a call to storage on behalf of this one."""
    return min(remaining(context, default=CALL_SECONDS), CALL_SECONDS)


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


def within_bounds(story: common_pb2.Story) -> common_pb2.Story:
    """Returns the story; if it is too large for a response, a copy without the raw responses that says so."""
    if story.ByteSize() <= MAX_STORY_BYTES:
        return story
    shown = common_pb2.Story()
    shown.CopyFrom(story)
    del shown.full_response[:]
    problem = shown.problems.add(
        reason="RESPONSE_TRUNCATED",
        message="The raw responses of the models are too large for an answer and were left out of this one.",
        time=now(),
    )
    explained(problem)
    return shown
