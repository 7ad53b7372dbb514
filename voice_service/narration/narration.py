"""One narration: text comes in, segments are made a few ahead, audio goes out in order."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from servicekit.errors import DomainError
from servicekit.languages import scripts_of
from tale.common.v1 import common_pb2
from voice_service.languages import can_read
from voice_service.narration.assembly import Assembly
from voice_service.narration.errors import (
    empty_text,
    segment_lost,
    waiting_for_place,
    waiting_for_provider,
)
from voice_service.narration.intake import TextIntake, text_too_long
from voice_service.narration.messages import VoiceChoice
from voice_service.narration.pipeline import SegmentPipeline
from voice_service.narration.speaker import SpeakerChain, choose, unreadable
from voice_service.narration.succession import Succession
from voice_service.narration.waiting import ProviderWait
from voice_service.ports import Codec
from voice_service.providers.registry import EMBEDDED
from voice_service.synthesis.call import CHARACTERS_PER_SECOND, Order
from voice_service.synthesis.synthesize import SpeechError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from servicekit.languages import LanguageDetector
    from voice_service.metrics import VoiceMetrics
    from voice_service.narration.admission import Place
    from voice_service.narration.intake import TextSegment
    from voice_service.narration.messages import Event, NarrationRequest
    from voice_service.narration.speaker import Speaker
    from voice_service.providers.registry import ProviderRegistry
    from voice_service.synthesis.gates import Prober
    from voice_service.synthesis.store import SegmentStore
    from voice_service.synthesis.synthesize import SegmentSynthesizer

CHUNK: Final = 256 * 1024
"""Most bytes of audio in one event."""
_AUDIO_FORMATS: Final = {
    Codec.MP3: common_pb2.AUDIO_FORMAT_MP3,
    Codec.WAV: common_pb2.AUDIO_FORMAT_WAV,
    Codec.OPUS: common_pb2.AUDIO_FORMAT_OGG_OPUS,
}
_JUDGE_SECONDS: Final = 0.15
"""Seconds to wait for the beginning of a text, to look whether the voice can read it, before the title is sent."""
_PEEK_SECONDS: Final = 1.0
"""Seconds to wait for the first segment of a text, to look whether a provider that is not called has spoken it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrationPolicy:
    """How segments are cut, how big the file may be, and how often a narration that waits says so."""

    segment_words: int = 60
    max_audio_bytes: int = 512 << 20
    segments_ahead: int = 3
    beat: float = 20.0
    """Seconds between two warnings of one wait."""

    def most_characters(self, request: NarrationRequest) -> int:
        """Returns how many code points' sound fits the file."""
        pace = max(request.voice.settings.speed or 1.0, 0.5)
        return int(self.max_audio_bytes * CHARACTERS_PER_SECOND * pace / request.story_format.bytes_per_second)


