"""What the functions of the schema refuse, as the errors that the domain knows."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from servicekit.errors import DomainError, wrong_state
from storage_service.errors import (
    child_deleted,
    child_not_found,
    hero_deleted,
    hero_not_found,
    lease_lost,
    request_id_reused,
    revision_mismatch,
    storage_conflict,
    story_deleted,
    story_not_found,
)

_ABOUT_ONE: Final[Mapping[str, Callable[[str], DomainError]]] = {
    "STORY_NOT_FOUND": story_not_found,
    "CHILD_NOT_FOUND": child_not_found,
    "HERO_NOT_FOUND": hero_not_found,
    "LEASE_LOST": lease_lost,
}
_NOT_FOUND: Final[Mapping[str, Callable[[str], DomainError]]] = {"child": child_not_found, "hero": hero_not_found}
_DELETED: Final[Mapping[str, Callable[[str], DomainError]]] = {
    "story": story_deleted,
    "child": child_deleted,
    "hero": hero_deleted,
}


class UnknownRefusalError(Exception):
    """The schema refuses for a reason that this program does not know: it is newer."""


def check(answer: Mapping[str, Any], resource_id: str, *, noun: str = "story") -> None:
    """Raises the error that `answer` says, if it says one, about `resource_id` unless it names another."""
    reason = answer.get("refused")
    if reason is not None:
        detail = answer.get("detail") or {}
        raise _error(reason, detail, str(detail.get("id", resource_id)), noun)


def _error(reason: str, detail: Mapping[str, Any], resource_id: str, noun: str) -> Exception:
    if reason in _ABOUT_ONE:
        return _ABOUT_ONE[reason](resource_id)
    found: Exception
    match reason:
        case "NOT_FOUND":
            found = _NOT_FOUND[noun](resource_id)
        case "DELETED":
            found = _DELETED[noun](resource_id)
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
