"""Builds, splits and bounds messages."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.reasons import WAITS, explained
from storage_service.records import Profile
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

MAX_BYTES: Final = 3 << 20
"""Of a record in an answer. gRPC carries 4 MiB; the gateway, which needs the whole record, cuts further for callers."""

_CHUNK: Final = 256 << 10
"""Bytes of audio in a message: between services chunks are larger than at the gateway's door."""

_UNFINISHED: Final = frozenset({
    common_pb2.STORY_STATE_PENDING, common_pb2.STORY_STATE_WRITING, common_pb2.STORY_STATE_NARRATING,
})  # fmt: skip

_VOICE: Final = "voice"
"""Name of the embedded voice among the embedded parts of a story."""

_IN_HEADER: Final = ("audio_id", "content_type", "provider", "voice_id", "model_id", "audio_format")
_GENERATED: Final = ("model_used", "usage", "full_response", "generation_info")
_APART: Final = (
    *_GENERATED,
    "id",
    "state",
    "revision",
    "title",
    "content",
    "content_complete",
    "narrate",
    "rating",
    "voice",
    "outline",
    "problems",
    "attempts",
    "embedded_parts",
    "audio",
    "create_time",
    "update_time",
    "end_time",
)


_SET_BY_STORES: Final = ("id", "create_time", "update_time", "revision")


def profile_body(profile: Message) -> bytes:
    """Returns a Child or Hero, serialized without the fields that have columns of their own."""
    body = type(profile)()
    body.CopyFrom(profile)
    for field in _SET_BY_STORES:
        body.ClearField(field)
    return body.SerializeToString()


def changed_profile(stored: Profile, change: Profile, fields: Collection[str]) -> Profile:
    """Returns the stored profile with `fields` as they are in `change`: those that are unset there are cleared."""
    changed = type(stored)()
    changed.CopyFrom(stored)
    FieldMask(paths=fields).MergeMessage(change, changed, True, True)
    return changed


EXCERPT_LENGTH: Final = 200
"""Most code points of the beginning of a text in a list. The stores select one more."""


def excerpt_of(beginning: str) -> str:
    """Returns the text's beginning on one line, cut at a word where `beginning` is longer than `EXCERPT_LENGTH`."""
    line = " ".join(beginning.split())
    if len(beginning) <= EXCERPT_LENGTH:
        return line
    head = line[: EXCERPT_LENGTH - 1]
    return (head.rpartition(" ")[0] or head).rstrip(" ,;:-\u2013\u2014") + "\u2026"


def body_of(story: common_pb2.Story) -> common_pb2.Story:
    """Returns a story without the fields that have columns or tables of their own."""
    body = common_pb2.Story()
    body.CopyFrom(story)
    for field in _APART:
        body.ClearField(field)
    return body


def listed(outline: common_pb2.StoryOutline) -> common_pb2.StoryOutline:
    """Returns an outline as it is in a list: without the purposes of its scenes, which are nearly all of it."""
    for scene in outline.scenes:
        scene.ClearField("purpose")
    return outline


def generation_of(story: common_pb2.Story) -> storage_pb2.GenerationRecord | None:
    """Returns what is stored of how a story was written; None where there is nothing."""
    generation = storage_pb2.GenerationRecord(
        model_used=story.model_used,
        usage=story.usage if story.HasField("usage") else None,
        full_response=story.full_response,
        generation_info=story.generation_info if story.HasField("generation_info") else None,
    )
    return generation if generation.ListFields() else None


def add_generation(story: common_pb2.Story, stored: bytes, *, full: bool) -> None:
    """Puts a serialized GenerationRecord into a story, without `full` less what is marked "FULL view only"."""
    generation = storage_pb2.GenerationRecord.FromString(stored)
    story.model_used = generation.model_used
    if generation.HasField("usage"):
        story.usage.CopyFrom(generation.usage)
    if full:
        story.full_response.extend(generation.full_response)
        if generation.HasField("generation_info"):
            story.generation_info.CopyFrom(generation.generation_info)


def without_segments(audio: common_pb2.StoryAudio) -> common_pb2.StoryAudio:
    """Returns audio as it is stored: its segments are a manifest of their own."""
    bare = common_pb2.StoryAudio()
    bare.CopyFrom(audio)
    bare.ClearField("segments")
    return bare


def narrated_audio(
    header: common_pb2.NarrationHeader, last: common_pb2.Segment, *, size: int, sha256: bytes = b""
) -> common_pb2.StoryAudio:
    """Returns the audio of a narration, without segments; it ends where `last`, the last segment so far, ends."""
    said = {name: getattr(header, name) for name in _IN_HEADER}
    audio = common_pb2.StoryAudio(**said, size_bytes=size, sha256=sha256)
    # Not the sum of all durations: each is cut to whole microseconds.
    audio.duration.FromMicroseconds(last.start.ToMicroseconds() + last.duration.ToMicroseconds())
    return audio


def chunks_of(block: bytes) -> Iterator[bytes]:
    """Returns the chunks in which bytes of audio are sent."""
    if len(block) <= _CHUNK:
        return iter((block,))
    return (block[start : start + _CHUNK] for start in range(0, len(block), _CHUNK))


def add_facts(record: storage_pb2.StoryRecord) -> storage_pb2.StoryRecord:
    """Makes a record say what follows from what is stored: what still stands of its problems, and the embedded voice.

    A problem that ended the text stands until the text is complete, one of a narration until a later narration is the
    audio of the story (ids are ordered by time). The segments that count are those of the audio, and before there is
    one, or while another is made, those so far.
    """
    story, run = record.story, record.run
    over = [problem for problem in story.problems if _is_over(problem, story, run)]
    for problem in over:
        story.problems.remove(problem)
    unfinished = not story.HasField("audio") or story.state == common_pb2.STORY_STATE_NARRATING
    spoken = story.audio.embedded or (unfinished and any(segment.embedded for segment in run.segments))
    parts = [part for part in story.embedded_parts if part != _VOICE]
    story.embedded_parts[:] = [*parts, _VOICE] if spoken else parts
    return record


def _is_over(problem: common_pb2.Problem, story: common_pb2.Story, run: storage_pb2.RunRecord) -> bool:
    if problem.reason in WAITS and _wait_is_over(problem, story, run):
        return True
    if audio_id := problem.metadata.get("audio_id"):
        return audio_id < story.audio.audio_id
    return story.content_complete and problem.metadata.get("ended") == "text"


def _wait_is_over(problem: common_pb2.Problem, story: common_pb2.Story, run: storage_pb2.RunRecord) -> bool:
    """Returns whether the run that waited is over, or its text or narration has come further."""
    if story.state not in _UNFINISHED or problem.metadata.get("run") != str(run.lease_token):
        return True
    if audio_id := problem.metadata.get("audio_id"):
        spoken = len(run.segments) if run.narration.audio_id == audio_id else 0
        return audio_id == story.audio.audio_id or spoken > int(problem.metadata.get("segment_count", "0"))
    return story.content_complete or len(story.content) > int(problem.metadata.get("text_length", "0"))


def within_bounds(record: storage_pb2.StoryRecord) -> storage_pb2.StoryRecord:
    """Returns the record; if it is too large, without its raw responses, and with a problem that reports this."""
    if record.ByteSize() <= MAX_BYTES:
        return record
    del record.story.full_response[:]
    now = Timestamp()
    now.GetCurrentTime()
    problem = record.story.problems.add(
        reason="RESPONSE_TRUNCATED",
        message="The raw responses of the models are too large for an answer and were left out of this one.",
        time=now,
    )
    explained(problem)
    return record


class ChangePage:
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
