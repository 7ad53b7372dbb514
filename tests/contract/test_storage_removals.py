"""Every RemovalStore removes for good."""

import random
from pathlib import Path

import pytest
from support.storage_stores import Stores, on_disk, over_sqlite, reason_of

from servicekit.ids import new_id
from standins.storage_kit import (
    FINGERPRINT,
    LEASE,
    ManualClock,
    checkpoint,
    lease_token,
    narration,
    new_story,
    write_held,
)
from storage_service.embedded.database import Database
from storage_service.records import ObjectKey, ObjectKind, RepeatKey
from storage_service.stories import states
from tale.common.v1 import common_pb2

ME, OTHER = "mia", "ben"
NAME = "Zyxwina"


async def child(stores: Stores, owner: str = ME, repeat: RepeatKey | None = None) -> str:
    """Id of a kept child."""
    return (await stores.profiles.create(owner, common_pb2.Child(name=NAME), repeat)).id


async def begun(stores: Stores, child_id: str = "", owner: str = ME, request_id: str = "") -> str:
    """Id of a story that is being made, with a manifest of two segments and the lease token 1."""
    new = new_story(lease=LEASE, child_id=child_id, request_id=request_id)
    record, _ = await stores.stories.create(owner, new)
    text = checkpoint(
        record.story.id,
        text=(0, f"{NAME} sleeps."),
        content_complete=True,
        narration=narration(),
        segments=await stores.places(record.story.id),
    )
    (result,) = await write_held(stores.stories, text)
    assert not result.HasField("error")
    return record.story.id


async def ready(stores: Stores, child_id: str = "", owner: str = ME, request_id: str = "") -> tuple[str, ObjectKey]:
    """A finished story with audio and two segments: its id and the object of its audio."""
    story_id = await begun(stores, child_id, owner, request_id)
    key = await stores.audio_key()
    audio = common_pb2.StoryAudio(audio_id=new_id(), sha256=b"1" * 32, size_bytes=1)
    await stores.stories.attach_audio(story_id, await lease_token(stores.stories, story_id), audio, key)
    await write_held(stores.stories, checkpoint(story_id, state=states.READY))
    return story_id, key


async def test_a_child_is_erased_with_its_stories_and_nobody_elses(stores: Stores) -> None:
    """Running and finished ones; what other children and owners have stays."""
    mia, ada, theirs = await child(stores), await child(stores), await child(stores, OTHER)
    done, key = await ready(stores, mia)
    running = await begun(stores, mia)
    others = [(await ready(stores, ada))[0], (await ready(stores))[0]]
    their_story, _ = await ready(stores, theirs, OTHER)
    erased = await stores.removals.erase_child(ME, mia)
    assert (2, 1, 4) == (erased.story_count, erased.count(ObjectKind.AUDIO), erased.count(ObjectKind.SEGMENT))
    assert key in erased.dropped
    assert set(erased.dropped) == await stores.deleted()
    for story_id in (done, running):
        assert "STORY_NOT_FOUND" == await reason_of(stores.stories.get(ME, story_id, full=False))
        assert "STORY_DELETED" == await reason_of(stores.stories.create(ME, new_story(story_id=story_id)))
    assert "CHILD_NOT_FOUND" == await reason_of(stores.profiles.get(ME, common_pb2.Child, mia))
    (late,) = await write_held(stores.stories, checkpoint(running, text=(15, " late")))
    assert "STORY_NOT_FOUND" == late.error.reason
    page = await stores.stories.list_page(ME, common_pb2.StoryFilter(), limit=10, after=None)
    assert set(others) == {summary.id for summary in page}
    assert their_story == (await stores.stories.get(OTHER, their_story, full=False)).story.id
    assert "CHILD_NOT_FOUND" == await reason_of(stores.stories.create(ME, new_story(child_id=mia)))


