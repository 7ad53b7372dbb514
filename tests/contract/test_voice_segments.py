"""What every segment store of the voice service does: in memory, and that of the storage service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from support.servers import running
from support.voice_segments import KEY, WORDS, fake_storage, remote, segment

from servicekit.context import RequestContext, bound
from servicekit.ids import new_id
from storage_service.bootstrap import build_app
from storage_service.settings import StorageSettings
from voice_service.synthesis.store import MemorySegments, SegmentMissingError, SegmentStore

OTHER = "b" * 64
LARGE = bytes(range(256)) * 10_000


@pytest.fixture(params=["memory", "fake storage", "storage"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SegmentStore]:
    """A store that is empty."""
    async with AsyncExitStack() as stack:
        stack.enter_context(bound(RequestContext(new_id())))
        if request.param == "memory":
            yield MemorySegments()
        elif request.param == "storage":
            settings = StorageSettings(listen="127.0.0.1:0", ops_listen="127.0.0.1:0", data_dir=tmp_path)
            storage = running(build_app(settings), settings=settings, service="storage")
            service = await stack.enter_async_context(storage)
            yield await stack.enter_async_context(remote(service.address))
        else:
            _, address = await stack.enter_async_context(fake_storage())
            yield await stack.enter_async_context(remote(address))


async def test_a_segment_that_was_put_is_found_and_read(store: SegmentStore) -> None:
    """All its facts, words included, and its bytes, whatever their size."""
    put = segment(LARGE, words=WORDS)
    stored = await store.put(put, LARGE, "")

    assert put == stored
    assert {KEY: put} == await store.find([KEY, OTHER], "")
    assert LARGE == await store.read(KEY)


async def test_a_segment_without_words_has_none(store: SegmentStore) -> None:
    """Providers that do not time words."""
    await store.put(segment(), b"sound", "")

    assert segment() == (await store.find([KEY], ""))[KEY]


async def test_the_first_segment_under_a_key_wins(store: SegmentStore) -> None:
    """Both get the facts of the first, and its bytes."""
    first, second = segment(b"first"), segment(b"second!")
    await store.put(first, b"first", "")

    assert first == await store.put(second, b"second!", "")
    assert b"first" == await store.read(KEY)


async def test_what_is_not_stored_is_not_found(store: SegmentStore) -> None:
    """Nothing for the lookup, SegmentMissingError for the bytes."""
    assert {} == await store.find([KEY], "")
    assert {} == await store.find([], "")
    with pytest.raises(SegmentMissingError):
        await store.read(KEY)


async def test_segments_do_not_mix(store: SegmentStore) -> None:
    """Each key has its own."""
    one, two = segment(b"one"), segment(b"two", OTHER)
    await store.put(one, b"one", "")
    await store.put(two, b"two", "")

    assert {KEY: one, OTHER: two} == await store.find([KEY, OTHER], "")
    assert (b"one", b"two") == (await store.read(KEY), await store.read(OTHER))
