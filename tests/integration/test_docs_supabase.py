"""docs/supabase.md does what it says."""

import asyncio
import os
import re
import sys
import tomllib
from pathlib import Path

import psycopg
from support.supabase_lite import Lite

from storage_service.supabase.schema import migrations

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "supabase.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


async def run(script: str, **environment: str) -> tuple[int | None, str]:
    """Exit code and output of a script, as it stands but for where Python is."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euo",
        "pipefail",
        "-c",
        script.replace(".venv/bin/python", sys.executable),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_commands_set_a_project_up(database: str, supabase_lite: Lite) -> None:
    """Migrating a database, and checking a project that has been; the exports are those of a project of the tests."""
    exports, migrate, check = BLOCKS
    names = re.findall(r"^export (\w+)=", exports, re.MULTILINE)
    given = {
        "STORAGE_BACKEND": "supabase",
        "SUPABASE_URL": supabase_lite.url,
        "SUPABASE_KEY": supabase_lite.key,
        "SUPABASE_DB_URL": database,
    }
    assert list(given) == names
    code, output = await run(migrate, **given)
    assert (0, f"{len(migrations())} migrations were applied") == (code, output.splitlines()[-1])
    assert (0, "nothing to do: the schema is up to date\n") == await run(migrate, **given)
    assert (0, "Supabase is ready: key, schema `tales` and bucket `tales` are as they should be\n") == await run(
        check, **given
    )


async def test_the_exit_codes_tell_what_to_do(supabase_lite: Lite) -> None:
    """1: try again; 2: fix what the line names."""
    given = {"STORAGE_BACKEND": "supabase", "SUPABASE_URL": supabase_lite.url, "SUPABASE_KEY": supabase_lite.key}
    check, migrate = (f".venv/bin/python -m storage_service {command}" for command in ("check", "migrate"))
    assert (1, "storage: SUPABASE_URL cannot be used at the moment: the connection failed\n") == await run(
        check, **{**given, "SUPABASE_URL": "http://127.0.0.1:1"}
    )
    code, output = await run(check, **{**given, "SUPABASE_KEY": "sb_secret_of_somebody_else"})
    assert (2, True) == (code, output.startswith("storage: SUPABASE_KEY: the key is not accepted; set SUPABASE_KEY to"))
    code, output = await run(check, **{**given, "SUPABASE_URL": ""})
    assert (2, True) == (code, output.startswith("storage: SUPABASE_URL must be set to the address of the project"))
    code, output = await run(migrate, **given)
    assert (2, True) == (code, output.startswith("storage: SUPABASE_DB_URL must be set to the connection string"))


async def test_the_tables_that_are_named_are_there(database: str) -> None:
    """And no other; the query of the document runs."""
    (statement,) = re.findall(r"^```sql\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    with psycopg.connect(database, autocommit=True) as connection:
        for migration in migrations():
            connection.execute(migration.sql.encode())
        tables = {name for (name,) in connection.execute("select tablename from pg_tables where schemaname = 'tales'")}
        assert [] == connection.execute(statement.encode()).fetchall()
    listed = "".join(re.findall(r"^\| (`\w+`.*?) \| ", TEXT, re.MULTILINE))
    assert tables == set(re.findall(r"`(\w+)`", listed))


def test_the_cli_serves_the_schema() -> None:
    """Its configuration exposes what the service asks for."""
    config = tomllib.loads((ROOT / "supabase" / "config.toml").read_text())
    assert "tales" in config["api"]["schemas"]
