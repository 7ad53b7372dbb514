"""Every AudioStore keeps bytes in the same way."""

import hashlib
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from support.moto_s3 import S3
from support.supabase_lite import Lite

from servicekit.errors import DomainError
from servicekit.ids import new_id
from standins.storage_kit import SECOND, ManualClock, MemoryAudio
from storage_service.embedded.audio_files import AudioFiles
from storage_service.object_store.audio_objects import AudioObjects
from storage_service.object_store.bucket import Bucket
from storage_service.ports import AudioStore
from storage_service.records import AudioKey, KeptAudio
from storage_service.supabase.audio_bucket import AudioBucket
from storage_service.supabase.connection import Connection
from tale.common.v1 import common_pb2

DATA = bytes(range(256)) * 11
FAR_AHEAD = 4_000_000_000 * SECOND


def in_files(folder: Path, clock: ManualClock) -> AudioStore:
    """Files in a folder."""
    return AudioFiles(folder / "audio", clock)


def in_memory(folder: Path, clock: ManualClock) -> AudioStore:
    """A dictionary."""
    del folder
    return MemoryAudio(clock)


@asynccontextmanager
async def in_supabase(lite: Lite, clock: ManualClock) -> AsyncIterator[AudioStore]:
    """A private bucket."""
    connection = Connection(lite.config(), clock=clock)
    await (await connection.client()).rpc("empty", {})
    try:
        yield AudioBucket(connection, clock)
    finally:
        await connection.close()


@asynccontextmanager
async def in_s3(server: S3, clock: ManualClock) -> AsyncIterator[AudioStore]:
    """A bucket of an object store."""
    yield AudioObjects(Bucket(server.config(await server.make_bucket())), clock)


@pytest.fixture
def clock() -> ManualClock:
    """The clock that says how old something is."""
    return ManualClock()


@pytest.fixture(params=[in_files, in_memory, in_supabase, in_s3])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[AudioStore]:
    """Each adapter in turn."""
    async with AsyncExitStack() as stack:
        if request.param is in_supabase:
            lite: Lite = request.getfixturevalue("supabase_lite")
            adapter = await stack.enter_async_context(in_supabase(lite, clock))
        elif request.param is in_s3:
            server: S3 = request.getfixturevalue("moto_s3")
            adapter = await stack.enter_async_context(in_s3(server, clock))
        else:
            adapter = request.param(tmp_path, clock)
        await adapter.open()
        stack.push_async_callback(adapter.close)
        yield adapter


@pytest.fixture(params=[in_files, in_memory])
def without_addresses(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AudioStore:
    """Each adapter that nobody else can reach."""
    adapter: AudioStore = request.param(tmp_path, clock)
    return adapter


async def keep(store: AudioStore, data: bytes = DATA) -> KeptAudio:
    """Keeps bytes under a new key."""
    key = AudioKey(new_id(), new_id())
    async with store.upload(key) as upload:
        await upload.write(data[:100])
        await upload.write(data[100:])
        digest = await upload.digest()
        await upload.publish()
    return KeptAudio(common_pb2.StoryAudio(size_bytes=digest.size, sha256=digest.sha256), key)


async def read(store: AudioStore, kept: KeptAudio, offset: int = 0, limit: int | None = None) -> bytes:
    """What a reader gets."""
    return b"".join([block async for block in store.read(kept, offset=offset, limit=limit)])


async def test_a_file_of_several_blocks_comes_back(store: AudioStore) -> None:
    """One that does not fit into memory's share is spooled, sent, and read in pieces."""
    data = bytes(range(251)) * 10_000
    kept = await keep(store, data)
    assert data == await read(store, kept)
    assert data[2_000_000:2_100_000] == await read(store, kept, 2_000_000, 100_000)


async def test_bytes_come_back_as_they_went_in(store: AudioStore) -> None:
    """Size, hash and bytes are those that were written."""
    kept = await keep(store)
    assert (len(DATA), hashlib.sha256(DATA).digest()) == (kept.audio.size_bytes, kept.audio.sha256)
    assert await read(store, kept) == DATA


@pytest.mark.parametrize(
    ("offset", "limit"), [(0, 0), (0, 1), (7, None), (7, 100), (len(DATA) - 1, 100), (len(DATA), None)]
)
async def test_a_range_is_what_was_asked_for(store: AudioStore, offset: int, limit: int | None) -> None:
    """Reading begins at the offset and ends at the limit or with the bytes."""
    end = len(DATA) if limit is None else offset + limit
    assert DATA[offset:end] == await read(store, await keep(store), offset, limit)


async def test_what_is_not_published_is_gone(store: AudioStore) -> None:
    """An upload that ends without it leaves nothing to read."""
    key = AudioKey(new_id(), new_id())
    async with store.upload(key) as upload:
        await upload.write(DATA)
        digest = await upload.digest()
    kept = KeptAudio(common_pb2.StoryAudio(size_bytes=digest.size, sha256=digest.sha256), key)
    with pytest.raises(DomainError, match="AUDIO_CORRUPT"):
        await read(store, kept)


async def test_bytes_that_differ_from_the_record_are_never_a_success(store: AudioStore) -> None:
    """Neither another size nor another hash passes for the audio."""
    kept = await keep(store)
    for size, sha256 in ((len(DATA) + 1, kept.audio.sha256), (len(DATA), b"x" * 32)):
        wrong = KeptAudio(common_pb2.StoryAudio(size_bytes=size, sha256=sha256), kept.key)
        with pytest.raises(DomainError, match="AUDIO_CORRUPT"):
            await read(store, wrong)


async def test_removing_twice_is_no_error(store: AudioStore) -> None:
    """Removed bytes are gone, and others stay."""
    gone, stays = await keep(store), await keep(store)
    await store.remove([gone.key])
    await store.remove([gone.key])
    with pytest.raises(DomainError, match="AUDIO_CORRUPT"):
        await read(store, gone)
    assert await read(store, stays) == DATA


async def test_a_sweep_takes_what_is_old_and_unknown(store: AudioStore, clock: ManualClock) -> None:
    """What is referred to stays, and what is young might still be."""
    stays, unknown = await keep(store), await keep(store)

    async def known(keys: Collection[AudioKey]) -> Collection[AudioKey]:
        return {stays.key}.intersection(keys)

    assert 0 == await store.sweep(known, grace=FAR_AHEAD)
    clock.advance(FAR_AHEAD / SECOND)
    assert 1 == await store.sweep(known, grace=0)
    assert await read(store, stays) == DATA
    with pytest.raises(DomainError, match="AUDIO_CORRUPT"):
        await read(store, unknown)


async def test_the_embedded_store_has_no_addresses(without_addresses: AudioStore) -> None:
    """The error names the way that there is."""
    await without_addresses.open()
    kept = await keep(without_addresses)
    with pytest.raises(DomainError, match=r"AUDIO_URL_UNSUPPORTED.*ReadStoryAudio"):
        await without_addresses.url(kept, expiry=SECOND)
    await without_addresses.close()
