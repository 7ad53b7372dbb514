"""The segment store of the storage service when things go wrong: nothing that was paid for is lost."""

import asyncio
from collections.abc import Iterator

import grpc
import pytest
from support.voice_segments import KEY, FakeSegments, fake_storage, out_of_room, remote, segment

from servicekit.context import RequestContext, bound
from servicekit.errors import DomainError, unavailable
from servicekit.ids import new_id
from standins.processes import free_ports
from voice_service.synthesis.store import SegmentMissingError

OTHER = "b" * 64
STORY = new_id()


@pytest.fixture(autouse=True)
def _request() -> Iterator[None]:
    with bound(RequestContext(new_id())):
        yield


async def test_lookups_that_come_while_one_is_in_flight_share_the_next_request() -> None:
    """The first is sent at once; each gets its own answer."""
    async with fake_storage() as (storage, address), remote(address) as store:
        await store.put(segment(), b"sound", "")
        storage.find_goes_on.clear()
        first = asyncio.create_task(store.find([KEY], STORY))
        await storage.finding.wait()
        others = [asyncio.create_task(store.find([f"{number:064x}", KEY], new_id())) for number in range(5)]
        await asyncio.sleep(0)
        storage.find_goes_on.set()
        found = await asyncio.gather(first, *others)

    assert [1, 10] == storage.batches
    assert [{KEY: segment()}] * 6 == found


async def test_a_lookup_goes_on_though_the_caller_that_began_it_left() -> None:
    """Those that wait with it are answered."""
    async with fake_storage() as (storage, address), remote(address) as store:
        storage.find_goes_on.clear()
        first = asyncio.create_task(store.find([KEY], ""))
        await storage.finding.wait()
        second = asyncio.create_task(store.find([OTHER], ""))
        first.cancel()
        await asyncio.wait([first])
        storage.find_goes_on.set()

        assert {} == await second


@pytest.mark.parametrize("failure", [out_of_room(), unavailable("STORAGE_UNAVAILABLE", "Away.")])
async def test_a_segment_that_storage_does_not_take_is_sent_again(failure: DomainError) -> None:
    """Out of room or away in the middle of the bytes: repeated until it is stored."""
    storage = FakeSegments()
    storage.refused = [failure, failure]
    async with fake_storage(storage) as (_, address), remote(address) as store:
        stored = await store.put(segment(), b"sound", "")

    assert segment() == stored
    assert 3 == storage.puts


async def test_a_segment_that_was_not_stored_in_time_is_held_and_stored_when_it_is_looked_for() -> None:
    """UNAVAILABLE first; the next narration finds it, and storage has it then."""
    storage = FakeSegments()
    async with fake_storage(storage) as (_, address), remote(address, retry_seconds=0) as store:
        storage.refused = [out_of_room()]
        with pytest.raises(DomainError) as caught:
            await store.put(segment(), b"sound", STORY)
        storage.refused = [out_of_room()]
        with pytest.raises(DomainError):
            await store.find([KEY], STORY)
        found = await store.find([KEY], STORY)

    assert (grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE") == (caught.value.code, caught.value.reason)
    assert caught.value.retry_after is not None
    assert {KEY: segment()} == found
    assert b"sound" == storage.rows[KEY][1]
    assert {STORY} == storage.used_by[KEY]


async def test_what_is_held_is_bounded() -> None:
    """The oldest makes room."""
    storage = FakeSegments()
    async with fake_storage(storage) as (_, address), remote(address, retry_seconds=0, held_bytes=5) as store:
        for key in (KEY, OTHER):
            storage.refused = [out_of_room()]
            with pytest.raises(DomainError):
                await store.put(segment(key=key), b"sound", "")

        assert {OTHER} == set(await store.find([KEY, OTHER], ""))


async def test_the_deadline_of_the_narration_ends_the_attempts() -> None:
    """One attempt is made whatever the time."""
    storage = FakeSegments()
    storage.refused = [out_of_room()] * 100
    async with fake_storage(storage) as (_, address), remote(address) as store:
        with pytest.raises(DomainError):
            await store.put(segment(), b"sound", "", deadline=asyncio.get_running_loop().time())

    assert 1 == storage.puts


async def test_a_story_that_was_deleted_takes_no_segment() -> None:
    """NOT_FOUND / STORY_NOT_FOUND, not repeated, and nothing is held."""
    storage = FakeSegments()
    storage.deleted = {STORY}
    async with fake_storage(storage) as (_, address), remote(address) as store:
        with pytest.raises(DomainError) as caught:
            await store.put(segment(), b"sound", STORY)
        found = await store.find([KEY], "")

    assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == (caught.value.code, caught.value.reason)
    assert (1, {}) == (storage.puts, found)


async def test_chunks_have_a_mebibyte_at_most() -> None:
    """A segment of WAV takes several."""
    audio = bytes(3_000_000)
    async with fake_storage() as (storage, address), remote(address) as store:
        await store.put(segment(audio), audio, "")

    assert 1 << 20 == storage.largest


async def test_bytes_that_do_not_match_their_checksum_are_missing() -> None:
    """Never handed on."""
    async with fake_storage() as (storage, address), remote(address) as store:
        await store.put(segment(), b"sound", "")
        storage.rows[KEY] = (storage.rows[KEY][0], b"noise")
        with pytest.raises(SegmentMissingError):
            await store.read(KEY)


async def test_a_storage_service_that_does_not_answer_is_unavailable() -> None:
    """For every call, once the time for it is over."""
    async with remote(f"127.0.0.1:{free_ports(1)[0]}", retry_seconds=0.05) as store:
        calls = (store.find([KEY], ""), store.read(KEY), store.put(segment(), b"sound", ""))
        failures = await asyncio.gather(*calls, return_exceptions=True)

    assert ["STORAGE_UNAVAILABLE"] * 3 == [getattr(failure, "reason", "") for failure in failures]


async def test_storage_that_comes_back_is_asked_again() -> None:
    """A restart is not noticed."""
    storage = FakeSegments()
    storage.refused = [unavailable("STORAGE_UNAVAILABLE", "Away.")] * 3
    async with fake_storage(storage) as (_, address), remote(address) as store:
        putting = asyncio.create_task(store.put(segment(), b"sound", ""))
        await storage.put_failed.wait()

        assert segment() == await putting
