"""Gets a story told, leg by leg, while its text is still being written.

Segments are checked, checkpointed, and only then released; what was committed before a leg broke is given back to
the voice service as `spoken_so_far`, so that a narration that goes on is the same narration byte for byte.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Final

import grpc
import structlog
from google.protobuf.struct_pb2 import Struct

from gateway.audio_upload import upload
from gateway.desk import Desk
from gateway.incoming import Incoming
from gateway.persistence import Persistence
from gateway.siblings import classify
from gateway.spool import Spool
from gateway.spools import Spools
from gateway.stream import broken, either, read_owed
from servicekit.errors import DomainError
from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2
from tale.voice.v1 import voice_pb2

PIECE_CHARACTERS: Final = 16_384
MAX_RESTARTS: Final = 3
ENOUGH_CHARACTERS: Final = 1_500
"""Text that is sure to hold a whole segment (600 characters at most) and what has to follow its cut."""

log = structlog.get_logger(__name__)


class Narrator:
    """Tells one story."""

    def __init__(self, desk: Desk, spools: Spools) -> None:
        self._desk = desk
        self._spools = spools
        self._persistence = Persistence(wait_seconds=desk.settings.sibling_wait_seconds, clock=desk.clock)
        run = desk.record.run
        self._pinned = run.narration if run.HasField("narration") and run.narration.audio_id else None
        self._book = [_without_words(segment) for segment in run.segments]
        self._audio_id = self._pinned.audio_id if self._pinned else new_id()
        self._metadata = Struct()
        self._spool: Spool | None = None

    async def narrate(self) -> None:
        """Returns once the audio is kept; DomainError when the story can not be told."""
        story = self._desk.record.story
        if self._pinned is not None and story.audio.audio_id == self._audio_id:
            return  # A run before this one had kept it and came no further.
        await self._title()
        try:
            await self._speak()
            await upload(self._desk, self._need_spool(), self._audio())
        finally:
            if self._spool is not None:
                self._spool.close()

    async def _title(self) -> None:
        """Waits until there is something to speak."""
        board = self._desk.board
        while not board.title:
            change = board.change()
            await change.wait()

    async def _speak(self) -> None:
        board, ledger = self._desk.board, self._desk.ledger
        self._spool = await self._open_spool()
        restarts = 0
        while True:
            self._desk.lease.check()
            leg_id = ledger.begin_leg(
                common_pb2.ATTEMPT_KIND_NARRATION_LEG, provider="voice", model=self._desk.record.story.voice.model_id
            )
            await self._desk.keep(storage_pb2.StoryCheckpoint())
            before = len(board.segments)
            try:
                await self._leg(leg_id)
            except (grpc.aio.AioRpcError, DomainError, TimeoutError) as error:
                failure = classify(error)
                ledger.end_leg(leg_id, common_pb2.ATTEMPT_OUTCOME_FAILED, failure.error.reason)
                log.warning("narration_leg_failed", story_id=board.story_id, reason=failure.error.reason)
                if failure.error.reason == "SEGMENT_LOST" and restarts < MAX_RESTARTS:
                    restarts += 1
                    await self._restart()
                    continue
                if len(board.segments) > before:
                    self._persistence.progressed()
                await self._persistence.after(failure)
            else:
                ledger.end_leg(leg_id, common_pb2.ATTEMPT_OUTCOME_SUCCEEDED)
                return

    async def _restart(self) -> None:
        """Audio that was delivered can not be made again: a new narration begins at byte 0, and watchers see it."""
        if self._spool is not None:
            self._spool.close()
        self._spool = None
        self._spool = await self._open_spool()
        self._pinned = None
        self._book = []
        self._audio_id = new_id()

    async def _leg(self, leg_id: str) -> None:
        settings = self._desk.settings
        begun, over = asyncio.Event(), asyncio.Event()
        call = self._desk.siblings.voice.synthesize(
            self._requests(leg_id, begun, over), timeout=settings.run_timeout_seconds
        )
        incoming = Incoming(self._desk.board.segments if self._holds_present_narration() else (), self._book)
        reader = asyncio.create_task(self._read(call, incoming, leg_id, begun))
        try:
            # What came before a cut is kept as well: the failure shows only once all that came is durable.
            while segments := await incoming.take():
                await self._keep(segments)
            self._check_whole(await reader)
        finally:
            # gRPC leaves who feeds a call that has ended by itself waiting for ever.
            over.set()
            reader.cancel()
            call.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(
        self,
        call: AsyncIterable[voice_pb2.SynthesizeSpeechResponse],
        incoming: Incoming,
        leg_id: str,
        begun: asyncio.Event,
    ) -> voice_pb2.SpeechSummary:
        responses = read_owed(
            call, idle_seconds=self._desk.settings.stream_idle_seconds, owing=lambda: self._owed(incoming, begun)
        )
        try:
            async for response in responses:
                match response.WhichOneof("event"):
                    case "header":
                        await self._begin(response.header)
                        begun.set()
                    case "segment":
                        if not self._holds_present_narration():
                            raise broken("The voice service sent a segment before its header.")
                        incoming.announce(response.segment)
                    case "chunk":
                        incoming.add(response.chunk.offset, response.chunk.data)
                    case "attempt":
                        self._desk.ledger.add(leg_id, response.attempt)
                    case "warning":
                        await self._warn(response.warning)
                    case "summary" if not incoming.unfinished:
                        return response.summary
                    case "summary":
                        break
                await incoming.settle(self._need_spool())
            raise broken("The voice service ended its stream before the narration was complete.")
        finally:
            incoming.close()

    async def _requests(
        self, leg_id: str, begun: asyncio.Event, over: asyncio.Event
    ) -> AsyncIterator[voice_pb2.SynthesizeSpeechRequest]:
        board, story = self._desk.board, self._desk.record.story
        held = len(board.segments) if self._holds_present_narration() else 0
        config = voice_pb2.SpeechConfig(
            story_id=board.story_id,
            audio_id=self._audio_id,
            voice=story.voice,
            language_code=story.language_code,
            title=board.title,
            spoken_so_far=self._book,
            skip_segments=held,
            word_timings=True,
            leg_id=leg_id,
        )
        if self._pinned is not None:
            config.pinned.CopyFrom(self._pinned)
        yield voice_pb2.SynthesizeSpeechRequest(config=config)
        # A client that writes while the server refuses the call gets INTERNAL instead of the server's own words, so
        # no text is sent before the voice service has said that it will speak.
        await either(begun, over)
        sent = 0
        while not over.is_set():
            change = board.change()
            piece = board.text[sent : sent + PIECE_CHARACTERS]
            if piece:
                sent += len(piece)
                yield voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=piece))
            elif board.text_complete:
                return
            else:
                await either(change, over)

    def _owed(self, incoming: Incoming, begun: asyncio.Event) -> bool:
        """True when the voice service has all that it needs to send something. It cuts a segment by what follows it."""
        board = self._desk.board
        unspoken = len(board.text) - incoming.spoken
        return not begun.is_set() or not incoming.begun or board.text_complete or unspoken > ENOUGH_CHARACTERS

    def _holds_present_narration(self) -> bool:
        header = self._desk.board.header
        return header is not None and header.audio_id == self._audio_id

    async def _begin(self, header: common_pb2.NarrationHeader) -> None:
        if self._holds_present_narration():
            return
        if header.audio_id != self._audio_id:
            raise broken("The voice service speaks of another narration.")
        if self._pinned is None:
            # Before the first byte is heard it must be durable who speaks, so that a later run goes on alike.
            checkpoint = storage_pb2.StoryCheckpoint(narration=header)
            if header.embedded:
                checkpoint.embedded_parts.append("voice")
            await self._desk.keep(checkpoint)
            self._pinned = header
        self._desk.board.begin_audio(header, self._need_spool())

    async def _keep(self, segments: Sequence[common_pb2.Segment]) -> None:
        """Makes `segments` durable, in one checkpoint, and releases them."""
        new = [segment for segment in segments if segment.index >= len(self._book)]
        if new:
            await self._desk.keep(storage_pb2.StoryCheckpoint(segments=new))
            self._book.extend(_without_words(segment) for segment in new)
        for segment in segments:
            self._desk.board.add_segment(segment)

    async def _warn(self, problem: common_pb2.Problem) -> None:
        if not problem.reason.startswith("EMBEDDED_"):
            await self._desk.keep(storage_pb2.StoryCheckpoint(problems=[problem]))
        self._desk.board.warn(problem)

    def _check_whole(self, summary: voice_pb2.SpeechSummary) -> None:
        board = self._desk.board
        spoken = board.segments[-1].text.end if board.segments else 0
        whole = (
            board.text_complete
            and summary.segment_count == len(board.segments)
            and summary.size_bytes == board.audio_size
            and spoken == len(board.text)
        )
        if not whole:
            raise broken("The voice service's narration is not whole.")
        self._metadata.CopyFrom(summary.metadata)

    def _audio(self) -> common_pb2.StoryAudio:
        header = self._desk.board.header
        if header is None:
            raise broken("The voice service sent no header.")
        audio = common_pb2.StoryAudio(
            audio_id=header.audio_id,
            content_type=header.content_type,
            provider=header.provider,
            voice_id=header.voice_id,
            model_id=header.model_id,
            audio_format=header.audio_format,
            metadata=self._metadata,
        )
        audio.duration.CopyFrom(self._desk.board.progress().audio_duration)
        return audio

    async def _open_spool(self) -> Spool:
        story = self._desk.record.story
        return await self._spools.open(story.length_minutes, story.voice.audio_format)

    def _need_spool(self) -> Spool:
        if self._spool is None:
            raise broken("There is no audio in progress.")
        return self._spool


def _without_words(segment: common_pb2.Segment) -> common_pb2.Segment:
    """The segment as the voice service needs it back: word timings come again from its cache."""
    bare = common_pb2.Segment()
    bare.CopyFrom(segment)
    del bare.words[:]
    return bare
