"""Stored stories, and what went wrong with them, as callers see them."""

from typing import Final

from gateway.runs.ledger import now
from servicekit.errors import DomainError
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

MAX_BYTES: Final = 1_000_000
"""Of a story in an answer, so that the answer stays under 1 MiB."""

_REMEDIES: Final = {
    "LANGUAGE_UNSUPPORTED": "Ask for a language that is named here, or give the story service a model that writes it.",
    "INVALID_CONFIGURATION": "Set what is named here and ask again.",
    "QUOTA_EXCEEDED": "Raise the quota at the provider, or ask for another provider.",
    "UPSTREAM_REFUSED": "Ask for another provider, voice or model.",
    "UPSTREAM_UNSUPPORTED": "Ask for another provider, voice or model.",
    "UPSTREAM_AUTH": "Check the provider's key and ask again.",
    "MODEL_NOT_FOUND": "Ask for a model that ListModels names.",
    "PROVIDER_NOT_FOUND": "Ask for a provider that ListProviders names.",
    "COST_LIMIT": "Raise max_cost_usd or choose a cheaper model.",
    "CONTENT_REFUSED": "Change the wish and ask for a new story.",
    "TEXT_TOO_LONG": "Ask for a shorter story.",
}


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
    shown.problems.add(
        reason="RESPONSE_TRUNCATED",
        message="The raw responses of the models are too large for an answer and were left out of this one.",
        remedy="Nothing is lost: text, audio and ledger are whole.",
        time=now(),
    )
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


def problem_of(error: DomainError, *, narration: bool) -> common_pb2.Problem:
    """The problem that ended a story's text or narration."""
    again = "NarrateStory tells it again." if narration else "RetryStory goes on from what there is."
    remedy = _REMEDIES.get(error.reason, again)
    return common_pb2.Problem(
        reason=error.reason, message=error.message, remedy=remedy, time=now(), metadata=error.metadata
    )
