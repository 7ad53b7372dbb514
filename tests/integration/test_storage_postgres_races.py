"""Many at once over the functions of the schema, on a PostgreSQL with many connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import psycopg
import pytest
from support.postgres_store import over_postgres

from servicekit.errors import DomainError
from servicekit.ids import new_id
from standins.storage_kit import (
    FINGERPRINT,
    LEASE,
    ManualClock,
    Speech,
    add_segments,
    checkpoint,
    held,
    lease_token,
    narration,
    new_story,
    speech,
    write_held,
)
from storage_service.records import Cancel, Narrate, NewStory, ObjectKey, ObjectKind, RepeatKey, Retry
from storage_service.stories import states
from storage_service.supabase.audio import SupabaseObjectNotes, SupabaseRemovalStore, SupabaseSegmentStore
from storage_service.supabase.connection import Connection
from storage_service.supabase.profiles import SupabaseProfileStore
from storage_service.supabase.schema import migrate
from storage_service.supabase.stories import SupabaseStoryStore
from tale.common.v1 import common_pb2
from tale.storage.v1 import segment_pb2, storage_pb2

ME = "mia"
FAILED = common_pb2.STORY_STATE_FAILED
AT_ONCE = 16
HOUR = 3_600 * 1_000_000


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    """A database of its own, and a connection with many sessions to it, as the least role that serves."""
    await migrate(database, lambda _: None)
    async with over_postgres(database, ManualClock(), role="tales_service") as it:
        yield it


@pytest.fixture
def stories(connection: Connection) -> SupabaseStoryStore:
    """The store of the stories."""
    return SupabaseStoryStore(connection)


async def outcomes(*calls: Awaitable[object]) -> list[str]:
    """How calls end that are made at once: "", or the reason."""

    async def one(call: Awaitable[object]) -> str:
        try:
            await call
        except DomainError as error:
            return error.reason
        return ""

    return await asyncio.gather(*(one(call) for call in calls))


def spoken(provider: str) -> common_pb2.Attempt:
    """A call that spoke ten characters."""
    outcome = common_pb2.ATTEMPT_OUTCOME_SUCCEEDED
    return common_pb2.Attempt(
        attempt_id=new_id(), kind=common_pb2.ATTEMPT_KIND_SPEECH_CALL, provider=provider, outcome=outcome, characters=10
    )


async def used(stories: SupabaseStoryStore) -> int:
    """The characters that were counted."""
    return sum(each.characters for each in await stories.usage(ME, 1))


async def test_racing_creates_with_a_request_id_make_one_story(stories: SupabaseStoryStore) -> None:
    """Each caller gets it, and one of them is told that it is new; another request under that id is refused."""
    for number in range(10):
        new = [new_story(request_id=f"r-{number}", lease=LEASE) for _ in range(AT_ONCE)]
        answers = await asyncio.gather(*(stories.create(ME, one) for one in new))
        assert 1 == sum(created for _, created in answers)
        (kept,) = {record.story.id for record, _ in answers}
        assert 1 == len({record.run.lease_token for record, _ in answers})
        page = await stories.list_page(ME, common_pb2.StoryFilter(), limit=100, after=None)
        assert kept == page[0].id or kept in {summary.id for summary in page}
        assert number + 1 == len(page)
    other = new_story(request_id="r-0", fingerprint=b"x" * 32)
    assert ["REQUEST_ID_REUSED"] == await outcomes(stories.create(ME, other))


async def test_racing_creates_of_different_requests_under_one_id_let_one_win(stories: SupabaseStoryStore) -> None:
    """The others are refused, and leave no story."""
    # From 1 on: zeros stand for a request whose content was erased, which any other repeats.
    new = [new_story(request_id="r-1", fingerprint=bytes([number]) * 32) for number in range(1, AT_ONCE + 1)]
    reasons = await outcomes(*(stories.create(ME, one) for one in new))
    assert ["", *["REQUEST_ID_REUSED"] * (AT_ONCE - 1)] == sorted(reasons)
    assert 1 == len(await stories.list_page(ME, common_pb2.StoryFilter(), limit=100, after=None))


async def test_racing_creates_with_a_story_id_make_one_story(stories: SupabaseStoryStore) -> None:
    """The id is the caller's, and may come twice."""
    new = new_story(lease=LEASE)
    answers = await asyncio.gather(*(stories.create(ME, new) for _ in range(AT_ONCE)))
    assert 1 == sum(created for _, created in answers)
    assert 1 == len({record.run.lease_token for record, _ in answers})


