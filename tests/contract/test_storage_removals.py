"""Every RemovalStore removes for good, and remembers what is left to do."""

import random
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
from support.storage_stores import ADAPTERS, Stores, adapter_of, on_disk, over_sqlite

from servicekit.errors import DomainError
from servicekit.ids import new_id
from standins.storage_kit import FINGERPRINT, LEASE, ManualClock, checkpoint, new_story, segment
from storage_service import states
from storage_service.embedded.database import Database
from storage_service.records import AudioKey, RepeatKey
from tale.common.v1 import common_pb2

ME, OTHER = "mia", "ben"
NAME = "Zyxwina"
IN_FLIGHT = 121
DAY = 86_400


@pytest.fixture
def clock() -> ManualClock:
    """Storage's clock."""
    return ManualClock()


@pytest.fixture(params=ADAPTERS)
async def stores(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Stores]:
    """Each adapter in turn."""
    async with adapter_of(request)(tmp_path, clock) as adapter:
        yield adapter


async def reason_of(call: Awaitable[object]) -> str:
    """The reason that a call fails with."""
    with pytest.raises(DomainError) as caught:
        await call
    return caught.value.reason


async def child(stores: Stores, owner: str = ME, repeat: RepeatKey | None = None) -> str:
    """Id of a kept child."""
    return (await stores.profiles.create(owner, common_pb2.Child(name=NAME), repeat)).id


async def begun(stores: Stores, child_id: str = "", owner: str = ME, request_id: str = "") -> str:
    """Id of a story that is being made, with a book of two segments and the lease token 1."""
    new = new_story(lease=LEASE, child_id=child_id, request_id=request_id)
    record, _ = await stores.stories.create(owner, new)
    header = common_pb2.NarrationHeader(audio_id=new_id())
    text = checkpoint(
        record.story.id,
        text=(0, f"{NAME} sleeps."),
        content_complete=True,
        narration=header,
        segments=[segment(0, new.story_id), segment(1, new.story_id)],
    )
    await stores.stories.checkpoint(LEASE.duration, [text])
    return record.story.id


async def ready(stores: Stores, child_id: str = "", owner: str = ME, request_id: str = "") -> tuple[str, AudioKey]:
    """A finished story with audio: its id and the key of its bytes."""
    story_id = await begun(stores, child_id, owner, request_id)
    key = AudioKey(story_id, new_id())
    audio = common_pb2.StoryAudio(audio_id=new_id(), sha256=b"1" * 32)
    await stores.stories.attach_audio(story_id, 1, audio, key)
    await stores.stories.checkpoint(LEASE.duration, [checkpoint(story_id, state=states.READY)])
    return story_id, key


async def forgettable(stores: Stores, child_id: str = "", owner: str = ME, most: int = 100) -> list[str]:
    """Ids of the stories that caches are to forget."""
    return [one.story_id for one in await stores.removals.list_forgettable(owner, child_id, most=most)]


async def test_a_child_is_erased_with_its_stories_and_nobody_elses(stores: Stores) -> None:
    """Running and finished ones; what other children and owners have stays."""
    mia, ada, theirs = await child(stores), await child(stores), await child(stores, OTHER)
    done, key = await ready(stores, mia)
    running = await begun(stores, mia)
    others = [(await ready(stores, ada))[0], (await ready(stores))[0]]
    their_story, _ = await ready(stores, theirs, OTHER)
    erased = await stores.removals.erase_child(ME, mia, most=10)
    assert (2, [key], False) == (erased.story_count, list(erased.dropped), erased.more)
    for story_id in (done, running):
        assert "STORY_NOT_FOUND" == await reason_of(stores.stories.get(ME, story_id, full=False))
        assert "STORY_DELETED" == await reason_of(stores.stories.create(ME, new_story(story_id=story_id)))
    assert "CHILD_NOT_FOUND" == await reason_of(stores.profiles.get(ME, common_pb2.Child, mia))
    (late,) = await stores.stories.checkpoint(LEASE.duration, [checkpoint(running, text=(15, " late"))])
    assert "STORY_NOT_FOUND" == late.error.reason
    page = await stores.stories.list_page(ME, common_pb2.StoryFilter(), limit=10, after=None)
    assert set(others) == {summary.id for summary in page}
    assert their_story == (await stores.stories.get(OTHER, their_story, full=False)).story.id
    assert "CHILD_NOT_FOUND" == await reason_of(stores.stories.create(ME, new_story(child_id=mia)))


