"""Every StoryStore keeps stories, requests and leases in the same way."""

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from support.storage_stores import Stores, reason_of

from servicekit.errors import DomainError
from servicekit.ids import new_id
from standins.storage_kit import (
    FINGERPRINT,
    LEASE,
    SECOND,
    ManualClock,
    checkpoint,
    lease_token,
    narration,
    new_story,
    write_held,
)
from storage_service.ports import StoryStore
from storage_service.records import (
    Cancel,
    Narrate,
    Position,
    Rate,
    RepeatKey,
    Retry,
    StoredAudio,
    UnfinishedAudio,
)
from storage_service.stories import states
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ME, OTHER = "mia", "ben"
VOICE = common_pb2.VoiceSelection(provider="offline", voice_id="en-gb")


@pytest.fixture
def store(stores: Stores) -> StoryStore:
    """The store of the stories."""
    return stores.stories


async def created(store: StoryStore, owner: str = ME, **changes: object) -> str:
    """Id of a new story that is leased."""
    record, _ = await store.create(owner, new_story(lease=LEASE, **changes))  # type: ignore[arg-type]
    return record.story.id


async def checked(store: StoryStore, *checkpoints: storage_pb2.StoryCheckpoint) -> list[str]:
    """The reasons of a batch, "" for what was stored."""
    results = await write_held(store, *checkpoints)
    assert [one.story_id for one in checkpoints] == [result.story_id for result in results]
    return [result.error.reason for result in results]


async def finished(store: StoryStore, state: states.State = states.READY, **changes: object) -> str:
    """Id of a story that a run has brought to an end."""
    story_id = await created(store, narrate=False, **changes)  # type: ignore[arg-type]
    end = checkpoint(story_id, state=state, text=(0, "Once upon a time."), content_complete=True)
    assert [""] == await checked(store, end)
    return story_id


# Making stories.


async def test_a_new_story_is_pending(store: StoryStore, clock: ManualClock) -> None:
    """What storage sets of a story is set, and what was given is stored."""
    new = new_story(problems=[common_pb2.Problem(reason="LANGUAGE_GUESSED")])
    record, is_new = await store.create(ME, new)
    assert is_new
    assert (new.story_id, states.PENDING, 1, "Mia", clock.now(), clock.now(), "offline", True, ME) == (
        record.story.id,
        record.story.state,
        record.story.revision,
        record.story.child.name,
        record.story.create_time.ToMicroseconds(),
        record.story.update_time.ToMicroseconds(),
        record.story.voice.provider,
        record.story.narrate,
        record.owner,
    )
    assert ["LANGUAGE_GUESSED"] == [problem.reason for problem in record.story.problems]
    assert new.spec == record.spec
    assert not record.run.HasField("lease_expire_time")
    assert record == await store.get(ME, new.story_id, full=False)


async def test_creating_again_gives_the_kept_story(store: StoryStore) -> None:
    """The same story id and the same request id name the story that is there."""
    first = new_story(request_id="r-1")
    again = new_story(request_id="r-1")
    record, _ = await store.create(ME, first)
    assert (record, False) == await store.create(ME, first)
    assert (record, False) == await store.create(ME, again)
    assert "STORY_NOT_FOUND" == await reason_of(store.get(ME, again.story_id, full=False))


async def test_a_request_id_stands_for_one_request(store: StoryStore) -> None:
    """Another fingerprint under the same id is refused; another owner has ids of their own."""
    await store.create(ME, new_story(request_id="r-1"))
    other = new_story(request_id="r-1", fingerprint=b"x" * 32)
    assert "REQUEST_ID_REUSED" == await reason_of(store.create(ME, other))
    assert True is (await store.create(OTHER, other))[1]


async def test_racing_creates_make_one_story(store: StoryStore) -> None:
    """Of many calls with one request id one makes the story, and all get it."""
    answers = await asyncio.gather(*(store.create(ME, new_story(request_id="r-1")) for _ in range(10)))
    assert 1 == sum(is_new for _, is_new in answers)
    assert 1 == len({record.story.id for record, _ in answers})


async def test_a_lease_can_be_taken_while_creating(store: StoryStore, clock: ManualClock) -> None:
    """A repeated call takes nothing."""
    record, _ = await store.create(ME, new_story(request_id="r-1", lease=LEASE))
    assert record.run.lease_token > 0
    assert (clock.now() + LEASE, 0, 0) == (
        record.run.lease_expire_time.ToMicroseconds(),
        record.run.work_duration.ToMicroseconds(),
        record.run.pickup_count,
    )
    again, _ = await store.create(ME, new_story(request_id="r-1", lease=SECOND))
    assert record == again


async def test_somebody_elses_story_is_none(store: StoryStore) -> None:
    """Whatever is asked about it, a foreign story is not found."""
    story_id = await created(store)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.get(OTHER, story_id, full=True),
        lambda: store.update(OTHER, story_id, Rate(9), expected_revision=None),
        lambda: store.update(OTHER, story_id, Cancel(), expected_revision=None),
        lambda: store.delete(OTHER, story_id),
        lambda: store.find_audio(OTHER, story_id, ""),
        lambda: store.create(OTHER, new_story(story_id=story_id)),
    ]
    assert ["STORY_NOT_FOUND"] * len(calls) == [await reason_of(call()) for call in calls]
    assert [] == list(await store.list_page(OTHER, common_pb2.StoryFilter(), limit=10, after=None))


# Runs.


async def test_a_run_brings_a_story_to_its_end(stores: Stores, clock: ManualClock) -> None:
    """Text, manifest, ledger and outcome come back as they were checkpointed, and the lease ends with the story."""
    store = stores.stories
    story_id = await created(store)
    places = await stores.places(story_id)
    places[-1].embedded = True
    header = common_pb2.NarrationHeader(audio_id=new_id(), provider="offline")
    attempts = [common_pb2.Attempt(attempt_id=new_id(), provider=name) for name in ("one", "two")]
    generation = storage_pb2.GenerationRecord(model_used="offline")
    generation.usage.completion_tokens = 7
    generation.full_response.add().update({"id": "gen-1"})
    generation.generation_info.update({"latency": 12})
    problem = common_pb2.Problem(reason="VOICE_SLOW", metadata={"b": "1", "a": "2"})
    assert [""] == await checked(store, checkpoint(story_id, state=states.WRITING, title="T", text=(0, "Once ")))
    clock.advance(1)
    assert [""] == await checked(
        store,
        checkpoint(
            story_id,
            state=states.NARRATING,
            text=(5, "upon 🐉 a time."),
            content_complete=True,
            generation=generation,
            narration=header,
            segments=places,
            attempts=attempts,
            problems=[problem],
            embedded_parts=["writer", "store"],
        ),
    )
    late = common_pb2.Attempt(attempt_id=attempts[0].attempt_id, provider="one", reason="late")
    end = checkpoint(story_id, state=states.READY_WITHOUT_AUDIO, attempts=[late], embedded_parts=["writer"])
    assert [""] == await checked(store, end)
    record = await store.get(ME, story_id, full=True)
    story = record.story
    assert (states.READY_WITHOUT_AUDIO, "T", "Once upon 🐉 a time.", True) == (
        story.state,
        story.title,
        story.content,
        story.content_complete,
    )
    assert ("offline", 7, "gen-1", 12) == (
        story.model_used,
        story.usage.completion_tokens,
        story.full_response[0]["id"],
        story.generation_info["latency"],
    )
    assert ([late, attempts[1]], [problem], {"store", "writer", "voice"}) == (
        list(story.attempts),
        list(story.problems),
        set(story.embedded_parts),
    )
    assert (header, places) == (record.run.narration, list(record.run.segments))
    assert (clock.now(), 1) == (story.end_time.ToMicroseconds(), story.revision)
    assert not record.run.HasField("lease_expire_time")


