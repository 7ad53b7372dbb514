"""Which change a story takes in which state."""

import pytest

from servicekit.errors import DomainError
from storage_service.records import Cancel, Change, Narrate, Rate, Retry
from storage_service.stories import states
from tale.common.v1 import common_pb2

ALLOWED = {
    Rate: set(common_pb2.StoryState.values()) - {0},
    Cancel: {states.PENDING, states.WRITING, states.NARRATING},
    Retry: {states.FAILED},
    Narrate: {states.READY, states.READY_WITHOUT_AUDIO},
}


@pytest.mark.parametrize("change", [Rate(9), Cancel(), Retry(), Narrate(common_pb2.VoiceSelection())])
@pytest.mark.parametrize("state", [state for state in common_pb2.StoryState.values() if state])
def test_a_change_is_allowed_in_its_states_alone(change: Change, state: states.State) -> None:
    """Everything that the table does not name is WRONG_STATE."""
    reason = ""
    try:
        states.check_change(change, state)
    except DomainError as error:
        reason = error.reason
    assert ("" if state in ALLOWED[type(change)] else "WRONG_STATE") == reason
