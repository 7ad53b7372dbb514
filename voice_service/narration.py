"""One narration: text comes in, segments are made a few ahead, audio goes out in order."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voice_service.assembly import Assembly
from voice_service.intake import TextIntake
from voice_service.language import language_of
from voice_service.messages import CallMade, Header, Summary, VoiceChoice, Warned
from voice_service.outcome import empty_text, segment_lost, speech_failed
from voice_service.registry import EMBEDDED
from voice_service.replay import Replay
from voice_service.speakable import speakable
from voice_service.speaker import SpeakerChain, choose
from voice_service.synthesize import SpeechError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from voice_service.errors import ProviderError
    from voice_service.intake import TextSegment
    from voice_service.ledger import CallRecord
    from voice_service.messages import Event, NarrationRequest
    from voice_service.registry import ProviderRegistry
    from voice_service.speaker import Speaker
    from voice_service.synthesize import SegmentSynthesizer, Spoken

CHUNK: Final = 64 * 1024
"""Most bytes of audio in one event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrationPolicy:
    """How segments are cut and how many are made ahead of the one that goes out."""

    segment_words: int = 60
    segments_ahead: int = 3


@dataclass(frozen=True, slots=True)
class _Job:
    """A segment in the making. `speaker` is None for one that was spoken before."""

    segment: TextSegment
    task: asyncio.Task[Spoken | None]
    speaker: Speaker | None


