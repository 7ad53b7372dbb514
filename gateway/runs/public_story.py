"""Stored stories, and what went wrong with them, as callers see them."""

from typing import Final

from gateway.runs.ledger import now
from servicekit.errors import DomainError
from servicekit.reasons import explained
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

MAX_BYTES: Final = 1_000_000
"""Of a story in an answer, so that the answer stays under 1 MiB."""


def basic(story: common_pb2.Story) -> common_pb2.Story:
    """A copy without the fields marked "FULL view only"."""
    shown = common_pb2.Story()
    shown.CopyFrom(story)
    del shown.full_response[:]
    shown.ClearField("generation_info")
    del shown.attempts[:]
    del shown.audio.segments[:]
    if not story.HasField("audio"):
        shown.ClearField("audio")
    return shown


def within_bounds(story: common_pb2.Story) -> common_pb2.Story:
    """The story, or where it is too large for an answer a copy without the raw responses, which says so."""
    if story.ByteSize() <= MAX_BYTES:
        return story
    shown = common_pb2.Story()
    shown.CopyFrom(story)
    del shown.full_response[:]
    problem = shown.problems.add(
        reason="RESPONSE_TRUNCATED",
        message="The raw responses of the models are too large for an answer and were left out of this one.",
        time=now(),
    )
    explained(problem)
    return shown


def header_of(record: storage_pb2.StoryRecord) -> common_pb2.NarrationHeader:
    """The header of a story's stored audio."""
    audio, header = record.story.audio, record.run.narration
    if header.audio_id == audio.audio_id:
        return header
    return common_pb2.NarrationHeader(
        audio_id=audio.audio_id,
        provider=audio.provider,
        voice_id=audio.voice_id,
        model_id=audio.model_id,
        audio_format=audio.audio_format,
        content_type=audio.content_type,
        language_code=record.story.language_code,
    )


def problem_of(error: DomainError, *, audio_id: str = "") -> common_pb2.Problem:
    """Returns the problem that ended the narration `audio_id`, or where that is empty the text.

    Its metadata say which, so that the record shows it only as long as it stands.
    """
    again = "Call NarrateStory to narrate it again." if audio_id else "Call RetryStory to continue the text."
    return common_pb2.Problem(
        reason=error.reason,
        message=error.message,
        remedy=again if error.retryable else error.remedy,
        retryable=error.retryable,
        time=now(),
        metadata={**error.metadata, **({"audio_id": audio_id} if audio_id else {"ended": "text"})},
    )
