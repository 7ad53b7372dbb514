"""The commands of `python -m storage_service`: check, migrate, export, import."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

from servicekit.errors import DomainError
from servicekit.main import BAD_CONFIGURATION
from servicekit.metrics import Metrics
from servicekit.resilience.errors import ProviderError
from servicekit.settings import ConfigurationError, load
from storage_service.audio.noted import NotedObjects
from storage_service.backends import Backend, SystemClock, make_backend
from storage_service.embedded.schema import check as check_file
from storage_service.exchange.archive import STANDARD
from storage_service.exchange.exporting import export_to
from storage_service.exchange.importing import import_from
from storage_service.exchange.lines import ExchangeError
from storage_service.object_store.bucket import Bucket
from storage_service.object_store.config import BucketConfig, places_of
from storage_service.object_store.errors import PROVIDER as OBJECT_STORE
from storage_service.records import ObjectKind
from storage_service.settings import StorageSettings
from storage_service.supabase.config import config_of
from storage_service.supabase.connection import Connection
from storage_service.supabase.errors import SupabaseDefectError
from storage_service.supabase.schema import check, check_known, migrate

Command: TypeAlias = Callable[[StorageSettings, argparse.Namespace], Coroutine[Any, Any, None]]

_FAILED: Final = 1


def run_command(arguments: Sequence[str]) -> int:
    """Runs a command; returns the exit code: 0, 1 where it failed, 2 where the settings are wrong."""
    given = _parser().parse_args(arguments)
    try:
        asyncio.run(_COMMANDS[given.command](load(StorageSettings), given))
    except ConfigurationError as error:
        _warn(str(error))
        return BAD_CONFIGURATION
    except ExchangeError as error:
        failed = str(error)
    except DomainError as error:
        failed = f"{error.message} ({error.reason})"
    except ProviderError as error:
        variable = "the object store" if error.provider == OBJECT_STORE else "SUPABASE_URL"
        failed = f"{variable} cannot be used at the moment: {error.message}"
    except SupabaseDefectError as error:
        failed = f"SUPABASE_URL: Supabase refused a call of this program ({error})"
    else:
        return 0
    _warn(failed)
    return _FAILED


async def _check(settings: StorageSettings, given: argparse.Namespace) -> None:
    del given
    for variable, place in places_of(settings).items():
        if isinstance(place, BucketConfig):
            await Bucket(place).try_out()
            _print(f"the bucket is ready: {place.bucket} can be written, read and cleared ({variable})")
    if settings.backend == "embedded":
        version = await asyncio.to_thread(check_file, settings.database)
        state = f"is ready: schema version {version}" if version else "is empty: it is created when the service starts"
        _print(f"the embedded store {state} ({settings.database})")
        return
    connection = Connection(config_of(settings))
    try:
        check_known(await check(await connection.client()))
    finally:
        await connection.close()
    _print("Supabase is ready: key, schema `tales` and bucket `tales` are as they should be")


async def _migrate(settings: StorageSettings, given: argparse.Namespace) -> None:
    del given
    if settings.supabase_db_url is None and settings.backend == "embedded":
        async with _opened(settings):
            _print(f"the embedded store is up to date ({settings.database})")
        return
    if settings.supabase_db_url is None:
        raise ConfigurationError(
            "SUPABASE_DB_URL must be set to the connection string of the database (Project Settings, Database)"
        )
    count = await migrate(settings.supabase_db_url.get_secret_value(), _print)
    _print(f"{count} migrations were applied" if count else "nothing to do: the schema is up to date")


async def _export(settings: StorageSettings, given: argparse.Namespace) -> None:
    # A service may run meanwhile.
    async with _opened(settings, shared=True) as backend:
        counts = await export_to(
            given.file,
            backend.records,
            backend.objects[ObjectKind.AUDIO],
            skip_damaged=given.skip_damaged,
            report=_warn,
            scratch=_scratch(settings),
        )
    # Standard output may be the archive.
    (_warn if given.file == STANDARD else _print)(f"exported {counts.in_words()} to {given.file}")


async def _import(settings: StorageSettings, given: argparse.Namespace) -> None:
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(_opened(settings))
        objects = NotedObjects(backend.records.objects, backend.objects)
        file = given.file
        if file == STANDARD:
            # It is read twice: what was deleted during the export is at its end.
            file = stack.enter_context(_standard_input(_scratch(settings)))
        counts = await import_from(file, backend.records, backend.objects[ObjectKind.AUDIO], objects)
    _print(f"imported {counts.in_words()}; the rest was there or was deleted before")


@contextmanager
def _standard_input(scratch: str | None) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile(dir=scratch) as file:
        try:
            shutil.copyfileobj(sys.stdin.buffer, file)
        except OSError as error:
            raise ExchangeError(f"standard input cannot be stored in TALE_DATA_DIR: {error.strerror}") from error
        yield file


def _scratch(settings: StorageSettings) -> str | None:
    """Returns a folder with room for large files: in a container, /tmp is memory."""
    return str(settings.data_dir) if settings.data_dir.is_dir() else None


@asynccontextmanager
async def _opened(settings: StorageSettings, *, shared: bool = False) -> AsyncIterator[Backend]:
    backend = make_backend(settings, SystemClock(), Metrics(), shared=shared)
    try:
        await backend.open()
        yield backend
    finally:
        await backend.close()


def _warn(line: str) -> None:
    sys.stderr.write(f"storage: {line}\n")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


_COMMANDS: Final[Mapping[str, Command]] = {"check": _check, "migrate": _migrate, "export": _export, "import": _import}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m storage_service", description="Without a command, runs the service.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="check that the service can use its store: settings, keys, schema version")
    commands.add_parser("migrate", help="bring the database to the schema of this program (Supabase: SUPABASE_DB_URL)")
    exporting = commands.add_parser(
        "export", help="write everything that is stored into a file, while a service may run"
    )
    exporting.add_argument("--skip-damaged", action="store_true", help="leave out audio that is missing or damaged")
    importing = commands.add_parser("import", help="store what an exported file holds")
    for command in (exporting, importing):
        command.add_argument("file", type=Path, metavar="FILE.tar", help="- is standard input or output")
    return parser
