"""A backup over a pipe while the service writes, and back again."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from support.storage_service import Narrated, Storage, created, narrated, read, service

from standins.storage_kit import FINGERPRINT, create_request
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

TOKEN: Final = "a-secret-of-the-cluster-that-no-backup-contains"  # noqa: S105 - of the tests
SIZES: Final = (20_000, 200_000)


@pytest_asyncio.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """A service that runs."""
    async with service(tmp_path / "a") as it:
        yield it


async def command(folder: Path, *arguments: str, data: bytes = b"") -> tuple[int | None, bytes, str]:
    """Exit code, standard output and standard error of a command of the storage service."""
    process = await started(folder, *arguments)
    async with asyncio.timeout(60):
        out, err = await process.communicate(data)
    return process.returncode, out, err.decode()


async def started(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    """A command of the storage service."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "storage_service", *arguments),
        env={"PATH": os.environ["PATH"], "TALE_DATA_DIR": str(folder), "SERVICE_TOKEN": TOKEN},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def write_until(storage: Storage, done: asyncio.Event, numbers: "count[int]") -> dict[str, Narrated]:
    """Tells story after story, and deletes every third, until `done`; what is left, by request id."""
    left = dict[str, Narrated]()
    while not done.is_set():
        number = next(numbers)
        made = await narrated(storage, sizes=SIZES, request_id=f"during-{number}", fingerprint=FINGERPRINT)
        if number % 3:
            left[f"during-{number}"] = made
        else:
            await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=made.story_id))
    return left


async def test_backup_over_a_pipe_is_whole_while_the_service_writes(storage: Storage, tmp_path: Path) -> None:
    """All that was there before is restored, with audio and request ids; so is what came meanwhile, or not at all."""
    before = {
        f"before-{n}": await narrated(storage, sizes=SIZES, request_id=f"before-{n}", fingerprint=FINGERPRINT)
        for n in range(12)
    }
    done, numbers = asyncio.Event(), count()
    writers = [asyncio.create_task(write_until(storage, done, numbers)) for _ in range(3)]
    code, archive, said = await command(storage.folder, "export", "-")
    done.set()
    during = {name: made for left in await asyncio.gather(*writers) for name, made in left.items()}

    assert 0 == code, said
    assert "stories" in said.splitlines()[-1]
    assert during
    assert TOKEN.encode() not in archive
    assert TOKEN not in said
    code, out, said = await command(tmp_path / "b", "import", "-", data=archive)
    assert (0, "") == (code, said)
    assert b"imported " in out
    async with service(tmp_path / "b") as restored:
        stories = (await restored.stub.ListStories(storage_pb2.ListStoriesRequest(page_size=100))).stories
        ready = {story.id for story in stories if story.state == common_pb2.STORY_STATE_READY}
        assert {made.story_id for made in before.values()} <= ready
        for name, made in (before | during).items():
            if made.story_id in ready:
                assert made.data == (await read(restored, made.story_id))[1]
            again = await restored.stub.CreateStory(create_request(request_id=name, fingerprint=FINGERPRINT))
            # A story that is not in the backup can be asked for again.
            assert again.created is (made.story_id not in {story.id for story in stories})
            assert again.created is (made.story_id != again.record.story.id)


async def test_request_of_a_story_that_the_backup_has_not_stays_new(storage: Storage, tmp_path: Path) -> None:
    """Requests that were deleted before the backup stay deleted, also of the newest story."""
    await narrated(storage, sizes=SIZES, request_id="kept", fingerprint=FINGERPRINT)
    newest = await created(storage, request_id="deleted", fingerprint=FINGERPRINT)
    await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=newest))
    _, archive, _ = await command(storage.folder, "export", "-")
    code, _, said = await command(tmp_path / "b", "import", "-", data=archive)
    assert 0 == code, said
    async with service(tmp_path / "b") as restored:
        with pytest.raises(Exception, match="deleted"):
            await restored.stub.CreateStory(create_request(request_id="deleted", fingerprint=FINGERPRINT))


async def test_backup_whose_reader_goes_away_fails_with_one_line(storage: Storage) -> None:
    """Exit code 1, so that a script notices; `import` would refuse what was read."""
    await narrated(storage)
    process = await started(storage.folder, "export", "-")
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readexactly(1_000)
    process.stdout._transport.close()  # type: ignore[attr-defined]  # asyncio has no other way
    async with asyncio.timeout(60):
        said = (await process.stderr.read()).decode()
        assert 1 == await process.wait()
    assert ["storage: standard output cannot be written: Broken pipe"] == said.splitlines()


async def test_backup_to_a_terminal_is_refused(storage: Storage) -> None:
    """Nobody reads an archive there."""
    primary, secondary = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "storage_service", "export", "-"),
        env={"PATH": os.environ["PATH"], "TALE_DATA_DIR": str(storage.folder)},
        stdout=secondary,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    os.close(primary)
    os.close(secondary)
    assert 1 == process.returncode
    assert b"storage: standard output is a terminal: send it to a file or a pipe\n" == said


async def test_backup_of_no_store_is_an_error(tmp_path: Path) -> None:
    """A wrong folder is no empty backup, and nothing is made in it."""
    code, out, said = await command(tmp_path / "nothing", "export", "-")
    assert (2, b"") == (code, out)
    assert "TALE_DATA_DIR has no store" in said
    assert not (tmp_path / "nothing").exists()