async def test_the_basic_view_leaves_out_what_is_marked(store: StoryStore) -> None:
    """Responses, provider's facts and the ledger are in the FULL view alone."""
    story_id = await created(store)
    generation = storage_pb2.GenerationRecord(model_used="offline")
    generation.full_response.add().update({"id": "gen-1"})
    generation.generation_info.update({"latency": 12})
    await checked(
        store,
        checkpoint(story_id, generation=generation, attempts=[common_pb2.Attempt(attempt_id=new_id())], text=(0, "x")),
    )
    story = (await store.get(ME, story_id, full=False)).story
    assert ("offline", "x", [], [], False) == (
        story.model_used,
        story.content,
        list(story.full_response),
        list(story.attempts),
        story.HasField("generation_info"),
    )


async def test_a_batch_is_judged_item_by_item(store: StoryStore) -> None:
    """What cannot be kept says why and takes nothing else with it."""
    good, gone, cancelled, lost, gap = [await created(store) for _ in range(5)]
    await store.delete(ME, gone)
    await store.update(ME, cancelled, Cancel(), expected_revision=None)
    batch = [
        checkpoint(good, text=(0, "Once")),
        checkpoint(gone, text=(0, "Once")),
        checkpoint(cancelled, text=(0, "Once")),
        checkpoint(lost, 7, text=(0, "Once")),
        checkpoint(gap, title="T", text=(1, "Once"), attempts=[common_pb2.Attempt(attempt_id=new_id())]),
    ]
    assert ["", "STORY_NOT_FOUND", "WRONG_STATE", "LEASE_LOST", "CHECKPOINT_CONFLICT"] == await checked(store, *batch)
    assert "Once" == (await store.get(ME, good, full=False)).story.content
    left = (await store.get(ME, gap, full=True)).story
    assert ("", "", []) == (left.title, left.content, list(left.attempts))


async def test_a_checkpoint_can_be_repeated(stores: Stores) -> None:
    """The same batch twice, because its answer was lost, leaves the same story."""
    store = stores.stories
    story_id = await created(store)
    batch = [
        checkpoint(
            story_id,
            state=states.FAILED,
            title="T",
            text=(0, "Once"),
            narration=common_pb2.NarrationHeader(audio_id=new_id()),
            segments=await stores.places(story_id),
            attempts=[common_pb2.Attempt(attempt_id=new_id())],
            problems=[common_pb2.Problem(reason="RUN_ABANDONED")],
        )
    ]
    assert [""] == await checked(store, *batch)
    kept = await store.get(ME, story_id, full=True)
    assert [""] == await checked(store, *batch)
    assert kept == await store.get(ME, story_id, full=True)


async def test_text_that_came_in_pieces_is_compared_as_a_whole(store: StoryStore) -> None:
    """An overlap may span pieces and begin in the middle of one."""
    story_id = await created(store)
    for start, text in ((0, "Once "), (5, "upon "), (10, "a ")):
        assert [""] == await checked(store, checkpoint(story_id, text=(start, text)))
    assert [""] == await checked(store, checkpoint(story_id, text=(3, "e upon a time.")))
    assert ["CHECKPOINT_CONFLICT"] == await checked(store, checkpoint(story_id, text=(3, "e Upon a time.")))
    assert "Once upon a time." == (await store.get(ME, story_id, full=False)).story.content


async def test_a_new_audio_id_begins_a_new_manifest(stores: Stores) -> None:
    """The segments of the manifest before it are gone from it."""
    story_id = await created(stores.stories)
    for seed, count in (("a", 3), ("b", 1)):
        places = await stores.places(story_id, [10] * count, seed)
        header = narration()
        assert [""] == await checked(stores.stories, checkpoint(story_id, narration=header, segments=places))
    run = (await stores.stories.get(ME, story_id, full=False)).run
    assert run.narration == header
    assert list(run.segments) == places


async def test_a_manifest_is_what_the_segment_store_has_without_a_gap(stores: Stores) -> None:
    """One segment that is unknown, of other bytes or not at its place takes the whole checkpoint with it."""
    story_id = await created(stores.stories)
    first, second, third = await stores.places(story_id, [10, 10, 10])
    begun = checkpoint(story_id, text=(0, "x" * 20), narration=narration(), segments=[first])
    assert [""] == await checked(stores.stories, begun)
    for changes in (
        {"key": "0" * 64},
        {"sha256": b"0" * 32},
        {"text": common_pb2.Span(start=1, end=10)},
        {"audio": common_pb2.Span(start=11, end=21)},
        {"audio": common_pb2.Span(start=10, end=21)},
    ):
        awry = common_pb2.Segment()
        awry.CopyFrom(second)
        awry.MergeFrom(common_pb2.Segment(**changes))
        assert ["CHECKPOINT_CONFLICT"] == await checked(stores.stories, checkpoint(story_id, segments=[awry, third]))
    assert ["CHECKPOINT_CONFLICT"] == await checked(stores.stories, checkpoint(story_id, segments=[third]))
    assert [""] == await checked(stores.stories, checkpoint(story_id, segments=[first, second, third]))
    assert [first, second, third] == list((await stores.stories.get(ME, story_id, full=False)).run.segments)
    other = common_pb2.Segment()
    other.CopyFrom(second)
    other.sha256 = b"0" * 32
    assert ["CHECKPOINT_CONFLICT"] == await checked(stores.stories, checkpoint(story_id, segments=[other]))


async def test_a_checkpoint_renews_the_lease(store: StoryStore, clock: ManualClock) -> None:
    """Each one counts from now; one that brings nothing changes nothing else."""
    story_id = await created(store)
    before = await store.get(ME, story_id, full=False)
    clock.advance(20)
    (result,) = await write_held(store, checkpoint(story_id))
    assert clock.now() + LEASE == result.lease_expire_time.ToMicroseconds()
    after = await store.get(ME, story_id, full=False)
    assert before.story == after.story
    assert result.lease_expire_time == after.run.lease_expire_time


async def test_an_expired_lease_holds_until_somebody_claims(store: StoryStore, clock: ManualClock) -> None:
    """A late run goes on while nobody took its story, and is fenced off once somebody has."""
    story_id = await created(store)
    token = await lease_token(store, story_id)
    clock.advance(31)
    assert [""] == await checked(store, checkpoint(story_id, text=(0, "Once")))
    clock.advance(31)
    (claimed,) = await store.claim(LEASE, most=1, story_ids=())
    assert ["LEASE_LOST", ""] == [
        *await checked(store, checkpoint(story_id, token, text=(4, " upon"))),
        *await checked(store, checkpoint(story_id, claimed.lease_token, text=(4, " upon"))),
    ]


# Leases.


async def test_what_is_free_is_claimed_oldest_first(store: StoryStore, clock: ManualClock) -> None:
    """Stories that are held or have ended are left alone; the count and the ids bound what is taken."""
    free = []
    for _ in range(4):
        free.append((await store.create(ME, new_story()))[0].story.id)
        clock.advance(1)
    await created(store)
    await finished(store)
    first = await store.claim(LEASE, most=2, story_ids=())
    assert [(free[0], ME, 0), (free[1], ME, 0)] == [
        (claimed.story_id, claimed.owner, claimed.pickup_count) for claimed in first
    ]
    assert [free[3]] == [claimed.story_id for claimed in await store.claim(LEASE, most=9, story_ids={free[3], free[0]})]
    assert [free[2]] == [claimed.story_id for claimed in await store.claim(LEASE, most=9, story_ids=())]


