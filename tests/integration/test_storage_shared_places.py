"""Places that hold more than the objects of one store: nothing is listed, and nothing of others is touched."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from pydantic import SecretStr
from support.moto_s3 import ACCESS_KEY_ID, S3, SECRET, Door, door
from support.storage_service import Storage, narrated, read, service

from servicekit.ids import new_id
from standins.storage_kit import ManualClock
from storage_service.object_store.bucket import Bucket
from storage_service.records import ObjectKey, ObjectKind
from tale.storage.v1 import storage_pb2

FAR_AHEAD = 4_000_000_000

Place: TypeAlias = dict[str, Any]


@pytest.fixture
async def entry(moto_s3: S3) -> AsyncIterator[Door]:
    """A door before the server."""
    async with door(moto_s3) as it:
        yield it


def s3_place(entry: Door, bucket: str) -> Place:
    """Settings of a service whose bytes are in a bucket."""
    return {
        "audio_store_url": f"s3://{bucket}/tales",
        "aws_endpoint_url_s3": entry.url,
        "upstream_allow_plain_http": True,
        "aws_access_key_id": ACCESS_KEY_ID,
        "aws_secret_access_key": SecretStr(SECRET),
    }


@asynccontextmanager
async def two_stores(folder: Path, place: Place) -> AsyncIterator[tuple[Storage, Storage]]:
    """Two services, each with a database of its own, over one place."""
    async with service(folder / "one", **place) as one, service(folder / "two", **place) as two:
        yield one, two


async def use_and_empty(one: Storage, two: Storage) -> None:
    """Both store a story; the first removes all that it has, long after; the second still has all of its own."""
    mine, theirs = await narrated(one), await narrated(two)
    await one.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=mine.story_id))
    one.clock.advance(FAR_AHEAD)
    await one.app.housekeeper.sweep()
    assert (await read(two, theirs.story_id))[1] == theirs.data


async def test_stores_that_share_a_folder_leave_each_other_alone(tmp_path: Path) -> None:
    """Whatever its files are named, a store removes none that it has not noted."""
    shared = tmp_path / "shared"
    async with two_stores(tmp_path, {"audio_store_url": shared.as_uri()}) as (one, two):
        strange = shared / ObjectKey(ObjectKind.AUDIO, new_id()).path
        strange.parent.mkdir(parents=True)
        strange.write_bytes(b"another's")
        os.utime(strange, (1, 1))
        await use_and_empty(one, two)
        assert strange.exists()


async def test_stores_that_share_a_bucket_leave_each_other_alone(tmp_path: Path, moto_s3: S3, entry: Door) -> None:
    """And no request lists it."""
    bucket = await moto_s3.make_bucket()
    strange = ObjectKey(ObjectKind.AUDIO, new_id()).path
    place = moto_s3.config(bucket, prefix="tales")
    await Bucket(place).put(strange, lambda: b"another's", 9, content_type="audio/mpeg")
    async with two_stores(tmp_path, s3_place(entry, bucket)) as (one, two):
        await use_and_empty(one, two)
    names = await moto_s3.names(bucket)
    assert f"tales/{strange}" in names
    # Of the second store: its audio and its segments.
    assert len(names) == 6
    assert not [seen for seen in entry.seen if seen.method == "GET" and seen.path.strip("/") == bucket]


async def test_a_start_lists_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed at all is good enough, so what is stored costs a start nothing."""
    async with service(tmp_path) as storage:
        made = await narrated(storage)

    def refusing(list_folder: Any) -> Any:
        def look(path: Any = ".") -> Any:
            if str(path).startswith(str(tmp_path)):
                raise PermissionError(13, "not to be listed", str(path))
            return list_folder(path)

        return look

    with monkeypatch.context() as patch:
        for name in ("listdir", "scandir"):
            patch.setattr(os, name, refusing(getattr(os, name)))
        async with service(tmp_path, ManualClock()) as storage:
            storage.clock.advance(FAR_AHEAD)
            await storage.app.housekeeper.sweep()
            assert (await read(storage, made.story_id))[1] == made.data
            await narrated(storage)
