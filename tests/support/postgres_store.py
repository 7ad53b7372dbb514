"""The stores of Supabase straight over a PostgreSQL: the same functions, many connections, no PostgREST between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from servicekit.secrets import SecretSource
from standins.storage_kit import ManualClock
from storage_service.supabase.client import Client
from storage_service.supabase.config import SupabaseConfig
from storage_service.supabase.connection import Connection

_TYPES = """
select proname, proargnames, proargtypes::regtype[]::text[] from pg_proc where pronamespace = 'tales'::regnamespace
"""


class PostgresClient(Client):
    """Calls functions as PostgREST does: by the names of their arguments, as a role, in a transaction."""

    def __init__(self, url: str, types: dict[str, dict[str, str]], connections: int, role: str) -> None:
        self._role = sql.Identifier(role)
        self._database = url
        self._types = types
        self._at_once = asyncio.Semaphore(connections)
        self.idle: list[psycopg.AsyncConnection[Any]] = []

    async def rpc(self, function: str, params: dict[str, Any]) -> Any:
        """What a function answers."""
        types = self._types[function]
        arguments = [
            sql.SQL("{} => {}::{}").format(sql.Identifier(name), sql.Placeholder(name), sql.SQL(types[name]))
            for name in params
        ]
        call = sql.SQL("select tales.{}({})").format(sql.Identifier(function), sql.SQL(", ").join(arguments))
        # To PostgREST a null is a null of SQL, for arguments of type jsonb too.
        given = {
            name: Jsonb(value) if types[name] == "jsonb" and value is not None else value
            for name, value in params.items()
        }
        async with self._connection() as connection, connection.transaction():
            await connection.execute(sql.SQL("set local role {}").format(self._role))
            row = await (await connection.execute(call, given)).fetchone()
        assert row is not None
        return row[0]

    async def close(self) -> None:
        """Ends the connections."""
        while self.idle:
            await self.idle.pop().close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        async with self._at_once:
            connection = (
                self.idle.pop() if self.idle else await psycopg.AsyncConnection.connect(self._database, autocommit=True)
            )
            try:
                yield connection
            finally:
                self.idle.append(connection)


@asynccontextmanager
async def over_postgres(
    url: str, clock: ManualClock, *, connections: int = 8, role: str = "service_role"
) -> AsyncIterator[Connection]:
    """A connection of the stores to a database that has the schema."""
    async with await psycopg.AsyncConnection.connect(url) as asked:
        rows = await (await asked.execute(_TYPES)).fetchall()
    types = {name: dict(zip(names or (), kinds, strict=True)) for name, names, kinds in rows}
    key = SecretSource(SecretStr("unused"), name="SUPABASE_KEY")
    connection = Connection(SupabaseConfig("http://127.0.0.1", key), clock=clock)
    connection._client = PostgresClient(url, types, connections, role)
    try:
        yield connection
    finally:
        await connection.close()