async def test_expired_leases_can_be_left_out_of_a_claim(store: StoryStore, clock: ManualClock) -> None:
    """New and released stories are claimed all the same."""
    expired, released = await created(store), await created(store)
    await store.release([storage_pb2.HeldLease(story_id=released, lease_token=await lease_token(store, released))])
    new = (await store.create(ME, new_story()))[0].story.id
    clock.advance(31)
    claimed = await store.claim(LEASE, most=9, story_ids=(), expired=lambda: False)
    assert {released, new} == {one.story_id for one in claimed}
    assert [expired] == [one.story_id for one in await store.claim(LEASE, most=9, story_ids=())]


async def test_lease_does_not_outlast_a_clock_that_is_set_back(store: StoryStore, clock: ManualClock) -> None:
    """Its run renews it by the new time; one that is not renewed is claimed within twice its duration."""
    orphan, renewed = await created(store), await created(store)
    clock.set_forward(-3600)
    (result,) = await write_held(store, checkpoint(renewed))
    assert clock.now() + LEASE == result.lease_expire_time.ToMicroseconds()
    assert [orphan] == [one.story_id for one in await store.claim(LEASE, most=9, story_ids=())]
    assert [] == list(await store.claim(LEASE, most=9, story_ids=()))


async def test_lease_survives_a_clock_that_is_set_back_by_less(store: StoryStore, clock: ManualClock) -> None:
    """It lasts longer by that."""
    await created(store)
    clock.set_forward(-20)
    clock.advance(49)
    assert [] == list(await store.claim(LEASE, most=9, story_ids=()))
    clock.advance(1)
    assert 1 == len(await store.claim(LEASE, most=9, story_ids=()))


async def test_racing_claimers_never_get_the_same(store: StoryStore) -> None:
    """Each story goes to one of them."""
    stories = {(await store.create(ME, new_story()))[0].story.id for _ in range(30)}
    answers = await asyncio.gather(*(store.claim(LEASE, most=4, story_ids=()) for _ in range(12)))
    claimed = [one.story_id for answer in answers for one in answer]
    assert (30, stories) == (len(claimed), set(claimed))


async def test_pickups_count_without_progress(store: StoryStore, clock: ManualClock) -> None:
    """Claims after a lost lease count, those after a hand-over do not, and progress begins again."""
    story_id = await created(store)
    counts = []
    for _ in range(2):
        clock.advance(31)
        (claimed,) = await store.claim(LEASE, most=1, story_ids=())
        counts.append(claimed.pickup_count)
    assert 1 == await store.release([storage_pb2.HeldLease(story_id=story_id, lease_token=claimed.lease_token)])
    (claimed,) = await store.claim(LEASE, most=1, story_ids=())
    counts.append(claimed.pickup_count)
    await checked(store, checkpoint(story_id, claimed.lease_token, attempts=[common_pb2.Attempt(attempt_id=new_id())]))
    counts.append((await store.get(ME, story_id, full=False)).run.pickup_count)
    await checked(store, checkpoint(story_id, claimed.lease_token, text=(0, "Once")))
    counts.append((await store.get(ME, story_id, full=False)).run.pickup_count)
    clock.advance(31)
    (claimed,) = await store.claim(LEASE, most=1, story_ids=())
    counts.append(claimed.pickup_count)
    assert [1, 2, 2, 2, 0, 1] == counts


async def worked(store: StoryStore, story_id: str) -> float:
    """Seconds of work that are stored."""
    return (await store.get(ME, story_id, full=True)).run.work_duration.ToMicroseconds() / SECOND


async def test_work_is_the_time_under_leases(store: StoryStore, clock: ManualClock) -> None:
    """Every checkpoint adds the time since the one before; what comes after the expiry of a lease is not work."""
    story_id = await created(store)
    clock.advance(20)
    await checked(store, checkpoint(story_id))
    clock.advance(10)
    await checked(store, checkpoint(story_id, text=(0, "Once")))
    assert 30 == await worked(store, story_id)
    clock.advance(3600)
    await checked(store, checkpoint(story_id, text=(4, " upon")))
    assert 60 == await worked(store, story_id)
    clock.advance(7)
    await checked(store, checkpoint(story_id, state=states.FAILED))
    clock.advance(7)
    assert 67 == await worked(store, story_id)


async def test_time_without_a_lease_is_no_work(store: StoryStore, clock: ManualClock) -> None:
    """Neither before the first claim, nor between an expiry or a hand-over and the next claim."""
    story_id = (await store.create(ME, new_story()))[0].story.id
    clock.advance(3600)
    (claimed,) = await store.claim(LEASE, most=1, story_ids=())
    assert 0 == await worked(store, story_id)
    clock.advance(3600)
    (claimed,) = await store.claim(LEASE, most=1, story_ids=())
    assert 30 == await worked(store, story_id)
    clock.advance(5)
    assert 1 == await store.release([storage_pb2.HeldLease(story_id=story_id, lease_token=claimed.lease_token)])
    clock.advance(3600)
    (claimed,) = await store.claim(LEASE, most=1, story_ids=())
    assert 35 == await worked(store, story_id)
    clock.advance(5)
    await store.update(ME, story_id, Cancel(), expected_revision=None)
    assert 40 == await worked(store, story_id)


async def test_waiting_is_no_work(store: StoryStore, clock: ManualClock) -> None:
    """It renews the lease all the same, also with something to store; what a run does before and after it counts."""
    story_id = await created(store)
    clock.advance(5)
    await checked(store, checkpoint(story_id))
    for _ in range(3):
        clock.advance(20)
        assert [""] == await checked(store, checkpoint(story_id, waiting=True))
    clock.advance(20)
    await checked(store, checkpoint(story_id, text=(0, "Once"), waiting=True))
    assert 5 == await worked(store, story_id)
    clock.advance(7)
    await checked(store, checkpoint(story_id))
    assert 12 == await worked(store, story_id)


async def test_work_never_shrinks_with_a_clock_set_back(store: StoryStore, clock: ManualClock) -> None:
    """What passed meanwhile is not counted; from then on it is."""
    story_id = await created(store)
    clock.advance(10)
    await checked(store, checkpoint(story_id))
    clock.advance(-3600)
    await checked(store, checkpoint(story_id))
    assert 10 == await worked(store, story_id)
    clock.advance(10)
    await checked(store, checkpoint(story_id))
    assert 20 == await worked(store, story_id)


@pytest.mark.parametrize("change", [Retry(), Narrate(VOICE)])
async def test_a_new_request_begins_with_no_work(
    store: StoryStore, clock: ManualClock, change: Retry | Narrate
) -> None:
    """Its run has all of its time."""
    story_id = await created(store, narrate=False)
    clock.advance(10)
    if isinstance(change, Retry):
        await checked(store, checkpoint(story_id, state=states.FAILED))
    else:
        await checked(store, checkpoint(story_id, state=states.READY, text=(0, "Once."), content_complete=True))
    assert 10 == await worked(store, story_id)
    clock.advance(10)
    record, _ = await store.update(ME, story_id, change, expected_revision=None)
    assert 0 == record.run.work_duration.ToMicroseconds()


async def test_a_released_story_takes_no_late_write(store: StoryStore) -> None:
    """Who gave a lease back holds nothing any more, and gives it back once."""
    story_id = await created(store)
    lease = storage_pb2.HeldLease(story_id=story_id, lease_token=await lease_token(store, story_id))
    old = storage_pb2.HeldLease(story_id=story_id, lease_token=9)
    assert [0, 1, 0] == [await store.release([old]), await store.release([lease]), await store.release([lease])]
    assert ["LEASE_LOST"] == await checked(store, checkpoint(story_id, text=(0, "late")))


