"""Holds the position of one watcher in a story, and makes the responses that follow it.

The same cursor serves a story in progress and then the stored story, so that the watcher gets neither a gap nor a byte
twice. Responses are filled in place, not copied.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeAlias, TypeVar

from gateway.runs.live_story import LiveStory
from servicekit.errors import DomainError, FieldViolation, validation_failed
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

TEXT_CHARACTERS: Final = 16_384
CHUNK_BYTES: Final = 64 * 1024

Position: TypeAlias = gateway_pb2.TellStoryRequest | gateway_pb2.WatchStoryRequest
"""A request that names a position."""
R = TypeVar("R", gateway_pb2.TellStoryResponse, gateway_pb2.WatchStoryResponse)


class Cursor(Generic[R]):
    """The position of one watcher. Text offsets are code points, audio offsets bytes."""

    def __init__(self, response: Callable[[], R], story_id: str, position: Position) -> None:
        self.story_id = story_id
        self.text_offset = position.text_offset
        self.audio_id = position.audio_id
        self.audio_offset = position.audio_offset
        self._response: Callable[[], R] = response
        self._announced = ""
        self._title = ""
        self._segments = 0
        self._from_byte = position.audio_offset
        self._warnings: list[common_pb2.Problem] = []
        self._state: common_pb2.StoryState.ValueType | None = None
        self._waiting: common_pb2.Waiting | None = None

    def released(self, live: LiveStory, *, beat: bool) -> Iterator[R]:
        """Yields what is new in `live`, without audio; the state also when a heartbeat is due."""
        if beat or (live.state, live.waits.shown) != (self._state, self._waiting):
            yield self._stands(live)
        yield from self._warned(live)
        if live.title and not self._title:
            self._title = live.title
            response, event = self._next()
            event.title.title = live.title
            yield response
        yield from self._text(live.text, final=live.text_complete or live.done is not None)
        if live.header is not None:
            yield from self._narration(live.header, live.segments)

    def audio(self, data: bytes) -> Iterator[R]:
        """Yields the bytes that follow the position."""
        for chunk in chunks_of(data):
            response, event = self._next()
            fill_audio(event.audio, self.audio_id, self.audio_offset, chunk)
            yield response
            self.audio_offset += len(chunk)

    def check_audio(self, size: int) -> None:
        """Raises INVALID_ARGUMENT if the watcher's offset is beyond the end of the audio."""
        if self.audio_offset > size:
            raise _beyond("audio_offset")

    def done(self, story: common_pb2.Story) -> R:
        """Returns the last response."""
        response, event = self._next()
        event.done.story.CopyFrom(story)
        return response

    def _stands(self, live: LiveStory) -> R:
        self._state, self._waiting = live.state, live.waits.shown
        response, event = self._next()
        event.state.state = live.state
        live.fill_progress(event.state.progress)
        return response

    def _warned(self, live: LiveStory) -> Iterator[R]:
        """Yields warnings that are new and still stand; another run may report earlier ones again."""
        for problem in live.warnings:
            if problem not in self._warnings and live.stands(problem):
                self._warnings.append(problem)
                response, event = self._next()
                event.warning.CopyFrom(problem)
                yield response

    def _text(self, content: str, *, final: bool) -> Iterator[R]:
        if final and self.text_offset > len(content):
            raise _beyond("text_offset")
        while self.text_offset < len(content):
            delta = content[self.text_offset : self.text_offset + TEXT_CHARACTERS]
            response, event = self._next()
            event.text.offset, event.text.delta = self.text_offset, delta
            yield response
            self.text_offset += len(delta)

    def _narration(self, header: common_pb2.NarrationHeader, segments: Sequence[common_pb2.Segment]) -> Iterator[R]:
        """Yields the header of a new narration, and the segments that the watcher has not seen."""
        if header.audio_id != self._announced:
            if header.audio_id != self.audio_id:
                self.audio_id, self.audio_offset, self._from_byte = header.audio_id, 0, 0
            self._announced = header.audio_id
            self._segments = 0
            response, event = self._next()
            event.audio_header.CopyFrom(header)
            yield response
        while self._segments < len(segments):
            segment = segments[self._segments]
            self._segments += 1
            # A watcher that resumes at an offset has seen the segments before it.
            if segment.audio.end > self._from_byte or not self._from_byte:
                response, event = self._next()
                event.segment.audio_id = header.audio_id
                event.segment.segment.CopyFrom(segment)
                yield response

    def _next(self) -> tuple[R, gateway_pb2.StoryEvent]:
        response = self._response()
        event = response.event
        event.story_id = self.story_id
        return response, event


def chunks_of(data: bytes) -> Iterator[bytes]:
    """Yields the bytes in chunks of the size that callers get."""
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


def fill_audio(event: gateway_pb2.AudioEvent, audio_id: str, offset: int, chunk: bytes) -> None:
    """Fills `event` in place; a message that is passed to another's constructor would be copied."""
    event.audio_id, event.offset, event.chunk = audio_id, offset, chunk


def _beyond(field: str) -> DomainError:
    return validation_failed([FieldViolation(field, "must not be beyond the end")])
