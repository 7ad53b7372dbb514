"""Schema versions: each migration raises the version, and `check` names the remedy for an older and a newer one."""

import asyncio
import re
import sqlite3
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest
from google.protobuf.message import Message

from servicekit.settings import ConfigurationError
from storage_service.commands import run_command
from storage_service.embedded.database import Database
from storage_service.embedded.schema import migrations as embedded_migrations
from storage_service.supabase.client import Client
from storage_service.supabase.schema import SCHEMA_VERSION, check, check_known
from storage_service.supabase.schema import migrations as supabase_migrations
from tale.common.v1 import common_pb2

ROOT = Path(__file__).resolve().parents[2]
NEWEST = embedded_migrations()[-1].version
_RAISED = re.compile(r"function tales\.schema_version\(\) returns integer\s+language sql immutable\s+return (\d+);")


def test_newest_supabase_migration_has_the_version_that_the_program_needs() -> None:
    """The first migrations make version 3 together; each after them raises it by one."""
    raised = [_RAISED.findall(migration.sql) for migration in supabase_migrations()]
    first = next(index for index, found in enumerate(raised) if found)
    assert [str(version) for version in range(3, SCHEMA_VERSION + 1)] == [one for found in raised for one in found]
    assert all(len(found) == 1 for found in raised[first:])


def test_embedded_migrations_are_numbered_without_a_gap() -> None:
    """The number of a migration is the version after it."""
    assert list(range(1, NEWEST + 1)) == [migration.version for migration in embedded_migrations()]


@pytest.mark.parametrize("kind", [common_pb2.Child, common_pb2.Hero])
def test_storage_names_no_field_of_a_profile(kind: type[Message]) -> None:
    """A new field needs no change in the service or its SQL. A story has a language code of its own."""
    known = {"id", "name", "create_time", "update_time", "revision", "language_code"}
    files = [*(ROOT / "storage_service").rglob("*.py"), *(ROOT / "storage_service").rglob("*.sql")]
    text = "\n".join(path.read_text() for path in [*files, *(ROOT / "supabase").rglob("*.sql")])
    fields = {field.name for field in kind.DESCRIPTOR.fields} - known
    assert set() == {name for name in fields if re.search(rf"\b{name}\b", text)}


@pytest.fixture
async def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an embedded store that is up to date; the commands use it."""
    for name in ("STORAGE_BACKEND", "SUPABASE_DB_URL", "AUDIO_STORE_URL", "SEGMENT_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TALE_DATA_DIR", str(tmp_path))
    path = tmp_path / "storage" / "tale.sqlite3"
    store = Database(path, sync="normal", readers=1)
    await store.open()
    await store.close()
    return path


def set_version(path: Path, version: int) -> None:
    """Makes a database one of another version."""
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


async def run(command: str) -> int:
    """Exit code of a command."""
    return await asyncio.to_thread(run_command, [command])


async def test_check_reports_the_embedded_schema_version(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    assert 0 == await run("check")
    assert f"the embedded store is ready: schema version {NEWEST} ({database})\n" == capsys.readouterr().out


@pytest.mark.parametrize(
    ("version", "remedy"),
    [(NEWEST - 1, "run `python -m storage_service migrate`"), (NEWEST + 1, "start a newer program")],
)
async def test_check_fails_on_another_embedded_schema_version(
    database: Path, capsys: pytest.CaptureFixture[str], version: int, remedy: str
) -> None:
    """An older one and an unknown newer one."""
    set_version(database, version)
    assert 2 == await run("check")
    line = capsys.readouterr().err
    assert f"TALE_DATA_DIR holds a store with schema version {version}" in line
    assert remedy in line


async def test_embedded_store_of_before_the_first_release_is_refused(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its version has the same number, its layout is another."""
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA application_id = 0")
    connection.close()
    assert [2, 2] == [await run("check"), await run("migrate")]
    assert 2 == capsys.readouterr().err.count("TALE_DATA_DIR holds a store of a layout before the first release")


async def test_migrate_opens_the_embedded_store(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which brings it up to date."""
    assert 0 == await run("migrate")
    assert f"the embedded store is up to date ({database})\n" == capsys.readouterr().out


async def test_check_of_an_empty_folder_creates_nothing(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service makes the store when it starts."""
    del database
    monkeypatch.setenv("TALE_DATA_DIR", str(tmp_path / "empty"))
    assert 0 == await run("check")
    assert "is empty: it is created when the service starts" in capsys.readouterr().out
    assert not (tmp_path / "empty").exists()


def client_of(version: object) -> Client:
    """A Supabase with this schema version."""
    return Mock(Client, rpc=AsyncMock(return_value=version), bucket=AsyncMock(return_value={}))


@pytest.mark.parametrize("version", [1, 2])
async def test_check_fails_on_the_supabase_schema_of_before_the_first_release(version: int) -> None:
    """To migrate would change nothing."""
    said = rf"SUPABASE_URL has schema version {version}, .* recreate the schema `tales`"
    with pytest.raises(ConfigurationError, match=said):
        await check(client_of(version))


@pytest.mark.parametrize("version", [0, None])
async def test_check_fails_on_an_older_supabase_schema(version: object) -> None:
    """The service does not start with it either."""
    with pytest.raises(ConfigurationError, match=r"SUPABASE_URL has schema version .* run `python -m storage_service"):
        await check(client_of(version))


async def test_check_fails_on_a_newer_supabase_schema() -> None:
    """A service that runs goes on, so that a database can be migrated before the replicas are replaced."""
    version = await check(client_of(SCHEMA_VERSION + 1))
    with pytest.raises(ConfigurationError, match="install the version of the service"):
        check_known(version)
