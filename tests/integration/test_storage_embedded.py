"""The embedded store against a real disk: what it makes, and what it says when the disk fails."""

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.settings import ConfigurationError
from storage_service.embedded.database import Database
from storage_service.embedded.schema import migrations
from storage_service.object_store.folder import FolderObjects
from storage_service.records import ObjectKey, ObjectKind


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A database with a table of its own for the tests."""
    it = Database(tmp_path / "data" / "storage" / "tale.sqlite3", sync="normal", readers=2)
    await it.open()
    await it.write(lambda connection: connection.execute("CREATE TABLE notes (note BLOB)").close())
    yield it
    await it.close()


def note(connection: sqlite3.Connection, text: str = "kept") -> None:
    """Writes a row."""
    connection.execute("INSERT INTO notes VALUES (?)", (text,))


def notes(connection: sqlite3.Connection) -> list[str]:
    """All rows."""
    return [row["note"] for row in connection.execute("SELECT note FROM notes")]


async def test_folder_and_files_are_for_their_owner_alone(database: Database, tmp_path: Path) -> None:
    """Nobody else on the machine reads what children are told."""
    await database.write(note)
    folder = tmp_path / "data" / "storage"
    assert [0o700, 0o700] == [path.stat().st_mode & 0o777 for path in (folder, folder.parent)]
    names = ("tale.sqlite3", "tale.sqlite3-wal", "tale.sqlite3-shm", "tale.lock", "tale.reserve")
    assert dict.fromkeys(names, 0o600) == {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_disk_without_room_for_another_file_refuses_as_a_full_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database opens without its reserve, and what was given up cannot be held again."""

    def full(path: Path) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    database = Database(tmp_path / "tale.sqlite3", sync="normal", readers=1)
    monkeypatch.setattr("storage_service.embedded.reserve.create_file", full)
    await database.open()
    await database.write(lambda connection: connection.execute("CREATE TABLE notes (note BLOB)").close())
    database._full_until = 0.1
    with pytest.raises(DomainError, match="STORAGE_FULL"):
        await database.write(note)
    monkeypatch.undo()
    database._full_until = 0.1
    await database.write(note)
    await database.close()


