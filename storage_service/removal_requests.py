"""What is wrong with a request about removals, all of it at once."""

from typing import Final

from servicekit.validation import Violations
from tale.storage.v1 import storage_pb2

_MOST_AT_ONCE: Final = 100


def check_erase(request: storage_pb2.EraseChildRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    found.check_uuid7("child_id", request.child_id)
    found.raise_if_any()


def check_list(request: storage_pb2.ListForgettableRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    found.check_uuid7("child_id", request.child_id, required=False)
    found.in_range("max_count", request.max_count, 1, _MOST_AT_ONCE)
    found.raise_if_any()


def check_confirm(request: storage_pb2.ConfirmForgottenRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    count = len(request.story_ids)
    if found.check(1 <= count <= _MOST_AT_ONCE, "story_ids", f"must have 1 to {_MOST_AT_ONCE} entries"):
        for index, story_id in enumerate(request.story_ids):
            found.check_uuid7(f"story_ids[{index}]", story_id)
    found.raise_if_any()
