"""Tracks the position in a story and passes each event on once, in order and without gaps.

It uses no clock and no network. Text offsets are code points, audio offsets are bytes.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.errors import TaleError, own_error

_MAX_WARNINGS: Final = 200

Accepted: TypeAlias = tuple[list[gateway_pb2.StoryEvent], bool]
"""Events to pass on, and whether they are progress."""

_Handler: TypeAlias = Callable[[gateway_pb2.StoryEvent], Accepted]


class StreamBrokenError(Exception):
    """The stream does not continue at the caller's position. A new connection from that position repairs it."""


class Follower:
    """The position in a story. Nothing is passed on twice and nothing is left out.

    `text_offset`, `audio_id` and `audio_offset`: what the caller already has.
    """

    def __init__(
        self,
        *,
        include_audio: bool,
        story_id: str = "",
        text_offset: int = 0,
        audio_id: str = "",
        audio_offset: int = 0,
    ) -> None:
        self.story_id = story_id
        self.text_offset = text_offset
        self.audio_id = audio_id
        self.audio_offset = audio_offset
        self.done = False
        self.include_audio = include_audio
        self._text_from = text_offset
        self._text = ""
        self._title_shown = False
        self._header_shown = False
        self._last_segment = -1
        self._state = b""
        self._warnings: set[tuple[str, ...]] = set()
        self._handlers: dict[str, _Handler] = {
            "state": self._state_event,
            "title": self._title_event,
            "text": self._text_event,
            "audio_header": self._header_event,
            "audio": self._audio_event,
            "segment": self._segment_event,
            "warning": self._warning_event,
            "done": self._done_event,
        }

    def accept(self, event: gateway_pb2.StoryEvent) -> Accepted:
        """Returns what is new in `event`.

        Raises StreamBrokenError if something is missing before it, and TaleError TEXT_CHANGED if the text differs from
        what was passed on.
        """
        if event.story_id:
            self.story_id = event.story_id
        handler = self._handlers.get(event.WhichOneof("event") or "")
        # An event kind that this client does not know is left out.
        return handler(event) if handler is not None else ([], False)

    def _state_event(self, event: gateway_pb2.StoryEvent) -> Accepted:
        state = event.state.SerializeToString(deterministic=True)
        changed, self._state = state != self._state, state
        return [event], changed

    def _title_event(self, event: gateway_pb2.StoryEvent) -> Accepted:
        seen, self._title_shown = self._title_shown, True
        return ([], False) if seen else ([event], True)

    def _text_event(self, event: gateway_pb2.StoryEvent) -> Accepted:
        offset, delta = event.text.offset, event.text.delta
        if offset > self.text_offset:
            raise StreamBrokenError(f"text at offset {offset} instead of {self.text_offset}")
        # Text before the caller's first offset is not known here and cannot be compared.
        start, end = max(offset, self._text_from), min(offset + len(delta), self.text_offset)
        if (
            start < end
            and delta[start - offset : end - offset] != self._text[start - self._text_from : end - self._text_from]
        ):
            raise _text_changed()
        new = delta[self.text_offset - offset :]
        if not new:
            return [], False
        return [self._take_text(new)], True

    def _take_text(self, new: str) -> gateway_pb2.StoryEvent:
        shown = gateway_pb2.StoryEvent(
            story_id=self.story_id, text=gateway_pb2.TextEvent(offset=self.text_offset, delta=new)
        )
        self._text += new
        self.text_offset += len(new)
        return shown

    def _header_event(self, event: gateway_pb2.StoryEvent) -> Accepted:
        if event.audio_header.audio_id == self.audio_id:
            seen, self._header_shown = self._header_shown, True
            return ([], False) if seen else ([event], True)
        self._start_audio(event.audio_header.audio_id, header_shown=True)
        return [event], True

    def _start_audio(self, audio_id: str, *, header_shown: bool) -> None:
        self.audio_id, self.audio_offset = audio_id, 0
        self._header_shown, self._last_segment = header_shown, -1

    def _audio_event(self, event: gateway_pb2.StoryEvent) -> Accepted:
        audio = event.audio
        if audio.audio_id != self.audio_id:
            raise StreamBrokenError("audio without a header")
        if audio.offset > self.audio_offset:
            raise StreamBrokenError(f"audio at byte {audio.offset} instead of {self.audio_offset}")
        new = audio.chunk[self.audio_offset - audio.offset :]
        if not new:
            return [], False
        shown = gateway_pb2.StoryEvent(
            story_id=self.story_id,
            audio=gateway_pb2.AudioEvent(audio_id=self.audio_id, offset=self.audio_offset, chunk=new),
        )
        self.audio_offset += len(new)
        return [shown], True

    def _segment_event(self, event: gateway_pb2.StoryEvent) -> Accepted:
        if event.segment.audio_id != self.audio_id:
            if self.include_audio:
                raise StreamBrokenError("a segment of audio without a header")
            self._start_audio(event.segment.audio_id, header_shown=False)
        if event.segment.segment.index <= self._last_segment:
            return [], False
        self._last_segment = event.segment.segment.index
        return [event], True

    def _warning_event(self, event: gateway_pb2.StoryEvent) -> Accepted:
        # A run that another gateway continues warns again, at another time.
        # A wait after progress is another one.
        progress = [event.warning.metadata.get(name, "") for name in ("text_length", "segment_count")]
        warning = (event.warning.reason, event.warning.message, *progress)
        if warning in self._warnings:
            return [], False
        if len(self._warnings) < _MAX_WARNINGS:
            self._warnings.add(warning)
        return [event], True

    def _done_event(self, event: gateway_pb2.StoryEvent) -> Accepted:
        story = event.done.story
        held = story.content[self._text_from : self.text_offset]
        if held != self._text or len(story.content) < self.text_offset:
            raise _text_changed()
        if self._audio_due(story):
            raise StreamBrokenError("the story is done, but its audio is incomplete")
        shown: list[gateway_pb2.StoryEvent] = []
        if story.title and not self._title_shown:
            self._title_shown = True
            shown.append(
                gateway_pb2.StoryEvent(story_id=self.story_id, title=gateway_pb2.TitleEvent(title=story.title))
            )
        if rest := story.content[self.text_offset :]:
            shown.append(self._take_text(rest))
        self.done = True
        return [*shown, event], True

    def _audio_due(self, story: common_pb2.Story) -> bool:
        if not self.include_audio or not story.HasField("audio"):
            return False
        return story.audio.audio_id != self.audio_id or story.audio.size_bytes != self.audio_offset


def _text_changed() -> TaleError:
    return own_error("TEXT_CHANGED", "The text of the story differs from the text that was shown.")
