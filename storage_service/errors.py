"""The errors of the domain."""

from servicekit.errors import DomainError, FieldViolation, not_found, resource_not_found, unavailable
from storage_service.records import Digest


def story_not_found(story_id: str) -> DomainError:
    """NOT_FOUND / STORY_NOT_FOUND."""
    return resource_not_found("story", story_id)


def resource_deleted(noun: str, resource_id: str) -> DomainError:
    """NOT_FOUND / STORY_, CHILD_ or HERO_DELETED: what this request made was deleted."""
    return not_found(
        f"{noun.upper()}_DELETED", f"The {noun} that this request made was deleted.", **{f"{noun}_id": resource_id}
    )


def request_id_reused() -> DomainError:
    """ALREADY_EXISTS / REQUEST_ID_REUSED: the id stands for another request."""
    return DomainError("REQUEST_ID_REUSED", "This request id belongs to another request.")


def revision_mismatch(*, expected: int, actual: int) -> DomainError:
    """ABORTED / REVISION_MISMATCH with both revisions."""
    revisions = {"expected_revision": str(expected), "actual_revision": str(actual)}
    return DomainError("REVISION_MISMATCH", "It was changed in the meantime.", metadata=revisions)


def lease_lost(story_id: str) -> DomainError:
    """ABORTED / LEASE_LOST: the token given is not the one that holds the story."""
    return DomainError("LEASE_LOST", "The lease token is not the one that is held.", metadata={"story_id": story_id})


def audio_not_found(story_id: str) -> DomainError:
    """NOT_FOUND / AUDIO_NOT_FOUND: the story has no audio, or not the one that was meant."""
    return not_found("AUDIO_NOT_FOUND", "The story has no such audio.", story_id=story_id)


def audio_too_large(most: int) -> DomainError:
    """FAILED_PRECONDITION / AUDIO_TOO_LARGE: more than AUDIO_MAX_BYTES."""
    message = f"The audio is larger than {most} bytes, the most that is stored of a story."
    return DomainError("AUDIO_TOO_LARGE", message, metadata={"max_bytes": str(most)})


def check_digest(digest: Digest, expected: Digest | None) -> None:
    """Raises INVALID_ARGUMENT / AUDIO_MISMATCH, naming the field, where bytes are not as they were announced."""
    if expected is None or digest == expected:
        return
    field = "size_bytes" if digest.size != expected.size else "sha256"
    raise DomainError(
        "AUDIO_MISMATCH",
        f"The audio does not have the {field} that was announced.",
        metadata={"field": field, "received_bytes": str(digest.size)},
    )


def audio_corrupt() -> DomainError:
    """DATA_LOSS / AUDIO_CORRUPT: the stored bytes are missing, short or changed."""
    return DomainError("AUDIO_CORRUPT", "The stored audio is missing or damaged.")


def segment_not_found(key: str) -> DomainError:
    """NOT_FOUND / SEGMENT_NOT_FOUND: the segment store has no segment of this key."""
    return not_found("SEGMENT_NOT_FOUND", "There is no segment of this key.", key=key)


def segment_lost(key: str) -> DomainError:
    """FAILED_PRECONDITION / SEGMENT_LOST: a segment that was stored is missing or damaged."""
    return DomainError("SEGMENT_LOST", "The bytes of a segment are missing or damaged.", metadata={"key": key})


def storage_conflict() -> DomainError:
    """ABORTED / STORAGE_CONFLICT: the note of an object went before its record came; the next try has a new object."""
    return DomainError("STORAGE_CONFLICT", "The upload took too long.")


def audio_url_unsupported() -> DomainError:
    """FAILED_PRECONDITION / AUDIO_URL_UNSUPPORTED: this store has no addresses."""
    return DomainError("AUDIO_URL_UNSUPPORTED", "The embedded store has no addresses for audio.")


def storage_unavailable() -> DomainError:
    """UNAVAILABLE / STORAGE_UNAVAILABLE: the medium fails. The next try may succeed."""
    return unavailable("STORAGE_UNAVAILABLE", "The store cannot be used at the moment.", retry_after=2.0)


def storage_full() -> DomainError:
    """RESOURCE_EXHAUSTED / STORAGE_FULL: the disk is full. The next try may succeed."""
    return DomainError("STORAGE_FULL", "The store has no room left.", retry_after=5.0)


def storage_damaged() -> DomainError:
    """DATA_LOSS / STORAGE_DAMAGED: the database is damaged."""
    return DomainError("STORAGE_DAMAGED", "The store is damaged.")


def field_error(field: str, description: str) -> DomainError:
    """INVALID_ARGUMENT / VALIDATION_FAILED about one field that only the store can judge."""
    return DomainError(
        "VALIDATION_FAILED",
        f"{field} {description}",
        violations=[FieldViolation(field, description)],
    )


def upload_stalled() -> DomainError:
    """ABORTED / UPLOAD_STALLED: the next piece did not come in time."""
    return DomainError("UPLOAD_STALLED", "The next piece of audio did not come in time.")
