"""The voice cache, in files and in memory."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore, S3Store
from support.moto_s3 import ACCESS_KEY_ID, S3, SECRET
from support.voice_kit import sha256

from servicekit.ids import new_id
from servicekit.settings import ConfigurationError
from voice_service.cache.index import MAX_STORIES
from voice_service.cache.objects import ObjectCache
from voice_service.cache.opening import open_cache
from voice_service.cache.ports import CachedSegment, SegmentCache
from voice_service.ports import WordTiming

ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64


def _segment(audio: bytes = b"sound") -> CachedSegment:
    return CachedSegment(
        audio=audio,
        sha256=sha256(audio),
        samples=1152,
        sample_rate=44_100,
        provider="mock",
        voice_id="mock",
        model_id="mock-1",
        words=(WordTiming(0, 3, 0.0, 0.25),),
    )


Store = LocalStore | MemoryStore | S3Store


@pytest.fixture(params=["file", "memory", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in files, one in memory, and one that speaks S3."""
    if request.param == "memory":
        return MemoryStore()
    if request.param == "file":
        return LocalStore(tmp_path, automatic_cleanup=True)
    server: S3 = request.getfixturevalue("moto_s3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    url = f"s3://{await server.make_bucket()}/voice/cache"
    return open_cache(url, tmp_path, 10_000, endpoint=server.url)._store


def _paths(store: Store) -> list[str]:
    return sorted(item["path"] for batch in store.list() for item in batch)


async def test_what_was_put_is_there_also_for_the_next_process(store: Store) -> None:
    """A segment comes back whole, with its words."""
    await ObjectCache(store, 10_000).put(ONE, _segment())

    assert _segment() == await ObjectCache(store, 10_000).get(ONE)


async def test_what_was_not_put_is_missing(store: Store) -> None:
    """A miss is None and is counted."""
    cache: SegmentCache = ObjectCache(store, 10_000)

    assert await cache.get(ONE) is None
    assert (0, 1) == (cache.stats().hits, cache.stats().misses)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "header"])
async def test_a_damaged_segment_is_missing_and_is_removed(store: Store, damage: str) -> None:
    """Whatever happened to its bytes, they are not played."""
    cache = ObjectCache(store, 10_000)
    await cache.put(ONE, _segment(), [new_id()])
    data = bytes(store.get(f"segments/{ONE}").bytes())
    spoilt = {
        "cut": data[:-1],
        "flip": data[:-1] + bytes([data[-1] ^ 1]),
        "empty": b"",
        "header": data[:40] + b"9" + data[41:],
    }
    store.put(f"segments/{ONE}", spoilt[damage])

    assert await cache.get(ONE) is None
    assert [] == _paths(store)
    assert 1 == cache.stats().corrupt


async def test_the_longest_unused_segments_go_when_there_is_no_room(store: Store) -> None:
    """A read counts as a use; marks go along."""
    cache = ObjectCache(store, 2_700)
    for key, audio in ((ONE, b"1"), (TWO, b"2")):
        await cache.put(key, _segment(audio * 1_000), [new_id()])
    await cache.get(ONE)
    await cache.put(THREE, _segment(b"3" * 1_000), [new_id()])

    assert [True, False, True] == [await cache.get(key) is not None for key in (ONE, TWO, THREE)]
    assert not [path for path in _paths(store) if TWO in path]


async def test_a_new_process_keeps_to_the_limit_too(store: Store) -> None:
    """What was there at the start counts."""
    before = ObjectCache(store, 10_000)
    for key, audio in ((ONE, b"1"), (TWO, b"2"), (THREE, b"3")):
        await before.put(key, _segment(audio * 1_000), [new_id()])
    cache = ObjectCache(store, 2_700)
    await cache.start()
    await cache.surveyed()

    assert 2 == len([path for path in _paths(store) if path.startswith("segments/")])
    assert (2, 1) == (cache.stats().entries, cache.stats().evicted)
    assert cache.stats().bytes <= 2_700


async def test_marks_without_a_segment_are_swept_at_the_start(store: Store) -> None:
    """A kill between a mark and its segment leaves nothing for ever."""
    await ObjectCache(store, 10_000).put(ONE, _segment())
    store.put(f"by-story/{new_id()}/{TWO}", b"")
    cache = ObjectCache(store, 10_000, orphan_age=timedelta(0))
    await cache.start()
    await cache.surveyed()

    assert [f"by-audio/{sha256(b'sound').hex()}/{ONE}", f"segments/{ONE}"] == _paths(store)


async def test_marks_whose_segment_is_being_written_stay(store: Store) -> None:
    """By this process or by another one that shares the store: they come first."""
    mark = f"by-story/{new_id()}/{TWO}"
    store.put(mark, b"")
    cache = ObjectCache(store, 10_000)
    await cache.start()
    await cache.surveyed()

    assert [mark] == _paths(store)


