"""How far narrations work ahead."""

from contextlib import ExitStack

import pytest

from voice_service.ahead import WorkAhead


@pytest.mark.parametrize(
    ("each", "active", "segments"), [(3, 1, 3), (3, 32, 3), (3, 48, 2), (3, 96, 1), (3, 97, 0), (0, 1, 0), (0, 500, 0)]
)
def test_many_narrations_share_what_is_made_ahead(each: int, active: int, segments: int) -> None:
    """And each has all of its own again when the others have ended."""
    ahead = WorkAhead(each, 96)
    with ExitStack() as narrations:
        for _ in range(active):
            narrations.enter_context(ahead.narration())

        assert segments == ahead.segments()
    assert each == ahead.segments()