async def test_one_token_says_nothing_about_another(store: StoryStore) -> None:
    """Neither that of another story nor the next one of the same; a guess is refused, and each claim counts up."""
    ids = [await created(store) for _ in range(12)]
    first = [await lease_token(store, story_id) for story_id in ids]
    # Steps of 44 random bits: that 3 of 12 fall within 2 ** 20 of the one before has a chance of 1e-20.
    steps = sorted(abs(one - other) for one, other in pairwise(first))
    assert steps[2] > 1 << 20
    assert min(first) > 0
    for guess in (1, 2, first[1] - 1, first[1] + 1, first[0], 2 * first[1] - first[0]):
        assert ["LEASE_LOST"] == await checked(store, checkpoint(ids[1], guess, text=(0, "not mine")))
    held = storage_pb2.HeldLease(story_id=ids[0], lease_token=first[0])
    assert 1 == await store.release([held])
    (claimed,) = await store.claim(LEASE, most=1, story_ids=())
    assert claimed.lease_token > first[0] + 1
    assert claimed.lease_token - first[0] not in {first[0], *steps}


# Changes.


async def test_a_rating_is_a_revision(store: StoryStore, clock: ManualClock) -> None:
    """It counts up once, and takes nothing from a run."""
    story_id = await created(store)
    clock.advance(1)
    record, changed = await store.update(ME, story_id, Rate(9), expected_revision=1)
    assert (True, 9, 2, clock.now()) == (
        changed,
        record.story.rating,
        record.story.revision,
        record.story.update_time.ToMicroseconds(),
    )
    assert (record, False) == await store.update(ME, story_id, Rate(9), expected_revision=None)
    assert [""] == await checked(store, checkpoint(story_id, text=(0, "Once")))


async def test_a_lost_race_on_the_revision_tells_both(store: StoryStore) -> None:
    """Nothing changes, and the caller learns where the story stands."""
    story_id = await created(store)
    await store.update(ME, story_id, Rate(9), expected_revision=1)
    with pytest.raises(DomainError, match="REVISION_MISMATCH") as caught:
        await store.update(ME, story_id, Rate(2), expected_revision=1)
    assert {"expected_revision": "1", "actual_revision": "2"} == caught.value.metadata
    assert 9 == (await store.get(ME, story_id, full=False)).story.rating


async def test_cancelling_fences_the_run(store: StoryStore, clock: ManualClock) -> None:
    """The story ends at once, what comes late is refused, and cancelling again changes nothing."""
    story_id = await created(store)
    record, changed = await store.update(ME, story_id, Cancel(), expected_revision=None)
    assert (True, states.CANCELLED, 2, clock.now(), False) == (
        changed,
        record.story.state,
        record.story.revision,
        record.story.end_time.ToMicroseconds(),
        record.run.HasField("lease_expire_time"),
    )
    assert ["WRONG_STATE"] == await checked(store, checkpoint(story_id, text=(0, "late")))
    assert (record, False) == await store.update(ME, story_id, Cancel(), expected_revision=1)
    assert [] == list(await store.claim(LEASE, most=9, story_ids=()))


async def test_cancelling_ends_the_ledger(store: StoryStore, clock: ManualClock) -> None:
    """Attempts under way are CANCELLED; the run may still store what they cost, and its generation record."""
    story_id, call, late = await created(store), new_id(), new_id()
    started = common_pb2.Attempt(attempt_id=call, outcome=common_pb2.ATTEMPT_OUTCOME_STARTED, provider="mock")
    done = common_pb2.Attempt(attempt_id=new_id(), outcome=common_pb2.ATTEMPT_OUTCOME_SUCCEEDED)
    await checked(store, checkpoint(story_id, attempts=[started, done]))
    clock.advance(1)
    await store.update(ME, story_id, Cancel(), expected_revision=None)
    ended, same = (await store.get(ME, story_id, full=True)).story.attempts
    assert ended.outcome == common_pb2.ATTEMPT_OUTCOME_CANCELLED
    assert ended.end_time.ToMicroseconds() == clock.now()
    assert same == done
    last = checkpoint(story_id, state=states.CANCELLED, generation=storage_pb2.GenerationRecord(model_used="m"))
    last.attempts.add(attempt_id=call, outcome=common_pb2.ATTEMPT_OUTCOME_CANCELLED, cost_usd=0.5)
    last.attempts.add(attempt_id=late, outcome=common_pb2.ATTEMPT_OUTCOME_STARTED)
    assert [""] == await checked(store, last)
    story = (await store.get(ME, story_id, full=True)).story
    assert story.model_used == "m"
    assert [attempt.cost_usd for attempt in story.attempts] == [0.5, 0, 0]
    assert story.attempts[2].outcome == common_pb2.ATTEMPT_OUTCOME_CANCELLED
    assert ["LEASE_LOST"] == await checked(store, checkpoint(story_id, 9, state=states.CANCELLED))
    running = await created(store)
    assert ["WRONG_STATE"] == await checked(store, checkpoint(running, state=states.CANCELLED))


@pytest.mark.parametrize("change", [Cancel(), Retry(), Narrate(VOICE)])
async def test_a_change_in_the_wrong_state_is_refused(store: StoryStore, change: Cancel | Retry | Narrate) -> None:
    """A failed story cannot be cancelled or narrated, a cancelled one not retried."""
    story_id = await created(store)
    if isinstance(change, Retry):
        await store.update(ME, story_id, Cancel(), expected_revision=None)
    else:
        await checked(store, checkpoint(story_id, state=states.FAILED))
    assert "WRONG_STATE" == await reason_of(store.update(ME, story_id, change, expected_revision=None))


async def test_a_failed_story_goes_on_from_what_it_has(store: StoryStore, clock: ManualClock) -> None:
    """Retrying makes it PENDING with its text, and can take the lease at once."""
    story_id = await created(store)
    await checked(store, checkpoint(story_id, state=states.FAILED, title="T", text=(0, "Once")))
    token = await lease_token(store, story_id)
    clock.advance(60)
    retry = Retry(RepeatKey("r-2", FINGERPRINT), LEASE)
    record, changed = await store.update(ME, story_id, retry, expected_revision=None)
    assert record.run.lease_token > token
    assert (True, states.PENDING, "T", "Once", False, 2, 0, 0) == (
        changed,
        record.story.state,
        record.story.title,
        record.story.content,
        record.story.HasField("end_time"),
        record.story.revision,
        record.run.pickup_count,
        record.run.work_duration.ToMicroseconds(),
    )
    assert (record, False) == await store.update(ME, story_id, retry, expected_revision=None)
    assert ["LEASE_LOST", ""] == [
        *await checked(store, checkpoint(story_id, token, state=states.FAILED)),
        *await checked(store, checkpoint(story_id, text=(4, " upon"))),
    ]


async def test_a_retry_without_a_lease_is_anybodys(store: StoryStore) -> None:
    """The run that failed cannot write to it any more, and the next claim does not count as a pick-up."""
    story_id = await created(store)
    await checked(store, checkpoint(story_id, state=states.FAILED))
    await store.update(ME, story_id, Retry(), expected_revision=None)
    assert ["LEASE_LOST"] == await checked(store, checkpoint(story_id, state=states.FAILED))
    (claimed,) = await store.claim(LEASE, most=1, story_ids=())
    assert 0 == claimed.pickup_count