class Narration:
    """Speaks one text. Make one for each call; `events` runs once.

    Memory is bounded by the text (65,536 code points) and the audio of the segments in progress; where the caller
    gets the audio, also by that of the segment that is sent and of those that were made ahead.
    """

    def __init__(
        self,
        request: NarrationRequest,
        *,
        registry: ProviderRegistry,
        store: SegmentStore,
        synthesizer: SegmentSynthesizer,
        detector: LanguageDetector,
        metrics: VoiceMetrics,
        policy: NarrationPolicy,
        place: Place,
        prober: Prober,
        deadline: float | None = None,
    ) -> None:
        """`deadline` in seconds of the loop's clock: no call starts, and nothing is waited for, beyond it."""
        self._request = request
        self._registry = registry
        self._detector = detector
        self._metrics = metrics
        self._max_audio_bytes = policy.max_audio_bytes
        self._most_characters = policy.most_characters(request)
        self._intake = TextIntake(request.title, policy.segment_words, self._most_characters)
        self._synthesizer = synthesizer
        self._prober = prober
        self._wait = ProviderWait(request.provider_wait, prober, deadline=deadline, beat=policy.beat)
        self._place = place
        self._beat = policy.beat
        self._quiet_since = 0.0
        self._pipeline = SegmentPipeline(
            request,
            intake=self._intake,
            synthesizer=synthesizer,
            ahead=policy.segments_ahead,
            number=place.turn,
            deadline=deadline,
        )
        self._assembly = Assembly(request, store, deadline=deadline)
        self._speakers: Succession | None = None

    @property
    def provider(self) -> str:
        """Name of the provider that speaks now, for the log; "" before the first."""
        return "" if self._speakers is None else self._speakers.name

    async def events(self, pieces: AsyncIterator[str]) -> AsyncGenerator[Event, None]:
        """Header first, warnings, then for each segment its calls, itself and its chunks; the summary last.

        There are no chunks where the segments are stored for the caller. `pieces` are read as they come, also while no
        events are taken. Raises DomainError. Closing the generator stops the narration: no further call starts, and
        what calls that were sent bring is stored.
        """
        reading = asyncio.create_task(self._intake.read(pieces), name="narration intake")
        try:
            language = await self._language()
            chain, warnings = await self._choose(language)
            self._intake.cut_for(language, None if self._request.pinned else partial(self._judge, chain, language))
            self._speakers = speakers = Succession(
                chain,
                prober=self._prober,
                closed_reason=self._registry.closed_reason,
                wait=self._wait,
                place=self._place,
                metrics=self._metrics,
                budget=self._request.budget,
            )
            async with aclosing(speakers.begin(self._begins_stored)) as waiting:
                async for warning in waiting:
                    yield warning
            yield self._header(speakers.speaker, language)
            for warning in (*warnings, *speakers.passed_over()):
                yield warning
            await self._resume()
            with suppress(TimeoutError):
                # What is there is judged before the title is sent; a story that is being written has none for a while.
                async with asyncio.timeout(_JUDGE_SECONDS):
                    await self._intake.sample()
            clock = asyncio.get_running_loop().time
            self._quiet_since = clock()
            async with aclosing(self._narrate(speakers)) as events:
                async for event in events:
                    yield event
                    self._quiet_since = clock()
            if not self._intake.count:
                raise empty_text()
            yield self._assembly.summary()
        finally:
            self._place.end()
            await self._stop(reading)

    async def _language(self) -> str:
        code, title = self._request.language_code, self._request.title
        if code and can_read(scripts_of(code), code, title):
            return code
        return await self._detector.detect(title if code else f"{title}\n{await self._intake.sample()}")

    def _judge(self, chain: SpeakerChain, language: str, sample: str) -> None:
        """Leaves out the speakers that cannot read the text. Raises LANGUAGE_UNSUPPORTED if that is the present one."""
        tried = [each.metadata.name for each in chain.providers]
        chain.read_only(sample)
        readers = [each.metadata.name for each in chain.providers]
        if not readers or (self.provider and self.provider not in readers):
            raise unreadable(self._registry, language, tried)

    async def _choose(self, language: str) -> tuple[SpeakerChain, list[common_pb2.Problem]]:
        request = self._request
        choice, pinned = request.pinned or request.voice, request.pinned is not None
        if request.spoken:
            # The last speaker continues: the narration may have been handed over before.
            last = request.spoken[-1]
            choice = VoiceChoice(
                provider=last.provider, voice_id=last.voice_id, model_id=last.model_id, settings=choice.settings
            )
        return await choose(
            self._registry,
            choice,
            language,
            pinned=pinned,
            strict=request.strict_language and not pinned,
            title=request.title,
            replaceable=not request.voice.voice_id,
        )

    async def _begins_stored(self, speaker: Speaker) -> bool:
        """Returns whether the beginning need not be made: the voice has narrated this beginning before."""
        if self._request.pinned is not None:
            return True
        try:
            async with asyncio.timeout(_PEEK_SECONDS):
                first = await self._intake.peek()
        except TimeoutError:
            # A caller may send text only after the header.
            return False
        return first is not None and await self._is_stored(first, speaker)

    async def _is_stored(self, segment: TextSegment, speaker: Speaker) -> bool:
        order = Order(
            provider=speaker.provider,
            request=speaker.request(segment),
            story_format=self._request.story_format,
        )
        try:
            return await self._synthesizer.is_stored(order, self._request.story_id)
        except DomainError:
            return False

    def _header(self, speaker: Speaker, language: str) -> common_pb2.NarrationHeader:
        pinned, story_format = self._request.pinned, self._request.story_format
        provider = pinned.provider if pinned else speaker.name
        settings = {name: value for name, value in asdict(speaker.settings).items() if value is not None}
        return common_pb2.NarrationHeader(
            audio_id=self._request.audio_id,
            provider=provider,
            voice_id=pinned.voice_id if pinned else speaker.voice_id,
            model_id=pinned.model_id if pinned else speaker.model_id,
            settings=common_pb2.VoiceSettings(**settings),
            audio_format=_AUDIO_FORMATS[story_format.codec],
            content_type=story_format.content_type,
            sample_rate=story_format.sample_rate,
            bit_rate=story_format.bit_rate,
            language_code=language,
            embedded=provider == EMBEDDED,
        )

    async def _narrate(self, speakers: Succession) -> AsyncGenerator[Event, None]:
        """Speaks the segments, and reports the calls of discarded ones however the narration ends: they are billed."""
        try:
            async with aclosing(self._segments(speakers)) as events:
                async for event in events:
                    yield event
        except Exception:
            await self._pipeline.give_up()
            for late in self._pipeline.late:
                yield self._assembly.called(late)
            raise
        for late in self._pipeline.late:
            yield self._assembly.called(late)

    async def _resume(self) -> None:
        """Moves past the segments that the caller has. Raises SEGMENT_LOST if the text is cut differently."""
        for before in self._request.spoken:
            segment = await self._intake.peek()
            if segment is None:
                raise segment_lost(before.index, "is not in this text")
            if (segment.start, segment.end) != (before.text.start, before.text.end):
                raise segment_lost(before.index, "does not fit this text")
            self._intake.next()
            self._assembly.resume(before)

    async def _segments(self, speakers: Succession) -> AsyncGenerator[Event, None]:
        while True:
            async with aclosing(self._made(speakers)) as meanwhile:
                async for event in meanwhile:
                    yield event
            if not self._pipeline.next_is_done:
                break
            job = self._pipeline.take_done()
            try:
                spoken = job.task.result()
            except SpeechError as failure:
                for call in failure.calls:
                    yield self._assembly.called(call)
                is_stored = partial(self._is_stored, job.segment)
                async with aclosing(speakers.continue_from(job.segment, failure, is_stored)) as warnings:
                    async for warning in warnings:
                        yield warning
                self._pipeline.start_again(job)
                continue
            speakers.made()
            for call in spoken.calls:
                yield self._assembly.called(call)
            # The next ones are made while this one is sent.
            self._fill(speakers)
            placed = await self._assembly.place(job.segment, spoken)
            # A caller that is slow to take its audio holds it once: chunks are cut as they leave.
            del job, spoken
            if self._assembly.size > self._max_audio_bytes:
                raise text_too_long(self._most_characters)
            with self._place.sending():
                yield placed.segment
                for chunk in placed.chunks(CHUNK):
                    yield chunk
            del placed

    async def _made(self, speakers: Succession) -> AsyncGenerator[common_pb2.Problem | common_pb2.Attempt, None]:
        """Has segments made until the next one in order is done, or the text has ended; says so while that takes long.

        Yields paid calls when they are sent: a caller that loses its connection knows of them.

        The narration has a place while there is something to be made: one that waits for text holds up no other.
        """
        clock, changed = asyncio.get_running_loop().time, self._intake.changed
        first = clock() + self._beat / 2
        while True:
            changed.clear()
            if self._pipeline.is_idle:
                self._intake.raise_error()
                if self._intake.ended:
                    return
                self._place.leave()
                await changed.wait()
                self._quiet_since = clock()
                first = self._quiet_since + self._beat / 2
                continue
            self._place.take(speakers.name, changed.set)
            self._fill(speakers)
            for call in self._pipeline.take_begun():
                yield call
            if self._pipeline.next_is_done:
                return
            due = self._quiet_since + self._beat
            try:
                async with asyncio.timeout_at(due if self._place.admitted else min(due, first)):
                    await changed.wait()
            except TimeoutError:
                first = math.inf
                # What is called again is not well yet.
                if self._pipeline.next_is_called:
                    yield waiting_for_provider(speakers.name, None)
                elif self._place.admitted and not speakers.is_back:
                    yield waiting_for_provider(speakers.name, 0.0)
                else:
                    yield waiting_for_place(speakers.name)

    def _fill(self, speakers: Succession) -> None:
        """Starts segments where there is a place for them; without a call where they only move on."""
        if self._place.admitted or (self._place.provider and speakers.can_move_on()):
            self._pipeline.fill(speakers.speaker)

    async def _stop(self, reading: asyncio.Task[None]) -> None:
        tasks: list[asyncio.Task[object]] = [reading, *self._pipeline.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # the failure that counts is on its way already