async def test_racing_creates_make_one_child(connection: Connection) -> None:
    """Uniqueness is (owner, request id)."""
    profiles = SupabaseProfileStore(connection)
    repeat = RepeatKey("r-1", FINGERPRINT)
    made = await asyncio.gather(*(profiles.create(ME, common_pb2.Child(name="Mia"), repeat) for _ in range(AT_ONCE)))
    assert 1 == len({child.id for child in made})
    assert 1 == len(await profiles.list_page(ME, common_pb2.Child, limit=100, after=None))


async def test_of_racing_changes_on_one_revision_one_wins(connection: Connection) -> None:
    """The others learn that they lost."""
    profiles = SupabaseProfileStore(connection)
    mia = await profiles.create(ME, common_pb2.Child(name="Mia"), None)
    names = [f"Mia {number}" for number in range(AT_ONCE)]
    reasons = await outcomes(
        *(profiles.update(ME, common_pb2.Child(id=mia.id, name=name), {"name"}, expected_revision=1) for name in names)
    )
    assert ["", *["REVISION_MISMATCH"] * (AT_ONCE - 1)] == sorted(reasons)
    assert 2 == (await profiles.get(ME, common_pb2.Child, mia.id)).revision


@pytest.mark.parametrize("again", [Retry, lambda repeat, lease: Narrate(common_pb2.VoiceSelection(), repeat, lease)])
async def test_a_request_to_go_on_that_comes_twice_at_once_is_one(
    stories: SupabaseStoryStore, again: Callable[..., Retry | Narrate]
) -> None:
    """The second finds what the first did."""
    new = new_story(lease=LEASE, narrate=False)
    await stories.create(ME, new)
    change = again(RepeatKey("r-1", FINGERPRINT), LEASE)
    ended = states.FAILED if isinstance(change, Retry) else states.READY
    end = checkpoint(new.story_id, state=ended, text=(0, "Once."), content_complete=True)
    await write_held(stories, end)
    answers = await asyncio.gather(
        *(stories.update(ME, new.story_id, change, expected_revision=None) for _ in range(AT_ONCE))
    )
    assert 1 == sum(changed for _, changed in answers)
    assert {2} == {record.story.revision for record, _ in answers}
    assert 1 == len({record.run.lease_token for record, _ in answers})


async def test_batches_that_name_the_same_stories_never_wait_for_each_other_for_good(
    stories: SupabaseStoryStore,
) -> None:
    """Whatever order they name them in; each holds, since each says the same."""
    new = [new_story(lease=LEASE) for _ in range(20)]
    for one in new:
        await stories.create(ME, one)
    text = ""
    for _ in range(5):
        batch = await held(stories, *(checkpoint(one.story_id, text=(len(text), "Once upon ")) for one in new))
        text += "Once upon "
        orders = [batch, batch[::-1], batch[10:] + batch[:10], batch[::2] + batch[1::2]]
        answers = await asyncio.gather(*(stories.checkpoint(LEASE, order) for order in orders))
        assert {""} == {result.error.reason for answer in answers for result in answer}
    assert {text} == {(await stories.get(ME, one.story_id, full=False)).story.content for one in new}


async def test_a_run_that_is_cancelled_while_it_writes_stays_cancelled(stories: SupabaseStoryStore) -> None:
    """Whichever comes first, what comes after it is refused or harmless."""
    for _ in range(20):
        new = new_story(lease=LEASE)
        await stories.create(ME, new)
        writes = [
            write_held(stories, checkpoint(new.story_id, text=(0, "Once upon a time."[:length])))
            for length in (4, 9, 17)
        ]
        reasons = await outcomes(*writes, stories.update(ME, new.story_id, Cancel(), expected_revision=None))
        assert [""] * 4 == reasons
        record = await stories.get(ME, new.story_id, full=False)
        assert states.CANCELLED == record.story.state
        assert "Once upon a time.".startswith(record.story.content)


