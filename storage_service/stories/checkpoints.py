"""Judges what a run wants stored against what is stored: what is new in it, or why it is refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from servicekit.validation import max_length
from storage_service.records import Digest
from storage_service.stories.states import (
    CANCELLED,
    NARRATING,
    READY,
    READY_WITHOUT_AUDIO,
    TEXT_WHOLE,
    WRITING,
    State,
    is_final,
)
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

MAX_CONTENT: Final = max_length(common_pb2.Story, "content")
"""Code points of the longest story."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is stored of a story, as far as a checkpoint is judged by it. Lengths are code points.

    `text_end` and `audio_end` are where the manifest ends, in code points and bytes.
    """

    state: State
    lease_token: int
    leased: bool
    narrate: bool
    title: str
    content_length: int
    content_complete: bool
    narration_audio_id: str
    segment_count: int
    text_end: int
    audio_end: int
    stored_audio_id: str


class StoredPieces(Protocol):
    """Looks up what a repeated checkpoint overlaps with."""

    def text(self, start: int, end: int) -> str:
        """Returns code points [start, end) of the content."""

    def manifest_segment(self, index: int) -> tuple[str, bytes] | None:
        """Returns key and SHA-256 of a segment of the run's manifest."""

    def stored_segment(self, key: str) -> Digest | None:
        """Returns size and SHA-256 of a segment in the segment store."""


@dataclass(frozen=True, slots=True)
class Advance:
    """What of a checkpoint is new."""

    state: State
    title: str
    text: str
    content_complete: bool
    narration: common_pb2.NarrationHeader | None
    segments: Sequence[common_pb2.Segment]
    progress: bool
    """True when the story itself has come further, not only its ledger."""


