"""A place for audio that more than one store may be told to use: only the one that it belongs to sweeps it."""

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs
from support.moto_s3 import ACCESS_KEY_ID, S3, SECRET
from support.supabase_lite import Lite

from servicekit.ids import new_id
from servicekit.metrics import Metrics
from standins.storage_kit import LEASE, SECOND, ManualClock, new_story
from storage_service.audio_ownership import MARK
from storage_service.backends import Backend, make_backend
from storage_service.commands import run_command
from storage_service.embedded.audio_files import AudioFiles
from storage_service.records import AudioKey
from storage_service.settings import StorageSettings
from tale.common.v1 import common_pb2

AUDIO = b"a dragon who cannot sleep" * 100
FAR_AHEAD = 4_000_000_000 * SECOND

Place: TypeAlias = dict[str, Any]


@pytest.fixture(params=["file", "s3"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The settings of a place, in a folder and in a bucket."""
    if request.param == "file":
        return {"audio_store_url": (tmp_path / "shared").as_uri()}
    server: S3 = request.getfixturevalue("moto_s3")
    return {
        "audio_store_url": f"s3://{await server.make_bucket()}/tales",
        "audio_store_endpoint": server.url,
        "upstream_allow_plain_http": True,
        "aws_access_key_id": ACCESS_KEY_ID,
        "aws_secret_access_key": SecretStr(SECRET),
    }


@asynccontextmanager
async def opened(settings: StorageSettings) -> AsyncIterator[Backend]:
    """What a service keeps its things in, long after all of it was written."""
    backend = make_backend(settings, ManualClock(FAR_AHEAD), Metrics())
    await backend.stores.stories.open()
    await backend.stores.files.open()
    try:
        yield backend
    finally:
        await backend.stores.files.close()
        await backend.stores.stories.close()


async def upload(backend: Backend, story_id: str) -> AudioKey:
    """Bytes that no story refers to."""
    key = AudioKey(story_id, new_id())
    async with backend.stores.files.upload(key) as incoming:
        await incoming.write(AUDIO)
        await incoming.publish()
    return key


async def tell(backend: Backend) -> AudioKey:
    """A story with audio."""
    new = new_story(lease=LEASE)
    await backend.stores.stories.create("mia", new)
    key = await upload(backend, new.story_id)
    audio = common_pb2.StoryAudio(
        audio_id=new_id(),
        content_type="audio/mpeg",
        size_bytes=len(AUDIO),
        sha256=hashlib.sha256(AUDIO).digest(),
    )
    audio.duration.FromSeconds(7)
    await backend.stores.stories.attach_audio(new.story_id, 1, audio, key)
    return key


async def read(backend: Backend, story_id: str) -> bytes:
    """The audio of a story."""
    kept = await backend.stores.stories.find_audio("mia", story_id)
    assert kept is not None
    return b"".join([block async for block in backend.stores.files.read(kept, offset=0, limit=None)])


async def sweep(backend: Backend) -> int:
    """How many files went."""
    return await backend.stores.files.sweep(backend.stores.stories.known_audio, grace=0)


def told(logs: Any) -> list[str]:
    """The errors among lines of the log."""
    return [line["event"] for line in logs if line["log_level"] == "error"]


async def test_an_empty_database_removes_nothing_of_another(tmp_path: Path, place: Place) -> None:
    """It says once what to do; the store that the place belongs to goes on as before."""
    own = StorageSettings(data_dir=tmp_path / "own", **place)
    async with opened(own) as backend:
        assert 0 == await sweep(backend)
        key = await tell(backend)
        await upload(backend, new_id())
    with capture_logs() as logs:
        async with opened(StorageSettings(data_dir=tmp_path / "fresh", **place)) as fresh:
            assert [0, 0] == [await sweep(fresh), await sweep(fresh)]
    assert ["audio is not swept: its place belongs to another store"] == told(logs)
    async with opened(own) as backend:
        assert AUDIO == await read(backend, key.story_id)
        assert [1, 0] == [await sweep(backend), await sweep(backend)]
        assert AUDIO == await read(backend, key.story_id)


async def test_a_place_without_a_mark_is_not_swept_where_something_is_unknown(tmp_path: Path, place: Place) -> None:
    """Objects that the database does not know may be another's."""
    async with opened(StorageSettings(data_dir=tmp_path / "own", **place)) as backend:
        key = await tell(backend)
    with capture_logs() as logs:
        async with opened(StorageSettings(data_dir=tmp_path / "fresh", **place)) as fresh:
            assert 0 == await sweep(fresh)
    assert ["audio is not swept: its place belongs to another store"] == told(logs)
    async with opened(StorageSettings(data_dir=tmp_path / "own", **place)) as backend:
        assert AUDIO == await read(backend, key.story_id)


async def test_a_place_without_a_mark_whose_objects_are_all_known_is_taken(tmp_path: Path, place: Place) -> None:
    """So those who kept audio there before there were marks need not do anything."""
    async with opened(StorageSettings(data_dir=tmp_path / "own", **place)) as backend:
        key = await tell(backend)
        with capture_logs() as logs:
            assert 0 == await sweep(backend)
        await upload(backend, new_id())
        assert 1 == await sweep(backend)
        assert AUDIO == await read(backend, key.story_id)
    assert [] == told(logs)


@pytest.mark.parametrize("mark", [b"", b"{", b"[]", b'{"store_id": 7}'])
async def test_a_mark_that_can_not_be_read_is_anothers(tmp_path: Path, mark: bytes) -> None:
    """Nothing is removed on a guess."""
    place: Place = {"audio_store_url": (tmp_path / "shared").as_uri()}
    async with opened(StorageSettings(data_dir=tmp_path / "own", **place)) as backend:
        await sweep(backend)
        (tmp_path / "shared" / MARK).write_bytes(mark)
        await upload(backend, new_id())
        assert 0 == await sweep(backend)


def test_a_place_is_adopted_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From then on the mark names the store of the settings; without such a place there is nothing to adopt."""
    monkeypatch.setenv("TALE_DATA_DIR", str(tmp_path / "fresh"))
    assert 2 == run_command(["adopt-audio"])
    assert "AUDIO_STORE_URL" in capsys.readouterr().err
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / MARK).write_text('{"store_id": "another"}')
    monkeypatch.setenv("AUDIO_STORE_URL", (tmp_path / "shared").as_uri())
    assert 0 == run_command(["adopt-audio"])
    assert "another" not in (tmp_path / "shared" / MARK).read_text()


async def test_an_adopted_place_is_swept(tmp_path: Path, place: Place) -> None:
    """What the store does not know goes then."""
    async with opened(StorageSettings(data_dir=tmp_path / "own", **place)) as backend:
        await sweep(backend)
        await tell(backend)
    async with opened(StorageSettings(data_dir=tmp_path / "fresh", **place)) as fresh:
        assert fresh.adopt_audio is not None
        await fresh.adopt_audio()
        assert 1 == await sweep(fresh)


async def test_supabase_has_an_id_and_old_parts_do_not_stop_its_sweep(tmp_path: Path, supabase_lite: Lite) -> None:
    """The database is asked for ids alone; two services over it are one store."""
    settings = StorageSettings(
        data_dir=tmp_path,
        backend="supabase",
        supabase_url=supabase_lite.url,
        supabase_key=SecretStr(supabase_lite.key),
        upstream_allow_plain_http=True,
        audio_store_url=(tmp_path / "shared").as_uri(),
    )
    async with opened(settings) as backend:
        await sweep(backend)
        key = await tell(backend)
        part = tmp_path / "shared" / key.story_id[-2:] / f"{key.story_id}.{new_id()}.part"
        part.write_bytes(AUDIO)
    async with opened(settings) as backend:
        assert [1, 0] == [await sweep(backend), await sweep(backend)]
        assert (False, AUDIO) == (part.exists(), await read(backend, key.story_id))


@pytest.mark.parametrize(
    "name",
    [
        lambda: "holiday.jpg",
        lambda: f"{new_id()}.part",
        lambda: f"{new_id()}.{new_id()}.part.part",
        lambda: f"{new_id()}.{new_id()}.bak",
        lambda: f"{new_id().upper()}.{new_id()}",
    ],
)
async def test_what_does_not_look_like_ours_stays(tmp_path: Path, name: Callable[[], str]) -> None:
    """No file of another name is removed or asked for."""
    files = AudioFiles(tmp_path, ManualClock(FAR_AHEAD))
    await files.open()
    strange, stray = tmp_path / "en" / name(), tmp_path / "en" / f"{new_id()}.{new_id()}"
    strange.parent.mkdir()
    (tmp_path / "is").write_text("a file where folders are")
    for file in (strange, stray):
        file.write_bytes(b"bytes")
        os.utime(file, (1, 1))
    asked: list[AudioKey] = []

    async def known(keys: Any) -> Any:
        asked.extend(keys)
        return ()

    assert 1 == await files.sweep(known, grace=0)
    assert [AudioKey(*stray.name.split("."))] == asked
    assert (True, False) == (strange.exists(), stray.exists())
    await files.close()