async def test_deleting_while_audio_is_attached_loses_no_file(
    connection: Connection, stories: SupabaseStoryStore
) -> None:
    """Either the story had it, and its object is deleted with it, or attaching is refused and its note grows old."""
    objects = SupabaseObjectNotes(connection)
    for _ in range(20):
        new = new_story(lease=LEASE)
        await stories.create(ME, new)
        (key,) = await objects.note(ObjectKind.AUDIO, 1)
        audio = common_pb2.StoryAudio(audio_id=new_id(), sha256=b"1" * 32)
        attached, deleted = await outcomes(
            stories.attach_audio(new.story_id, await lease_token(stories, new.story_id), audio, key),
            stories.delete(ME, new.story_id),
        )
        assert "" == deleted
        assert attached in {"", "STORY_NOT_FOUND"}
        left = await objects.take_deleted(grace=HOUR, most=100)
        assert (attached == "") == (key in left)
        assert [key] == await objects.take_deleted(grace=-1, most=100)
        await objects.remove_notes([key])


async def test_a_child_that_is_erased_while_stories_are_asked_for_is_gone(connection: Connection) -> None:
    """No story of it is left behind, or the next call finds it."""
    stories, profiles, removals = (
        SupabaseStoryStore(connection),
        SupabaseProfileStore(connection),
        SupabaseRemovalStore(connection),
    )
    for _ in range(10):
        mia = await profiles.create(ME, common_pb2.Child(name="Mia"), None)
        new = [new_story(child_id=mia.id) for _ in range(6)]
        await outcomes(*(stories.create(ME, one) for one in new), removals.erase_child(ME, mia.id))
        await outcomes(removals.erase_child(ME, mia.id))
        assert [] == list(await stories.list_page(ME, common_pb2.StoryFilter(child_id=mia.id), limit=10, after=None))
        assert ["CHILD_NOT_FOUND"] == await outcomes(stories.create(ME, new_story(child_id=mia.id)))


@pytest.mark.parametrize(
    "quota",
    [
        storage_pb2.Quota(max_unfinished=5),
        storage_pb2.Quota(max_stories_per_day=5),
        storage_pb2.Quota(max_characters_per_day=5 * 5 * 800),
        storage_pb2.Quota(max_usd_per_day=2.5, usd_per_minute=0.1),
        storage_pb2.Quota(max_waiting=5),
    ],
    ids=["at once", "a day", "characters", "dollars", "waiting"],
)
async def test_of_stories_at_the_edge_of_a_quota_as_many_pass_as_may(database: str, quota: storage_pb2.Quota) -> None:
    """Over sixteen sessions of two gateways; those of another owner and of earlier stories do not count."""
    await migrate(database, lambda _: None)
    async with over_postgres(database, ManualClock()) as one, over_postgres(database, ManualClock()) as other:
        gateways = [SupabaseStoryStore(one), SupabaseStoryStore(other)]
        new = [new_story() for _ in range(24)]
        asked = [NewStory(each.story_id, each.spec, each.story, each.repeat, each.lease, quota) for each in new]
        ended = await outcomes(*(gateways[number % 2].create(ME, each) for number, each in enumerate(asked)))
        assert ["", "CALLER_QUOTA_EXCEEDED"] == sorted(set(ended))
        assert 5 == ended.count("")


async def test_of_stories_continued_at_the_edge_of_a_quota_as_many_pass_as_may(stories: SupabaseStoryStore) -> None:
    """Beside new ones, too."""
    quota = storage_pb2.Quota(max_unfinished=5)
    failed = []
    for _ in range(12):
        record, _ = await stories.create(ME, new_story(lease=LEASE))
        await stories.checkpoint(LEASE, [checkpoint(record.story.id, record.run.lease_token, state=FAILED)])
        failed.append(record.story.id)
    again = Retry(None, None, quota)
    new = [new_story() for _ in range(12)]
    ended = await outcomes(
        *(stories.update(ME, story_id, again, expected_revision=None) for story_id in failed),
        *(stories.create(ME, NewStory(x.story_id, x.spec, x.story, x.repeat, x.lease, quota)) for x in new),
    )
    assert 5 == ended.count("")


