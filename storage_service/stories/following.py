"""What is new in stories for a caller who knows how far it has come with each."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage_service.stories import states
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2


@dataclass(frozen=True, slots=True)
class StoryNow:
    """How far a story is. Lengths are code points."""

    state: states.State
    lease_token: int
    leased: bool
    title: str
    content_length: int
    content_complete: bool
    audio_id: str
    segment_count: int
    problem_count: int


def is_news(position: storage_pb2.StoryPosition, now: StoryNow) -> bool:
    """True where there is more than `position` says."""
    if position.lease_token:
        return states.is_final(now.state) or position.lease_token != now.lease_token
    return (
        now.state != position.state
        or now.content_length > position.text_length
        or now.problem_count > position.problem_count
        or (now.audio_id != "" and now.segment_count > known_segments(position, now))
        or (now.audio_id not in {"", position.audio_id})
        # A position does not say whether these are known.
        or (now.title != "" and now.content_length == 0)
        or (now.content_complete and now.state in {states.PENDING, states.WRITING})
    )


def known_segments(position: storage_pb2.StoryPosition, now: StoryNow) -> int:
    """Segments that are known of the narration in the making."""
    return position.segment_count if position.audio_id == now.audio_id else 0


class Answer:
    """Changes as far as they fit into `max_bytes`. The first one always fits, with at least one segment."""

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes
        self.changes: list[storage_pb2.StoryChange] = []
        self.truncated = False

    def add(self, change: storage_pb2.StoryChange, segments: Sequence[common_pb2.Segment] = ()) -> None:
        """Adds a change, with as many of its segments as fit; what does not fit makes the answer truncated."""
        size = change.ByteSize()
        if self.truncated or (self.changes and size > self._room):
            self.truncated = True
            return
        self._room -= size
        for segment in segments:
            size = segment.ByteSize()
            if size > self._room and (self.changes or change.segments):
                self.truncated = True
                break
            self._room -= size
            change.segments.append(segment)
        self.changes.append(change)
