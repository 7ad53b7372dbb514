"""SQLite off the event loop: one writer, a few readers, a transaction a call."""

import asyncio
import os
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Concatenate, Final, Literal, ParamSpec, TypeVar

import aiosqlite
import structlog

from servicekit.errors import DomainError, unavailable
from servicekit.settings import ConfigurationError
from storage_service.embedded.damage import check_not_emptied, check_pages, damaged, is_damage
from storage_service.embedded.lock import FolderLock
from storage_service.embedded.reserve import Reserve
from storage_service.embedded.schema import check_version, migrate
from storage_service.errors import storage_damaged, storage_full, storage_unavailable
from storage_service.ports import Clock
from storage_service.private import close_to_others, create_file, make_folder, ownership
from storage_service.records import object_folders

P = ParamSpec("P")
T = TypeVar("T")

_log: Final = structlog.stdlib.get_logger("storage_service.embedded")

_OLDEST_SQLITE: Final = (3, 37, 0)
_BUSY_TIMEOUT: Final = 5.0
_MOST_WAITING: Final = 2_048
_CHECK_SECONDS: Final = 1.0
"""How long a start looks for damaged pages: some hundred MB."""
_FULL: Final = frozenset({"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"})
_FULL_SECONDS: Final = 1.0
_LONG_SECONDS: Final = 1.0
"""How long one piece of work has to hold up the others to count as an absence of the store."""
_PAUSES: Final = (0.05, 0.1, 0.2, 0.4)
"""Seconds between tries of a removal where others still take the room that was given up for it."""
_DEFECTS: Final = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
    sqlite3.DataError,
)


class _Connection(aiosqlite.Connection):
    """A connection that runs a whole piece of work on its thread in one go.

    So a transaction costs one change of threads instead of one a statement, and no cancelled caller can leave it
    half done.
    """

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what `work` returns."""
        result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return result

    async def run_for(self, seconds: float, work: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what `work` returns, whose statement is interrupted after that time."""
        timer = asyncio.get_running_loop().call_later(seconds, self._conn.interrupt)
        try:
            return await self.run(work)
        finally:
            timer.cancel()


