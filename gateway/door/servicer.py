"""Serves GatewayService: each call is one or two calls to storage, some start or stop a run, the streams follow one."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Final, TypeVar

import grpc
import structlog
from google.protobuf.message import Message

from gateway.door.access import without_details
from gateway.door.audit import note
from gateway.door.quotas import Quotas
from gateway.door.system import System, grouped
from gateway.door.web.downloads import Downloads
from gateway.metrics import GatewayMetrics
from gateway.peers.clients import CALL_SECONDS, VoiceStub, invoke, read_story, refuse_unreadable
from gateway.peers.retry import PEER_ERRORS, classify
from gateway.runs.ledger import now
from gateway.runs.live_story import basic
from gateway.watch.audio import AudioReader
from gateway.watch.cursor import Cursor, Position, R, chunks_of, fill_audio
from gateway.watch.watcher import Sources, Watching
from servicekit.channel import remaining
from servicekit.context import current
from servicekit.errors import DomainError
from servicekit.ids import fingerprint, new_id
from servicekit.reasons import explained
from servicekit.waiting import Finisher, Places
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from tale.storage.v1 import storage_pb2

DEFAULT_LANGUAGE: Final = "en"
DEFAULT_MINUTES: Final = 5
ERASE_SECONDS: Final = 120.0
"""Deadline of EraseChild if the caller has none: storage rewrites its database."""

_MOST_READERS: Final = 512
"""Calls of ReadStoryAudio that are answered at a time; a quarter as many of one owner."""
_READER_SECONDS: Final = 10.0

MAX_STORY_BYTES: Final = 1_000_000
"""Maximum size of a story in a response, so that the response stays under 1 MiB."""

_WITHOUT_REQUEST_ID: Final = frozenset({"request_id"})

Context = grpc.aio.ServicerContext[Any, Any]
M = TypeVar("M", bound=Message)

log = structlog.get_logger(__name__)


class GatewayServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """GatewayService for the owner of each call. Requests have been validated."""

    def __init__(
        self,
        sources: Sources,
        reader: AudioReader,
        system: System,
        voice: VoiceStub,
        quotas: Quotas,
        downloads: Downloads,
        metrics: GatewayMetrics | None = None,
    ) -> None:
        self._metrics = metrics or GatewayMetrics()
        self._downloads = downloads
        self._sources = sources
        self._voice = voice
        self._storage = sources.storage
        self._runs = sources.runs
        self._reader = reader
        self._system = system
        self._quotas = quotas
        # A reader that does not read holds a piece of audio in this process and one in storage's.
        self._readers = Places(
            _MOST_READERS, each=_MOST_READERS // 4, seconds=_READER_SECONDS, refusal="Too much audio is being read."
        )
        # A lease that storage has granted must be used, also when the caller leaves.
        self._finisher = Finisher()

    async def CreateStory(  # noqa: N802
        self, request: gateway_pb2.CreateStoryRequest, context: Context
    ) -> gateway_pb2.CreateStoryResponse:
        """Accepts a story."""
        return gateway_pb2.CreateStoryResponse(story=await self._create(request, context))

    async def TellStory(  # noqa: N802
        self, request: gateway_pb2.TellStoryRequest, context: Context
    ) -> AsyncIterator[gateway_pb2.TellStoryResponse]:
        """Accepts a story and follows it."""
        story = await self._create(request, context)
        async for response in self._follow(Cursor(gateway_pb2.TellStoryResponse, story.id, request), request):
            yield response

    async def WatchStory(  # noqa: N802
        self, request: gateway_pb2.WatchStoryRequest, context: Context
    ) -> AsyncIterator[gateway_pb2.WatchStoryResponse]:
        """Follows a story."""
        del context
        async for response in self._follow(Cursor(gateway_pb2.WatchStoryResponse, request.story_id, request), request):
            yield response

    async def GetStory(  # noqa: N802
        self, request: gateway_pb2.GetStoryRequest, context: Context
    ) -> gateway_pb2.GetStoryResponse:
        """Returns a story."""
        full = request.view == common_pb2.STORY_VIEW_FULL
        record = await read_story(self._storage, request.story_id, full=full, timeout=_seconds_left(context))
        return gateway_pb2.GetStoryResponse(story=within_bounds(record.story))

    async def ListStories(  # noqa: N802
        self, request: gateway_pb2.ListStoriesRequest, context: Context
    ) -> gateway_pb2.ListStoriesResponse:
        """Lists stories."""
        wanted = converted(storage_pb2.ListStoriesRequest, request)
        page = await invoke(self._storage.ListStories, wanted, timeout=_seconds_left(context), repeatable=True)
        return converted(gateway_pb2.ListStoriesResponse, page)

    async def CancelStory(  # noqa: N802
        self, request: gateway_pb2.CancelStoryRequest, context: Context
    ) -> gateway_pb2.CancelStoryResponse:
        """Cancels a story. A run of another gateway learns this from storage, within a second."""
        story_id, timeout = request.story_id, _seconds_left(context)
        change = storage_pb2.UpdateStoryRequest(story_id=story_id, cancel=storage_pb2.CancelChange())
        try:
            updated = await invoke(self._storage.UpdateStory, change, timeout=timeout, repeatable=True)
            record = updated.record
            if updated.changed:
                self._metrics.ended(record.story, record.story.state, "CANCELLED")
        except grpc.aio.AioRpcError as error:
            if classify(error).reason != "WRONG_STATE":
                raise
            record = await read_story(self._storage, story_id, timeout=timeout)
            if not _narration_was_cancelled(record):
                raise
        if await self._runs.stop(story_id, record.story.state):
            try:
                record = await read_story(self._storage, story_id, timeout=timeout)
            except PEER_ERRORS as error:
                log.warning("cancelled story not read", story_id=story_id, reason=classify(error).reason)
        return gateway_pb2.CancelStoryResponse(story=basic(record.story))

    async def RetryStory(  # noqa: N802
        self, request: gateway_pb2.RetryStoryRequest, context: Context
    ) -> gateway_pb2.RetryStoryResponse:
        """Continues a failed story."""
        change = storage_pb2.UpdateStoryRequest(
            story_id=request.story_id, retry=self._requested(storage_pb2.RetryChange, request)
        )
        story = await self._finisher.run(self._restart(change, change.retry, timeout=_seconds_left(context)))
        return gateway_pb2.RetryStoryResponse(story=story)

    async def NarrateStory(  # noqa: N802
        self, request: gateway_pb2.NarrateStoryRequest, context: Context
    ) -> gateway_pb2.NarrateStoryResponse:
        """Narrates a story again, without `voice` in the voice that was requested before."""
        change = storage_pb2.UpdateStoryRequest(
            story_id=request.story_id, narrate=self._requested(storage_pb2.NarrateChange, request)
        )
        told = (await read_story(self._storage, request.story_id, timeout=_seconds_left(context))).story
        if not request.HasField("voice"):
            change.narrate.voice.CopyFrom(told.voice)
        if told.content:
            await refuse_unreadable(self._voice, told, change.narrate.voice)
        story = await self._finisher.run(self._restart(change, change.narrate, timeout=_seconds_left(context)))
        return gateway_pb2.NarrateStoryResponse(story=story)

    async def RateStory(  # noqa: N802
        self, request: gateway_pb2.RateStoryRequest, context: Context
    ) -> gateway_pb2.RateStoryResponse:
        """Stores a rating."""
        change = converted(storage_pb2.UpdateStoryRequest, request)
        updated = await invoke(self._storage.UpdateStory, change, timeout=_seconds_left(context), wait_for_ready=True)
        return gateway_pb2.RateStoryResponse(story=basic(updated.record.story))

    async def DeleteStory(  # noqa: N802
        self, request: gateway_pb2.DeleteStoryRequest, context: Context
    ) -> gateway_pb2.DeleteStoryResponse:
        """Deletes a story with its audio, and stops its run."""
        wanted = converted(storage_pb2.DeleteStoryRequest, request)
        await invoke(self._storage.DeleteStory, wanted, timeout=_seconds_left(context), wait_for_ready=True)
        await self._runs.stop(request.story_id)
        return gateway_pb2.DeleteStoryResponse()

    async def EraseChild(  # noqa: N802
        self, request: gateway_pb2.EraseChildRequest, context: Context
    ) -> gateway_pb2.EraseChildResponse:
        """Erases a child with its stories, and stops their runs. Other gateways learn this from storage."""
        wanted, timeout = converted(storage_pb2.EraseChildRequest, request), remaining(context, default=ERASE_SECONDS)
        erased = await invoke(self._storage.EraseChild, wanted, timeout=timeout, repeatable=True)
        await self._runs.erased(request.child_id)
        response = converted(gateway_pb2.EraseChildResponse, erased)
        response.receipt_id = new_id()
        response.erase_time.CopyFrom(now())
        current().named.update(
            receipt_id=response.receipt_id,
            stories=str(erased.story_count),
            audio=str(erased.audio_count),
            segments=str(erased.segment_count),
        )
        return response

    async def GetAudioUrl(  # noqa: N802
        self, request: gateway_pb2.GetAudioUrlRequest, context: Context
    ) -> gateway_pb2.GetAudioUrlResponse:
        """Returns a signed URL of a story's audio."""
        wanted = converted(storage_pb2.GetAudioUrlRequest, request)
        try:
            signed = await invoke(self._storage.GetAudioUrl, wanted, timeout=_seconds_left(context), repeatable=True)
        except grpc.aio.AioRpcError as error:
            if classify(error).reason != "AUDIO_URL_UNSUPPORTED" or not self._downloads.possible:
                raise
            record = await read_story(self._storage, request.story_id, timeout=_seconds_left(context))
            file = gateway_pb2.GetDownloadUrlRequest(format=gateway_pb2.DOWNLOAD_FORMAT_AUDIO)
            if request.HasField("expiry"):
                file.expiry.CopyFrom(request.expiry)
            return converted(gateway_pb2.GetAudioUrlResponse, self._downloads.file(record.story, file))
        return converted(gateway_pb2.GetAudioUrlResponse, signed)

    async def GetDownloadUrl(  # noqa: N802
        self, request: gateway_pb2.GetDownloadUrlRequest, context: Context
    ) -> gateway_pb2.GetDownloadUrlResponse:
        """Returns a signed URL of a story as a file."""
        record = await read_story(self._storage, request.story_id, timeout=_seconds_left(context))
        return self._downloads.file(record.story, request)

    async def GetFeedUrl(  # noqa: N802
        self, request: gateway_pb2.GetFeedUrlRequest, context: Context
    ) -> gateway_pb2.GetFeedUrlResponse:
        """Returns a signed URL of the feed of a child."""
        url = await self._downloads.feed(request.child_id, timeout=_seconds_left(context))
        return gateway_pb2.GetFeedUrlResponse(url=url)

    async def ReadStoryAudio(  # noqa: N802
        self, request: gateway_pb2.ReadStoryAudioRequest, context: Context
    ) -> AsyncIterator[gateway_pb2.ReadStoryAudioResponse]:
        """Returns audio, finished or in progress: a header, then chunks."""
        wanted, audio_id = converted(storage_pb2.ReadAudioRequest, request), ""
        responses = self._reader.read(wanted, timeout=context.time_remaining())
        async with self._readers.place(), aclosing(responses):
            async for response in responses:
                if response.HasField("header"):
                    audio_id = response.header.audio_id
                    yield gateway_pb2.ReadStoryAudioResponse(header=response.header)
                    continue
                offset = response.chunk.offset
                for chunk in chunks_of(response.chunk.data):
                    piece = gateway_pb2.ReadStoryAudioResponse()
                    fill_audio(piece.chunk, audio_id, offset, chunk)
                    yield piece
                    offset += len(chunk)

    async def GetSystemStatus(  # noqa: N802
        self, request: gateway_pb2.GetSystemStatusRequest, context: Context
    ) -> gateway_pb2.GetSystemStatusResponse:
        """Returns the state of all services; names and health alone to a caller that is no operator."""
        del request, context
        status = without_details(await self._system.status(running_stories=self._runs.count))
        status.waiting.extend(grouped(self._runs.waiting(current().caller)))
        return status

    async def ResetCircuit(  # noqa: N802
        self, request: gateway_pb2.ResetCircuitRequest, context: Context
    ) -> gateway_pb2.ResetCircuitResponse:
        """Closes a circuit breaker; without `service`, that of the service that has a circuit of that name."""
        circuit = await self._system.reset_circuit(request.service, request.name, timeout=_seconds_left(context))
        return gateway_pb2.ResetCircuitResponse(circuit=circuit)

    async def GetUsage(  # noqa: N802
        self, request: gateway_pb2.GetUsageRequest, context: Context
    ) -> gateway_pb2.GetUsageResponse:
        """Returns what the caller used by day; that of all owners to operators."""
        if request.all_owners and not current().caller.operator:
            raise DomainError("OPERATOR_ONLY", "Only operators may see what other callers used.")
        wanted = converted(storage_pb2.GetUsageRequest, request)
        usage = await invoke(self._storage.GetUsage, wanted, timeout=_seconds_left(context), repeatable=True)
        return gateway_pb2.GetUsageResponse(entries=usage.entries)

    def _follow(self, cursor: Cursor[R], position: Position) -> AsyncIterator[R]:
        owner = current().owner
        return Watching(cursor, self._sources, owner=owner, include_audio=position.include_audio).responses()

    async def _create(
        self, request: gateway_pb2.CreateStoryRequest | gateway_pb2.TellStoryRequest, context: Context
    ) -> common_pb2.Story:
        """Stores a new story and starts its run; with a known request id, returns the story of that request."""
        wanted = storage_pb2.CreateStoryRequest(
            story_id=new_id(),
            request_id=request.request_id,
            fingerprint=fingerprint(request.spec),
            spec=request.spec,
            story=_initial(request.spec),
        )
        self._runs.refuse_if_draining()
        self._quotas.refuse_if_full()
        if wanted.story.narrate:
            await refuse_unreadable(self._voice, wanted.story, wanted.story.voice)
        return await self._finisher.run(self._start(wanted, timeout=_seconds_left(context)))

    async def _start(self, request: storage_pb2.CreateStoryRequest, *, timeout: float) -> common_pb2.Story:
        with self._placed(request, leased=request) as lease:
            since = time.monotonic()
            record = (await invoke(self._storage.CreateStory, request, timeout=timeout, repeatable=True)).record
            note(record.story, "story")
            # A repeated call reports `created` as false also if its first attempt made the story: the id decides.
            new = record.story.id == request.story_id and _is_new(record)
            if lease is not None and new:
                self._metrics.created(record.story)
                self._runs.start(record, since=since)
        return record.story

    @contextmanager
    def _placed(
        self,
        request: storage_pb2.CreateStoryRequest | storage_pb2.UpdateStoryRequest,
        *,
        leased: storage_pb2.CreateStoryRequest | storage_pb2.RetryChange | storage_pb2.NarrateChange,
    ) -> Iterator[storage_pb2.LeaseRequest | None]:
        """Reserves a place for the run of a story, whose quota and lease `request` and `leased` then ask for.

        Yields the lease, None for a story that waits; see Runs.place and Quotas.storing.
        """
        with self._runs.place() as lease, self._quotas.storing():
            if lease is not None:
                leased.lease.CopyFrom(lease)
            if (quota := self._quotas.of_story(waits=lease is None)) is not None:
                request.quota.CopyFrom(quota)
            yield lease

    def _requested(self, kind: type[M], request: Message) -> M:
        """Returns the change that a request asks for, idempotent by its request id."""
        self._runs.refuse_if_draining()
        self._quotas.refuse_if_full()
        change = kind(fingerprint=fingerprint(request, without=_WITHOUT_REQUEST_ID))
        change.MergeFrom(converted(kind, request))
        return change

    async def _restart(
        self,
        change: storage_pb2.UpdateStoryRequest,
        requested: storage_pb2.RetryChange | storage_pb2.NarrateChange,
        *,
        timeout: float,
    ) -> common_pb2.Story:
        with self._placed(change, leased=requested) as lease:
            since = time.monotonic()
            updated = await invoke(self._storage.UpdateStory, change, timeout=timeout, wait_for_ready=True)
            if updated.changed and lease is not None:
                # The run needs the ledger and the earlier responses as well.
                record = await read_story(self._storage, change.story_id, full=True)
                if record.run.lease_token == updated.record.run.lease_token:
                    self._runs.start(record, since=since)
        return basic(updated.record.story)