async def test_a_child_is_erased_in_bounded_steps(stores: Stores) -> None:
    """At most so many stories a call, and the bytes that are not removed yet are told again."""
    mia = await child(stores)
    kept = [await ready(stores, mia) for _ in range(5)]
    steps = [await stores.removals.erase_child(ME, mia, most=2) for _ in range(3)]
    assert [(2, True), (2, True), (1, False)] == [(step.story_count, step.more) for step in steps]
    assert {key for _, key in kept} == set(steps[-1].dropped)
    await stores.removals.files_removed([story_id for story_id, _ in kept[:4]])
    again = await stores.removals.erase_child(ME, mia, most=2)
    assert (0, [kept[4][1]], False) == (again.story_count, list(again.dropped), again.more)


async def test_erasing_ends_when_nothing_is_left_to_do(stores: Stores, clock: ManualClock) -> None:
    """Until caches, files and the store itself have forgotten it a repeated call succeeds; then it is not found."""
    mia = await child(stores)
    story_id, _ = await ready(stores, mia)
    await stores.removals.erase_child(ME, mia, most=10)
    assert 0 == (await stores.removals.erase_child(ME, mia, most=10)).story_count
    await stores.removals.files_removed([story_id])
    assert 0 == (await stores.removals.erase_child(ME, mia, most=10)).story_count
    await stores.removals.confirm_forgotten([story_id])
    if stores.embedded:
        # Its file holds traces until it is written anew.
        assert 0 == (await stores.removals.erase_child(ME, mia, most=10)).story_count
    await stores.removals.scrub()
    if not stores.embedded:
        # Who lost the answer has a day to ask again.
        assert 0 == (await stores.removals.erase_child(ME, mia, most=10)).story_count
        clock.advance(DAY)
    assert "CHILD_NOT_FOUND" == await reason_of(stores.removals.erase_child(ME, mia, most=10))


async def test_who_is_not_there_can_not_be_erased(stores: Stores) -> None:
    """Unknown, somebody else's, or a hero."""
    theirs = await child(stores, OTHER)
    hero = await stores.profiles.create(ME, common_pb2.Hero(name="Fox"), None)
    for child_id in (new_id(), theirs, hero.id):
        assert "CHILD_NOT_FOUND" == await reason_of(stores.removals.erase_child(ME, child_id, most=10))
    assert hero == await stores.profiles.get(ME, common_pb2.Hero, hero.id)


async def test_stories_of_a_deleted_child_can_still_be_erased(stores: Stores) -> None:
    """DeleteChild leaves them; EraseChild does not."""
    mia = await child(stores)
    await ready(stores, mia)
    await stores.profiles.delete(ME, common_pb2.Child, mia)
    assert 1 == (await stores.removals.erase_child(ME, mia, most=10)).story_count


async def test_requests_for_what_was_erased_keep_their_id_alone(stores: Stores) -> None:
    """They still learn that it is gone, but not even a hash of what they asked for stays."""
    mia = await child(stores, repeat=RepeatKey("r-1", FINGERPRINT))
    await ready(stores, mia, request_id="r-2")
    await stores.removals.erase_child(ME, mia, most=10)
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


# What caches must forget.


async def test_caches_are_told_until_they_have_forgotten(stores: Stores, clock: ManualClock) -> None:
    """Of every removed story; what ended a while ago once, with the hashes of its segments."""
    story_id, _ = await ready(stores)
    clock.advance(IN_FLIGHT)
    await stores.stories.delete(ME, story_id)
    (one,) = await stores.removals.list_forgettable(OTHER, "", most=10)
    hashes = {segment(index, story_id).sha256 for index in (0, 1)}
    assert (story_id, hashes, 1) == (one.story_id, set(one.segment_sha256), one.audio_count)
    await stores.removals.files_removed([story_id])
    await stores.removals.confirm_forgotten([story_id])
    clock.advance(IN_FLIGHT)
    assert [] == await forgettable(stores)


