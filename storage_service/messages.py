"""Builds and splits messages that more than one store needs."""

from typing import Final

from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_NEW_APART: Final = ("voice", "problems", "narrate", "embedded_parts")
_GENERATED: Final = ("model_used", "summary", "usage", "full_response", "generation_info")
_APART: Final = (
    *_NEW_APART,
    *_GENERATED,
    "id",
    "state",
    "revision",
    "title",
    "content",
    "content_complete",
    "rating",
    "attempts",
    "audio",
    "create_time",
    "update_time",
    "end_time",
)


def body_of_new(story: common_pb2.Story) -> common_pb2.Story:
    """A new story without the fields that have columns or tables of their own."""
    return _without(story, _NEW_APART)


def body_of(story: common_pb2.Story) -> common_pb2.Story:
    """Any story without the fields that have columns or tables of their own."""
    return _without(story, _APART)


def _without(story: common_pb2.Story, fields: tuple[str, ...]) -> common_pb2.Story:
    body = common_pb2.Story()
    body.CopyFrom(story)
    for field in fields:
        body.ClearField(field)  # type: ignore[arg-type]  # a name of its descriptor
    return body


def generation_of(story: common_pb2.Story) -> storage_pb2.GenerationRecord | None:
    """What is stored of how a story was written; None where it says nothing of it."""
    generation = storage_pb2.GenerationRecord(
        model_used=story.model_used,
        summary=story.summary,
        usage=story.usage if story.HasField("usage") else None,
        full_response=story.full_response,
        generation_info=story.generation_info if story.HasField("generation_info") else None,
    )
    return generation if generation.ListFields() else None


def add_generation(story: common_pb2.Story, stored: bytes, *, full: bool) -> None:
    """Puts a serialized GenerationRecord into a story, without `full` less what is marked "FULL view only"."""
    generation = storage_pb2.GenerationRecord.FromString(stored)
    story.model_used, story.summary = generation.model_used, generation.summary
    if generation.HasField("usage"):
        story.usage.CopyFrom(generation.usage)
    if full:
        story.full_response.extend(generation.full_response)
        if generation.HasField("generation_info"):
            story.generation_info.CopyFrom(generation.generation_info)


def without_segments(audio: common_pb2.StoryAudio) -> common_pb2.StoryAudio:
    """Audio as it is stored: its segments are a manifest of their own."""
    bare = common_pb2.StoryAudio()
    bare.CopyFrom(audio)
    bare.ClearField("segments")
    return bare


def narrated_audio(
    header: common_pb2.NarrationHeader, last: common_pb2.Segment, *, size: int, sha256: bytes = b""
) -> common_pb2.StoryAudio:
    """The audio of a narration, without segments; `last` is the last segment so far, whose end is the duration."""
    audio = common_pb2.StoryAudio(
        audio_id=header.audio_id,
        content_type=header.content_type,
        size_bytes=size,
        sha256=sha256,
        provider=header.provider,
        voice_id=header.voice_id,
        model_id=header.model_id,
        audio_format=header.audio_format,
    )
    # Not the sum of all durations: each is cut to whole microseconds.
    audio.duration.FromMicroseconds(last.start.ToMicroseconds() + last.duration.ToMicroseconds())
    return audio
