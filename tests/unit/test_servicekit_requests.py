"""What every request brings: ids, context, deadline."""

import asyncio
from dataclasses import dataclass

import pytest

from servicekit.channel import remaining
from servicekit.context import Caller, RequestContext, bound, current, current_or_none
from servicekit.ids import is_id, is_token, new_id

MIA = RequestContext("r-1", Caller("mia"))
ID = "01932c07-9f5e-7c31-8d5b-0123456789ab"


def test_ids_are_uuid7_and_sort_by_time() -> None:
    """New ids are canonical UUIDv7, unique, and later ones sort later."""
    ids = [new_id() for _ in range(1000)]

    assert all(map(is_id, ids))
    assert sorted(set(ids)) == ids


@pytest.mark.parametrize(
    "text",
    [
        "",
        "../../etc/passwd",
        ID.upper(),
        ID.replace("-", ""),
        f"{ID}\n",
        f"{{{ID}}}",
        "01932c07-9f5e-4c31-8d5b-0123456789ab",
        "01932c07-9f5e-7c31-0d5b-0123456789ab",
        "\N{ARABIC-INDIC DIGIT ZERO}" + ID[1:],
    ],
)
def test_what_is_no_canonical_uuid7_is_no_id(text: str) -> None:
    """An id has one spelling and can be no path; version 4, another variant or other digits are no id."""
    assert (True, False) == (is_id(ID), is_id(text))


@pytest.mark.parametrize(("text", "fine"), [("a.B_9:-", True), ("", False), ("a/b", False), ("x" * 129, False)])
def test_tokens_are_short_and_plain(text: str, *, fine: bool) -> None:
    """A caller's own id is at most 128 characters that spoil no log and no path."""
    assert fine is is_token(text)


def test_nothing_is_bound_outside_of_requests() -> None:
    """Work that no call started has to say for whom it works, rather than being taken for the local owner's."""
    assert None is current_or_none()
    with pytest.raises(LookupError, match="bound"):
        current()


async def test_tasks_inherit_the_context_they_are_started_in() -> None:
    """A task started within the block keeps its context after the block has ended."""
    go = asyncio.Event()

    async def later() -> RequestContext:
        await go.wait()
        return current()

    with bound(MIA):
        task = asyncio.create_task(later())
    go.set()

    assert (MIA, None) == (await task, current_or_none())


@dataclass
class FakeContext:
    """A call with a deadline."""

    left: float | None

    def time_remaining(self) -> float | None:
        """Seconds."""
        return self.left


@pytest.mark.parametrize(("left", "timeout"), [(5.0, 4.5), (0.3, 0.0), (-1.0, 0.0), (None, 30.0), (9999.0, 9998.5)])
def test_a_sibling_gets_what_is_left_less_the_reserve(left: float | None, timeout: float) -> None:
    """The caller's deadline goes on, less the time to answer in; the default is for callers without one."""
    assert timeout == remaining(FakeContext(left), reserve=0.5, default=30.0)  # type: ignore[arg-type] # all it needs
