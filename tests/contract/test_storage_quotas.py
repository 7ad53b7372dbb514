"""Quotas and usage, in every store: what is beyond a quota is refused, and what was used is counted once."""

import asyncio
from typing import Any

import pytest
from support.storage_stores import Stores

from servicekit.errors import DomainError
from servicekit.ids import new_id
from standins.storage_kit import LEASE, ManualClock, checkpoint, new_story
from storage_service.records import Cancel, Narrate, NewStory, Retry
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

FAILED, PENDING = common_pb2.STORY_STATE_FAILED, common_pb2.STORY_STATE_PENDING
MODEL, SPEECH = common_pb2.ATTEMPT_KIND_MODEL_CALL, common_pb2.ATTEMPT_KIND_SPEECH_CALL
STARTED, SUCCEEDED = common_pb2.ATTEMPT_OUTCOME_STARTED, common_pb2.ATTEMPT_OUTCOME_SUCCEEDED
DAY_SECONDS = 86_400


def asked(quota: storage_pb2.Quota | None = None, **changes: Any) -> NewStory:
    """A story of five minutes that is asked for within a quota."""
    new = new_story(**changes)
    return NewStory(new.story_id, new.spec, new.story, new.repeat, new.lease, quota)


def line(attempt_id: str = "", **fields: Any) -> common_pb2.Attempt:
    """A line of the ledger."""
    given: dict[str, Any] = {"kind": SPEECH, "provider": "elevenlabs", "model": "eleven_v3", "outcome": SUCCEEDED}
    return common_pb2.Attempt(attempt_id=attempt_id or new_id(), **given | fields)


async def spend(stores: Stores, *attempts: common_pb2.Attempt, owner: str = "a", state: int = FAILED) -> str:
    """Has a story make calls and end; its id."""
    record, _ = await stores.stories.create(owner, asked(lease=LEASE))
    await record_calls(stores, record, *attempts, state=state)
    return record.story.id


async def record_calls(
    stores: Stores, record: storage_pb2.StoryRecord, *attempts: common_pb2.Attempt, state: int = 0
) -> None:
    """Stores lines of the ledger of a story."""
    item = checkpoint(record.story.id, record.run.lease_token, attempts=attempts, state=state)
    (result,) = await stores.stories.checkpoint(LEASE, [item])
    assert not result.HasField("error"), result


async def refusal(stores: Stores, quota: storage_pb2.Quota, owner: str = "a", **changes: Any) -> DomainError | None:
    """How a new story is refused; None where it is stored."""
    try:
        await stores.stories.create(owner, asked(quota, **changes))
    except DomainError as error:
        if error.reason != "CALLER_QUOTA_EXCEEDED":
            raise
        return error
    return None


async def test_parallel_requests_at_the_edge_of_a_quota(stores: Stores) -> None:
    """Exactly as many are stored as there is room for, and others have quotas of their own."""
    quota = storage_pb2.Quota(max_unfinished=5)
    refused = await asyncio.gather(*(refusal(stores, quota) for _ in range(24)))
    assert 5 == sum(one is None for one in refused)
    assert {"stories_at_once"} == {one.metadata["quota"] for one in refused if one}
    assert all(one.retry_after == pytest.approx(10.0) for one in refused if one)
    assert await refusal(stores, quota, "b") is None


@pytest.mark.parametrize(
    "quota",
    [
        storage_pb2.Quota(max_stories_per_day=5),
        storage_pb2.Quota(max_characters_per_day=5 * 5 * 800),
        storage_pb2.Quota(max_usd_per_day=2.5, usd_per_minute=0.1),
    ],
    ids=["stories", "characters", "dollars"],
)
async def test_parallel_requests_cannot_all_use_what_is_left_of_a_day(stores: Stores, quota: storage_pb2.Quota) -> None:
    """What is only known afterwards is reserved until then."""
    refused = await asyncio.gather(*(refusal(stores, quota) for _ in range(24)))
    assert 5 == sum(one is None for one in refused)


