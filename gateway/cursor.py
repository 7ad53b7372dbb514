"""Where one watcher stands in a story: what it has seen, and the events that bring it further.

One cursor serves a story that is being made here and a story as kept, one after the other, so that a watcher whose
story moves from one to the other sees neither a gap nor a byte twice.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from servicekit.errors import DomainError, FieldViolation, validation_failed
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

TEXT_CHARACTERS: Final = 16_384
CHUNK_BYTES: Final = 64 * 1024


class Cursor:
    """The position of one watcher. Text offsets are code points, audio offsets bytes."""

    def __init__(self, story_id: str, *, text_offset: int, audio_id: str, audio_offset: int) -> None:
        self.story_id = story_id
        self.text_offset = text_offset
        self.audio_id = audio_id
        self.audio_offset = audio_offset
        self._announced = ""
        self._title = ""
        self._segments = 0
        self._from_byte = audio_offset
        self._warnings: list[common_pb2.Problem] = []
        self._state: common_pb2.StoryState.ValueType | None = None

    def state(
        self, state: common_pb2.StoryState.ValueType, progress: common_pb2.StoryProgress, *, beat: bool
    ) -> Iterator[gateway_pb2.StoryEvent]:
        """The state, where it is new or a heartbeat is due."""
        if beat or state != self._state:
            self._state = state
            yield self._event(state=gateway_pb2.StateEvent(state=state, progress=progress))

    def title(self, title: str) -> Iterator[gateway_pb2.StoryEvent]:
        """The title, once."""
        if title and not self._title:
            self._title = title
            yield self._event(title=gateway_pb2.TitleEvent(title=title))

    def text(self, content: str, *, final: bool) -> Iterator[gateway_pb2.StoryEvent]:
        """What of `content` the watcher has not seen."""
        if final and self.text_offset > len(content):
            raise _beyond("text_offset")
        while self.text_offset < len(content):
            delta = content[self.text_offset : self.text_offset + TEXT_CHARACTERS]
            event = self._event()
            event.text.offset, event.text.delta = self.text_offset, delta
            yield event
            self.text_offset += len(delta)

    def narration(
        self, header: common_pb2.NarrationHeader, segments: Sequence[common_pb2.Segment]
    ) -> Iterator[gateway_pb2.StoryEvent]:
        """The header where the narration is a new one, and the segments that the watcher has not seen."""
        if header.audio_id != self._announced:
            if header.audio_id != self.audio_id:
                self.audio_id, self.audio_offset, self._from_byte = header.audio_id, 0, 0
            self._announced = header.audio_id
            self._segments = 0
            yield self._event(audio_header=header)
        while self._segments < len(segments):
            segment = segments[self._segments]
            self._segments += 1
            # Who comes back with an offset has seen the segments before it.
            if segment.audio.end > self._from_byte or not self._from_byte:
                event = self._event()
                event.segment.audio_id = header.audio_id
                event.segment.segment.CopyFrom(segment)
                yield event

    def audio(self, data: bytes) -> Iterator[gateway_pb2.StoryEvent]:
        """Bytes that follow those the watcher has."""
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = data[start : start + CHUNK_BYTES]
            event = self._event()
            fill_audio(event.audio, audio_id=self.audio_id, offset=self.audio_offset, chunk=chunk)
            yield event
            self.audio_offset += len(chunk)

    def check_audio(self, audio: common_pb2.StoryAudio) -> None:
        """INVALID_ARGUMENT where the watcher claims to have more than all."""
        if audio.audio_id == self.audio_id and self.audio_offset > audio.size_bytes:
            raise _beyond("audio_offset")

    def warnings(self, problems: Sequence[common_pb2.Problem]) -> Iterator[gateway_pb2.StoryEvent]:
        """Warnings that are new, also where another run has begun to count anew."""
        for problem in problems:
            if problem not in self._warnings:
                self._warnings.append(problem)
                yield self._event(warning=problem)

    def done(self, story: common_pb2.Story) -> gateway_pb2.StoryEvent:
        """The end."""
        event = self._event()
        event.done.story.CopyFrom(story)
        return event

    def _event(self, **event: object) -> gateway_pb2.StoryEvent:
        # What is large or comes often is filled in place: a message given to a constructor is coded and decoded.
        return gateway_pb2.StoryEvent(story_id=self.story_id, **event)  # type: ignore[arg-type]


def fill_audio(event: gateway_pb2.AudioEvent, *, audio_id: str, offset: int, chunk: bytes) -> None:
    """Makes `event` say that `chunk` stands at `offset`."""
    event.audio_id, event.offset, event.chunk = audio_id, offset, chunk


def _beyond(field: str) -> DomainError:
    return validation_failed([FieldViolation(field, "lies beyond the end of what there is")])