async def test_a_repeated_change_needs_its_own_request_id(store: StoryStore) -> None:
    """An id that stood for another story, change or fingerprint is refused."""
    one = await finished(store, request_id="r-1")
    two = await finished(store)
    await store.update(ME, one, Narrate(VOICE, RepeatKey("r-2", FINGERPRINT)), expected_revision=None)
    reused: list[tuple[str, Narrate | Retry]] = [
        (one, Narrate(VOICE, RepeatKey("r-1", FINGERPRINT))),
        (two, Narrate(VOICE, RepeatKey("r-2", FINGERPRINT))),
        (one, Narrate(VOICE, RepeatKey("r-2", b"x" * 32))),
        (one, Retry(RepeatKey("r-2", FINGERPRINT))),
    ]
    assert ["REQUEST_ID_REUSED"] * 4 == [
        await reason_of(store.update(ME, story_id, change, expected_revision=None)) for story_id, change in reused
    ]


async def test_narrating_again_keeps_the_old_audio(stores: Stores) -> None:
    """A new manifest is begun, while audio and its segments stay until new audio is stored."""
    store = stores.stories
    story_id, kept = await narrated(stores)
    old = await store.find_audio(ME, story_id, "")
    assert isinstance(old, StoredAudio)
    record, changed = await store.update(ME, story_id, Narrate(VOICE, lease=LEASE), expected_revision=None)
    assert (True, states.NARRATING, VOICE, kept.audio_id, False, []) == (
        changed,
        record.story.state,
        record.story.voice,
        record.story.audio.audio_id,
        record.run.HasField("narration"),
        list(record.run.segments),
    )
    header, places = narration(), await stores.places(story_id, [7], "new")
    assert [""] == await checked(store, checkpoint(story_id, narration=header, segments=places))
    story = (await store.get(ME, story_id, full=True)).story
    assert await stores.places(story_id) == list(story.audio.segments)
    assert old == await store.find_audio(ME, story_id, "")
    new = common_pb2.StoryAudio(audio_id=header.audio_id, sha256=b"2" * 32, size_bytes=2)
    attached = await store.attach_audio(story_id, await lease_token(store, story_id), new, await stores.audio_key())
    assert [old.blob.key] == list(attached.dropped)
    assert old.blob.key in await stores.deleted()
    story = (await store.get(ME, story_id, full=True)).story
    assert (header.audio_id, places) == (story.audio.audio_id, list(story.audio.segments))


# Audio.


async def narrated(stores: Stores) -> tuple[str, common_pb2.StoryAudio]:
    """A READY story with a manifest of two segments, and its audio."""
    story_id = await created(stores.stories)
    audio = common_pb2.StoryAudio(audio_id=new_id(), sha256=b"1" * 32, size_bytes=20, content_type="audio/mpeg")
    audio.duration.FromMilliseconds(1_500)
    begun = checkpoint(
        story_id,
        state=states.NARRATING,
        text=(0, "x" * 10),
        content_complete=True,
        narration=narration(audio.audio_id),
        segments=await stores.places(story_id),
    )
    assert [""] == await checked(stores.stories, begun)
    await stores.stories.attach_audio(
        story_id, await lease_token(stores.stories, story_id), audio, await stores.audio_key()
    )
    assert [""] == await checked(stores.stories, checkpoint(story_id, state=states.READY))
    return story_id, audio


async def test_audio_has_the_segments_of_its_manifest(stores: Stores) -> None:
    """They are in the FULL view, and what is found to be read has none."""
    store = stores.stories
    story_id, audio = await narrated(stores)
    assert 2 == len((await store.get(ME, story_id, full=True)).story.audio.segments)
    assert audio == (await store.get(ME, story_id, full=False)).story.audio
    for audio_id in ("", audio.audio_id):
        found = await store.find_audio(ME, story_id, audio_id)
        assert isinstance(found, StoredAudio)
        assert audio == found.audio
        assert (found.blob.size, found.blob.sha256) == (20, b"1" * 32)
    assert await store.find_audio(ME, story_id, new_id()) is None
    (summary,) = await store.list_page(ME, common_pb2.StoryFilter(), limit=1, after=None)
    assert 1_500 == summary.audio_duration.ToMilliseconds()


async def test_audio_in_the_making_is_found_with_its_parts(stores: Stores) -> None:
    """Size and duration grow with the manifest; a part whose bytes are lost says so."""
    store = stores.stories
    story_id, header = await created(store), narration()
    assert await store.find_audio(ME, story_id, "") is None
    places = await stores.places(story_id, [10, 7])
    assert [""] == await checked(store, checkpoint(story_id, narration=header, segments=places[:1]))
    assert [""] == await checked(store, checkpoint(story_id, segments=places[1:]))
    found = await store.find_audio(ME, story_id, header.audio_id)
    assert isinstance(found, UnfinishedAudio)
    assert (found.audio.size_bytes, found.audio.duration.ToSeconds(), found.audio.sha256) == (17, 2, b"")
    assert (found.audio.provider, found.audio.content_type) == ("mock", "audio/mpeg")
    assert [(part.segment_key, part.size) for part in found.parts] == [
        (one.key, end) for one, end in zip(places, (10, 7), strict=True)
    ]
    second = found.parts[1].blob
    assert second is not None
    assert second.sha256 == places[1].sha256
    await stores.segments.drop(places[1].key, second.key)
    lost = await store.find_audio(ME, story_id, "")
    assert isinstance(lost, UnfinishedAudio)
    assert [part.blob is None for part in lost.parts] == [False, True]


async def test_a_manifest_is_for_the_run_that_holds_the_story(stores: Stores) -> None:
    """Another token, an ended story, another narration and an unknown story each say what is wrong."""
    store = stores.stories
    story_id, ended, header = await created(store), await finished(store), narration()
    places = await stores.places(story_id)
    begun = checkpoint(story_id, text=(0, "x" * 12), narration=header, segments=places)
    assert [""] == await checked(store, begun)
    token, old = await lease_token(store, story_id), await lease_token(store, ended)
    manifest = await store.manifest(story_id, token, header.audio_id)
    assert not isinstance(manifest, StoredAudio)
    assert (manifest.header, list(manifest.segments)) == (header, places)
    assert (manifest.content_length, manifest.content_complete) == (12, False)
    assert [part.segment_key for part in manifest.parts] == [one.key for one in places]
    for one, given, audio_id, reason in (
        (story_id, token + 1, header.audio_id, "LEASE_LOST"),
        (story_id, token, new_id(), "WRONG_STATE"),
        (ended, old, header.audio_id, "WRONG_STATE"),
        (new_id(), token, header.audio_id, "STORY_NOT_FOUND"),
    ):
        assert reason == await reason_of(store.manifest(one, given, audio_id))


async def test_attaching_again_keeps_the_first_bytes(stores: Stores) -> None:
    """The second copy is dropped, and the manifest of what is stored is the stored audio, after the end too."""
    store = stores.stories
    story_id, audio = await created(store), common_pb2.StoryAudio(audio_id=new_id(), sha256=b"1" * 32, size_bytes=1)
    first, second = await stores.audio_key(), await stores.audio_key()
    token = await lease_token(store, story_id)
    assert [] == list((await store.attach_audio(story_id, token, audio, first)).dropped)
    assert [second] == list((await store.attach_audio(story_id, token, audio, second)).dropped)
    assert {second} == await stores.deleted()
    await checked(store, checkpoint(story_id, state=states.READY, text=(0, "x"), content_complete=True))
    found = await store.manifest(story_id, token, audio.audio_id)
    assert isinstance(found, StoredAudio)
    assert found.blob.key == first
    assert "LEASE_LOST" == await reason_of(store.manifest(story_id, token + 1, audio.audio_id))


