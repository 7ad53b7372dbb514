"""The schema `tales`: its migrations, and the check that it and the bucket are as the program needs them."""

from __future__ import annotations

import asyncio
import importlib
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from servicekit.resilience.errors import ProviderErrorKind
from servicekit.settings import ConfigurationError
from storage_service.supabase.errors import (
    MIGRATE,
    MisaddressedError,
    MissingError,
    SchemaMismatchError,
    SupabaseDefectError,
    SupabaseError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psycopg

    from storage_service.supabase.client import Client


_NAME: Final = re.compile(r"(\d{14})_(\w+)\.sql")
_LOCK: Final = 7_310_579_002_116
_CONNECT_SECONDS: Final = 10
# The table of the Supabase CLI.
_HISTORY: Final = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
  version text primary key, statements text[], name text
);
"""
_DONE: Final = "select version from supabase_migrations.schema_migrations"


class Migration(NamedTuple):
    """A file of `supabase/migrations`: 14 digits, a name, SQL."""

    version: str
    name: str
    sql: str


def migrations() -> list[Migration]:
    """Returns all migrations of this program, in order; ConfigurationError where they are not installed."""
    for folder in _folders():
        named = [(_NAME.fullmatch(file.name), file) for file in sorted(folder.glob("*.sql"))]
        if found := [Migration(match[1], match[2], file.read_text("utf-8")) for match, file in named if match]:
            return found
    raise ConfigurationError("the migrations are not installed: run this where the folder supabase/migrations is")


async def migrate(url: str, report: Callable[[str], None]) -> int:
    """Applies what is missing, each migration in a transaction, and notes it; how many.

    `url` is the connection string of the database; `report` gets a line for each. Two at once wait for each other.
    ConfigurationError where the database cannot be reached, or does not take a migration.
    """
    known = migrations()
    # It loads libpq.
    await asyncio.to_thread(importlib.import_module, "psycopg")
    return await asyncio.to_thread(_migrate, url, known, report)


def _migrate(url: str, known: Sequence[Migration], report: Callable[[str], None]) -> int:
    import psycopg  # noqa: PLC0415 - a service that only serves needs none

    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection:
            connection.execute("select pg_advisory_lock(%s)", [_LOCK])
            connection.execute(_HISTORY)
            done = {version for (version,) in connection.execute(_DONE)}
            pending = [migration for migration in known if migration.version not in done]
            for migration in pending:
                _apply(connection, migration)
                report(f"applied {migration.version}_{migration.name}")
            if pending:
                # PostgREST serves the new functions at once.
                connection.execute("notify pgrst, 'reload schema'")
            return len(pending)
    except psycopg.Error as error:
        if error.sqlstate is None or isinstance(error, psycopg.OperationalError):
            # Its text has the connection string in it, or a part of it.
            raise ConfigurationError(
                "SUPABASE_DB_URL must be the connection string of a database that can be reached"
                " (Project Settings, Database)"
            ) from None
        raise ConfigurationError(
            f"SUPABASE_DB_URL: the database refuses a migration ({error.sqlstate}): {error.diag.message_primary}"
        ) from error


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    with connection.transaction():
        connection.execute(migration.sql.encode())
        connection.execute(
            "insert into supabase_migrations.schema_migrations (version, statements, name) values (%s, %s, %s)",
            [migration.version, [migration.sql], migration.name],
        )


def _folders() -> list[Path]:
    # Installed from a wheel they are beside this module; in a checkout and in the image, beside the package.
    installed = resources.files("storage_service.supabase") / "migrations"
    beside = Path(__file__).resolve().parents[2] / "supabase" / "migrations"
    return [folder for folder in (Path(str(installed)), beside) if folder.is_dir()]


SCHEMA_VERSION: Final = 8
"""What `tales.schema_version()` returns after the newest migration."""
_BEFORE_RELEASE: Final = (1, 2)


async def check(client: Client) -> int:
    """Checks the schema and the bucket; returns the version of the schema, which may be newer than SCHEMA_VERSION.

    Raises ConfigurationError, which names the variable and the remedy, where the key is refused, a part is missing or
    the schema is older, and SupabaseError where Supabase does not answer.
    """
    try:
        version = await client.rpc("schema_version", {})
        if version in _BEFORE_RELEASE:
            raise ConfigurationError(
                f"SUPABASE_URL has schema version {version}, a layout before the first release, which no migration"
                " changes: recreate the schema `tales` (docs/supabase.md)"
            )
        if not isinstance(version, int) or version < SCHEMA_VERSION:
            raise ConfigurationError(
                f"SUPABASE_URL has schema version {version}, and this program needs version {SCHEMA_VERSION}: {MIGRATE}"
            )
        await _check_bucket(client)
    except (SchemaMismatchError, MisaddressedError) as error:
        raise ConfigurationError(f"SUPABASE_URL: {error.message}") from error
    except SupabaseError as error:
        if error.kind is ProviderErrorKind.AUTH:
            raise ConfigurationError(f"SUPABASE_KEY: {error.message}") from error
        raise
    except SupabaseDefectError as error:
        raise ConfigurationError(
            f"SUPABASE_URL: what answers there does not take this program's calls ({error});"
            " set it to the address of the project"
        ) from error
    return version


def check_known(version: int) -> None:
    """Raises ConfigurationError for a schema that is newer than this program."""
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"SUPABASE_URL has schema version {version}, and this program knows version {SCHEMA_VERSION}:"
            " install the version of the service that the schema was migrated with"
        )


async def _check_bucket(client: Client) -> None:
    try:
        bucket = await client.bucket()
    except MissingError as error:
        raise ConfigurationError(f"SUPABASE_URL: the bucket `tales` is not there; {MIGRATE}") from error
    if bucket.get("public"):
        raise ConfigurationError("SUPABASE_URL: the bucket `tales` is public; make it private in the Storage settings")
