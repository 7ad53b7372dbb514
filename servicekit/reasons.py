"""Every reason that an error or a story's problem can have: its gRPC code, whether to repeat the call, the remedy.

The one table of them. `docs/errors.md` is rendered from it, and `Problem` and `ErrorInfo` carry it on the wire.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Reason:
    """What follows from a reason."""

    code: str
    """Name of the gRPC code; OK for a reason that only stands in the `problems` of a story or in its ledger."""
    remedy: str
    """What the user does about it: one sentence in the imperative."""
    retryable: bool = False
    """True where the same call may succeed later without any change."""
    breaks_circuit: bool = False
    """True where a failure of a provider for this reason counts for its circuit breaker."""


_NEW_ID: Final = "Use a new request_id; what this one made was deleted."
LATER: Final = "Try again after the time given."
_OTHER: Final = "Choose another provider, voice or model."

REASONS: Final[Mapping[str, Reason]] = {
    "VALIDATION_FAILED": Reason("INVALID_ARGUMENT", "Fix every field that the violations name."),
    "EMPTY_TEXT": Reason("INVALID_ARGUMENT", "Send some text."),
    "AUDIO_MISMATCH": Reason("INVALID_ARGUMENT", "Send the bytes that the header announces; nothing was stored."),
    "STORY_NOT_FOUND": Reason("NOT_FOUND", "Choose a story that ListStories lists."),
    "CHILD_NOT_FOUND": Reason("NOT_FOUND", "Choose a child that ListChildren lists."),
    "HERO_NOT_FOUND": Reason("NOT_FOUND", "Choose a hero that ListHeroes lists."),
    "STORY_DELETED": Reason("NOT_FOUND", _NEW_ID),
    "CHILD_DELETED": Reason("NOT_FOUND", _NEW_ID),
    "HERO_DELETED": Reason("NOT_FOUND", _NEW_ID),
    "AUDIO_NOT_FOUND": Reason("NOT_FOUND", "Call NarrateStory to make the audio of the story."),
    "SEGMENT_NOT_FOUND": Reason("NOT_FOUND", "Make the segment again; the voice service does so by itself."),
    "MODEL_NOT_FOUND": Reason("NOT_FOUND", "Choose a model that ListModels lists."),
    "PROVIDER_NOT_FOUND": Reason("NOT_FOUND", "Choose a provider that ListProviders lists."),
    "VOICE_NOT_FOUND": Reason("NOT_FOUND", "Choose a voice that ListVoices lists."),
    "CIRCUIT_NOT_FOUND": Reason("NOT_FOUND", "Choose a circuit that GetSystemStatus lists."),
    "NOT_FOUND": Reason("NOT_FOUND", "Check the audio store (folder or bucket): a file is missing."),
    "REQUEST_ID_REUSED": Reason("ALREADY_EXISTS", "Use a new request_id; this one belongs to another request."),
    "REVISION_MISMATCH": Reason("ABORTED", "Read the resource again and repeat the change with its new revision."),
    "LEASE_LOST": Reason("ABORTED", "Stop the run; another run holds the story."),
    "STORAGE_CONFLICT": Reason("ABORTED", "Try again; the same data was changed at the same time.", retryable=True),
    "UPLOAD_STALLED": Reason("ABORTED", "Try again and send the audio without pauses.", retryable=True),
    "WRONG_STATE": Reason("FAILED_PRECONDITION", "Read the story with GetStory and do what its state allows."),
    "LANGUAGE_UNSUPPORTED": Reason(
        "FAILED_PRECONDITION",
        "Choose a language that the message or ListVoices names, or configure another model or voice.",
    ),
    "INVALID_CONFIGURATION": Reason("FAILED_PRECONDITION", "Set what the message names."),
    "TEXT_TOO_LONG": Reason("FAILED_PRECONDITION", "Choose a shorter story."),
    "AUDIO_TOO_LARGE": Reason("FAILED_PRECONDITION", "Choose a shorter story, or raise AUDIO_MAX_BYTES."),
    "RECORDING_TOO_LARGE": Reason("FAILED_PRECONDITION", "Send a shorter recording."),
    "NO_SPEECH": Reason("FAILED_PRECONDITION", "Record the wish again, closer to the microphone, or write it."),
    "WRONG_LANGUAGE": Reason("FAILED_PRECONDITION", "Choose a model that writes the language, or another language."),
    "COST_LIMIT": Reason("FAILED_PRECONDITION", "Raise max_cost_usd, or choose fewer minutes or a cheaper model."),
    "CONTENT_REFUSED": Reason("FAILED_PRECONDITION", "Change the wish and create a new story."),
    "UPSTREAM_AUTH": Reason("FAILED_PRECONDITION", "Set a key that the provider accepts."),
    "UPSTREAM_REFUSED": Reason("FAILED_PRECONDITION", _OTHER),
    "UPSTREAM_UNSUPPORTED": Reason("FAILED_PRECONDITION", _OTHER),
    "AUDIO_URL_UNSUPPORTED": Reason("FAILED_PRECONDITION", "Read the audio with ReadStoryAudio."),
    "CHECKPOINT_CONFLICT": Reason("FAILED_PRECONDITION", "Read the story again and continue from what is stored."),
    "SEGMENT_LOST": Reason("FAILED_PRECONDITION", "Call NarrateStory to start a new narration."),
    "TOKEN_MISSING": Reason("UNAUTHENTICATED", "Send a token in the metadata `authorization`."),
    "TOKEN_INVALID": Reason("UNAUTHENTICATED", "Send a token that the gateway accepts."),
    "RATE_LIMITED": Reason("RESOURCE_EXHAUSTED", LATER, retryable=True),
    "QUOTA_EXCEEDED": Reason("RESOURCE_EXHAUSTED", "Raise the quota at the provider, or choose another provider."),
    "OVERLOADED": Reason("RESOURCE_EXHAUSTED", LATER, retryable=True),
    "STORAGE_FULL": Reason("RESOURCE_EXHAUSTED", "Free or buy room in the store.", retryable=True),
    "RESOURCE_EXHAUSTED": Reason("RESOURCE_EXHAUSTED", "Send a smaller message."),
    "RECONNECT": Reason("UNAVAILABLE", "Connect again and continue; this server is shutting down.", retryable=True),
    "STARTING": Reason("UNAVAILABLE", LATER, retryable=True),
    "UPSTREAM_UNAVAILABLE": Reason("UNAVAILABLE", LATER, retryable=True, breaks_circuit=True),
    "NETWORK_ERROR": Reason("UNAVAILABLE", LATER, retryable=True, breaks_circuit=True),
    "CIRCUIT_OPEN": Reason(
        "UNAVAILABLE", "Try again after the time given, or check the provider that the message names.", retryable=True
    ),
    "NO_PROVIDERS_AVAILABLE": Reason("UNAVAILABLE", "Try again later, or configure another voice.", retryable=True),
    "AUDIO_GENERATION_FAILED": Reason("UNAVAILABLE", "Try again later, or choose another voice.", retryable=True),
    "FALLBACK_FAILURE": Reason("UNAVAILABLE", "Try again later, or choose another provider.", retryable=True),
    "STORAGE_UNAVAILABLE": Reason("UNAVAILABLE", LATER, retryable=True),
    "STORAGE_BUSY": Reason("UNAVAILABLE", LATER, retryable=True),
    "STREAM_BROKEN": Reason("UNAVAILABLE", LATER, retryable=True),
    "TIMEOUT": Reason("DEADLINE_EXCEEDED", "Try again, or send less in one call.", retryable=True),
    "DEADLINE_EXCEEDED": Reason("DEADLINE_EXCEEDED", "Try again with a longer deadline.", retryable=True),
    "RUN_ABANDONED": Reason(
        "DEADLINE_EXCEEDED", "Call RetryStory for the text or NarrateStory for the audio to continue.", retryable=True
    ),
    "AUDIO_CORRUPT": Reason("DATA_LOSS", "Call NarrateStory to make the audio again."),
    "STORAGE_DAMAGED": Reason(
        "DATA_LOSS", "Stop the storage service and restore its folder from a backup or an export (docs/storage.md)."
    ),
    "CANCELLED": Reason("CANCELLED", "Do nothing: the caller has ended the call."),
    "UNIMPLEMENTED": Reason("UNIMPLEMENTED", "Use a method that docs/api.md lists for this version."),
    "INTERNAL": Reason("INTERNAL", "Look up the correlation id in the log of the services, and report the defect."),
    "EMBEDDED_WRITER": Reason(
        "OK", "Set OPENROUTER_API_KEY, or CHAT_BASE_URL for a server of your own, to have a language model write."
    ),
    "EMBEDDED_VOICE": Reason("OK", "Set ELEVENLABS_API_KEY or SPEECH_BASE_URL to have another voice."),
    "MODEL_FALLBACK": Reason("OK", "Do nothing, or choose another model first if this happens often."),
    "ENDING_MISSING": Reason("OK", "Do nothing, or create the story again, with another model if this happens often."),
    "PROVIDER_FAILED": Reason("OK", "Check the provider that the message names."),
    "WAITING_FOR_PROVIDER": Reason("OK", "Do nothing: the story continues when the provider responds; or cancel it."),
    "WAITING_FOR_PLACE": Reason("OK", "Do nothing: the narration continues when it is its turn."),
    "RESPONSE_TRUNCATED": Reason("OK", "Do nothing: text, audio and ledger are complete."),
    "RUN_LOST": Reason("OK", "Do nothing: the run continues on another gateway."),
}

WAITS: Final = frozenset({"WAITING_FOR_PROVIDER", "WAITING_FOR_PLACE"})
"""Reasons of a problem that is over as soon as the story continues."""


class _Problem(Protocol):
    reason: str
    remedy: str
    retryable: bool


ProblemT = TypeVar("ProblemT", bound=_Problem)


def explained(problem: ProblemT) -> ProblemT:
    """Returns the message `problem` with the remedy of its reason and whether the call is retryable."""
    known = reason_of(problem.reason)
    problem.remedy, problem.retryable = known.remedy, known.retryable
    return problem


def reason_of(name: str) -> Reason:
    """Returns what follows from a reason; LookupError for one that is not in the table, which is a defect."""
    try:
        return REASONS[name]
    except KeyError:
        raise LookupError(f"no reason {name!r} in servicekit.reasons") from None