async def test_audio_needs_the_lease(stores: Stores) -> None:
    """An old token, an ended and an unknown story each say what is wrong, and the object stays as it was."""
    story_id, ended = await created(stores.stories), await finished(stores.stories)
    audio = common_pb2.StoryAudio(audio_id=new_id(), sha256=b"1" * 32, size_bytes=1)
    key = await stores.audio_key()
    token, old = await lease_token(stores.stories, story_id), await lease_token(stores.stories, ended)
    cases = [(story_id, token + 1, "LEASE_LOST"), (ended, old, "WRONG_STATE"), (new_id(), token, "STORY_NOT_FOUND")]
    for one, given, reason in cases:
        assert reason == await reason_of(stores.stories.attach_audio(one, given, audio, key))
    await stores.stories.attach_audio(story_id, token, audio, key)


async def test_audio_is_not_attached_without_a_note(stores: Stores) -> None:
    """Else its bytes could never be found again; the audio before it stays."""
    story_id = await created(stores.stories)
    kept = common_pb2.StoryAudio(audio_id=new_id(), sha256=b"1" * 32, size_bytes=1)
    token = await lease_token(stores.stories, story_id)
    await stores.stories.attach_audio(story_id, token, kept, await stores.audio_key())
    gone = await stores.audio_key()
    await stores.objects.mark_deleted([gone])
    other = common_pb2.StoryAudio(audio_id=new_id(), sha256=b"2" * 32, size_bytes=1)
    assert "STORAGE_CONFLICT" == await reason_of(stores.stories.attach_audio(story_id, token, other, gone))
    assert kept == (await stores.stories.get(ME, story_id, full=False)).story.audio


# Children, heroes and parents.


async def test_a_story_takes_its_child_and_hero_as_they_are(stores: Stores) -> None:
    """It has their ids and shows them as they were when it was asked for; lists find it by either."""
    mia = await stores.profiles.create(ME, common_pb2.Child(name="Mia", age=6), None)
    fox = await stores.profiles.create(ME, common_pb2.Hero(name="Captain Fox"), None)
    story_id = await created(
        stores.stories, child=None, child_id=mia.id, hero_id=fox.id, kind=common_pb2.STORY_KIND_COMBINED
    )
    await created(stores.stories)
    await stores.profiles.update(ME, common_pb2.Child(id=mia.id, name="Ada"), {"name"}, expected_revision=None)
    await stores.profiles.delete(ME, common_pb2.Hero, fox.id)
    story = (await stores.stories.get(ME, story_id, full=False)).story
    assert (mia.id, mia, fox.id, fox) == (story.child_id, story.child, story.hero_id, story.hero)
    for chosen in (
        common_pb2.StoryFilter(child_id=mia.id),
        common_pb2.StoryFilter(hero_id=fox.id),
        common_pb2.StoryFilter(child_name="Mia", hero_id=fox.id),
    ):
        (found,) = await stores.stories.list_page(ME, chosen, limit=9, after=None)
        assert (story_id, mia.id, fox.id, "Mia") == (found.id, found.child_id, found.hero_id, found.child_name)


async def test_what_a_story_names_must_be_there(stores: Stores) -> None:
    """For the same owner; what is refused leaves nothing, its request id neither."""
    theirs = await stores.profiles.create(OTHER, common_pb2.Child(name="Ben"), None)
    their_hero = await stores.profiles.create(OTHER, common_pb2.Hero(name="Owl"), None)
    their_story = await finished(stores.stories)
    unfinished = await created(stores.stories, request_id="r-0")
    for changes, reason in (
        ({"child_id": theirs.id}, "CHILD_NOT_FOUND"),
        ({"child_id": their_hero.id}, "CHILD_NOT_FOUND"),
        ({"hero_id": their_hero.id}, "HERO_NOT_FOUND"),
        ({"parent_story_id": new_id()}, "STORY_NOT_FOUND"),
        ({"parent_story_id": unfinished}, "WRONG_STATE"),
    ):
        new = new_story(request_id="r-1", **changes)  # type: ignore[arg-type]
        assert reason == await reason_of(stores.stories.create(ME, new))
        assert "STORY_NOT_FOUND" == await reason_of(stores.stories.get(ME, new.story_id, full=False))
    stranger = new_story(parent_story_id=their_story)
    assert "STORY_NOT_FOUND" == await reason_of(stores.stories.create(OTHER, stranger))
    assert (await stores.stories.create(ME, new_story(request_id="r-1")))[1]


async def test_a_repeated_request_does_not_need_what_it_named(stores: Stores) -> None:
    """It names the story that is there, whatever has become of the child since."""
    mia = await stores.profiles.create(ME, common_pb2.Child(name="Mia"), None)
    new = new_story(request_id="r-1", child_id=mia.id)
    record, _ = await stores.stories.create(ME, new)
    await stores.profiles.delete(ME, common_pb2.Child, mia.id)
    assert (record, False) == await stores.stories.create(ME, new)


async def test_sequel_retains_the_id_of_a_deleted_parent(store: StoryStore) -> None:
    """It says which story it continues; what is known of that one is asked for by its id."""
    parent = await created(store, narrate=False)
    end = checkpoint(parent, state=states.READY, title="The Owl", text=(0, "Once."), content_complete=True)
    assert [""] == await checked(store, end)
    record, _ = await store.create(ME, new_story(parent_story_id=parent))
    assert parent == record.story.parent_story_id
    await store.delete(ME, parent)
    assert parent == (await store.get(ME, record.story.id, full=True)).story.parent_story_id


async def test_an_embedded_store_names_itself_among_the_embedded_parts(stores: Stores) -> None:
    """From the beginning, and once; another one does not."""
    own = ["store"] if stores.embedded else []
    record, _ = await stores.stories.create(ME, new_story(lease=LEASE))
    assert own == list(record.story.embedded_parts)
    await checked(stores.stories, checkpoint(record.story.id, embedded_parts=["writer", *own, "writer"]))
    assert [*own, "writer"] == list((await stores.stories.get(ME, record.story.id, full=False)).story.embedded_parts)


# Deleting.


async def test_deleting_leaves_a_tombstone(stores: Stores) -> None:
    """The story is gone with all it had, and whoever asks again by its ids learns that."""
    store = stores.stories
    story_id, _ = await narrated(stores)
    found = await store.find_audio(ME, story_id, "")
    assert isinstance(found, StoredAudio)
    deleted = await store.delete(ME, story_id)
    assert 3 == len(deleted)
    assert found.blob.key in deleted
    assert set(deleted) == await stores.deleted()
    assert "STORY_NOT_FOUND" == await reason_of(store.get(ME, story_id, full=False))
    assert "STORY_NOT_FOUND" == await reason_of(store.delete(ME, story_id))
    assert "STORY_DELETED" == await reason_of(store.create(ME, new_story(story_id=story_id)))


async def test_segments_that_another_story_uses_stay(stores: Stores) -> None:
    """They go with the last story."""
    mine, other = await created(stores.stories), await created(stores.stories)
    (place,) = await stores.places(mine, [10], "same")
    assert [""] == await checked(stores.stories, checkpoint(other, narration=narration(), segments=[place]))
    assert [] == list(await stores.stories.delete(ME, mine))
    assert await stores.segments.get(place.key) is not None
    assert 1 == len(await stores.stories.delete(ME, other))
    assert await stores.segments.get(place.key) is None


