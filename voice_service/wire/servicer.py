"""VoiceService on the wire, with a log line and metrics for each narration."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
import structlog

from servicekit.errors import DomainError, FieldViolation, validation_failed
from servicekit.validation import MAX_PAGE_SIZE, Progress
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2, voice_pb2_grpc
from voice_service.metrics import SUCCESS
from voice_service.narration.errors import stored_without_storage
from voice_service.wire.convert import narration_request, speech_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from voice_service.metrics import VoiceMetrics
    from voice_service.narration.messages import Event, NarrationRequest
    from voice_service.narration.narration import Narration
    from voice_service.wire.catalogue import VoiceCatalogue
    from voice_service.wire.transcribe_servicer import TranscribeHandler


_log: Final = structlog.stdlib.get_logger(__name__)


class NarrationReport:
    """Watches one narration from its beginning to its end; as a context manager. Ids and numbers only, never text."""

    def __init__(self, request: NarrationRequest, narration: Narration, metrics: VoiceMetrics) -> None:
        self._request = request
        self._narration = narration
        self._metrics = metrics
        self._began = time.monotonic()
        self._sounded = False
        self._summary: voice_pb2.SpeechSummary | None = None

    def sent(self, event: Event) -> None:
        """Notes that an event has left."""
        if isinstance(event, voice_pb2.SpeechSummary):
            self._summary = event
        elif isinstance(event, common_pb2.Segment) and not self._sounded:
            self._sounded = True
            self._metrics.narration_first_byte.labels(self._narration.provider).observe(time.monotonic() - self._began)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._began
        outcome, reason = _ending(error)
        provider = self._narration.provider
        self._metrics.narrations.labels(provider, outcome, reason).inc()
        self._metrics.narration_seconds.labels(provider, outcome).observe(seconds)
        summary = self._summary
        _log.info(
            "narration ended",
            audio_id=self._request.audio_id,
            provider=provider,
            success=outcome == SUCCESS,
            generation_time=round(seconds, 3),
            **({"reason": reason} if reason else {}),
            **({} if summary is None else {"segments": summary.segment_count, "cached": summary.cached_segment_count}),
        )


def _ending(error: BaseException | None) -> tuple[str, str]:
    match error:
        case None:
            return SUCCESS, ""
        case DomainError():
            return "failure", error.reason
        case asyncio.CancelledError():
            return "cancelled", "CANCELLED"
        case _:
            return "failure", "INTERNAL"


Context = grpc.aio.ServicerContext[Any, Any]


class VoiceServicer(voice_pb2_grpc.VoiceServiceServicer):
    """Messages in, messages out. Raises DomainError."""

    def __init__(
        self,
        *,
        narrate: Callable[[NarrationRequest, float], Narration],
        catalogue: VoiceCatalogue,
        transcription: TranscribeHandler,
        metrics: VoiceMetrics,
        narration_seconds: float,
        can_store: bool,
    ) -> None:
        """`narrate` makes the narration of a request, given its deadline in seconds of the loop's clock.

        `can_store`: the segment store is that of the storage service, so that delivery STORED is possible.
        """
        self._can_store = can_store
        self._metrics = metrics
        self._narrate = narrate
        self._catalogue = catalogue
        self._transcription = transcription
        self._narration_seconds = narration_seconds

    async def SynthesizeSpeech(  # type: ignore[override] # noqa: N802 - gRPC's name; it does the sending itself
        self, request_iterator: AsyncIterator[voice_pb2.SynthesizeSpeechRequest], context: Context
    ) -> None:
        """Speaks text while it arrives."""
        try:
            # Around reading and sending too, so that a caller who stops does not hold the call for ever.
            async with asyncio.timeout(self._narration_seconds):
                await self._speak(request_iterator, context)
        except TimeoutError:
            raise DomainError("TIMEOUT", "The narration took longer than one call may take.") from None

    async def _speak(self, requests: AsyncIterator[voice_pb2.SynthesizeSpeechRequest], context: Context) -> None:
        first = await anext(aiter(requests), None)
        if first is None or not first.HasField("config"):
            raise validation_failed([FieldViolation("config", "must be the first message")])
        parent_attempt_id = first.config.parent_attempt_id
        request = narration_request(first.config)
        if request.stored and not self._can_store:
            raise stored_without_storage()
        narration = self._narrate(request, self._deadline(context))
        with NarrationReport(request, narration, self._metrics) as report:
            async with aclosing(narration.events(_texts(requests))) as events:
                async for event in events:
                    await context.write(speech_response(event, parent_attempt_id))
                    report.sent(event)

    def _deadline(self, context: Context) -> float:
        remaining = context.time_remaining()
        seconds = self._narration_seconds if remaining is None else min(remaining, self._narration_seconds)
        return asyncio.get_running_loop().time() + seconds

    async def ListProviders(  # noqa: N802 - gRPC's name
        self, request: voice_pb2.ListProvidersRequest, context: Context
    ) -> voice_pb2.ListProvidersResponse:
        """Lists the voice providers."""
        del context
        return voice_pb2.ListProvidersResponse(providers=await self._catalogue.providers(request))

    async def ListVoices(  # noqa: N802 - gRPC's name
        self, request: voice_pb2.ListVoicesRequest, context: Context
    ) -> voice_pb2.ListVoicesResponse:
        """Lists voices."""
        del context
        try:
            return await self._catalogue.voices(
                request.provider, request.language_code, request.page_size or MAX_PAGE_SIZE, request.page_token
            )
        except ValueError:
            raise validation_failed(
                [FieldViolation("page_token", "must be the next_page_token of an earlier answer to the same request")]
            ) from None

    async def Transcribe(  # noqa: N802 - gRPC's name
        self, request_iterator: AsyncIterator[voice_pb2.TranscribeRequest], context: Context
    ) -> voice_pb2.TranscribeResponse:
        """Writes down what is said in a recording."""
        del context
        return await self._transcription.handle(request_iterator)


async def _texts(requests: AsyncIterator[voice_pb2.SynthesizeSpeechRequest]) -> AsyncIterator[str]:
    """The pieces of text that follow the config."""
    progress = Progress("text.text")
    async for request in requests:
        if request.HasField("config"):
            raise validation_failed([FieldViolation("config", "must be sent once, first")])
        text = request.text.text
        progress.count(text)
        yield text