@pytest.mark.parametrize(("sync", "level"), [("normal", 1), ("full", 2)])
async def test_the_database_is_set_up_as_promised(tmp_path: Path, sync: str, level: int) -> None:
    """WAL, foreign keys, and the synchronous level that STORAGE_SYNC asks for."""
    database = Database(tmp_path / "tale.sqlite3", sync=sync, readers=1)  # type: ignore[arg-type]
    await database.open()

    def pragmas(connection: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert ["wal", level, 1, 5000] == await database.write(pragmas)
    assert ["wal", level, 1, 5000] == await database.read(pragmas)
    await database.close()


async def test_readers_can_not_write(database: Database) -> None:
    """A read that would change something is a defect, and changes nothing."""
    with pytest.raises(DomainError, match="STORAGE_UNAVAILABLE"):
        await database.read(note)
    assert [] == await database.read(notes)


async def test_opening_again_keeps_what_is_there(database: Database, tmp_path: Path) -> None:
    """Migrations are applied once."""
    await database.write(note)
    await database.close()
    again = Database(tmp_path / "data" / "storage" / "tale.sqlite3", sync="normal", readers=1)
    await again.open()
    assert ["kept"] == await again.read(notes)
    version = await again.read(lambda connection: connection.execute("PRAGMA user_version").fetchone()[0])
    assert migrations()[-1].version == version
    await again.close()


async def test_newer_store_is_refused(database: Database, tmp_path: Path) -> None:
    """An older program refuses to start on a newer store, and says so."""
    await database.write(lambda connection: connection.execute("PRAGMA user_version = 99").close())
    older = Database(tmp_path / "data" / "storage" / "tale.sqlite3", sync="normal", readers=1, shared=True)
    with pytest.raises(ConfigurationError, match="TALE_DATA_DIR holds a store with schema version 99"):
        await older.open()
    await older.close()


async def test_a_file_that_is_no_database_stops_the_start(tmp_path: Path) -> None:
    """The line names the variable to look at."""
    (tmp_path / "tale.sqlite3").write_bytes(b"this is no database" * 100)
    database = Database(tmp_path / "tale.sqlite3", sync="normal", readers=1)
    with pytest.raises(ConfigurationError, match=r"TALE_DATA_DIR: .* is damaged \(file is not a database\)"):
        await database.open()
    await database.close()


async def test_a_folder_that_can_not_be_made_stops_the_start(tmp_path: Path) -> None:
    """A file where the folder should be is named as such."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "storage").write_text("in the way")
    database = Database(tmp_path / "data" / "storage" / "tale.sqlite3", sync="normal", readers=1)
    with pytest.raises(ConfigurationError, match="TALE_DATA_DIR"):
        await database.open()
    with pytest.raises(ConfigurationError, match="TALE_DATA_DIR"):
        await FolderObjects(tmp_path / "data" / "storage" / "audio", fsync=()).open()


async def test_a_full_disk_is_reported_and_passes(database: Database) -> None:
    """What did not fit is not there, nothing internal is told, and writing goes on when there is room again."""
    await database.write(note)
    pages = await database.write(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await database.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 4}").close())

    def much(connection: sqlite3.Connection) -> None:
        note(connection, "lost")
        connection.execute("INSERT INTO notes VALUES (zeroblob(1000000))")

    with pytest.raises(DomainError) as caught:
        await database.write(much)
    assert ("STORAGE_FULL", "The store has no room left.", 5.0) == (
        caught.value.reason,
        caught.value.message,
        caught.value.retry_after,
    )
    await database.write(lambda connection: connection.execute("PRAGMA max_page_count = 100000").close())
    await database.write(note)
    assert ["kept", "kept"] == await database.read(notes)


async def test_a_defect_is_not_dressed_up_as_the_disk(database: Database) -> None:
    """Wrong SQL and broken constraints come out as what they are."""
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await database.read(lambda connection: connection.execute("SELECT * FROM dragons").close())
    with pytest.raises(sqlite3.IntegrityError):
        await database.write(
            lambda connection: connection.execute("INSERT INTO story_texts VALUES ('x', 0, 'y')").close()
        )


async def test_a_transaction_outlives_its_caller(database: Database) -> None:
    """A caller who goes away leaves no half of it behind, and the next one is served."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        note(connection, "first half")
        begun.set()
        go_on.wait(10)
        note(connection, "second half")

    caller = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    following = asyncio.create_task(database.write(note))
    go_on.set()
    await following
    assert ["first half", "second half", "kept"] == await database.read(notes)


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    """What was written before the error is taken back."""

    def half(connection: sqlite3.Connection) -> None:
        note(connection, "lost")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await database.write(half)
    assert [] == await database.read(notes)


async def test_readers_do_not_wait_for_the_writer(database: Database) -> None:
    """While a write is under way, reads give what was there before it."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        note(connection)
        begun.set()
        go_on.wait(10)

    writing = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    assert [[], [], []] == await asyncio.gather(*(database.read(notes) for _ in range(3)))
    go_on.set()
    await writing
    assert ["kept"] == await database.read(notes)


async def test_waiting_writers_are_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is told to come again."""
    monkeypatch.setattr("storage_service.embedded.database._MOST_WAITING", 1)
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait(10)

    writing = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    with pytest.raises(DomainError, match="STORAGE_BUSY"):
        await database.write(note)
    go_on.set()
    await writing


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    """Before it is opened there is nothing to ask."""
    database = Database(tmp_path / "tale.sqlite3", sync="normal", readers=1)
    for call in (database.read(notes), database.write(note)):
        with pytest.raises(DomainError, match="STORAGE_UNAVAILABLE"):
            await call


async def test_a_file_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    """The disk's refusal is typed, names no path and leaves nothing behind."""
    files = FolderObjects(tmp_path, fsync=())
    await files.open()
    (tmp_path / "audio").write_text("in the way")
    with pytest.raises(DomainError) as caught:
        await _put(files, ObjectKey(ObjectKind.AUDIO, new_id()))
    assert caught.value.reason == "STORAGE_UNAVAILABLE"
    assert caught.value.message == "The store cannot be used at the moment."
    await files.close()


async def test_names_of_files_are_ids_and_nothing_else(tmp_path: Path) -> None:
    """What is no UUIDv7 never becomes part of a path."""
    files = FolderObjects(tmp_path, fsync=())
    for object_id in ("../../etc", "passwd", new_id().upper()):
        with pytest.raises(ValueError, match="UUIDv7"):
            await _put(files, ObjectKey(ObjectKind.AUDIO, object_id))
    await files.close()


@pytest.mark.parametrize("fsync", [(), (ObjectKind.AUDIO,), tuple(ObjectKind)])
async def test_bytes_are_brought_to_the_medium_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: tuple[ObjectKind, ...]
) -> None:
    """The file and the folders that name it, of these kinds alone."""
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.path.realpath(f"/proc/self/fd/{fd}")))
    files = FolderObjects(tmp_path, fsync=fsync)
    await files.open()
    for kind in ObjectKind:
        key = ObjectKey(kind, new_id())
        await _put(files, key)
        path = tmp_path / key.path
        named = [str(path.parent.parent), str(path), str(path.parent)]
        assert synced == (named if kind in fsync else [])
        synced.clear()
    await files.close()


async def _put(files: FolderObjects, key: ObjectKey) -> None:
    async with files.upload(key) as upload:
        await upload.write(b"bytes")
        await upload.publish()
