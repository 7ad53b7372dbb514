"""What the functions of the schema refuse, as the errors that the domain knows."""

from collections.abc import Mapping
from typing import Any, Final

from servicekit.errors import wrong_state
from storage_service.errors import (
    lease_lost,
    request_id_reused,
    resource_deleted,
    resource_not_found,
    revision_mismatch,
    storage_conflict,
)

_NOT_FOUND: Final = {"STORY_NOT_FOUND": "story", "CHILD_NOT_FOUND": "child", "HERO_NOT_FOUND": "hero"}


class UnknownRefusalError(Exception):
    """The schema refuses for a reason that this program does not know: it is newer."""


def check(answer: Mapping[str, Any], resource_id: str, *, noun: str = "story") -> None:
    """Raises the error that `answer` says, if it says one, about `resource_id` unless it names another."""
    reason = answer.get("refused")
    if reason is not None:
        detail = answer.get("detail") or {}
        raise _error(reason, detail, str(detail.get("id", resource_id)), noun)


def _error(reason: str, detail: Mapping[str, Any], resource_id: str, noun: str) -> Exception:
    found: Exception
    match reason:
        case "NOT_FOUND" | "STORY_NOT_FOUND" | "CHILD_NOT_FOUND" | "HERO_NOT_FOUND":
            found = resource_not_found(_NOT_FOUND.get(reason, noun), resource_id)
        case "DELETED":
            found = resource_deleted(noun, resource_id)
        case "LEASE_LOST":
            found = lease_lost(resource_id)
        case "REQUEST_ID_REUSED":
            found = request_id_reused()
        case "REVISION_MISMATCH":
            found = revision_mismatch(expected=detail["expected"], actual=detail["actual"])
        case "STORAGE_CONFLICT":
            found = storage_conflict()
        case "OTHER_NARRATION":
            found = wrong_state("The run has begun another narration.")
        case "WRONG_STATE" if "id" in detail:
            found = wrong_state("A story can only go on from one whose text is whole.", parent_story_id=resource_id)
        case "WRONG_STATE":
            found = wrong_state("The story has ended.")
        case _:
            found = UnknownRefusalError(reason)
    return found