async def test_a_child_is_erased_in_one_call_however_many_stories_it_has(stores: Stores) -> None:
    """Objects that are not removed yet are returned again, and counted again."""
    mia = await child(stores)
    for _ in range(120):
        await stores.stories.create(ME, new_story(child_id=mia))
    _, key = await ready(stores, mia)
    erased = await stores.removals.erase_child(ME, mia)
    assert erased.story_count == 121
    await stores.objects.remove_notes(set(erased.dropped) - {key})
    again = await stores.removals.erase_child(ME, mia)
    assert (again.story_count, list(again.dropped)) == (0, [key])
    await stores.objects.remove_notes([key])
    again = await stores.removals.erase_child(ME, mia)
    assert (again.story_count, list(again.dropped)) == (0, [])


async def test_erasing_leaves_segments_that_other_stories_use(stores: Stores) -> None:
    """What two stories of the child share goes once."""
    mia = await child(stores)
    one, two, other = await begun(stores, mia), await begun(stores, mia), await begun(stores)
    (shared,) = await stores.places(one, [10], "shared")
    (common,) = await stores.places(one, [10], "common")
    for story_id, place in ((two, shared), (other, common)):
        (result,) = await write_held(stores.stories, checkpoint(story_id, narration=narration(), segments=[place]))
        assert not result.HasField("error")
    erased = await stores.removals.erase_child(ME, mia)
    assert erased.count(ObjectKind.SEGMENT) == len(set(erased.dropped)) == 5
    assert await stores.segments.get(shared.key) is None
    assert await stores.segments.get(common.key) is not None


async def test_erasing_another_owners_child_returns_none_of_its_objects(stores: Stores) -> None:
    """Not even of one that is erased already."""
    mia = await child(stores)
    await ready(stores, mia)
    assert "CHILD_NOT_FOUND" == await reason_of(stores.removals.erase_child(OTHER, mia))
    await stores.removals.erase_child(ME, mia)
    assert "CHILD_NOT_FOUND" == await reason_of(stores.removals.erase_child(OTHER, mia))


async def test_what_is_no_child_of_the_owner_cannot_be_erased(stores: Stores) -> None:
    """Unknown, somebody else's, or a hero."""
    theirs = await child(stores, OTHER)
    hero = await stores.profiles.create(ME, common_pb2.Hero(name="Fox"), None)
    for child_id in (new_id(), theirs, hero.id):
        assert "CHILD_NOT_FOUND" == await reason_of(stores.removals.erase_child(ME, child_id))
    assert hero == await stores.profiles.get(ME, common_pb2.Hero, hero.id)


async def test_stories_of_a_deleted_child_can_still_be_erased(stores: Stores) -> None:
    """DeleteChild leaves them; EraseChild does not."""
    mia = await child(stores)
    await ready(stores, mia)
    await stores.profiles.delete(ME, common_pb2.Child, mia)
    assert 1 == (await stores.removals.erase_child(ME, mia)).story_count


async def test_requests_for_what_was_erased_keep_their_id_alone(stores: Stores) -> None:
    """They still learn that it is gone, but not even a hash of what they asked for stays."""
    mia = await child(stores, repeat=RepeatKey("r-1", FINGERPRINT))
    await ready(stores, mia, request_id="r-2")
    await stores.removals.erase_child(ME, mia)
    assert [bytes(32)] * 2 == await stores.fingerprints()
    gone = common_pb2.Child(name=NAME)
    assert "CHILD_DELETED" == await reason_of(stores.profiles.create(ME, gone, RepeatKey("r-1", FINGERPRINT)))
    assert "STORY_DELETED" == await reason_of(stores.stories.create(ME, new_story(request_id="r-2")))


async def test_a_deletion_forgets_what_requests_asked_for(stores: Stores, clock: ManualClock) -> None:
    """However a thing goes; what was deleted before its child is erased is no longer known to be of that child."""
    mia = await child(stores, repeat=RepeatKey("r-1", FINGERPRINT))
    deleted, _ = await ready(stores, mia, request_id="r-2")
    await ready(stores, mia, request_id="r-3")
    assert [FINGERPRINT] * 3 == await stores.fingerprints()
    await stores.stories.delete(ME, deleted)
    assert [bytes(32), FINGERPRINT, FINGERPRINT] == sorted(await stores.fingerprints())
    clock.advance(1)
    await stores.removals.expire(clock.now(), most=10)
    assert [bytes(32), bytes(32), FINGERPRINT] == sorted(await stores.fingerprints())
    await stores.profiles.delete(ME, common_pb2.Child, mia)
    assert [bytes(32)] * 3 == await stores.fingerprints()