async def test_repeated_request_counts_once(stores: Stores) -> None:
    """It returns its story, also when the quota is used up; a refused one leaves nothing."""
    quota = storage_pb2.Quota(max_stories_per_day=1)
    new = asked(quota, request_id="once")
    first, created = await stores.stories.create("a", new)
    assert created
    assert await refusal(stores, quota, request_id="other") is not None
    again, created = await stores.stories.create("a", asked(quota, request_id="once"))
    assert (first.story.id, False) == (again.story.id, created)
    same, created = await stores.stories.create("a", new)
    assert (first.story.id, False) == (same.story.id, created)
    (entry,) = await stores.stories.usage("a", 1)
    assert 1 == entry.stories


async def test_ended_story_makes_room(stores: Stores) -> None:
    """Of unfinished stories, but not of those of the day, which a deletion does not give back."""
    at_once, per_day = storage_pb2.Quota(max_unfinished=1), storage_pb2.Quota(max_stories_per_day=1)
    new = asked(at_once)
    await stores.stories.create("a", new)
    assert await refusal(stores, at_once) is not None
    await stores.stories.update("a", new.story_id, Cancel(), expected_revision=None)
    await stores.stories.delete("a", new.story_id)
    refused = await refusal(stores, per_day)
    assert refused is not None
    assert "1 of 1 stories of a caller a day" in refused.message
    assert await refusal(stores, at_once) is None


async def test_quota_of_a_day_is_over_at_midnight(stores: Stores, clock: ManualClock) -> None:
    """The error says in how many seconds."""
    quota = storage_pb2.Quota(max_stories_per_day=1, max_characters_per_day=100, max_usd_per_day=0.5)
    await spend(stores, line(characters=100, cost_usd=0.5))
    for bounds in (
        storage_pb2.Quota(max_stories_per_day=1),
        storage_pb2.Quota(max_characters_per_day=100),
        storage_pb2.Quota(max_usd_per_day=0.5),
    ):
        refused = await refusal(stores, bounds)
        assert refused is not None
        left = DAY_SECONDS - clock.now() / 1e6 % DAY_SECONDS
        assert refused.retry_after == pytest.approx(left, abs=1)
    clock.advance(left + 1)
    assert await refusal(stores, quota) is None


async def test_story_without_narration_needs_no_characters(stores: Stores) -> None:
    """The quota of narrated characters bounds narration alone."""
    await spend(stores, line(characters=100))
    quota = storage_pb2.Quota(max_characters_per_day=100)
    assert await refusal(stores, quota) is not None
    assert await refusal(stores, quota, narrate=False) is None


async def test_stories_that_wait_are_bounded_over_all_owners(stores: Stores) -> None:
    """A story that gets a place at once does not wait."""
    quota = storage_pb2.Quota(max_waiting=2)
    assert await refusal(stores, quota, "a") is None
    assert await refusal(stores, quota, "b") is None
    refused = await refusal(stores, quota, "c")
    assert refused is not None
    assert "waiting" == refused.metadata["quota"]
    assert await refusal(stores, quota, "c", lease=LEASE) is None


@pytest.mark.parametrize("kind", [Retry, Narrate])
async def test_continued_story_is_within_the_quota(stores: Stores, kind: type[Retry | Narrate]) -> None:
    """Like a new one; the same request is not checked again."""
    quota = storage_pb2.Quota(max_unfinished=1)
    record, _ = await stores.stories.create("a", asked(lease=LEASE, narrate=False))
    item = checkpoint(record.story.id, record.run.lease_token, state=FAILED)
    if kind is Narrate:
        item = checkpoint(
            record.story.id, record.run.lease_token, text=(0, "A tale."), content_complete=True,
            state=common_pb2.STORY_STATE_READY,
        )  # fmt: skip
    await stores.stories.checkpoint(LEASE, [item])
    other = asked()
    await stores.stories.create("a", other)
    repeat = new_story(request_id="again").repeat
    change = (
        Retry(repeat, LEASE, quota) if kind is Retry else Narrate(common_pb2.VoiceSelection(), repeat, LEASE, quota)
    )
    with pytest.raises(DomainError, match="1 of 1 unfinished stories"):
        await stores.stories.update("a", record.story.id, change, expected_revision=None)
    await stores.stories.update("a", other.story_id, Cancel(), expected_revision=None)
    assert (await stores.stories.update("a", record.story.id, change, expected_revision=None))[1]
    assert not (await stores.stories.update("a", record.story.id, change, expected_revision=None))[1]


