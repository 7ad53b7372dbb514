"""Every ProfileStore stores children and heroes in the same way."""

import asyncio
from typing import Any, TypeAlias

import pytest
from support.storage_stores import Stores, reason_of

from servicekit.errors import DomainError
from servicekit.ids import new_id
from standins.storage_kit import FINGERPRINT, ManualClock
from storage_service.ports import ProfileStore
from storage_service.records import Position, RepeatKey
from tale.common.v1 import common_pb2

ME, OTHER = "mia", "ben"
MIA = common_pb2.Child(name="Mia", age=6, gender=common_pb2.GENDER_FEMALE, interests=["dragons", "the sea"])
FOX = common_pb2.Hero(name="Captain Fox", appearance="red", strengths=["patience"], language_code="en")
KINDS = pytest.mark.parametrize(("given", "noun"), [(MIA, "CHILD"), (FOX, "HERO")])

Given: TypeAlias = Any
"""A Child or a Hero: each test goes over both."""


@pytest.fixture
def store(stores: Stores) -> ProfileStore:
    """The store of the profiles."""
    return stores.profiles


def said(profile: Given) -> Given:
    """What the caller said of it: the profile less what the store sets."""
    bare = type(profile)()
    bare.CopyFrom(profile)
    for field in ("id", "create_time", "update_time", "revision"):
        bare.ClearField(field)
    return bare


@KINDS
async def test_new_profile_is_stored_as_given(store: ProfileStore, clock: ManualClock, given: Given, noun: str) -> None:
    """Id, times and revision are the store's, whatever the caller put there."""
    del noun
    marked = type(given)()
    marked.CopyFrom(given)
    marked.id, marked.revision = "mine", 77
    kept = await store.create(ME, marked, None)
    assert given == said(kept)
    assert (1, clock.now(), clock.now()) == (
        kept.revision,
        kept.create_time.ToMicroseconds(),
        kept.update_time.ToMicroseconds(),
    )
    assert kept == await store.get(ME, type(given), kept.id)


@KINDS
async def test_profile_of_another_owner_is_not_found(store: ProfileStore, given: Given, noun: str) -> None:
    """Neither that of another owner, nor an unknown one, nor one of the other kind."""
    kept = await store.create(ME, given, None)
    other: Any = common_pb2.Hero if noun == "CHILD" else common_pb2.Child
    change = type(given)(id=kept.id, name="Mallory")
    for call in (
        store.get(OTHER, type(given), kept.id),
        store.get(ME, type(given), new_id()),
        store.update(OTHER, change, {"name"}, expected_revision=None),
        store.delete(OTHER, type(given), kept.id),
    ):
        assert f"{noun}_NOT_FOUND" == await reason_of(call)
    with pytest.raises(DomainError):
        await store.get(ME, other, kept.id)
    assert [] == list(await store.list_page(OTHER, type(given), limit=10, after=None))
    assert kept == await store.get(ME, type(given), kept.id)


@KINDS
async def test_a_repeated_request_makes_one_profile(store: ProfileStore, given: Given, noun: str) -> None:
    """Also when all come at once; another request under the same id is refused, another owner's is not."""
    repeat = RepeatKey("r-1", FINGERPRINT)
    made = await asyncio.gather(*(store.create(ME, given, repeat) for _ in range(5)))
    assert 1 == len({profile.id for profile in made})
    assert "REQUEST_ID_REUSED" == await reason_of(store.create(ME, given, RepeatKey("r-1", b"x" * 32)))
    theirs = await store.create(OTHER, given, repeat)
    assert theirs.id != made[0].id
    await store.delete(ME, type(given), made[0].id)
    assert f"{noun}_DELETED" == await reason_of(store.create(ME, given, repeat))


async def test_a_request_id_is_good_for_one_kind(store: ProfileStore) -> None:
    """Uniqueness is (owner, request id), whatever was asked for."""
    await store.create(ME, MIA, RepeatKey("r-1", FINGERPRINT))
    assert "REQUEST_ID_REUSED" == await reason_of(store.create(ME, FOX, RepeatKey("r-1", FINGERPRINT)))