async def test_what_is_used_is_counted_beside_erasures_and_in_any_order(connection: Connection) -> None:
    """Runs of many stories count the same lines of usage at once, while children are erased: none waits for good."""
    stories, profiles, removals = (
        SupabaseStoryStore(connection),
        SupabaseProfileStore(connection),
        SupabaseRemovalStore(connection),
    )
    providers = [f"provider-{number}" for number in range(6)]
    for _ in range(6):
        children = [(await profiles.create(ME, common_pb2.Child(name="Mia"), None)).id for _ in range(4)]
        made = [
            await stories.create(ME, new_story(child_id=child, lease=LEASE)) for child in children for _ in range(3)
        ]
        before = await used(stories)
        batches = [
            [
                checkpoint(
                    record.story.id,
                    record.run.lease_token,
                    attempts=[spoken(each) for each in (providers if number % 2 else providers[::-1])],
                )
            ]
            for number, (record, _) in enumerate(made)
        ]
        results, _ = await asyncio.gather(
            asyncio.gather(*(stories.checkpoint(LEASE, batch) for batch in batches)),
            asyncio.gather(*(removals.erase_child(ME, child) for child in children)),
        )
        stored = sum(not each.HasField("error") for batch in results for each in batch)
        assert before + 10 * len(providers) * stored == await used(stories)
    entries = await stories.usage(ME, 1)
    assert not any(child in str(each) or "Mia" in str(each) for each in entries for child in children)


async def test_released_leases_go_to_one_claimer_each(stories: SupabaseStoryStore) -> None:
    """Giving back and claiming at once."""
    new = [new_story() for _ in range(40)]
    for one in new:
        await stories.create(ME, one)
    held = await stories.claim(LEASE, most=40, story_ids=())
    leases = [storage_pb2.HeldLease(story_id=one.story_id, lease_token=one.lease_token) for one in held]
    claiming = [asyncio.create_task(stories.claim(LEASE, most=7, story_ids=())) for _ in range(8)]
    released = await stories.release(leases)
    claims = await asyncio.gather(*claiming)
    later = [await stories.claim(LEASE, most=40, story_ids=())]
    claimed = [one.story_id for claim in [*claims, *later] for one in claim]
    assert (40, 40, {one.story_id for one in new}) == (released, len(claimed), set(claimed))


# Segments.


@pytest.fixture
def segments(connection: Connection) -> SupabaseSegmentStore:
    """The segment store."""
    return SupabaseSegmentStore(connection)


@pytest.fixture
def objects(connection: Connection) -> SupabaseObjectNotes:
    """The notes of objects."""
    return SupabaseObjectNotes(connection)


def lookups(spoken: Sequence[Speech], story_id: str) -> list[segment_pb2.SegmentLookup]:
    """What a voice service asks for."""
    return [segment_pb2.SegmentLookup(key=one.stored.key, story_id=story_id) for one in spoken]


async def check_books(database: str) -> None:
    """The total is that of the segments, each segment has its object, and no other object of a segment is STORED."""
    async with await psycopg.AsyncConnection.connect(database) as asked:
        row = await (
            await asked.execute(
                "select (select coalesce(sum(size_bytes), 0) from tales.segments)"
                " = (select coalesce(sum(size_bytes), 0) from tales.segment_total),"
                " (select array_agg(object_id order by object_id) from tales.segments)"
                " is not distinct from (select array_agg(object_id order by object_id) from tales.objects"
                " where kind = 'segment' and state = 'STORED')"
            )
        ).fetchone()
    assert row == (True, True)


async def test_of_racing_puts_under_one_key_the_first_is_stored(
    segments: SupabaseSegmentStore, objects: SupabaseObjectNotes, database: str
) -> None:
    """Each caller gets it; the objects of the others are to be removed."""
    for number in range(10):
        (one,) = speech([100], str(number))
        keys = await objects.note(ObjectKind.SEGMENT, AT_ONCE)
        added = await asyncio.gather(*(segments.add(one.stored, key, "") for key in keys))
        assert 1 == sum(answer.created for answer in added)
        found = await segments.get(one.stored.key)
        assert found is not None
        dropped = await objects.take_deleted(grace=HOUR, most=1_000)
        assert {*keys} == {*dropped, found.blob.key}
        await objects.remove_notes(dropped)
    await check_books(database)


