"""A disk that is really full, and logs that have no room."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.small_disk import fill, small_disk
from support.storage_service import Storage, created, failure, narrated, put, read, service, verdicts

from servicekit.channel import open_channel
from servicekit.errors import DomainError
from servicekit.status import from_rpc_error
from standins.processes import free_ports
from standins.storage_kit import ManualClock, begun_story, checkpoint, create_request, speech
from storage_service.embedded.reserve import SIZE
from tale.common.v1 import common_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

pytestmark = pytest.mark.system

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 24 MiB."""
    with small_disk(tmp_path / "disk", 24) as folder:
        yield folder


@pytest.fixture
async def storage(disk: Path) -> AsyncIterator[Storage]:
    """The service over that disk."""
    async with service(disk / "data") as it:
        yield it


async def health(storage: Storage) -> int:
    """What the service reports of itself."""
    stub: Any = health_pb2_grpc.HealthStub(storage.channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest())).status)


async def until_refused(storage: Storage, story_id: str) -> DomainError:
    """Writes until the disk is full, with what the journal has left over; what the last call is refused with."""
    generation = storage_pb2.GenerationRecord(model_used="m")
    generation.full_response.add().update({"id": "x" * 300_000})
    for _ in range(100):
        try:
            assert [""] == await verdicts(storage, checkpoint(story_id, generation=generation))
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error)
    raise AssertionError("there is room for all of it")


async def test_full_disk_takes_nothing_and_gives_all(storage: Storage, disk: Path) -> None:
    """Writes are refused with the remedy, reads continue, the health stays; with room again all continues."""
    made, running = await narrated(storage), await created(storage)
    filler = fill(disk)
    error = await until_refused(storage, running)
    assert "STORAGE_FULL" == error.reason
    assert grpc.StatusCode.RESOURCE_EXHAUSTED is error.code
    assert "Free or buy room in the store." == error.remedy
    assert error.retryable
    (spoken,) = speech([2 * MIB])
    files = len(storage.files())
    assert "STORAGE_FULL" == (await failure(put(storage, spoken))).reason
    assert files == len(storage.files())
    assert (await read(storage, made.story_id))[1] == made.data
    assert health_pb2.HealthCheckResponse.SERVING == await health(storage)
    filler.unlink()
    assert (await put(storage, spoken)).created
    assert [""] == await verdicts(storage, checkpoint(running, text=(0, "Once upon a time.")))


async def test_story_is_deleted_from_a_full_disk(storage: Storage, disk: Path) -> None:
    """Its audio makes room, the next write is taken, and the reserve is held again."""
    made, running = await narrated(storage), await created(storage)
    fill(disk)
    assert "STORAGE_FULL" == (await until_refused(storage, running)).reason
    await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=made.story_id))
    assert [] == storage.files("audio")
    assert [""] == await verdicts(storage, checkpoint(running, text=(0, "Once upon a time.")))
    with suppress(DomainError):
        await storage.app.housekeeper.scrub()
    assert SIZE == (storage.folder / "storage" / "tale.reserve").stat().st_size


async def test_stories_are_deleted_from_a_full_disk_while_others_write(storage: Storage, disk: Path) -> None:
    """The room that is given up for removals is not taken by the runs, which try again all the time."""
    made = [await narrated(storage, sizes=[1_000]) for _ in range(4)]
    running = [await created(storage) for _ in range(4)]
    fill(disk)
    assert "STORAGE_FULL" == (await until_refused(storage, running[0])).reason

    async def write(story_id: str) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError):
                await until_refused(storage, story_id)
            await asyncio.sleep(0)

    writing = [asyncio.create_task(write(story_id)) for story_id in running]
    for each in made:
        await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=each.story_id))
        await asyncio.sleep(0.3)
    for task in writing:
        task.cancel()
    await asyncio.gather(*writing, return_exceptions=True)


async def test_child_is_erased_from_a_full_disk(storage: Storage, disk: Path) -> None:
    """With all its stories; the traces go at once where their audio made room for that."""
    profiles = profile_pb2_grpc.ProfileServiceStub(storage.channel)
    child = (await profiles.CreateChild(profile_pb2.CreateChildRequest(child=common_pb2.Child(name="Mia")))).child
    mine = begun_story(child_id=child.id, child=None)
    stories = [await narrated(storage, story=mine) for _ in range(3)]
    running = await created(storage)
    fill(disk)
    assert "STORAGE_FULL" == (await until_refused(storage, running)).reason
    erased = await storage.stub.EraseChild(storage_pb2.EraseChildRequest(child_id=child.id))
    assert (len(stories), len(stories)) == (erased.story_count, erased.audio_count)
    for made in stories:
        gone = await failure(storage.stub.GetStory(storage_pb2.GetStoryRequest(story_id=made.story_id)))
        assert "STORY_NOT_FOUND" == gone.reason


async def test_service_starts_on_a_full_disk(disk: Path) -> None:
    """The reserve of the run before gives the journal its room: it reads and deletes."""
    async with service(disk / "data") as storage:
        made, other = await narrated(storage), await narrated(storage)
    fill(disk)
    async with service(disk / "data", ManualClock()) as storage:
        assert (await read(storage, other.story_id))[1] == other.data
        await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=made.story_id))
        await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=other.story_id))
        await narrated(storage, sizes=[1_000])


async def test_nothing_is_half_written_on_a_full_disk(storage: Storage, disk: Path) -> None:
    """Whatever runs meanwhile: what was acknowledged is there, and all else is refused."""
    stories = [await created(storage) for _ in range(8)]
    filler = fill(disk)
    ends = await asyncio.gather(*(until_refused(storage, story_id) for story_id in stories))
    assert {"STORAGE_FULL"} == {end.reason for end in ends}
    filler.unlink()
    for story_id in stories:
        assert [""] == await verdicts(storage, checkpoint(story_id, text=(0, "Once upon a time.")))
        record = (await storage.stub.GetStory(storage_pb2.GetStoryRequest(story_id=story_id))).record
        assert "Once upon a time." == record.story.content


async def test_full_disk_for_logs_stops_no_service(tmp_path: Path) -> None:
    """Standard error and output that take no byte: calls are answered, and the drain ends in order."""
    (port,) = free_ports(1)
    environ = {
        "PATH": os.environ["PATH"],
        "TALE_DATA_DIR": str(tmp_path),
        "STORAGE_LISTEN": f"127.0.0.1:{port}",
        "STORAGE_OPS_LISTEN": "127.0.0.1:0",
        "LOG_LEVEL": "DEBUG",
    }
    full = os.open("/dev/full", os.O_WRONLY)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "storage_service", env=environ, stdout=full, stderr=full
    )
    os.close(full)
    async with open_channel(f"127.0.0.1:{port}") as channel:
        stub = storage_pb2_grpc.StorageServiceStub(channel)
        stories = [await stub.CreateStory(create_request(), wait_for_ready=True, timeout=20) for _ in range(50)]
        assert 50 == sum(story.created for story in stories)
    process.terminate()
    async with asyncio.timeout(20):
        assert 0 == await process.wait()