async def test_each_attempt_is_counted_once(stores: Stores) -> None:
    """When it ends, with what its last line says; not its parent, which has the sums."""
    record, _ = await stores.stories.create("a", asked(lease=LEASE))
    call: dict[str, Any] = {"kind": MODEL, "provider": "openrouter", "model": "a/b", "attempt_id": new_id()}
    parent = line(kind=common_pb2.ATTEMPT_KIND_WRITING, cost_usd=0.25)
    await record_calls(stores, record, line(**call, outcome=STARTED, prompt_tokens=7), parent)
    assert not [each for each in await stores.stories.usage("a", 1) if each.calls]
    ended = line(**call, prompt_tokens=10, completion_tokens=20, cost_usd=0.125)
    for _ in range(2):
        await record_calls(stores, record, ended)
    await record_calls(stores, record, line(**call, prompt_tokens=10, completion_tokens=20, cost_usd=0.25))
    await record_calls(stores, record, line(characters=100), line(characters=50))
    entries = {each.kind: each for each in await stores.stories.usage("a", 1)}
    text, speech = entries[MODEL], entries[SPEECH]
    assert ("openrouter", "a/b", 1, 10, 20) == (
        text.provider, text.model, text.calls, text.prompt_tokens, text.completion_tokens,
    )  # fmt: skip
    assert text.cost_usd == pytest.approx(0.25)
    assert (2, 150) == (speech.calls, speech.characters)
    assert common_pb2.ATTEMPT_KIND_WRITING not in entries


async def test_cost_that_is_known_after_the_end_is_counted(stores: Stores) -> None:
    """A cancelled story ends its attempts; what they cost comes with the last checkpoint of its run."""
    record, _ = await stores.stories.create("a", asked(lease=LEASE))
    attempt_id = new_id()
    await record_calls(stores, record, line(attempt_id, outcome=STARTED))
    await stores.stories.update("a", record.story.id, Cancel(), expected_revision=None)
    cost = line(attempt_id, characters=300, cost_usd=0.5)
    await record_calls(stores, record, cost, state=common_pb2.STORY_STATE_CANCELLED)
    entries = {each.kind: each for each in await stores.stories.usage("a", 1)}
    assert (1, 300) == (entries[SPEECH].calls, entries[SPEECH].characters)


async def test_usage_is_of_its_owner_and_day(stores: Stores, clock: ManualClock) -> None:
    """Newest first; deleting a story, or erasing its child, changes nothing."""
    story_id = await spend(stores, line(characters=1))
    clock.advance(DAY_SECONDS)
    await spend(stores, line(characters=2))
    await spend(stores, line(characters=4), owner="b")
    before = await stores.stories.usage("a", 30)
    assert [2, 1] == [each.characters for each in before if each.kind == SPEECH]
    assert [2] == [each.characters for each in await stores.stories.usage("a", 1) if each.kind == SPEECH]
    assert {"a", "b"} == {each.owner for each in await stores.stories.usage(None, 1)}
    await stores.stories.delete("a", story_id)
    assert before == await stores.stories.usage("a", 30)
    assert before[0].date > before[-1].date


async def test_waiting_stories_are_claimed_round_robin(stores: Stores, clock: ManualClock) -> None:
    """A batch does not hold up the story of another owner, and what runs already counts."""
    waiting: dict[str, str] = {}
    for owner in ("a", "a", "a", "a", "b", "b", "c"):
        clock.advance(1)
        record, _ = await stores.stories.create(owner, asked())
        waiting[record.story.id] = owner

    async def next_owners(most: int) -> str:
        return "".join(waiting[each.story_id] for each in await stores.stories.claim(LEASE, most=most, story_ids=()))

    assert "abcab" == await next_owners(5)
    await stores.stories.create("d", asked(lease=LEASE))
    clock.advance(1)
    for owner in ("d", "e"):
        record, _ = await stores.stories.create(owner, asked())
        waiting[record.story.id] = owner
    assert "eda" == await next_owners(3)
    assert "a" == await next_owners(9)
