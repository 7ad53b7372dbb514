"""Makes the segments of a narration a few ahead of the one that goes out, and gives them in order."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servicekit.resilience.errors import CircuitOpenError
from voice_service.calls import Order
from voice_service.messages import CallMade
from voice_service.speakable import speakable
from voice_service.synthesize import SpeechError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servicekit.resilience.errors import ProviderError
    from voice_service.ahead import WorkAhead
    from voice_service.intake import TextIntake, TextSegment
    from voice_service.ledger import CallRecord
    from voice_service.messages import NarrationRequest
    from voice_service.replay import Replay
    from voice_service.speaker import Speaker
    from voice_service.synthesize import SegmentSynthesizer, Spoken


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """A segment in the making. Its task returns None for one that the caller has, and raises SpeechError."""

    segment: TextSegment
    task: asyncio.Task[Spoken | None]


class SegmentPipeline:
    """The jobs of one narration, as many at a time as `ahead` allows and one more."""

    def __init__(
        self,
        request: NarrationRequest,
        *,
        intake: TextIntake,
        replay: Replay,
        synthesizer: SegmentSynthesizer,
        ahead: WorkAhead,
        deadline: float | None = None,
    ) -> None:
        """`deadline` of the narration in seconds of the loop's clock."""
        self._deadline = deadline
        self._request = request
        self._intake = intake
        self._replay = replay
        self._synthesizer = synthesizer
        self._ahead = ahead
        self._jobs: deque[SegmentJob] = deque()
        self._discarded: list[asyncio.Task[Spoken | None]] = []
        self._late: list[CallMade] = []

    @property
    def late(self) -> Sequence[CallMade]:
        """Calls of segments that were discarded."""
        return self._late

    @property
    def tasks(self) -> Sequence[asyncio.Task[Spoken | None]]:
        """What is in the making or was discarded, for whoever ends it."""
        return [*(job.task for job in self._jobs), *self._discarded]

    async def next_done(self, speaker: Speaker) -> SegmentJob | None:
        """Return the next segment in order once it is done, keeping enough in the making; None after the last.

        Raises what reading the text raised.
        """
        while True:
            self._intake.changed.clear()
            self.fill(speaker)
            if self._jobs:
                if await self._first_is_done():
                    return self._jobs.popleft()
            elif self._intake.ended:
                return None
            else:
                await self._intake.changed.wait()

    def known_failure(self, provider: str) -> ProviderError | None:
        """Return what the provider failed at in a segment that was made ahead; None where it did not."""
        for job in self._jobs:
            failure = job.task.exception() if job.task.done() and not job.task.cancelled() else None
            error = failure.error if isinstance(failure, SpeechError) else None
            if error is not None and error.provider == provider and not isinstance(error, CircuitOpenError):
                return error
        return None

    def fill(self, speaker: Speaker) -> None:
        """Start segments until enough are in the making. Raises what reading the text raised."""
        while len(self._jobs) < 1 + self._ahead.segments() and (segment := self._intake.next()) is not None:
            self._jobs.append(self._start(segment, speaker))

    def start_again(self, failed: SegmentJob, speaker: Speaker) -> None:
        """Have the segment and those after it spoken by the next provider."""
        segments = [failed.segment, *(job.segment for job in self._jobs)]
        self._discard()
        self._jobs = deque(self._start(segment, speaker) for segment in segments)

    async def give_up(self) -> None:
        """Start no more; return when the calls that were sent have ended, so that `late` has them all: they bill."""
        self._discard()
        if self._discarded:
            await asyncio.wait(self._discarded)
        await self._synthesizer.landed(self._request.story_id)

    def _discard(self) -> None:
        for job in self._jobs:
            self._late += [CallMade(job.segment.index, call) for call in _calls(job.task)]
            job.task.cancel()
            self._discarded.append(job.task)
        self._jobs.clear()

    def _start(self, segment: TextSegment, speaker: Speaker) -> SegmentJob:
        before = segment.index < len(self._request.spoken)
        made = self._replay.give(segment, speaker) if before else self._speak(segment, speaker)
        return SegmentJob(segment, asyncio.create_task(made, name=f"segment {segment.index}"))

    async def _speak(self, segment: TextSegment, speaker: Speaker) -> Spoken:
        spoken_text = speakable(segment.text)
        request = speaker.request(spoken_text.text, segment.previous)
        if not spoken_text.audible:
            return await self._synthesizer.pause(
                speaker.provider.metadata, request, self._request.story_format, self._request.story_id
            )

        def late(call: CallRecord) -> None:
            self._late.append(CallMade(segment.index, call))

        order = Order(
            provider=speaker.provider,
            request=request,
            story_format=self._request.story_format,
            deadline=self._deadline,
        )
        return await self._synthesizer.speak(order, self._request.story_id, late)

    async def _first_is_done(self) -> bool:
        """Wait until the first job is done, or until there is more to start."""
        task = self._jobs[0].task
        if task.done():
            return True
        if len(self._jobs) > self._ahead.segments() or self._intake.ended:
            await asyncio.wait([task])
            return True
        changed = asyncio.create_task(self._intake.changed.wait())
        try:
            await asyncio.wait([task, changed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        return task.done()


def _calls(task: asyncio.Task[Spoken | None]) -> Sequence[CallRecord]:
    """Return the calls of a job that is done."""
    if not task.done() or task.cancelled():
        return ()
    failure = task.exception()
    if failure is not None:
        return failure.calls if isinstance(failure, SpeechError) else ()
    spoken = task.result()
    return () if spoken is None else spoken.calls