class Narration:
    """Speaks one text. Make one for each call; `events` runs once.

    Memory is bounded by the text (65,536 code points) and the audio of `segments_ahead` + 1 segments.
    """

    def __init__(
        self,
        request: NarrationRequest,
        *,
        registry: ProviderRegistry,
        synthesizer: SegmentSynthesizer,
        policy: NarrationPolicy,
    ) -> None:
        self._request = request
        self._registry = registry
        self._synthesizer = synthesizer
        self._policy = policy
        self._intake = TextIntake(request.title, policy.segment_words)
        self._replay = Replay(request, registry, synthesizer)
        self._assembly = Assembly(word_timings=request.word_timings)
        self._jobs: deque[_Job] = deque()
        self._discarded: list[asyncio.Task[Spoken | None]] = []
        self._late: list[CallMade] = []
        self._provider = ""
        self._characters = 0
        self._cached = 0
        self._embedded = False
        self._providers: Counter[str] = Counter()

    @property
    def provider(self) -> str:
        """Who speaks now, for the log; "" before anybody does."""
        return self._provider

    async def events(self, pieces: AsyncIterator[str]) -> AsyncGenerator[Event, None]:
        """Header first, warnings, then for each segment its calls, itself and its chunks; the summary last.

        `pieces` are read as they come, also while nobody takes events. Raises DomainError. Closing the generator
        stops the narration: no further call starts, and calls that were sent end into the cache.
        """
        reading = asyncio.create_task(self._intake.read(pieces), name="narration intake")
        try:
            language = await self._language()
            chain, warnings = await self._choose(language)
            speaker = await chain.take_next()
            assert speaker is not None  # noqa: S101 - a chain begins with somebody
            yield self._header(speaker, language)
            for warning in warnings:
                yield warning
            self._intake.cut_for(language)
            async with aclosing(self._narrate(chain, speaker)) as events:
                async for event in events:
                    yield event
            yield self._summary()
        finally:
            await self._stop(reading)

    async def _language(self) -> str:
        if self._request.language_code:
            return self._request.language_code
        title = self._request.title
        return language_of(title if any(map(str.isalpha, title)) else await self._intake.sample())

    async def _choose(self, language: str) -> tuple[SpeakerChain, list[Warned]]:
        request = self._request
        choice, pinned = request.pinned or request.voice, request.pinned is not None
        if request.spoken:
            # Who spoke last goes on: the narration may have been handed over before.
            last = request.spoken[-1]
            choice = VoiceChoice(
                provider=last.provider, voice_id=last.voice_id, model_id=last.model_id, settings=choice.settings
            )
        return await choose(
            self._registry, choice, language, pinned=pinned, strict=request.strict_language and not pinned
        )

    def _header(self, speaker: Speaker, language: str) -> Header:
        pinned = self._request.pinned
        self._provider = speaker.provider.metadata.name
        provider = pinned.provider if pinned else self._provider
        return Header(
            audio_id=self._request.audio_id,
            provider=provider,
            voice_id=pinned.voice_id if pinned else speaker.voice_id,
            model_id=pinned.model_id if pinned else speaker.model_id,
            settings=speaker.settings,
            language_code=language,
            embedded=provider == EMBEDDED,
        )

    async def _narrate(self, chain: SpeakerChain, speaker: Speaker) -> AsyncGenerator[Event, None]:
        tried: list[ProviderError] = []
        while (job := await self._next_done(speaker)) is not None:
            try:
                spoken = await job.task
            except SpeechError as failure:
                for call in failure.calls:
                    yield self._counted(CallMade(job.segment.index, call))
                tried.append(failure.error)
                following = await chain.take_next()
                if following is None:
                    raise speech_failed(tried, job.segment.index) from failure
                yield _handed_over(failure.error, following, job.segment.index)
                speaker = following
                self._provider = speaker.provider.metadata.name
                self._start_again(job, speaker)
                continue
            # The next ones are made while this one goes out.
            self._fill(speaker)
            for event in self._commit(job, spoken):
                yield event
        if self._intake.count < len(self._request.spoken):
            raise segment_lost(self._intake.count, "is not in this text")
        if not self._intake.count:
            raise empty_text()
        for late in self._late:
            yield self._counted(late)

    async def _next_done(self, speaker: Speaker) -> _Job | None:
        """Return the next segment in order once it is done, keeping enough in the making; None after the last."""
        while True:
            self._intake.changed.clear()
            self._fill(speaker)
            if self._jobs:
                if await self._first_is_done():
                    return self._jobs.popleft()
            elif self._intake.ended:
                return None
            else:
                await self._intake.changed.wait()

    def _fill(self, speaker: Speaker) -> None:
        """Start segments until enough are in the making."""
        while len(self._jobs) < 1 + self._policy.segments_ahead and (segment := self._intake.next()) is not None:
            self._jobs.append(self._start(segment, speaker))

    def _start(self, segment: TextSegment, speaker: Speaker) -> _Job:
        name = f"segment {segment.index}"
        if segment.index < len(self._request.spoken):
            return _Job(segment, asyncio.create_task(self._replay.give(segment, speaker), name=name), None)
        return _Job(segment, asyncio.create_task(self._speak(segment, speaker), name=name), speaker)

    async def _speak(self, segment: TextSegment, speaker: Speaker) -> Spoken:
        spoken_text = speakable(segment.text)
        request = speaker.request(spoken_text.text, segment.previous)
        if not spoken_text.audible:
            return await self._synthesizer.pause(speaker.provider.metadata, request, self._request.story_id)

        def late(call: CallRecord) -> None:
            self._late.append(CallMade(segment.index, call))

        return await self._synthesizer.speak(speaker.provider, request, self._request.story_id, late)

    async def _first_is_done(self) -> bool:
        """Wait until the first job is done, or until there is more to start."""
        task = self._jobs[0].task
        if task.done():
            return True
        if len(self._jobs) > self._policy.segments_ahead or self._intake.ended:
            await asyncio.wait([task])
            return True
        changed = asyncio.create_task(self._intake.changed.wait())
        try:
            await asyncio.wait([task, changed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        return task.done()

    def _start_again(self, failed: _Job, speaker: Speaker) -> None:
        """Have the segment and those after it spoken by the next provider."""
        segments = [failed.segment, *(job.segment for job in self._jobs)]
        for job in self._jobs:
            if job.task.done() and not job.task.cancelled() and job.task.exception() is None:
                done = job.task.result()
                self._late += [CallMade(job.segment.index, call) for call in (done.calls if done else ())]
            job.task.cancel()
            self._discarded.append(job.task)
        self._jobs = deque(self._start(segment, speaker) for segment in segments)

    def _commit(self, job: _Job, spoken: Spoken | None) -> list[Event]:
        if spoken is None:
            before = self._request.spoken[job.segment.index]
            self._assembly.skip(before)
            self._count(before.provider, cached=True)
            return []
        events: list[Event] = [self._counted(CallMade(job.segment.index, call)) for call in spoken.calls]
        if not spoken.kept:
            events.append(_NOT_KEPT)
        segment = self._assembly.place(job.segment, spoken)
        self._replay.check(segment)
        self._count(segment.provider, cached=spoken.cached)
        return [*events, segment, *self._assembly.chunks(segment, spoken, CHUNK)]

    def _count(self, provider: str, *, cached: bool) -> None:
        self._providers[provider] += 1
        self._cached += cached
        self._embedded = self._embedded or provider == EMBEDDED

    def _counted(self, call: CallMade) -> CallMade:
        self._characters += call.record.characters
        return call

    def _summary(self) -> Summary:
        return Summary(
            audio_id=self._request.audio_id,
            size=self._assembly.size,
            samples=self._assembly.samples,
            segments=self._intake.count,
            cached_segments=self._cached,
            characters=self._characters,
            embedded=self._embedded,
            providers=dict(self._providers),
        )

    async def _stop(self, reading: asyncio.Task[None]) -> None:
        tasks: list[asyncio.Task[object]] = [reading, *(job.task for job in self._jobs), *self._discarded]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # the failure that counts is on its way already


_NOT_KEPT: Final = Warned(
    reason="CACHE_FAILED",
    message="A segment could not be kept in the voice cache; a narration that is resumed may have to begin anew.",
    mend="See that the place of VOICE_CACHE_URL can be written and is not full.",
)


def _handed_over(error: ProviderError, following: Speaker, index: int) -> Warned:
    name = following.provider.metadata.name
    return Warned(
        reason="PROVIDER_FAILED",
        message=f"The voice provider {error.provider} failed ({error.message}); {name} goes on.",
        mend=f"Look at the provider {error.provider}.",
        facts={"provider": error.provider, "next": name, "why": error.kind.value, "segment_index": str(index)},
    )
