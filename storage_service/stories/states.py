"""What may follow what."""

from typing import Final, TypeAlias

from servicekit.errors import wrong_state
from storage_service.records import Cancel, Change, Narrate, Retry
from tale.common.v1 import common_pb2

State: TypeAlias = common_pb2.StoryState.ValueType

PENDING: Final = common_pb2.STORY_STATE_PENDING
WRITING: Final = common_pb2.STORY_STATE_WRITING
NARRATING: Final = common_pb2.STORY_STATE_NARRATING
READY: Final = common_pb2.STORY_STATE_READY
READY_WITHOUT_AUDIO: Final = common_pb2.STORY_STATE_READY_WITHOUT_AUDIO
FAILED: Final = common_pb2.STORY_STATE_FAILED
CANCELLED: Final = common_pb2.STORY_STATE_CANCELLED

UNFINISHED: Final = frozenset({PENDING, WRITING, NARRATING})
"""States in which a run works on a story."""

TEXT_WHOLE: Final = frozenset({NARRATING, READY, READY_WITHOUT_AUDIO})
"""States that say that the text is whole."""


def is_final(state: State) -> bool:
    """Returns True where no run works on the story any more."""
    return state not in UNFINISHED


def check_change(change: Change, state: State) -> None:
    """Raises WRONG_STATE where a story in `state` does not allow `change`."""
    match change:
        case Cancel():
            allowed, what = UNFINISHED, "Only a story that is being made can be cancelled."
        case Retry():
            allowed, what = frozenset({FAILED}), "Only a failed story can be retried."
        case Narrate():
            allowed, what = frozenset({READY, READY_WITHOUT_AUDIO}), "Only a finished story can be narrated again."
        case _:
            return
    if state not in allowed:
        raise wrong_state(what, state=common_pb2.StoryState.Name(state))