async def test_a_story_is_forgotten_with_all_that_it_used(store: Store) -> None:
    """Also by another process, and also what the story only read."""
    first, second = new_id(), new_id()
    cache = ObjectCache(store, 10_000)
    await cache.put(ONE, _segment(b"one"), [first])
    await cache.put(TWO, _segment(b"two"), [second])
    await cache.put(THREE, _segment(b"three"), [second])
    await cache.get(TWO, first)

    assert 2 == await ObjectCache(store, 10_000).forget([first], [])
    assert [False, False, True] == [await cache.get(key) is not None for key in (ONE, TWO, THREE)]
    assert 0 == await cache.forget([first], [])


async def test_what_lands_for_a_forgotten_story_is_not_kept(store: Store) -> None:
    """Neither the segment nor a mark; what another story or nobody's asked for too stays, and without its mark."""
    first, second = new_id(), new_id()
    cache = ObjectCache(store, 10_000)
    await cache.forget([first], [])
    await cache.put(ONE, _segment(b"one"), [first])
    await cache.put(TWO, _segment(b"two"), [first, second])
    await cache.put(THREE, _segment(b"three"), [first, ""])
    await cache.get(THREE, first)

    assert [False, True, True] == [await cache.get(key) is not None for key in (ONE, TWO, THREE)]
    assert [f"by-story/{second}/{TWO}"] == [path for path in _paths(store) if "by-story" in path]
    assert not [path for path in _paths(store) if ONE in path]


class _Overtaken(ObjectCache):
    """Where a story is forgotten at the last moment: after its mark was written, before the segment is there."""

    async def _write(self, path: str, data: bytes) -> None:
        if path.startswith("segments/"):
            for story in [item.split("/")[1] for item in _paths(self._store) if item.startswith("by-story/")][:1]:
                await self.forget([story], [])
        await super()._write(path, data)


async def test_a_story_forgotten_while_its_segment_is_written_leaves_nothing(store: Store) -> None:
    """The segment was not there yet to be removed; one that it shares stays."""
    await _Overtaken(store, 10_000).put(ONE, _segment(), [new_id()])
    assert [] == _paths(store)

    first, second = sorted([new_id(), new_id()])
    await _Overtaken(store, 10_000).put(TWO, _segment(), [first, second])
    assert f"segments/{TWO}" in _paths(store)
    assert not [path for path in _paths(store) if first in path]


async def test_a_segment_is_forgotten_by_the_checksum_of_its_audio(store: Store) -> None:
    """Whatever its keys are."""
    cache = ObjectCache(store, 10_000)
    await cache.put(ONE, _segment())
    await cache.put(TWO, _segment())
    await cache.put(THREE, _segment(b"other"))

    assert 2 == await cache.forget([], [sha256(b"sound"), sha256(b"never")])
    assert [False, False, True] == [await cache.get(key) is not None for key in (ONE, TWO, THREE)]


async def test_the_stories_noted_for_one_segment_are_bounded() -> None:
    """A segment that everybody uses does not fill the disk with marks."""
    store = MemoryStore()
    cache = ObjectCache(store, 10_000)
    await cache.put(ONE, _segment())
    for _ in range(MAX_STORIES + 5):
        await cache.get(ONE, new_id())

    assert MAX_STORIES == len([path for path in _paths(store) if path.startswith("by-story/")])


async def test_files_appear_under_the_data_folder(tmp_path: Path) -> None:
    """Without VOICE_CACHE_URL the cache is a folder of TALE_DATA_DIR; with file:// it is where it says."""
    for url, folder in (
        ("", tmp_path / "data" / "voice-cache"),
        (f"file://{tmp_path}/else%20where", tmp_path / "else where"),
    ):
        await open_cache(url, tmp_path / "data", 10_000).put(ONE, _segment())

        assert (folder / "segments" / ONE).is_file()


@pytest.mark.parametrize("way", ["by-story", "by-audio"])
async def test_what_a_read_does_besides_does_not_spoil_it(tmp_path: Path, way: str) -> None:
    """A hit whose use can not be noted is a hit; damage that can not be cleared away is a miss."""
    cache = ObjectCache(LocalStore(tmp_path), 10_000)
    await cache.put(ONE, _segment(), [new_id()])
    if way == "by-audio":
        (tmp_path / "segments" / ONE).write_bytes(b"damaged")
    shutil.rmtree(tmp_path / way)
    (tmp_path / way).write_text("in the way")

    assert (_segment() if way == "by-story" else None) == await cache.get(ONE, new_id())


@pytest.mark.parametrize(
    "url", ["s3:///prefix", "s3://bucket?key=1", "file://relative/path", "file:relative", "http://example.org", "/x"]
)
def test_a_place_that_can_not_be_used_stops_the_service(url: str, tmp_path: Path) -> None:
    """One line that names the variable."""
    with pytest.raises(ConfigurationError, match="VOICE_CACHE_URL"):
        open_cache(url, tmp_path, 10_000)


def test_a_folder_that_can_not_be_made_stops_the_service(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="VOICE_CACHE_URL: the folder can not be made"):
        open_cache(f"file://{tmp_path}/file/cache", tmp_path, 10_000)