async def test_what_was_being_made_is_forgotten_twice(stores: Stores, clock: ManualClock) -> None:
    """Calls that were in flight may have reached the cache after the first time."""
    mia = await child(stores)
    story_id = await begun(stores, mia)
    await stores.removals.erase_child(ME, mia, most=10)
    assert [story_id] == await forgettable(stores, mia)
    await stores.removals.confirm_forgotten([story_id])
    assert [] == await forgettable(stores, mia)
    clock.advance(IN_FLIGHT)
    assert [story_id] == await forgettable(stores)
    await stores.removals.confirm_forgotten([story_id])
    assert [] == await forgettable(stores)
    clock.advance(IN_FLIGHT)
    assert [] == await forgettable(stores)


async def test_a_childs_stories_are_told_to_its_owner_alone(stores: Stores) -> None:
    """Who names a child gets what is theirs."""
    mia = await child(stores)
    story_id, _ = await ready(stores, mia)
    await stores.stories.delete(ME, story_id)
    assert [story_id] == await forgettable(stores, mia)
    assert [] == await forgettable(stores, mia, OTHER)
    assert [] == await forgettable(stores, new_id())


async def test_lists_for_caches_are_bounded(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """By stories and by hashes; the rest comes once these are confirmed."""
    stories = [(await ready(stores))[0] for _ in range(4)]
    for story_id in stories:
        await stores.stories.delete(ME, story_id)
    assert stories[:3] == await forgettable(stores, most=3)
    for adapter in ("embedded.removing", "supabase.removals"):
        monkeypatch.setattr(f"storage_service.{adapter}.MAX_HASHES", 5)
    assert stories[:2] == await forgettable(stores)
    await stores.removals.confirm_forgotten(stories[:2])
    assert stories[2:] == await forgettable(stores)


async def test_files_are_remembered_until_they_are_removed(stores: Stores, clock: ManualClock) -> None:
    """Also where caches have forgotten the story meanwhile."""
    story_id, key = await ready(stores)
    clock.advance(IN_FLIGHT)
    await stores.stories.delete(ME, story_id)
    await stores.removals.confirm_forgotten([story_id])
    assert [key] == list(await stores.removals.files_to_remove(most=10))
    await stores.removals.files_removed([story_id])
    assert [] == list(await stores.removals.files_to_remove(most=10))


# Old stories.


async def test_old_stories_expire_oldest_first(stores: Stores, clock: ManualClock) -> None:
    """Finished ones of any owner that were accepted before the time; they leave tombstones."""
    old = [(await ready(stores))[0], (await ready(stores, owner=OTHER))[0]]
    clock.advance(10)
    old.append((await ready(stores))[0])
    clock.advance(10)
    young, _ = await ready(stores)
    before = clock.now()
    first = await stores.removals.expire(before, most=2)
    assert old[:2] == [one.story_id for one in first]
    assert old[2:] == [one.story_id for one in await stores.removals.expire(before, most=2)]
    assert [] == list(await stores.removals.expire(before, most=2))
    assert young == (await stores.stories.get(ME, young, full=False)).story.id
    assert "STORY_DELETED" == await reason_of(stores.stories.create(ME, new_story(story_id=old[0])))
    assert old == await forgettable(stores)


async def test_what_is_being_made_never_expires(stores: Stores, clock: ManualClock) -> None:
    """However old it is, and whether anybody holds its lease or not."""
    running = await begun(stores)
    await stores.stories.create(ME, new_story())
    clock.advance(10**7)
    assert [] == list(await stores.removals.expire(clock.now(), most=10))
    await stores.stories.checkpoint(LEASE.duration, [checkpoint(running, state=states.FAILED)])
    assert [running] == [one.story_id for one in await stores.removals.expire(clock.now(), most=10)]


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
            await stores.stories.checkpoint(LEASE.duration, [checkpoint(story_id, text=(start, text))])
            stories[story_id] = (word, start + len(text))
        assert traces(tmp_path, NAME)
        await stores.removals.erase_child(ME, mia, most=10)
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
    for database in (
        Database(tmp_path / "tale.sqlite3", sync="normal", readers=1),
        Database(None, sync="full", readers=1),
    ):
        async with over_sqlite(database, clock) as stores:
            versions = []
            for _ in range(2):
                await stores.removals.scrub()
                versions.append(
                    await database.read(lambda connection: connection.execute("PRAGMA schema_version").fetchone()[0])
                )
            assert 1 == len(set(versions))
