"""What a start makes sure of: the folder is private, no other process uses it, and the database is undamaged."""

import asyncio
import os
import signal
import sqlite3
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import grpc
import pytest
import structlog
from support.servers import running
from support.storage_service import Storage, created, failure, narrated, narrating, read, service

from servicekit.errors import DomainError
from servicekit.settings import ConfigurationError
from standins.storage_kit import ManualClock
from storage_service.bootstrap import build_app
from storage_service.embedded.database import Database
from storage_service.settings import StorageSettings, Tuning
from tale.common.v1 import common_pb2, status_pb2, status_pb2_grpc
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

FULL = common_pb2.STORY_VIEW_FULL


# Permissions.


@pytest.fixture
def usual_umask() -> Iterator[None]:
    """That of most systems: new files can be read by all."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Permissions of all below a folder that others have any of."""
    found = {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    return {name: mode for name, mode in found.items() if mode & 0o077}


@pytest.mark.usefixtures("usual_umask")
async def test_only_their_owner_reads_what_is_stored(tmp_path: Path) -> None:
    """Audio, segments, the database with its journal, the lock: none is open to others, while the service runs too."""
    data = tmp_path / "data"
    async with service(data) as storage:
        await narrated(storage)
        await narrating(storage)
        assert len(storage.files()) > 5
        assert {} == modes(tmp_path)
    assert {} == modes(tmp_path)


@pytest.mark.usefixtures("usual_umask")
async def test_folder_of_a_copy_is_closed_at_the_start_with_one_line(tmp_path: Path) -> None:
    """Such as one that was restored without its permissions."""
    async with service(tmp_path) as storage:
        made = await narrated(storage)
    store = tmp_path / "storage"
    for path in (store, *store.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with structlog.testing.capture_logs() as lines:
        async with service(tmp_path, ManualClock()) as storage:
            assert (await read(storage, made.story_id))[1] == made.data
            folders = [path for path in (store, *store.rglob("*")) if path.is_dir()]
            assert {0o700} == {stat.S_IMODE(path.stat().st_mode) for path in folders}
            assert [] == [name for name in modes(store) if name.startswith("tale.")]
    assert 1 == len([line for line in lines if line["event"] == "store files closed to other users"])


@pytest.mark.usefixtures("usual_umask")
async def test_folder_that_is_not_the_stores_own_stays_open(tmp_path: Path) -> None:
    """AUDIO_STORE_URL may name one that other programs use; what the store makes in it is closed."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    async with service(tmp_path / "data", audio_store_url=shared.as_uri()) as storage:
        await narrated(storage)
    assert 0o755 == stat.S_IMODE(shared.stat().st_mode)
    assert {} == modes(shared)


# Two processes.


async def test_second_service_on_a_folder_is_refused(tmp_path: Path) -> None:
    """Its line names the process that has the folder, and the first service is not disturbed."""
    async with service(tmp_path) as storage:
        said = rf"TALE_DATA_DIR: another storage process \(pid {os.getpid()}\) uses .*: stop it, or set TALE_DATA_DIR"
        with pytest.raises(ConfigurationError, match=said):
            async with service(tmp_path):
                pass
        await narrated(storage)
    async with service(tmp_path) as storage:
        await narrated(storage)


async def command(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "storage_service",
        *arguments,
        env={
            "PATH": os.environ["PATH"],
            "TALE_DATA_DIR": str(folder),
            "STORAGE_LISTEN": "127.0.0.1:0",
            "STORAGE_OPS_LISTEN": "127.0.0.1:0",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_commands_that_write_respect_a_running_service(tmp_path: Path) -> None:
    """An export only reads."""
    file, data = str(tmp_path / "tales.tar"), tmp_path / "data"
    async with service(data) as storage:
        await narrated(storage)
        code, said = await command(data, "export", file)
        assert 0 == code, said
        for arguments in (["import", file], ["migrate"]):
            code, said = await command(data, *arguments)
            assert 2 == code
            assert "storage: TALE_DATA_DIR: another storage process" in said
    assert 0 == (await command(data, "import", file))[0]


async def test_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    """Not even for a moment."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys, time; from pathlib import Path; from storage_service.embedded.lock import FolderLock\n"
        "FolderLock(Path(sys.argv[1])).take(); print('taken', flush=True); time.sleep(60)",
        str(tmp_path / "tale.lock"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"taken\n" == await process.stdout.readline()
    database = Database(tmp_path / "tale.sqlite3", sync="normal", readers=1)
    with pytest.raises(ConfigurationError, match=f"pid {process.pid}"):
        await database.open()
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await database.open()
    await database.close()


# Damage.


async def filled(folder: Path) -> Path:
    """A store with some stories whose service has ended; its database."""
    async with service(folder) as storage:
        for _ in range(20):
            await narrated(storage)
    return folder / "storage" / "tale.sqlite3"


def truncate(path: Path) -> None:
    """Leaves half of the file."""
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    """Leaves nothing of the file."""
    os.truncate(path, 0)


def spoil_the_header(path: Path) -> None:
    """Overwrites the first page."""
    with path.open("r+b") as file:
        file.write(os.urandom(4096))


def spoil_pages(path: Path) -> None:
    """Overwrites pages behind those of the schema."""
    with path.open("r+b") as file:
        size = path.stat().st_size
        for position in range(size // 2 // 4096 * 4096, size, 4096):
            file.seek(position)
            file.write(b"\x55" * 4096)


def replace_it(path: Path) -> None:
    """Puts something else in its place."""
    path.write_text("this is no database\n" * 1000)


@pytest.mark.parametrize("damage", [truncate, empty, spoil_the_header, spoil_pages, replace_it])
@pytest.mark.sampled(2)
async def test_damaged_database_stops_the_start_with_one_line(tmp_path: Path, damage: object) -> None:
    """It names the file, what is wrong and the remedy; `check` says the same, and nothing is changed."""
    path = await filled(tmp_path)
    damage(path)  # type: ignore[operator]
    before = path.read_bytes()
    for arguments in ([], ["check"]):
        code, said = await command(tmp_path, *arguments)
        assert 2 == code
        assert 1 == sum(line.startswith("storage: ") for line in said.splitlines()), said
        assert f"storage: TALE_DATA_DIR: {path} is damaged (" in said
        assert "restore the folder from a backup" in said
    assert before == path.read_bytes()


async def test_store_that_was_never_filled_is_no_damage(tmp_path: Path) -> None:
    """A start that was killed leaves an empty file."""
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "tale.sqlite3").touch()
    async with service(tmp_path) as storage:
        await narrated(storage)


async def test_damage_that_is_met_later_is_reported_as_what_it_is(tmp_path: Path) -> None:
    """Calls that meet it and all writes get DATA_LOSS; operators see it; what can be read is read."""
    path = tmp_path / "storage" / "tale.sqlite3"
    settings = StorageSettings(listen="127.0.0.1:0", ops_listen="127.0.0.1:0", data_dir=tmp_path)
    app = build_app(settings, Tuning(), clock=ManualClock())
    async with running(app, service="storage", settings=settings) as it:
        stub = storage_pb2_grpc.StorageServiceStub(it.channel)
        storage = Storage(stub, None, it.channel, app, tmp_path, ManualClock())  # type: ignore[arg-type]
        story_id = await created(storage)
        status = status_pb2_grpc.StatusServiceStub(it.channel)
        assert (
            status_pb2.SERVICE_HEALTH_SERVING == (await status.GetStatus(status_pb2.GetStatusRequest())).status.health
        )
        connection = sqlite3.connect(path)
        # As a damaged page of this table is read.
        connection.execute("PRAGMA writable_schema = ON")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'tombstones'").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        with path.open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\x55" * 4096)
        error = await failure(stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=story_id)))
        assert grpc.StatusCode.DATA_LOSS is error.code
        assert "STORAGE_DAMAGED" == error.reason
        assert not error.retryable
        again = await failure(created(storage))
        assert "STORAGE_DAMAGED" == again.reason
        record = (await stub.GetStory(storage_pb2.GetStoryRequest(story_id=story_id, view=FULL))).record
        assert story_id == record.story.id
        answer = await status.GetStatus(status_pb2.GetStatusRequest())
        assert status_pb2.SERVICE_HEALTH_NOT_SERVING == answer.status.health
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{it.server.ops_address}/readyz") as ready,
        ):
            assert 503 == ready.status