class CheckpointRefused(Exception):  # noqa: N818 - a verdict, not a defect
    """Nothing of this checkpoint is stored. `reason` is as in ErrorInfo; the message holds nothing of the story."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message


def judge(facts: RunFacts, checkpoint: storage_pb2.StoryCheckpoint, pieces: StoredPieces) -> Advance:
    """Returns what of `checkpoint` is new; raises CheckpointRefused.

    What is stored already and agrees is passed over, so a checkpoint can be repeated, the one that ended the story too.
    One that names the final state in which the story is may bring attempts, problems and the generation record, such as
    those of a run that learned late that its story was cancelled.
    """
    _check_lease(facts, checkpoint)
    text = _new_text(facts, checkpoint, pieces)
    title = _new_title(facts, checkpoint)
    narration = _new_manifest(facts, checkpoint)
    segments = _new_segments(facts, checkpoint, pieces, begins=narration is not None)
    complete = facts.content_complete or checkpoint.content_complete
    state = checkpoint.state or facts.state
    moved = state != facts.state
    if moved:
        _check_state(facts, state, complete=complete)
    progress = bool(text or title or narration or segments or moved or complete != facts.content_complete)
    if progress and is_final(facts.state):
        raise _wrong_state("The story has ended; nothing is added to it.")
    return Advance(
        state=state,
        title=title,
        text=text,
        content_complete=complete,
        narration=narration,
        segments=segments,
        progress=progress,
    )


def check_token(facts: RunFacts, lease_token: int) -> None:
    """Raises CheckpointRefused (LEASE_LOST, WRONG_STATE) unless a run holds the story with this token.

    A lease whose time is over still holds while no other run has claimed the story.
    """
    if lease_token != facts.lease_token:
        raise _lease_lost()
    if is_final(facts.state):
        raise _wrong_state("The story has ended.")
    if not facts.leased:
        raise _lease_lost()


def _check_lease(facts: RunFacts, checkpoint: storage_pb2.StoryCheckpoint) -> None:
    if is_final(facts.state) and checkpoint.state == facts.state:
        if checkpoint.lease_token != facts.lease_token:
            raise _lease_lost()
        return
    check_token(facts, checkpoint.lease_token)


def _check_state(facts: RunFacts, state: State, *, complete: bool) -> None:
    if state == CANCELLED:
        raise _wrong_state("A run does not cancel its story.")
    if state == WRITING and facts.state == NARRATING:
        raise _wrong_state("A story whose text is whole is not written any more.")
    if state in TEXT_WHOLE and not complete:
        raise _wrong_state("The text is not whole yet.")
    if state == READY and facts.narrate and not facts.stored_audio_id:
        raise _wrong_state("The audio is not stored yet.")
    if state == READY_WITHOUT_AUDIO and facts.stored_audio_id:
        # The answer of FinishAudio was lost: the next run finds the audio.
        raise _wrong_state("The audio is stored.")


def _new_title(facts: RunFacts, checkpoint: storage_pb2.StoryCheckpoint) -> str:
    title = checkpoint.title
    if not title or title == facts.title:
        return ""
    if facts.title:
        raise _conflict("The story has another title.")
    return title


def _new_text(facts: RunFacts, checkpoint: storage_pb2.StoryCheckpoint, pieces: StoredPieces) -> str:
    if not checkpoint.HasField("text"):
        return ""
    start, text = checkpoint.text.offset, checkpoint.text.text
    if start > facts.content_length:
        raise _conflict("The text begins beyond the end of what is stored.")
    end = start + len(text)
    overlap = min(end, facts.content_length) - start
    if overlap > 0 and pieces.text(start, start + overlap) != text[:overlap]:
        raise _conflict("The text differs from what is stored.")
    if end <= facts.content_length:
        return ""
    if facts.content_complete:
        raise _conflict("The text is whole already.")
    if end > MAX_CONTENT:
        raise CheckpointRefused("TEXT_TOO_LONG", f"The text would be longer than {MAX_CONTENT} characters.")
    return text[overlap:]


def _new_manifest(facts: RunFacts, checkpoint: storage_pb2.StoryCheckpoint) -> common_pb2.NarrationHeader | None:
    """Returns the header of a new manifest. The first header under an audio id is pinned."""
    audio_id = checkpoint.narration.audio_id
    if not audio_id or audio_id == facts.narration_audio_id:
        return None
    if audio_id == facts.stored_audio_id:
        raise _conflict("The audio id names the audio that is stored.")
    return checkpoint.narration


def _new_segments(
    facts: RunFacts, checkpoint: storage_pb2.StoryCheckpoint, pieces: StoredPieces, *, begins: bool
) -> Sequence[common_pb2.Segment]:
    if not checkpoint.segments:
        return ()
    if not begins and not facts.narration_audio_id:
        raise _conflict("There is no narration yet that the segments could belong to.")
    stored, text_end, audio_end = (0, 0, 0) if begins else (facts.segment_count, facts.text_end, facts.audio_end)
    new: list[common_pb2.Segment] = []
    for segment in checkpoint.segments:
        following = stored + len(new)
        if segment.index > following:
            raise _conflict("A segment is missing before the one that is given.")
        if segment.index < following:
            _check_same(segment, new[segment.index - stored] if segment.index >= stored else None, pieces)
            continue
        if (segment.text.start, segment.audio.start) != (text_end, audio_end):
            raise _conflict("A segment does not begin where the one before it ends.")
        text_end, audio_end = segment.text.end, segment.audio.end
        _check_stored(segment, pieces)
        new.append(segment)
    return new


def _check_same(segment: common_pb2.Segment, earlier: common_pb2.Segment | None, pieces: StoredPieces) -> None:
    known = (earlier.key, earlier.sha256) if earlier is not None else pieces.manifest_segment(segment.index)
    if known != (segment.key, segment.sha256):
        raise _conflict("A segment differs from the one that is stored.")


def _check_stored(segment: common_pb2.Segment, pieces: StoredPieces) -> None:
    stored = pieces.stored_segment(segment.key)
    if stored != Digest(segment.audio.end - segment.audio.start, segment.sha256):
        raise _conflict("A segment is not in the segment store with its key, size and SHA-256.")


def _lease_lost() -> CheckpointRefused:
    return CheckpointRefused("LEASE_LOST", "The lease token is not the one that holds the story.")


def _wrong_state(message: str) -> CheckpointRefused:
    return CheckpointRefused("WRONG_STATE", message)


def _conflict(message: str) -> CheckpointRefused:
    return CheckpointRefused("CHECKPOINT_CONFLICT", message)