# Old stories.


async def test_old_stories_expire_oldest_first(stores: Stores, clock: ManualClock) -> None:
    """Finished ones of any owner that were accepted before the time; they leave tombstones."""
    old = [(await ready(stores))[0], (await ready(stores, owner=OTHER))[0]]
    clock.advance(10)
    old.append((await ready(stores))[0])
    clock.advance(10)
    young, _ = await ready(stores)
    before = clock.now()
    assert (await stores.removals.expire(before, most=2)).story_count == 2
    assert old[2] == (await stores.stories.get(ME, old[2], full=False)).story.id
    assert (await stores.removals.expire(before, most=2)).story_count == 1
    assert "STORY_NOT_FOUND" == await reason_of(stores.stories.get(ME, old[2], full=False))
    assert (await stores.removals.expire(before, most=2)).story_count == 0
    assert young == (await stores.stories.get(ME, young, full=False)).story.id
    assert "STORY_DELETED" == await reason_of(stores.stories.create(ME, new_story(story_id=old[0])))


async def test_what_is_being_made_never_expires(stores: Stores, clock: ManualClock) -> None:
    """However old it is, and whether anybody holds its lease or not."""
    running = await begun(stores)
    await stores.stories.create(ME, new_story())
    clock.advance(10**7)
    assert (await stores.removals.expire(clock.now(), most=10)).story_count == 0
    await write_held(stores.stories, checkpoint(running, state=states.FAILED))
    assert (await stores.removals.expire(clock.now(), most=10)).story_count == 1
    assert "STORY_NOT_FOUND" == await reason_of(stores.stories.get(ME, running, full=False))


# Nothing is left.


def traces(folder: Path, *words: str) -> dict[str, int]:
    """How often the words stand in the files of a folder, each file that has any."""
    counts = {
        str(path.relative_to(folder)): sum(path.read_bytes().count(word.encode()) for word in words)
        for path in folder.rglob("*")
        if path.is_file()
    }
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_left_in_the_file(tmp_path: Path, clock: ManualClock, seed: int) -> None:
    """Rows that were moved from page to page leave copies behind; not even these are found once it is scrubbed."""
    chance = random.Random(seed)
    async with on_disk(tmp_path, clock) as stores:
        mia, ada = await child(stores), await stores.profiles.create(ME, common_pb2.Child(name="Ada"), None)
        stories = {}
        for number in range(12):
            mine = number % 3 == 0
            record, _ = await stores.stories.create(ME, new_story(lease=LEASE, child_id=mia if mine else ada.id))
            stories[record.story.id] = (NAME if mine else "Common", 0)
        for _ in range(200):
            story_id = chance.choice(list(stories))
            word, start = stories[story_id]
            text = f"{word} " * chance.randint(3, 60)
            await write_held(stores.stories, checkpoint(story_id, text=(start, text)))
            stories[story_id] = (word, start + len(text))
        assert traces(tmp_path, NAME)
        await stores.removals.erase_child(ME, mia)
        await stores.removals.scrub()
        assert {} == traces(tmp_path, NAME)
        kept = await stores.stories.list_page(ME, common_pb2.StoryFilter(), limit=20, after=None)
        assert {"Ada"} == {summary.child_name for summary in kept}
        assert 8 == len(kept)
        for summary in kept:
            story = (await stores.stories.get(ME, summary.id, full=False)).story
            assert stories[summary.id][1] == len(story.content)


async def test_a_scrub_without_a_removal_does_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """And a second one neither."""
    database = Database(tmp_path / "tale.sqlite3", sync="normal", readers=1)
    async with over_sqlite(database, clock) as stores:
        versions = []
        for _ in range(2):
            await stores.removals.scrub()
            versions.append(
                await database.read(lambda connection: connection.execute("PRAGMA schema_version").fetchone()[0])
            )
        assert 1 == len(set(versions))
