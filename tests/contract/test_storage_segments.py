"""Every SegmentStore stores what is known of segments, once each, and protects those of unfinished stories."""

import pytest
from support.storage_stores import Stores, reason_of

from servicekit.ids import new_id
from standins.storage_kit import LEASE, ManualClock, add_segments, checkpoint, new_story, speech, write_held
from storage_service.records import ObjectKey, ObjectKind
from storage_service.stories import states
from tale.storage.v1 import segment_pb2

OWNER = "mia"


async def begun(stores: Stores) -> str:
    """Id of an unfinished story."""
    record, _ = await stores.stories.create(OWNER, new_story(lease=LEASE))
    return record.story.id


async def noted(stores: Stores) -> ObjectKey:
    """An object without bytes."""
    (key,) = await stores.objects.note(ObjectKind.SEGMENT, 1)
    return key


def lookup(key: str, story_id: str = "") -> segment_pb2.SegmentLookup:
    """What a voice service asks for."""
    return segment_pb2.SegmentLookup(key=key, story_id=story_id)


async def stored(stores: Stores, *keys: str) -> set[str]:
    """Which of the keys are stored."""
    return {one.key for one in await stores.segments.find([lookup(key) for key in keys])}


async def test_an_added_segment_is_found_with_all_its_facts(stores: Stores) -> None:
    """Word timings too."""
    (one,) = speech([100])
    added = await stores.segments.add(one.stored, await noted(stores), "")
    assert added.created
    assert added.stored_bytes == 100
    assert list(await stores.segments.find([lookup(one.stored.key), lookup("0" * 64)])) == [one.stored]


async def test_the_first_segment_under_a_key_stays(stores: Stores) -> None:
    """The other one's object is to be removed."""
    first, second = speech([100])[0], speech([100], "other")[0]
    second.stored.key = first.stored.key
    await stores.segments.add(first.stored, await noted(stores), "")
    loser = await noted(stores)
    added = await stores.segments.add(second.stored, loser, "")
    assert not added.created
    assert added.segment == first.stored
    assert added.stored_bytes == 100
    assert await stores.deleted() == {loser}


async def test_nothing_is_stored_for_a_story_that_is_not_there(stores: Stores) -> None:
    """Its object stays noted."""
    (one,) = speech([100])
    key = await noted(stores)
    assert "STORY_NOT_FOUND" == await reason_of(stores.segments.add(one.stored, key, new_id()))
    assert not await stored(stores, one.stored.key)


async def test_a_segment_is_not_stored_without_a_note(stores: Stores) -> None:
    """Else its bytes could never be found again."""
    (one,) = speech([100])
    unknown = ObjectKey(ObjectKind.SEGMENT, new_id())
    assert "STORAGE_CONFLICT" == await reason_of(stores.segments.add(one.stored, unknown, ""))
    gone = await noted(stores)
    await stores.objects.mark_deleted([gone])
    assert "STORAGE_CONFLICT" == await reason_of(stores.segments.add(one.stored, gone, ""))
    assert not await stored(stores, one.stored.key)


async def test_eviction_takes_the_least_recently_used_first(stores: Stores, clock: ManualClock) -> None:
    """A hit counts as a use."""
    spoken = speech([100, 100, 100])
    keys = [await noted(stores) for _ in spoken]
    for one, key in zip(spoken, keys, strict=True):
        await stores.segments.add(one.stored, key, "")
        clock.advance(120)
    assert await stored(stores, spoken[0].stored.key)
    evicted = await stores.segments.evict(200)
    assert list(evicted.dropped) == [keys[1]]
    assert evicted.stored_bytes == 200
    assert await stored(stores, *(one.stored.key for one in spoken)) == {spoken[0].stored.key, spoken[2].stored.key}
    assert await stores.deleted() == {keys[1]}


@pytest.mark.parametrize("by", ["add", "find", "checkpoint"])
async def test_segments_of_unfinished_stories_are_never_evicted(stores: Stores, clock: ManualClock, by: str) -> None:
    """However the story came to use them, until it has ended."""
    story_id = await begun(stores)
    (one,) = speech([100])
    await add_segments(stores.segments, stores.objects, [one], story_id if by == "add" else "")
    clock.advance(120)
    await add_segments(stores.segments, stores.objects, speech([50], "newer"), "")
    if by == "find":
        await stores.segments.find([lookup(one.stored.key, story_id)])
    given = checkpoint(story_id, text=(0, "Once."), content_complete=True)
    if by == "checkpoint":
        given.narration.audio_id = new_id()
        given.segments.append(one.place)
    await write_held(stores.stories, given)
    assert (await stores.segments.evict(0)).stored_bytes == 100
    await write_held(stores.stories, checkpoint(story_id, state=states.READY_WITHOUT_AUDIO))
    assert (await stores.segments.evict(0)).stored_bytes == 0


async def test_a_lost_segment_can_be_stored_anew(stores: Stores) -> None:
    """Only the one whose bytes are lost is dropped."""
    (one,) = speech([100])
    lost, fresh = await noted(stores), await noted(stores)
    await stores.segments.add(one.stored, lost, "")
    found = await stores.segments.get(one.stored.key)
    assert found is not None
    assert found.blob.key == lost
    assert await stores.segments.drop(one.stored.key, lost)
    assert (await stores.segments.add(one.stored, fresh, "")).created
    assert not await stores.segments.drop(one.stored.key, lost)
    assert await stored(stores, one.stored.key)
    assert await stores.deleted() == {lost}


async def test_notes_grow_old(stores: Stores, clock: ManualClock) -> None:
    """Stored objects do not."""
    (one,) = speech([100])
    kept, stale = await noted(stores), await noted(stores)
    await stores.segments.add(one.stored, kept, "")
    clock.advance(3_601)
    young = await noted(stores)
    assert await stores.deleted() == {stale}
    await stores.objects.mark_deleted([kept])
    await stores.objects.remove_notes([stale])
    assert await stores.deleted() == set()
    clock.advance(3_601)
    assert await stores.deleted() == {young}
