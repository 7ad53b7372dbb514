"""Has a story narrated, attempt by attempt, while its text is still being written.

The voice service stores each segment and announces it; the narrator puts it into the manifest and then releases it.
A later attempt gets the manifest as `spoken_so_far`, so that the narration continues byte for byte. Storage composes
the complete manifest into the audio file.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import grpc
import structlog

from gateway.peers.clients import STREAM_SECONDS, broken, invoke, read_alive
from gateway.peers.retry import PEER_ERRORS, AttemptRetry, Failure, FailureKind, classify
from gateway.runs.checkpointer import LeaseLostError
from gateway.runs.context import ENOUGH_CHARACTERS, RunContext, placed
from gateway.runs.waits import NARRATION, STORAGE, VOICE_SERVICE, PeerWait
from servicekit.errors import DomainError
from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2
from tale.voice.v1 import voice_pb2

MAX_WAITING: Final = 16
"""Maximum number of segments that wait to be stored."""


class SegmentIntake:
    """Segments on their way from the voice service to the manifest, in order; `last` is the last in the manifest.

    One task checks them as they arrive, another stores all that have arrived in one checkpoint: so the voice service
    never waits for storage, and a slow storage gets fewer and larger checkpoints.
    """

    def __init__(self, last: common_pb2.Segment | None) -> None:
        self._count = 0 if last is None else last.index + 1
        self._audio_end = 0 if last is None else last.audio.end
        self.spoken = 0 if last is None else last.text.end
        """Code points of the text that have been spoken."""
        self._waiting: list[common_pb2.Segment] = []
        self._awaits_call = False
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """Number of segments of the narration."""
        return self._count

    async def put(self, segment: common_pb2.Segment) -> None:
        """Adds the next segment, and waits while too many are not stored. Raises STREAM_BROKEN if it is another one."""
        fits = (
            segment.index == self._count
            and segment.audio.start == self._audio_end < segment.audio.end
            and segment.text.start == self.spoken <= segment.text.end
            and segment.key
        )
        if not fits:
            raise broken(f"The voice service sent segment {segment.index} where segment {self._count} was due.")
        self._count, self._audio_end, self.spoken = segment.index + 1, segment.audio.end, segment.text.end
        self._waiting.append(segment)
        self._notify()
        while len(self._waiting) >= MAX_WAITING:
            await self._changed.wait()

    def note_call(self, call: common_pb2.Attempt) -> None:
        """Notes a call, which is stored at once if it was sent, or failed, for the segment that is awaited.

        After a kill it counts as made. Those for later segments are stored with the segments before.
        """
        if call.outcome != common_pb2.ATTEMPT_OUTCOME_SUCCEEDED and call.segment_index <= self._count:
            self._awaits_call = True
            self._notify()

    def close(self) -> None:
        """Notes that no more will come."""
        self._closed = True
        self._notify()

    async def take(self) -> list[common_pb2.Segment] | None:
        """Waits for segments or calls to store and returns the segments; returns None when no more will come."""
        while not self._waiting and not self._awaits_call and not self._closed:
            await self._changed.wait()
        if not self._waiting and not self._awaits_call:
            return None
        taken, self._waiting, self._awaits_call = self._waiting, [], False
        self._notify()
        return taken

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


PIECE_CHARACTERS: Final = 16_384
MAX_RESTARTS: Final = 3
"""How often a narration starts over when stored segments are lost."""
FINISH_SECONDS: Final = 120.0
_STORY_GONE: Final = frozenset({"LEASE_LOST", "STORY_NOT_FOUND", "WRONG_STATE"})
"""Reasons of FinishAudio that mean that the story has another run, is deleted, cancelled or ended."""

log = structlog.get_logger(__name__)


class Narrator:
    """Narrates one story."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._live = context.live
        self._retry = context.attempt_retry()
        self._wait = PeerWait(context.live.waits, VOICE_SERVICE)
        run = context.record.run
        # Storage counts the work from each request of the caller on.
        self._requested = not run.work_duration.ToNanoseconds()
        self._header = run.narration if run.narration.audio_id else None
        self._header_stored = self._header is not None
        self.audio_id = run.narration.audio_id or new_id()
        self._spoken = [_without_words(segment) for segment in run.segments]

    async def narrate(self) -> None:
        """Returns once the audio is stored. Raises DomainError when the story cannot be narrated."""
        if self._header is not None:
            self._live.begin_audio(self._header)
            self._live.add_segments(self._context.record.run.segments)
        if self._context.record.story.audio.audio_id == self.audio_id:
            return  # An earlier run finished the audio and was stopped then.
        while not self._live.title:
            await self._live.change().wait()
        restarts = 0
        while True:
            try:
                await self._speak()
                await self._finish()
            except DomainError as error:
                if error.reason != "SEGMENT_LOST" or restarts == MAX_RESTARTS:
                    raise
                log.warning("narration restarted", story_id=self._live.story_id, audio_id=self.audio_id)
                restarts += 1
                # What was heard cannot be read again: a new narration starts at byte 0, with a new header.
                self._header, self._header_stored, self._spoken = None, False, []
                self.audio_id = new_id()
            else:
                return

    async def _speak(self) -> None:
        """Returns once the manifest covers the whole text."""
        ledger = self._context.ledger
        while not self._covers_text():
            attempt_id = ledger.begin_attempt(
                common_pb2.ATTEMPT_KIND_NARRATION,
                provider="voice",
                model=self._context.record.story.voice.model_id,
                requested=self._requested,
            )
            self._requested = False
            # It waits for a storage that is away: nothing is paid that could not be stored.
            await self._context.store(storage_pb2.StoryCheckpoint())
            self._retry.begin()
            self._wait.begin()
            try:
                await self._attempt(attempt_id)
            except PEER_ERRORS as error:
                failure = classify(error)
                if failure.reason == "CHECKPOINT_CONFLICT":
                    # A segment is not in the segment store: the voice service stores it again.
                    failure = Failure(FailureKind.TRANSIENT, failure.error)
                ledger.end_attempt(attempt_id, common_pb2.ATTEMPT_OUTCOME_FAILED, failure.reason)
                log.warning("narration attempt failed", story_id=self._live.story_id, reason=failure.reason)
                if failure.reason == "SEGMENT_LOST" or failure.of_provider:
                    # The service has called its providers as often, and waited for them as long, as it may.
                    raise failure.error from error
                await self._retry.after(failure, waits=self._wait.failed)
            else:
                ledger.end_attempt(attempt_id, common_pb2.ATTEMPT_OUTCOME_SUCCEEDED)

    async def _attempt(self, attempt_id: str) -> None:
        begun = asyncio.Event()
        call: Any = self._context.peers.voice.SynthesizeSpeech(timeout=STREAM_SECONDS)
        intake = SegmentIntake(self._spoken[-1] if self._spoken else None)
        feeder = asyncio.create_task(self._feed(call, attempt_id, begun))
        reader = asyncio.create_task(self._read(call, intake, attempt_id, begun))
        try:
            # What came before a cut is stored as well: the failure is raised once all of it is stored.
            while (segments := await intake.take()) is not None:
                if segments:
                    await self._store(segments)
                else:
                    await self._context.store(storage_pb2.StoryCheckpoint())
            summary = await reader
        finally:
            feeder.cancel()
            reader.cancel()
            call.cancel()
            await asyncio.gather(feeder, reader, return_exceptions=True)
            self._live.waits.end(NARRATION)
        if not self._covers_text() or (summary.segment_count, summary.size_bytes) != (
            len(self._spoken),
            self._spoken[-1].audio.end,
        ):
            raise broken("The summary of the voice service differs from the manifest.")

    async def _read(
        self, call: Any, intake: SegmentIntake, attempt_id: str, begun: asyncio.Event
    ) -> voice_pb2.SpeechSummary:
        """Reads the stream up to its status, so that neither side counts it as cancelled."""
        responses = read_alive(call, owing=lambda: self._owed(intake, begun))
        summary: voice_pb2.SpeechSummary | None = None
        try:
            async for response in responses:
                self._wait.end()
                match response.WhichOneof("event"):
                    case "header":
                        self._begin(response.header)
                        begun.set()
                    case "segment" if begun.is_set():
                        await intake.put(response.segment)
                    case "segment":
                        raise broken("The voice service sent a segment before its header.")
                    case "attempt":
                        self._context.ledger.add(attempt_id, response.attempt)
                        intake.note_call(response.attempt)
                        started = response.attempt.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED
                        if started and response.attempt.segment_index <= intake.count:
                            self._live.waits.end(NARRATION)
                    case "warning":
                        await self._warn(response.warning, intake)
                    case "summary":
                        summary = response.summary
        finally:
            intake.close()
        if summary is None:
            raise broken("The voice service ended its stream before the narration was complete.")
        return summary

    async def _feed(self, call: Any, attempt_id: str, begun: asyncio.Event) -> None:
        """Writes the configuration, then text as it is released. When the call fails, its reader gets the error."""
        story = self._context.record.story
        request = voice_pb2.SynthesizeSpeechRequest()
        config = request.config
        config.story_id, config.audio_id, config.parent_attempt_id = self._live.story_id, self.audio_id, attempt_id
        config.title, config.language_code = self._live.title, story.language_code
        config.voice.CopyFrom(story.voice)
        config.spoken_so_far.extend(self._spoken)
        config.word_timings = True
        config.delivery = voice_pb2.DELIVERY_STORED
        self._context.narrating.fill(config.provider_wait)
        self._context.ledger.fill_speech_calls(config)
        if self._header is not None and self._header_stored:
            config.pinned.CopyFrom(self._header)
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(request)
            # gRPC #36066: a client that writes while the server refuses the call gets INTERNAL in place of the reason.
            # So no text is sent before the voice service has accepted.
            await begun.wait()
            sent = 0
            while True:
                change = self._live.change()
                text = self._live.text[sent : sent + PIECE_CHARACTERS]
                if text:
                    sent += len(text)
                    piece = voice_pb2.SynthesizeSpeechRequest()
                    piece.text.text = text
                    await call.write(piece)
                elif self._live.text_complete:
                    break
                else:
                    await change.wait()
            await call.done_writing()

    def _owed(self, intake: SegmentIntake, begun: asyncio.Event) -> bool:
        """Returns whether the voice service has enough text to send something."""
        unspoken = len(self._live.text) - intake.spoken
        return not begun.is_set() or not intake.count or self._live.text_complete or unspoken > ENOUGH_CHARACTERS

    def _begin(self, header: common_pb2.NarrationHeader) -> None:
        if header.audio_id != self.audio_id:
            raise broken("The voice service sent the header of another narration.")
        if not self._header_stored:
            self._header = header

    async def _store(self, segments: Sequence[common_pb2.Segment]) -> None:
        """Puts `segments` into the manifest, in one checkpoint, and releases them."""
        checkpoint = storage_pb2.StoryCheckpoint()
        checkpoint.segments.extend(segments)
        if not self._header_stored and self._header is not None:
            # Stored before the first byte is heard, with the voice that spoke first: a later run continues with it.
            header = checkpoint.narration
            header.CopyFrom(self._header)
            first = segments[0]
            header.provider, header.voice_id, header.model_id = first.provider, first.voice_id, first.model_id
            header.embedded = first.embedded
        await self._context.store(checkpoint)
        if checkpoint.HasField("narration"):
            self._header, self._header_stored = checkpoint.narration, True
            self._live.begin_audio(self._header)
        self._spoken.extend(_without_words(segment) for segment in segments)
        self._live.add_segments(segments)
        self._retry.progressed()
        self._context.progressed()
        self._live.waits.progressed(NARRATION)

    async def _warn(self, problem: common_pb2.Problem, intake: SegmentIntake) -> None:
        placed(problem, segment_count=intake.count).metadata["audio_id"] = self.audio_id
        if not self._context.new_problem(problem):
            return
        if not problem.reason.startswith("EMBEDDED_"):
            await self._context.store(storage_pb2.StoryCheckpoint(problems=[problem]))
        self._live.warn(problem)

    def _covers_text(self) -> bool:
        whole = self._live.text_complete and bool(self._spoken)
        return whole and self._spoken[-1].text.end == len(self._live.text)

    async def _finish(self) -> None:
        """Has storage compose the manifest. Raises LeaseLostError, and DomainError when storage refuses."""
        request = storage_pb2.FinishAudioRequest(
            story_id=self._live.story_id, lease_token=self._context.lease.token, audio_id=self.audio_id
        )
        retry = AttemptRetry(wait_seconds=self._context.settings.run_timeout_seconds)
        while True:
            try:
                with self._live.waits.late(STORAGE):
                    await invoke(self._context.peers.storage.FinishAudio, request, timeout=FINISH_SECONDS)
            except PEER_ERRORS as error:
                failure = classify(error)
                if failure.reason in _STORY_GONE:
                    raise LeaseLostError(failure.reason) from error
                log.warning("audio not finished", story_id=self._live.story_id, reason=failure.reason)
                if failure.kind is FailureKind.TRANSIENT and failure.error.code is not grpc.StatusCode.INTERNAL:
                    # The segments are paid and stored: only time bounds the wait for a store that is away or full.
                    failure = Failure(FailureKind.UNREACHABLE, failure.error)
                await retry.after(failure)
            else:
                return


def _without_words(segment: common_pb2.Segment) -> common_pb2.Segment:
    """Returns the segment as the voice service needs it."""
    bare = common_pb2.Segment()
    bare.CopyFrom(segment)
    del bare.words[:]
    return bare
