"""Builds and splits messages that more than one store needs."""

from tale.common.v1 import common_pb2


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