async def test_a_segment_in_use_survives_eviction_that_races_with_its_use(
    stories: SupabaseStoryStore,
    segments: SupabaseSegmentStore,
    objects: SupabaseObjectNotes,
    database: str,
) -> None:
    """What was returned as stored for an unfinished story stays, whichever call comes first."""
    for number in range(20):
        spoken = speech([10] * 8, str(number))
        await add_segments(segments, objects, spoken, "")
        new = new_story(lease=LEASE)
        await stories.create(ME, new)
        found, _ = await asyncio.gather(
            segments.find(lookups(spoken, new.story_id)),
            asyncio.gather(*(segments.evict(down_to) for down_to in (60, 0, 40, 20))),
        )
        left = await segments.find(lookups(spoken, ""))
        assert {one.key for one in found} == {one.key for one in left}
        await stories.delete(ME, new.story_id)
    await check_books(database)


async def test_stories_that_share_segments_come_and_go_at_once(
    stories: SupabaseStoryStore,
    segments: SupabaseSegmentStore,
    objects: SupabaseObjectNotes,
    database: str,
) -> None:
    """No call waits for another for good, and what the last story used is deleted with it."""
    spoken = speech([10] * 12)
    for _ in range(10):
        new = [new_story(lease=LEASE) for _ in range(8)]
        for one in new:
            await stories.create(ME, one)
        shuffled = [spoken[shift:] + spoken[:shift] for shift in range(len(new))]
        calls = [
            call
            for one, order in zip(new, shuffled, strict=True)
            for call in (
                add_segments(segments, objects, order, one.story_id),
                segments.find(lookups(order[::-1], one.story_id)),
                stories.delete(ME, one.story_id),
                segments.evict(60),
            )
        ]
        assert {*await outcomes(*calls)} <= {"", "STORY_NOT_FOUND"}
    assert [] == list(await segments.find(lookups(spoken, "")))
    await check_books(database)


async def test_checkpoints_and_deletions_of_shared_segments_never_wait_for_each_other_for_good(
    stories: SupabaseStoryStore,
    segments: SupabaseSegmentStore,
    objects: SupabaseObjectNotes,
    database: str,
) -> None:
    """A checkpoint finds its segments stored, or is refused."""
    for number in range(10):
        spoken = speech([10] * 6, str(number))
        old, new = [new_story(lease=LEASE) for _ in range(4)], [new_story(lease=LEASE) for _ in range(4)]
        for one in (*old, *new):
            await stories.create(ME, one)
        for one in old:
            await add_segments(segments, objects, spoken, one.story_id)
        places = [piece.place for piece in spoken]
        begun = (checkpoint(one.story_id, narration=narration(), segments=places) for one in new)
        batch = await held(stories, *begun)
        some, others, _ = await asyncio.gather(
            stories.checkpoint(LEASE, batch[:2]),
            stories.checkpoint(LEASE, batch[:1:-1]),
            asyncio.gather(*(stories.delete(ME, one.story_id) for one in old)),
        )
        results = [*some, *others]
        assert {result.error.reason for result in results} <= {"", "CHECKPOINT_CONFLICT"}
        stored = {one.key for one in await segments.find(lookups(spoken, ""))}
        assert len(stored) == (6 if any(not result.error.reason for result in results) else 0)
    await check_books(database)


async def test_an_object_whose_note_grew_old_is_refused(
    objects: SupabaseObjectNotes, segments: SupabaseSegmentStore
) -> None:
    """Its bytes may be removed at any moment, or are stored and stay; never both."""
    for number in range(20):
        (one,) = speech([100], str(number))
        (key,) = await objects.note(ObjectKind.SEGMENT, 1)
        taken: list[ObjectKey] = []

        async def take(into: list[ObjectKey] = taken) -> None:
            into += await objects.take_deleted(grace=-1, most=100)

        added, _ = await outcomes(segments.add(one.stored, key, ""), take())
        assert (added, taken) in [("", []), ("STORAGE_CONFLICT", [key])]
        await objects.remove_notes(taken)
