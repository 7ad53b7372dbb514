"""What a story is shown to wait for: since when, what of several, and in groups."""

import asyncio

import pytest

from gateway.door.system import MAX_WAITING_IDS, grouped
from gateway.runs.waits import (
    LATE_SECONDS,
    NARRATION,
    STORAGE,
    STORY_SERVICE,
    TEXT,
    VOICE_SERVICE,
    PeerWait,
    Waits,
    moment,
    waiting_of,
)  # fmt: skip
from tale.common.v1 import common_pb2


def provider(name: str, *, narration: bool = False) -> common_pb2.Waiting:
    """A wait for a provider."""
    return common_pb2.Waiting(what=common_pb2.WAIT_FOR_PROVIDER, name=name, narration=narration)


def shown(waits: Waits) -> bool:
    """Whether anything is."""
    return waits.shown is not None


def test_wait_began_when_it_first_did_since_the_story_came_further() -> None:
    """A probe in between, or another notice, is no new wait; text is."""
    changes: list[common_pb2.Waiting | None] = []
    waits = Waits(lambda: changes.append(waits.shown))
    first = moment(-60)
    began = provider("p")
    began.since.CopyFrom(first)
    waits.begin(TEXT, began)
    waits.end(TEXT)
    assert not shown(waits)
    waits.begin(TEXT, provider("p"))
    assert waits.shown is not None
    assert first == waits.shown.since
    waits.progressed(TEXT)
    waits.begin(TEXT, provider("p"))
    assert first != waits.shown.since
    assert 5 == len(changes)


def test_storage_is_shown_before_the_text_and_the_text_before_the_narration() -> None:
    """The whole story waits for what its text waits for."""
    waits = Waits(lambda: None)
    waits.begin(NARRATION, provider("voice", narration=True))
    waits.begin(TEXT, provider("model"))
    waits.begin("s", STORAGE)
    names = []
    for key in ("s", TEXT, NARRATION):
        assert waits.shown is not None
        names.append(waits.shown.name)
        waits.progressed(key)
    assert ["storage service", "model", "voice"] == names
    assert not shown(waits)


async def test_service_that_responds_in_time_is_not_waited_for() -> None:
    """However often it failed before; only one that stays away for a second is."""
    waits = Waits(lambda: None)
    wait = PeerWait(waits, STORY_SERVICE)
    wait.begin()
    wait.failed("RECONNECT", 0.1)
    assert not shown(waits)
    wait.end()
    late = PeerWait(waits, VOICE_SERVICE)
    late.failed("STORAGE_UNAVAILABLE", 9)
    await asyncio.sleep(LATE_SECONDS + 0.1)
    assert waits.shown is not None
    assert (common_pb2.WAIT_FOR_STORAGE, "STORAGE_UNAVAILABLE") == (waits.shown.what, waits.shown.reason)
    assert waits.shown.since.ToNanoseconds() < waits.shown.next_try_time.ToNanoseconds()
    late.end()
    assert not shown(waits)


@pytest.mark.parametrize(
    ("reason", "metadata", "what", "name"),
    [
        ("WAITING_FOR_PROVIDER", {"provider": "openrouter"}, common_pb2.WAIT_FOR_PROVIDER, "openrouter"),
        (
            "WAITING_FOR_PROVIDER",
            {"provider": "chat", "purpose": "safety"},
            common_pb2.WAIT_FOR_SAFETY_CHECK,
            "safety check",
        ),
        ("WAITING_FOR_PLACE", {"provider": "elevenlabs"}, common_pb2.WAIT_FOR_PLACE, "a place"),
    ],
)
def test_problem_says_what_is_waited_for(
    reason: str, metadata: dict[str, str], what: common_pb2.WaitFor.ValueType, name: str
) -> None:
    """And when that is tried again, where the service says so."""
    problem = common_pb2.Problem(reason=reason, time=moment(), metadata={**metadata, "retry_after": "7"})
    waiting = waiting_of(problem)
    assert (what, name, reason) == (waiting.what, waiting.name, waiting.reason)
    assert 7 == waiting.next_try_time.seconds - waiting.since.seconds


def test_stories_that_wait_for_the_same_are_one_group() -> None:
    """The largest group first, in it the longest wait, and not more ids than a response has room for."""
    stories = []
    for number in range(MAX_WAITING_IDS + 5):
        waiting = provider("p")
        waiting.since.CopyFrom(moment(-number))
        stories.append((str(number), waiting))
    other = provider("q")
    other.since.CopyFrom(moment())
    first, second = grouped([("x", other), *stories])
    assert (MAX_WAITING_IDS + 5, MAX_WAITING_IDS) == (first.story_count, len(first.story_ids))
    assert (str(MAX_WAITING_IDS + 4), stories[-1][1].since) == (first.story_ids[0], first.waiting.since)
    assert ("q", ["x"]) == (second.waiting.name, list(second.story_ids))