def _is_new(record: storage_pb2.StoryRecord) -> bool:
    """Returns whether a record is leased, and by the call that created it: no run has picked it up."""
    story, run = record.story, record.run
    untouched = story.state == common_pb2.STORY_STATE_PENDING and story.revision == 1 and not run.pickup_count
    return untouched and run.HasField("lease_expire_time")


def converted(kind: type[M], message: Message) -> M:
    """Returns a `kind` with the fields of `message` that it has by the same name."""
    known = kind.DESCRIPTOR.fields_by_name
    return kind(**{field.name: value for field, value in message.ListFields() if field.name in known})


def within_bounds(story: common_pb2.Story) -> common_pb2.Story:
    """Returns the story; if it is too large for a response, a copy without the raw responses that says so."""
    if story.ByteSize() <= MAX_STORY_BYTES:
        return story
    shown = common_pb2.Story()
    shown.CopyFrom(story)
    del shown.full_response[:]
    problem = shown.problems.add(
        reason="RESPONSE_TRUNCATED",
        message="The raw responses of the models are too large for this response and are left out.",
        time=now(),
    )
    explained(problem)
    return shown


def _initial(spec: common_pb2.StorySpec) -> common_pb2.Story:
    """Returns the story as it starts: the spec with its defaults. Storage adds a stored child or hero."""
    story = converted(common_pb2.Story, spec)
    story.kind = story.kind or common_pb2.STORY_KIND_CHILD
    story.language_code = story.language_code or DEFAULT_LANGUAGE
    story.length_minutes = story.length_minutes or DEFAULT_MINUTES
    story.narrate = spec.narrate if spec.HasField("narrate") else True
    return story


def _narration_was_cancelled(record: storage_pb2.StoryRecord) -> bool:
    """Whether the last narration of a READY story was cancelled, so that cancelling it again has no effect.

    Then the narration of its run is not its audio, and no problem says that it failed.
    """
    audio_id = record.story.audio.audio_id
    failed = any(problem.metadata.get("audio_id", "") > audio_id for problem in record.story.problems)
    ready = record.story.state == common_pb2.STORY_STATE_READY
    return ready and bool(audio_id) and record.run.narration.audio_id != audio_id and not failed


def _seconds_left(context: Context) -> float:
    """Returns the timeout in seconds of a call to storage."""
    return min(remaining(context, default=CALL_SECONDS), CALL_SECONDS)
