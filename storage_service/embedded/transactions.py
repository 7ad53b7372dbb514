"""Makes methods of stores from functions that work in one transaction of SQLite."""

import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from storage_service.embedded.database import Database
from storage_service.ports import Clock

P = ParamSpec("P")
T = TypeVar("T")


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
    """A method that runs `work`, which only reads, on one state of the database."""

    async def method(store: SqliteStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await store.database.read(
            lambda connection: work(Transaction(connection, store.clock.now()), *args, **kwargs)
        )

    return method


def writing(work: Callable[Concatenate[Transaction, P], T]) -> Method[P, T]:
    """A method that runs `work` in a transaction and stores what it did, unless it raises."""

    async def method(store: SqliteStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await store.database.write(
            lambda connection: work(Transaction(connection, store.clock.now()), *args, **kwargs)
        )

    return method