async def test_a_repeated_request_learns_that_its_story_was_deleted(store: StoryStore) -> None:
    """The tombstone answers for every request that was about the story, whatever comes under its id."""
    story_id = await created(store, request_id="r-1")
    await checked(store, checkpoint(story_id, state=states.FAILED))
    retry = Retry(RepeatKey("r-2", FINGERPRINT))
    await store.update(ME, story_id, retry, expected_revision=None)
    await store.delete(ME, story_id)
    assert "STORY_DELETED" == await reason_of(store.create(ME, new_story(request_id="r-1")))
    assert "STORY_DELETED" == await reason_of(store.update(ME, story_id, retry, expected_revision=None))
    other = new_story(request_id="r-1", fingerprint=b"x" * 32)
    assert "STORY_DELETED" == await reason_of(store.create(ME, other))


async def test_a_running_story_can_be_deleted(store: StoryStore) -> None:
    """What its run still sends finds nothing."""
    story_id = await created(store)
    await store.delete(ME, story_id)
    assert ["STORY_NOT_FOUND"] == await checked(store, checkpoint(story_id, text=(0, "late")))


# Following.


async def test_following_returns_what_is_new(stores: Stores, clock: ManualClock) -> None:
    """Behind each position, in order; nothing where nothing is."""
    store = stores.stories
    story_id, header = await created(store), narration()
    places = await stores.places(story_id, [10, 10, 10])
    problems = [common_pb2.Problem(reason=reason) for reason in ("A", "B")]
    text = "Once upon 🐉 a time."
    await checked(store, checkpoint(story_id, state=states.WRITING, title="T", text=(0, text[:7])))
    await checked(store, checkpoint(story_id, text=(7, text[7:]), narration=header, segments=places, problems=problems))
    known = storage_pb2.StoryPosition(
        story_id=story_id,
        state=states.WRITING,
        text_length=len(text),
        audio_id=header.audio_id,
        segment_count=3,
        problem_count=2,
    )
    assert ([], False) == await followed(stores, known)
    behind = storage_pb2.StoryPosition(story_id=story_id, text_length=9, audio_id=header.audio_id, segment_count=1)
    gone, deleted = storage_pb2.StoryPosition(story_id=new_id()), await created(store)
    await store.delete(ME, deleted)
    changes, truncated = await followed(stores, gone, behind, storage_pb2.StoryPosition(story_id=deleted))
    assert not truncated
    assert [(one.story_id, one.deleted) for one in changes] == [
        (gone.story_id, True),
        (story_id, False),
        (deleted, True),
    ]
    change = changes[1]
    assert (change.state, change.leased, change.title, change.content_complete) == (states.WRITING, True, "T", False)
    assert (change.text.offset, change.text.text) == (9, text[9:])
    assert not change.HasField("narration")
    assert list(change.segments) == places[1:]
    assert list(change.problems) == problems
    behind.audio_id = new_id()
    ((change,), _) = await followed(stores, behind)
    assert change.narration == header
    assert list(change.segments) == places
    clock.advance(60)
    ((change,), _) = await followed(stores, behind)
    assert not change.leased


async def test_following_one_s_own_story_returns_its_end_alone(stores: Stores, clock: ManualClock) -> None:
    """Or that another run has it."""
    store = stores.stories
    story_id = await created(store)
    await checked(store, checkpoint(story_id, state=states.WRITING, title="T", text=(0, "Once")))
    mine = storage_pb2.StoryPosition(story_id=story_id, lease_token=await lease_token(store, story_id))
    assert ([], False) == await followed(stores, mine)
    clock.advance(60)
    await store.claim(LEASE, most=1, story_ids=())
    taken = storage_pb2.StoryChange(story_id=story_id, state=states.WRITING, leased=True)
    assert ([taken], False) == await followed(stores, mine)
    mine.lease_token = await lease_token(store, story_id)
    assert ([], False) == await followed(stores, mine)
    await store.update(ME, story_id, Cancel(), expected_revision=None)
    ended = storage_pb2.StoryChange(story_id=story_id, state=states.CANCELLED)
    assert ([ended], False) == await followed(stores, mine)


async def test_what_a_position_does_not_say_is_repeated(stores: Stores) -> None:
    """A title before the first text, and whole text before the narration begins."""
    story_id = await created(stores.stories)
    known = storage_pb2.StoryPosition(story_id=story_id, state=states.WRITING)
    await checked(stores.stories, checkpoint(story_id, state=states.WRITING, title="T"))
    assert ["T"] == [one.title for one in (await followed(stores, known))[0]]
    await checked(stores.stories, checkpoint(story_id, text=(0, "Once")))
    known.text_length = 4
    assert ([], False) == await followed(stores, known)
    await checked(stores.stories, checkpoint(story_id, content_complete=True))
    assert [True] == [one.content_complete for one in (await followed(stores, known))[0]]


async def test_what_does_not_fit_is_left_to_the_next_call(stores: Stores) -> None:
    """Whole stories, and segments of the last one; there is always some progress."""
    store = stores.stories
    one, two = await created(store), await created(store)
    for story_id in (one, two):
        places = await stores.places(story_id, [10] * 20)
        await checked(store, checkpoint(story_id, text=(0, "x" * 500), narration=narration(), segments=places))
    positions = {story_id: storage_pb2.StoryPosition(story_id=story_id) for story_id in (one, two)}
    seen = dict.fromkeys(positions, 0)
    for _ in range(100):
        changes, truncated = await stores.stories.follow(list(positions.values()), max_bytes=1_000)
        assert changes
        for change in changes:
            position = positions[change.story_id]
            position.state, position.text_length = change.state, position.text_length + len(change.text.text)
            position.audio_id = change.narration.audio_id or position.audio_id
            position.segment_count += len(change.segments)
            seen[change.story_id] += len(change.segments)
        if not truncated:
            break
    assert list(seen.values()) == [20, 20]
    assert [position.text_length for position in positions.values()] == [500, 500]


async def followed(stores: Stores, *positions: storage_pb2.StoryPosition) -> tuple[list[storage_pb2.StoryChange], bool]:
    """What is new, and whether that is not all."""
    changes, truncated = await stores.stories.follow(positions, max_bytes=1 << 19)
    return list(changes), truncated


# Lists.


async def test_pages_stay_where_they_were_while_stories_arrive(store: StoryStore, clock: ManualClock) -> None:
    """Going on behind the last story neither repeats nor skips one, also among stories of the same moment."""
    kept = []
    for number in range(7):
        clock.advance(number % 2)
        kept.append(await created(store))
    expected = sorted(kept[:1]) + sorted(kept[1:3]) + sorted(kept[3:5]) + sorted(kept[5:])
    seen: list[str] = []
    after = None
    while page := await store.list_page(ME, common_pb2.StoryFilter(), limit=2, after=after):
        seen += [summary.id for summary in page]
        after = Position(page[-1].create_time.ToMicroseconds(), page[-1].id)
        clock.advance(1)
        await created(store)
    assert expected[::-1] == seen


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (common_pb2.StoryFilter(), "DCBA"),
        (common_pb2.StoryFilter(child_name="Ben"), "B"),
        (common_pb2.StoryFilter(language_code="de"), "C"),
        (common_pb2.StoryFilter(kind=common_pb2.STORY_KIND_HERO), "D"),
        (common_pb2.StoryFilter(states=[states.FAILED]), "A"),
        (common_pb2.StoryFilter(states=[states.FAILED, states.READY]), "BA"),
        (common_pb2.StoryFilter(min_rating=5), "DC"),
        (common_pb2.StoryFilter(max_rating=5), "C"),
        (common_pb2.StoryFilter(min_rating=5, max_rating=5, language_code="de"), "C"),
        (common_pb2.StoryFilter(min_rating=5, child_name="Ben"), ""),
    ],
)
async def test_a_filter_chooses(
    store: StoryStore, clock: ManualClock, chosen: common_pb2.StoryFilter, expected: str
) -> None:
    """All that is set in a filter must hold."""
    names = {}
    for name, changes in {
        "A": {},
        "B": {"child": common_pb2.Child(name="Ben")},
        "C": {"language_code": "de"},
        "D": {"kind": common_pb2.STORY_KIND_HERO},
    }.items():
        story_id = await finished(store, **changes) if name == "B" else await created(store, **changes)  # type: ignore[arg-type]
        names[story_id] = name
        clock.advance(1)
    by_name = {name: story_id for story_id, name in names.items()}
    await checked(store, checkpoint(by_name["A"], state=states.FAILED))
    await store.update(ME, by_name["C"], Rate(5), expected_revision=None)
    await store.update(ME, by_name["D"], Rate(9), expected_revision=None)
    page = await store.list_page(ME, chosen, limit=10, after=None)
    assert expected == "".join(names[summary.id] for summary in page)