class Database:
    """A SQLite database in a file.

    `sync` "normal" survives the end of the process at any moment, "full" that of the machine too. Failures of the
    medium are UNAVAILABLE / STORAGE_UNAVAILABLE, a full one RESOURCE_EXHAUSTED / STORAGE_FULL; errors of the domain
    pass through. Once damage is found, calls that meet it and all writes get DATA_LOSS / STORAGE_DAMAGED.

    Unless it is `shared`, no other process can open it so at the same time. A shared one is not migrated.
    """

    def __init__(self, path: Path, *, sync: Literal["normal", "full"], readers: int = 4, shared: bool = False) -> None:
        self.sound = True
        self._path = path
        self._sync = sync
        self._reader_count = readers
        self._lock = None if shared else FolderLock(path.with_suffix(".lock"))
        self._reserve = None if shared else Reserve(path.with_suffix(".reserve"))
        self._full_until = 0.0
        """Not 0 while the reserve is given up, and when to try to hold it again: only removals are written then."""
        self._writer: _Connection | None = None
        self._writing = asyncio.Lock()
        self.held_up: Callable[[], None] = lambda: None
        """Called after a piece of work that held up all writes for a second, before the next of them."""
        self._scrubbing = asyncio.Lock()
        self._waiting = 0
        self._opened: list[_Connection] = []
        self._readers: asyncio.LifoQueue[_Connection] = asyncio.LifoQueue()

    async def open(self) -> None:
        """Makes the file (for its owner alone) and brings it to the present version.

        Raises ConfigurationError, with the remedy, where the file cannot be used, another process uses it, or it is
        damaged, as far as that is found within a second.
        """
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise ConfigurationError(
                f"STORAGE_BACKEND=embedded needs SQLite 3.37 or newer; this Python has {sqlite3.sqlite_version}"
            )
        try:
            await asyncio.to_thread(self._prepare)
            try:
                writer = await self._open_connections()
            except sqlite3.OperationalError:
                # The journal and its index need room too.
                if not await self._give_up_reserve():
                    raise
                await self._close_connections()
                writer = await self._open_connections()
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.Error) and is_damage(error):
                raise damaged(self._path, str(error)) from error
            reason = getattr(error, "sqlite_errorname", None) or getattr(error, "strerror", None) or "unusable"
            raise ConfigurationError(
                f"TALE_DATA_DIR must be a folder that the service can write to ({reason}: {self._path}):"
                f" {ownership(self._path)}. Name another folder, or change the owner"
            ) from error
        self._writer = writer
        await self._hold_reserve()

    async def close(self) -> None:
        """Ends the connections, after what they still have to do."""
        self._writer = None
        await self._close_connections()
        if self._lock is not None:
            await asyncio.to_thread(self._lock.release)

    async def _open_connections(self) -> _Connection:
        writer = await self._connect()
        await writer.run(_check_modules)
        await writer.run_for(_CHECK_SECONDS, lambda connection: check_pages(connection, self._path))
        # Another process may use it, with an older program.
        await writer.run(migrate if self._lock is not None else check_version)
        for _ in range(self._reader_count):
            reader = await self._connect()
            await reader.run(_forbid_writing)
            self._readers.put_nowait(reader)
        return writer

    async def _close_connections(self) -> None:
        while not self._readers.empty():
            self._readers.get_nowait()
        while self._opened:
            await self._opened.pop().close()

    async def write(self, work: Callable[[sqlite3.Connection], T], *, removes: bool = False) -> T:
        """Runs `work` in a transaction of its own and stores what it did, unless it raises.

        Once started it runs to its end, whether the caller waits or not. One that `removes` can use the reserve where
        the disk is full; as long as the reserve is not held again, the others are refused.
        """
        if not self.sound:
            raise storage_damaged()
        if self._full_until and not removes:
            await self._look_for_room()
        if self._waiting >= _MOST_WAITING:
            raise unavailable("STORAGE_BUSY", "Too many writes are waiting.")
        self._waiting += 1
        try:
            async with self._turn():
                return await self._write(work, removes=removes)
        finally:
            self._waiting -= 1

    async def scrub(self) -> None:
        """Leaves nothing of what was removed before the call in the file (`scrubbing`), if there was anything.

        Writers wait while the file is rewritten, and now and then while words are merged; readers do not. STORAGE_FULL
        where the disk has not room for that: it would be taken from the writers.
        """
        async with self._scrubbing:
            await self._hold_reserve()
            removed = await self._write_bare(removed_count)
            if not removed:
                return
            needed = await self._write_bare(room_to_scrub)
            if (await asyncio.to_thread(shutil.disk_usage, self._path.parent)).free < needed:
                raise storage_full()
            await self._write_bare(begin_merging)
            while await self._write_bare(merge_more):
                pass
            # What is removed meanwhile is the next one's.
            await self._write_bare(lambda connection: scrub(connection, self._path.parent, removed))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work`, which only reads, on one state of the database."""
        self._open_writer()
        reader = await self._readers.get()
        try:
            return await self._run(reader, lambda connection: _transact(connection, work, "DEFERRED"))
        finally:
            self._readers.put_nowait(reader)

    async def _write_bare(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` outside of a transaction."""
        async with self._turn():
            return await self._run(self._open_writer(), work)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with self._writing:
            began = time.monotonic()
            try:
                yield
            finally:
                if time.monotonic() - began >= _LONG_SECONDS:
                    self.held_up()

    async def _write(self, work: Callable[[sqlite3.Connection], T], *, removes: bool) -> T:
        writer = self._open_writer()

        def transact(connection: sqlite3.Connection) -> T:
            return _transact(connection, work, "IMMEDIATE")

        for pause in (*_PAUSES, None):
            try:
                result = await self._run(writer, transact)
                break
            except DomainError as error:
                if not removes or error.reason != "STORAGE_FULL" or not self._reserve:
                    raise
                if not await self._give_up_reserve():
                    # What was being written when it was given up is refused in a moment, and makes room.
                    if pause is None or not self._full_until:
                        raise
                    await asyncio.sleep(pause)
        if self._full_until:
            # It may have made the room for the next write.
            self._full_until = time.monotonic()
            with suppress(DomainError):
                await self._run(writer, empty_log)
        return result

    async def _give_up_reserve(self) -> bool:
        given = self._reserve is not None and await asyncio.to_thread(self._reserve.give_up)
        if given:
            self._full_until = time.monotonic()
            _log.warning("disk full and reserve used", folder=str(self._path.parent))
        return given

    async def _hold_reserve(self) -> None:
        if self._reserve is None:
            return
        if await asyncio.to_thread(self._reserve.hold):
            self._full_until = 0.0
        else:
            _log.warning("disk full and no reserve", folder=str(self._path.parent))

    async def _look_for_room(self) -> None:
        """Raises STORAGE_FULL unless the reserve can be held again, which is tried now and then."""
        if time.monotonic() >= self._full_until:
            self._full_until = time.monotonic() + _FULL_SECONDS
            await self._hold_reserve()
        if self._full_until:
            raise storage_full()

    def _open_writer(self) -> _Connection:
        if self._writer is None:
            raise unavailable("STORAGE_UNAVAILABLE", "The store is not open.")
        return self._writer

    async def _run(self, connection: _Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await connection.run(work)
        except sqlite3.Error as error:
            raise self._typed(error) from error

    def _typed(self, error: sqlite3.Error) -> Exception:
        """Returns what a failure of the medium (full, damaged, locked) is to a caller; a defect stays itself."""
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        if isinstance(error, _DEFECTS) or name == "SQLITE_ERROR":
            return error
        if is_damage(error):
            # That of the full-text index says nothing about the stories.
            self.sound = self.sound and name == "SQLITE_CORRUPT_VTAB"
            _log.error(
                "database damaged",
                remedy="stop the service and restore a backup",
                sqlite_error=name,
                file=str(self._path),
            )
            return storage_damaged()
        _log.error("database failed", sqlite_error=name)
        return storage_full() if name in _FULL else storage_unavailable()

    def _prepare(self) -> None:
        folder = self._path.parent
        if self._lock is None and not self._path.exists():
            raise ConfigurationError(f"TALE_DATA_DIR has no store: there is no file {self._path}")
        make_folder(folder)
        if self._lock is not None:
            self._lock.take()
        check_not_emptied(self._path)
        # SQLite gives its journal and index the permissions of the file itself.
        os.close(create_file(self._path))
        beside = [self._path.with_name(f"{self._path.name}{end}") for end in ("-wal", "-shm")]
        beside += [self._path.with_suffix(end) for end in (".lock", ".reserve")]
        close_to_others([folder, self._path, *beside, *object_folders(folder)])

    async def _connect(self) -> _Connection:
        connection = _Connection(
            lambda: sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, cached_statements=256), 64
        )
        await connection
        self._opened.append(connection)
        await connection.run(self._configure)
        return connection

    def _configure(self, connection: sqlite3.Connection) -> None:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._sync.upper()}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA trusted_schema = OFF")


class Transaction:
    """A transaction; `now` is the time by which all in it goes, microseconds since the Unix epoch.

    The time is taken inside the transaction, so that it never runs behind what others have done.
    """

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.now = now


class SqliteStore:
    """A store over a database that is open."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock


Method = Callable[Concatenate[SqliteStore, P], Coroutine[Any, Any, T]]


def reading(work: Callable[Concatenate[Transaction, P], T]) -> Method[P, T]:
    """Returns a method that runs `work`, which only reads, on one state of the database."""

    async def method(store: SqliteStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await store.database.read(
            lambda connection: work(Transaction(connection, store.clock.now()), *args, **kwargs)
        )

    return method


def writing(work: Callable[Concatenate[Transaction, P], T], *, removes: bool = False) -> Method[P, T]:
    """Returns a method that runs `work` in a transaction and stores what it did, unless it raises.

    One that `removes` also works where the disk is full.
    """

    async def method(store: SqliteStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await store.database.write(
            lambda connection: work(Transaction(connection, store.clock.now()), *args, **kwargs), removes=removes
        )

    return method


def removing(work: Callable[Concatenate[Transaction, P], T]) -> Method[P, T]:
    """Returns a method like one of `writing` that also works where the disk is full."""
    return writing(work, removes=True)


def _transact(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T], kind: str) -> T:
    connection.execute(f"BEGIN {kind}")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        # Some failures (a full disk) end the transaction by themselves.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _check_modules(connection: sqlite3.Connection) -> None:
    if not connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone():
        raise ConfigurationError("STORAGE_BACKEND=embedded needs SQLite with FTS5, which this Python's has not")


def _forbid_writing(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")


_PAGES: Final = 2_000
"""Pages of the index that are merged at once: about 8 MB."""


def removed_count(connection: sqlite3.Connection) -> int:
    """Returns how many records were removed since the file was last rewritten."""
    (count,) = connection.execute("SELECT removed_count FROM housekeeping").fetchone()
    return int(count)


def begin_merging(connection: sqlite3.Connection) -> None:
    """Begins to merge all parts that the index has now into one, so that no deleted word is left in it."""
    connection.execute("INSERT INTO story_search (story_search, rank) VALUES ('merge', ?)", (-_PAGES,))


def merge_more(connection: sqlite3.Connection) -> bool:
    """Continues with that for a moment, so that writers need not wait for all of it; False once it is done."""
    before = connection.total_changes
    connection.execute("INSERT INTO story_search (story_search, rank) VALUES ('merge', ?)", (_PAGES,))
    # https://sqlite.org/fts5.html#the_merge_command
    return connection.total_changes - before >= 2


def room_to_scrub(connection: sqlite3.Connection) -> int:
    """Returns the bytes that rewriting the file needs: a copy, and the log of it."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int(2 * (pages - free) * size)


def empty_log(connection: sqlite3.Connection) -> None:
    """Brings the log into the file and leaves it empty; UNAVAILABLE / STORAGE_BUSY where a reader holds it."""
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise unavailable("STORAGE_BUSY", "The store is being read.")


def scrub(connection: sqlite3.Connection, folder: Path, removed: int) -> None:
    """Rewrites the file, for `removed` removals whose words were merged out of the index. Not in a transaction.

    `secure_delete` alone is not enough: when SQLite moves rows between pages it leaves copies behind in the gaps of
    pages that stay in use (measured with 3.40: words of deleted rows in four of eight files), and the write-ahead log
    holds older states of pages. The index has deleted words until its parts are merged, so that comes first.

    Takes about 0.7 s for 100 MB, and twice as much room in `folder`. UNAVAILABLE / STORAGE_BUSY where a reader holds
    the log.
    """
    # Not /tmp: it may be small, shared, or not writable.
    quoted = str(folder).replace("'", "''")
    connection.execute(f"PRAGMA temp_store_directory = '{quoted}'")
    connection.execute("VACUUM")
    empty_log(connection)
    connection.execute("UPDATE housekeeping SET removed_count = removed_count - ?", (removed,))
