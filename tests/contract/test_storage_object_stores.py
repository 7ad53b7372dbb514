"""Every ObjectStore stores bytes in the same way, and every Composer composes them."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.reasons import REASONS
from standins.storage_kit import SECOND, ManualClock, MemoryObjects
from storage_service.object_store.bucket import Bucket, BucketObjects
from storage_service.object_store.folder import FolderObjects
from storage_service.ports import ObjectStore
from storage_service.records import Blob, Digest, ObjectKey, ObjectKind
from storage_service.supabase.bucket import ObjectBucket
from storage_service.supabase.connection import Connection

if TYPE_CHECKING:
    from support.moto_s3 import S3
    from support.supabase_lite import Lite

DATA = bytes(range(256)) * 11


@asynccontextmanager
async def in_files(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    """Files in a folder."""
    yield FolderObjects(request.getfixturevalue("tmp_path") / "data", fsync=frozenset(ObjectKind))


@asynccontextmanager
async def in_files_of_the_process(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    """Files that are left to the system to bring to the medium."""
    yield FolderObjects(request.getfixturevalue("tmp_path") / "data", fsync=())


@asynccontextmanager
async def in_memory(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    """A dictionary."""
    del request
    yield MemoryObjects()


@asynccontextmanager
async def in_supabase(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    """A private bucket."""
    lite: Lite = request.getfixturevalue("supabase_lite")
    connection = Connection(lite.config())
    await (await connection.client()).rpc("empty", {})
    try:
        yield ObjectBucket(connection, ManualClock())
    finally:
        await connection.close()


@asynccontextmanager
async def in_s3(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    """A bucket of a server that speaks S3."""
    server: S3 = request.getfixturevalue("moto_s3")
    yield BucketObjects(Bucket(server.config(await server.make_bucket())), ManualClock())


@pytest.fixture(params=[in_files, in_files_of_the_process, in_memory, in_supabase, in_s3])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    """Each adapter in turn."""
    async with AsyncExitStack() as stack:
        adapter = await stack.enter_async_context(request.param(request))
        await adapter.open()
        stack.push_async_callback(adapter.close)
        yield adapter


@pytest.fixture(params=[in_files, in_memory])
async def without_addresses(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    """Each adapter that only the service reaches."""
    async with request.param(request) as adapter:
        yield adapter


def digest_of(data: bytes) -> Digest:
    """What the bytes are."""
    return Digest(len(data), hashlib.sha256(data).digest())


async def keep(store: ObjectStore, data: bytes = DATA, kind: ObjectKind = ObjectKind.AUDIO) -> Blob:
    """Stores bytes under a new key."""
    key = ObjectKey(kind, new_id())
    async with store.upload(key) as upload:
        await upload.write(data[:100])
        await upload.write(data[100:])
        digest = await upload.publish()
    assert digest == digest_of(data)
    return Blob(key, digest.size, digest.sha256)


async def put(store: ObjectStore, key: ObjectKey, data: bytes, announced: Digest) -> Digest:
    """Stores bytes that were announced."""
    async with store.upload(key) as upload:
        await upload.write(data)
        return await upload.publish(announced)


async def read(store: ObjectStore, blob: Blob, offset: int = 0, limit: int | None = None) -> bytes:
    """What a reader gets."""
    return b"".join([block async for block in store.read(blob, offset=offset, limit=limit)])


async def test_an_object_of_several_blocks_comes_back(store: ObjectStore) -> None:
    """One that does not wait in memory as a whole is written, and read, in pieces."""
    data = bytes(range(251)) * 20_000
    blob = await keep(store, data)
    assert data == await read(store, blob)
    assert data[2_000_000:2_100_000] == await read(store, blob, 2_000_000, 100_000)


@pytest.mark.parametrize("kind", ObjectKind)
async def test_bytes_come_back_as_they_went_in(store: ObjectStore, kind: ObjectKind) -> None:
    """Whatever they are."""
    assert DATA == await read(store, await keep(store, kind=kind))


@pytest.mark.parametrize(
    ("offset", "limit"), [(0, 0), (0, 1), (7, None), (7, 100), (len(DATA) - 1, 100), (len(DATA), None)]
)
async def test_a_range_is_what_was_asked_for(store: ObjectStore, offset: int, limit: int | None) -> None:
    """Reading begins at the offset and ends at the limit or with the bytes."""
    end = len(DATA) if limit is None else offset + limit
    assert DATA[offset:end] == await read(store, await keep(store), offset, limit)


@pytest.mark.parametrize("size", [len(DATA), 5 << 20])
async def test_what_is_not_published_is_gone(store: ObjectStore, size: int) -> None:
    """An upload that ends without it leaves nothing to read."""
    key, data = ObjectKey(ObjectKind.AUDIO, new_id()), bytes(size)
    async with store.upload(key) as upload:
        await upload.write(data)
    with pytest.raises(DomainError, match="AUDIO_CORRUPT"):
        await read(store, Blob(key, size, hashlib.sha256(data).digest()))


@pytest.mark.parametrize("size", [len(DATA), 5 << 20])
@pytest.mark.parametrize("field", ["size_bytes", "sha256"])
async def test_what_is_not_as_announced_is_not_stored(store: ObjectStore, size: int, field: str) -> None:
    """The error names the field, and the key can be used again."""
    key, data = ObjectKey(ObjectKind.SEGMENT, new_id()), bytes(size)
    announced = digest_of(data)
    wrong = Digest(size + 1, announced.sha256) if field == "size_bytes" else Digest(size, bytes(32))
    with pytest.raises(DomainError, match="AUDIO_MISMATCH") as caught:
        await put(store, key, data, wrong)
    assert caught.value.metadata["field"] == field
    with pytest.raises(DomainError, match="AUDIO_CORRUPT"):
        await read(store, Blob(key, size, announced.sha256))
    assert announced == await put(store, key, data, announced)


async def test_bytes_that_differ_from_the_record_are_never_a_success(store: ObjectStore) -> None:
    """Neither another size nor another hash passes for the object."""
    blob = await keep(store)
    for size, sha256 in ((len(DATA) + 1, blob.sha256), (len(DATA), b"x" * 32)):
        with pytest.raises(DomainError, match="AUDIO_CORRUPT"):
            await read(store, Blob(blob.key, size, sha256))


async def test_removing_twice_is_no_error(store: ObjectStore) -> None:
    """Removed bytes are gone, and others stay."""
    gone, stays = await keep(store), await keep(store, kind=ObjectKind.SEGMENT)
    for keys in ([gone.key], [gone.key], []):
        await store.remove(keys)
    with pytest.raises(DomainError, match="AUDIO_CORRUPT"):
        await read(store, gone)
    assert await read(store, stays) == DATA


async def test_the_embedded_store_has_no_addresses(without_addresses: ObjectStore) -> None:
    """The remedy of the reason names ReadStoryAudio."""
    await without_addresses.open()
    blob = await keep(without_addresses)
    with pytest.raises(DomainError, match="AUDIO_URL_UNSUPPORTED"):
        await without_addresses.url(blob, expiry=SECOND)
    assert "ReadStoryAudio" in REASONS["AUDIO_URL_UNSUPPORTED"].remedy
    await without_addresses.close()
