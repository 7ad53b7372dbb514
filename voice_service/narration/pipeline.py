"""Makes the segments of one narration a few ahead of the one that is sent, and returns them in order."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voice_service.ports import Codec
from voice_service.synthesis.call import Order
from voice_service.synthesis.flight import Turn
from voice_service.synthesis.synthesize import AudioNeed, SpeechError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tale.common.v1.common_pb2 import Attempt
    from voice_service.narration.intake import TextIntake, TextSegment
    from voice_service.narration.messages import NarrationRequest
    from voice_service.narration.speaker import Speaker
    from voice_service.synthesis.synthesize import SegmentSynthesizer, Spoken


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """A segment in progress. Its task raises SpeechError."""

    segment: TextSegment
    turn: Turn
    task: asyncio.Task[Spoken]


class SegmentPipeline:
    """The jobs of one narration, `ahead` at a time and one more.

    They reach a provider in the order of the text, and how one ends is looked at when it is the first: a later one
    that fails costs an earlier one nothing.
    """

    def __init__(
        self,
        request: NarrationRequest,
        *,
        intake: TextIntake,
        synthesizer: SegmentSynthesizer,
        ahead: int,
        number: int = 0,
        deadline: float | None = None,
    ) -> None:
        """`number` counts the narrations; `deadline` of the narration in seconds of the loop's clock."""
        self._number = number
        self._deadline = deadline
        self._request = request
        self._intake = intake
        self._synthesizer = synthesizer
        self._ahead = ahead
        self._again: deque[TextSegment] = deque()
        self._jobs: deque[SegmentJob] = deque()
        self._turn = Turn()
        self._discarded: list[SegmentJob] = []
        self._late: list[Attempt] = []
        self._begun: list[Attempt] = []
        self._first = True

    @property
    def late(self) -> Sequence[Attempt]:
        """Calls of segments that were discarded."""
        return self._late

    def take_begun(self) -> Sequence[Attempt]:
        """Returns the calls that were sent since it was called last."""
        begun, self._begun = self._begun, []
        return begun

    @property
    def tasks(self) -> Sequence[asyncio.Task[Spoken]]:
        """What is in progress or was discarded, for the one that ends it."""
        return [job.task for job in (*self._jobs, *self._discarded)]

    @property
    def is_idle(self) -> bool:
        """Whether no segment is in progress or could be."""
        return not (self._jobs or self._again or self._intake.has_next)

    @property
    def next_is_done(self) -> bool:
        """Whether the next segment in order is done."""
        return bool(self._jobs) and self._jobs[0].task.done()

    @property
    def next_is_called(self) -> bool:
        """Whether a provider is being called for the next segment in order."""
        return bool(self._jobs) and self._synthesizer.is_called(self._jobs[0].turn)

    def take_done(self) -> SegmentJob:
        """Returns the next segment in order, which is done."""
        return self._jobs.popleft()

    def fill(self, speaker: Speaker) -> None:
        """Starts segments until enough are in progress. Raises what reading the text raised."""
        while len(self._jobs) < 1 + self._ahead:
            segment = self._again.popleft() if self._again else self._intake.next()
            if segment is None:
                break
            self._jobs.append(self._start(segment, speaker))

    def start_again(self, failed: SegmentJob) -> None:
        """Has the segment and those after it made again, by the speaker that `fill` is given."""
        self._again.extendleft(reversed([failed.segment, *(job.segment for job in self._jobs)]))
        self._discard()
        self._turn, self._first = Turn(), True

    async def give_up(self) -> None:
        """Starts no more; returns when the calls that were sent have ended, so that `late` has them all: they bill."""
        self._discard()
        if self._discarded:
            await asyncio.wait([job.task for job in self._discarded])
        await self._synthesizer.landed([job.turn for job in self._discarded])

    def _discard(self) -> None:
        for job in self._jobs:
            self._late += _calls(job.task)
            job.task.cancel()
            self._discarded.append(job)
        self._jobs.clear()

    def _start(self, segment: TextSegment, speaker: Speaker) -> SegmentJob:
        turn, self._turn = self._turn, self._turn.following()
        first, self._first = self._first and segment.spoken.audible, self._first and not segment.spoken.audible
        speaking = self._speak(segment, speaker, turn, first=first)
        task = asyncio.create_task(speaking, name=f"segment {segment.index}")
        task.add_done_callback(lambda _: self._intake.changed.set())
        return SegmentJob(segment, turn, task)

    async def _speak(self, segment: TextSegment, speaker: Speaker, turn: Turn, *, first: bool) -> Spoken:
        order = Order(
            provider=speaker.provider,
            request=speaker.request(segment),
            story_format=self._request.story_format,
            deadline=self._deadline,
            number=self._number,
            segment_index=segment.index,
            first=first,
            tries=self._request.budget.of(segment.index, speaker.name),
            begun=self._note_begun,
        )
        story_id, need = self._request.story_id, self._need(segment)
        if not segment.spoken.audible:
            turn.pass_on()
            return await self._synthesizer.pause(order, story_id, need=need)

        spoken = await self._synthesizer.speak(order, story_id, turn, self._late.append, need=need)
        # A segment that failed passes nothing on: those behind it are made again, or not at all.
        turn.pass_on()
        return spoken

    def _note_begun(self, call: Attempt) -> None:
        self._begun.append(call)
        self._intake.changed.set()

    def _need(self, segment: TextSegment) -> AudioNeed:
        if not self._request.stored:
            return AudioNeed.BYTES
        # Of these the bytes at their place are stored too.
        codec = self._request.story_format.codec
        placed = codec is Codec.OPUS or (codec is Codec.WAV and segment.index == 0)
        return AudioNeed.AT_HAND if placed else AudioNeed.NONE


def _calls(task: asyncio.Task[Spoken]) -> Sequence[Attempt]:
    """Returns the calls of a job that is done."""
    if not task.done() or task.cancelled():
        return ()
    failure = task.exception()
    if failure is not None:
        return failure.calls if isinstance(failure, SpeechError) else ()
    return task.result().calls