_WORDS = "The small owl slept. " * 20


@pytest.mark.parametrize(
    ("texts", "excerpt"),
    [
        ([], ""),
        (["Once\n\nupon  a time."], "Once upon a time."),
        (["The small owl slept. "] * 20, f"{_WORDS[:198]}\u2026"),
        ([_WORDS], f"{_WORDS[:198]}\u2026"),
        (["\U0001f989" * 300], "\U0001f989" * 199 + "\u2026"),
    ],
)
async def test_list_shows_the_beginning_of_each_text(store: StoryStore, texts: list[str], excerpt: str) -> None:
    """On one line, at most 200 characters, cut at a word."""
    story_id, offset = await created(store), 0
    for text in texts:
        assert [""] == await checked(store, checkpoint(story_id, state=states.WRITING, title="T", text=(offset, text)))
        offset += len(text)
    (listed,) = await store.list_page(ME, common_pb2.StoryFilter(), limit=1, after=None)
    assert excerpt == listed.excerpt


# The outline.

OUTLINE = common_pb2.StoryOutline(
    title="The Cave",
    setting="a cave",
    companion="a fox",
    plot_shape="search",
    mood="quiet",
    gift="a lamp",
    scenes=[common_pb2.OutlineScene(purpose="They set out.", words=90, key="gate"), common_pb2.OutlineScene(key="bed")],
)


async def outlined(store: StoryStore, **changes: object) -> str:
    """Id of a story that is planned and has no text yet."""
    story_id = await created(store, **changes)  # type: ignore[arg-type]
    assert [""] == await checked(store, checkpoint(story_id, state=states.WRITING, outline=OUTLINE))
    return story_id


async def test_outline_is_stored_before_the_text(store: StoryStore, clock: ManualClock) -> None:
    """It changes the story, but is no progress: a run that makes nothing else ends after some claims."""
    story_id = await outlined(store)
    clock.advance(60)
    later = common_pb2.StoryOutline(title="The Cave", scenes=[common_pb2.OutlineScene(words=1)])
    await store.claim(LEASE, most=1, story_ids=())
    assert [""] == await checked(store, checkpoint(story_id, outline=later))
    record = await store.get(ME, story_id, full=False)
    assert later == record.story.outline
    assert clock.now() == record.story.update_time.ToMicroseconds()
    assert 1 == record.run.pickup_count
    assert [""] == await checked(store, checkpoint(story_id, text=(0, "Once")))
    assert later == (await store.get(ME, story_id, full=True)).story.outline


async def test_refused_or_late_checkpoint_brings_no_outline(store: StoryStore) -> None:
    """One that ends the story does; one that comes after the end does not."""
    one, two = await outlined(store), await created(store)
    other = common_pb2.StoryOutline(title="Other")
    refused = [checkpoint(one, 7, outline=other), checkpoint(two, text=(9, "x"), outline=other)]
    assert ["LEASE_LOST", "CHECKPOINT_CONFLICT"] == await checked(store, *refused)
    assert OUTLINE == (await store.get(ME, one, full=False)).story.outline
    assert not (await store.get(ME, two, full=False)).story.HasField("outline")
    last = checkpoint(two, state=states.FAILED, outline=OUTLINE)
    assert ["", ""] == [
        *await checked(store, last),
        *await checked(store, checkpoint(two, state=states.FAILED, outline=other)),
    ]
    assert OUTLINE == (await store.get(ME, two, full=False)).story.outline


async def test_failed_story_retains_its_outline_when_it_is_retried(store: StoryStore) -> None:
    """Its text continues."""
    story_id = await outlined(store)
    await checked(store, checkpoint(story_id, state=states.FAILED, title="T", text=(0, "Once")))
    record, _ = await store.update(ME, story_id, Retry(lease=LEASE), expected_revision=None)
    assert OUTLINE == record.story.outline


async def test_list_has_the_outline_of_each_story_without_its_purposes(store: StoryStore, clock: ManualClock) -> None:
    """A story without an outline has its title alone."""
    plain = await finished(store)
    clock.advance(1)
    planned = await outlined(store)
    page = await store.list_page(ME, common_pb2.StoryFilter(child_name="Mia"), limit=9, after=None)
    expected = common_pb2.StoryOutline()
    expected.CopyFrom(OUTLINE)
    expected.scenes[0].purpose = ""
    assert [planned, plain] == [summary.id for summary in page]
    assert expected == page[0].outline
    assert not page[1].HasField("outline")


async def test_erased_child_leaves_no_outline(stores: Stores) -> None:
    """It goes with the story."""
    child = await stores.profiles.create(ME, common_pb2.Child(name="Mia", age=6), None)
    story_id = await outlined(stores.stories, child_id=child.id)
    await stores.removals.erase_child(ME, child.id)
    assert "STORY_NOT_FOUND" == await reason_of(stores.stories.get(ME, story_id, full=True))
    assert [] == list(await stores.stories.list_page(ME, common_pb2.StoryFilter(), limit=9, after=None))


@pytest.mark.parametrize("reason", ["SHORTER_THAN_ASKED", "WISH_NOT_UNDERSTOOD"])
async def test_problem_of_the_text_stands_in_a_finished_story(stores: Stores, reason: str) -> None:
    """Also while it is narrated again and after that: it is still so."""
    story_id, problem = await created(stores.stories, narrate=False), common_pb2.Problem(reason=reason)
    written = checkpoint(story_id, title="T", text=(0, "Once upon a time."), content_complete=True, problems=[problem])
    assert [""] == await checked(stores.stories, written)
    assert [""] == await checked(stores.stories, checkpoint(story_id, state=states.READY))
    for change in (None, Narrate(VOICE, lease=LEASE)):
        if change is not None:
            await stores.stories.update(ME, story_id, change, expected_revision=None)
        record = await stores.stories.get(ME, story_id, full=False)
        assert [reason] == [each.reason for each in record.story.problems]


async def test_times_choose_at_or_after_and_before(store: StoryStore, clock: ManualClock) -> None:
    """A bound is in the first filter and out of the second."""
    stories = []
    for _ in range(3):
        stories.append(await created(store))
        clock.advance(1)
    bound = (await store.get(ME, stories[1], full=False)).story.create_time
    after, before = common_pb2.StoryFilter(created_after=bound), common_pb2.StoryFilter(created_before=bound)
    answers = [await store.list_page(ME, chosen, limit=10, after=None) for chosen in (after, before)]
    assert [[stories[2], stories[1]], [stories[0]]] == [[summary.id for summary in answer] for answer in answers]
