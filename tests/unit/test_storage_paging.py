"""Page tokens lead back to where a listing stood, for its own filter and owner alone."""

from hypothesis import given
from hypothesis import strategies as st

from servicekit.ids import new_id
from storage_service.records import Position
from storage_service.wire.paging import from_token, to_token
from tale.common.v1 import common_pb2

FILTER = common_pb2.StoryFilter(language_code="en", states=[common_pb2.STORY_STATE_READY])


@given(st.integers(0, 2**62))
def test_a_token_comes_back_as_its_position(time: int) -> None:
    """What goes into a token comes out of it."""
    position = Position(time, new_id())
    assert position == from_token(to_token(position, "mia", FILTER), "mia", FILTER)


def test_a_token_is_bound_to_filter_and_owner() -> None:
    """With another filter or owner a token is none."""
    token = to_token(Position(1, new_id()), "mia", FILTER)
    assert [None, None] == [from_token(token, "ben", FILTER), from_token(token, "mia", common_pb2.StoryFilter())]


@given(st.text(max_size=60))
def test_anything_else_is_no_token(text: str) -> None:
    """Whatever a caller makes up is told from a token without an exception."""
    assert from_token(text, "mia", FILTER) is None