async def test_damage_is_logged_with_the_file(tmp_path: Path) -> None:
    """Once it is met."""
    database = Database(tmp_path / "tale.sqlite3", sync="normal", readers=1)
    await database.open()

    def broken(_: sqlite3.Connection) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorname = "SQLITE_CORRUPT"
        raise error

    with structlog.testing.capture_logs() as lines, pytest.raises(DomainError, match="STORAGE_DAMAGED"):
        await database.read(broken)
    (line,) = lines
    assert ("error", str(tmp_path / "tale.sqlite3")) == (line["log_level"], line["file"])
    assert not database.sound
    await database.close()


async def test_start_looks_for_damage_for_a_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is not read to its end by then is taken as it is, and serves."""
    path = tmp_path / "tale.sqlite3"
    database = Database(path, sync="normal", readers=1)
    await database.open()

    def much(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE notes (note TEXT)")
        connection.executemany("INSERT INTO notes VALUES (?)", (("x" * 2_000,) for _ in range(20_000)))

    await database.write(much)
    await database.close()
    monkeypatch.setattr("storage_service.embedded.database._CHECK_SECONDS", 0.001)
    again = Database(path, sync="normal", readers=1)
    await again.open()
    assert 20_000 == await again.read(lambda one: one.execute("SELECT count(*) FROM notes").fetchone()[0])
    assert again.sound
    await again.close()