@KINDS
async def test_only_the_fields_named_are_changed(
    store: ProfileStore, clock: ManualClock, given: Given, noun: str
) -> None:
    """A field that is named and not set is cleared; lists are replaced; the revision grows by one."""
    del noun
    kept = await store.create(ME, given, None)
    clock.advance(1)
    change = type(given)(id=kept.id, name="Ada", gender=common_pb2.GENDER_MALE, interests=["owls"])
    after = await store.update(ME, change, {"name", "interests"}, expected_revision=1)
    assert ("Ada", ["owls"], given.gender, 2, kept.create_time, clock.now()) == (
        after.name,
        list(after.interests),
        after.gender,
        after.revision,
        after.create_time,
        after.update_time.ToMicroseconds(),
    )
    cleared = await store.update(ME, type(given)(id=kept.id), {"interests"}, expected_revision=None)
    assert ([], "Ada", 3) == (list(cleared.interests), cleared.name, cleared.revision)
    assert cleared == await store.get(ME, type(given), kept.id)


async def test_an_age_can_be_cleared(store: ProfileStore) -> None:
    """A number with presence goes back to unset."""
    kept = await store.create(ME, MIA, None)
    after = await store.update(ME, common_pb2.Child(id=kept.id), {"age"}, expected_revision=None)
    assert (False, "Mia") == (after.HasField("age"), after.name)


@KINDS
async def test_a_change_that_changes_nothing_leaves_the_revision(
    store: ProfileStore, clock: ManualClock, given: Given, noun: str
) -> None:
    """So a change can be repeated."""
    del noun
    kept = await store.create(ME, given, None)
    clock.advance(1)
    change = type(given)(id=kept.id, name=given.name)
    assert kept == await store.update(ME, change, {"name"}, expected_revision=1)
    assert kept == await store.update(ME, change, (), expected_revision=None)


@KINDS
async def test_a_lost_race_on_the_revision_changes_nothing(store: ProfileStore, given: Given, noun: str) -> None:
    """Both revisions are reported."""
    del noun
    kept = await store.create(ME, given, None)
    await store.update(ME, type(given)(id=kept.id, name="Ada"), {"name"}, expected_revision=1)
    with pytest.raises(DomainError, match="REVISION_MISMATCH") as caught:
        await store.update(ME, type(given)(id=kept.id, name="Bea"), {"name"}, expected_revision=1)
    assert {"expected_revision": "1", "actual_revision": "2"} == caught.value.metadata
    assert "Ada" == (await store.get(ME, type(given), kept.id)).name


@KINDS
async def test_a_deleted_profile_is_gone(store: ProfileStore, given: Given, noun: str) -> None:
    """For reading, changing, listing and deleting again."""
    kept = await store.create(ME, given, None)
    await store.delete(ME, type(given), kept.id)
    for call in (
        store.get(ME, type(given), kept.id),
        store.update(ME, type(given)(id=kept.id, name="Ada"), {"name"}, expected_revision=None),
        store.delete(ME, type(given), kept.id),
    ):
        assert f"{noun}_NOT_FOUND" == await reason_of(call)
    assert [] == list(await store.list_page(ME, type(given), limit=10, after=None))


@KINDS
async def test_pages_stay_where_they_were_while_profiles_arrive(
    store: ProfileStore, clock: ManualClock, given: Given, noun: str
) -> None:
    """Newest first, none twice and none left out, also among those of the same moment; the other kind is not there."""
    await (store.create(ME, FOX, None) if noun == "CHILD" else store.create(ME, MIA, None))
    kept = []
    for number in range(5):
        clock.advance(number % 2)
        kept.append(await store.create(ME, given, None))
    expected = sorted(kept, key=lambda one: (one.create_time.ToMicroseconds(), one.id), reverse=True)
    seen: list[Given] = []
    after = None
    while page := await store.list_page(ME, type(given), limit=2, after=after):
        seen += page
        after = Position(page[-1].create_time.ToMicroseconds(), page[-1].id)
        clock.advance(1)
        await store.create(ME, given, None)
    assert expected == seen
