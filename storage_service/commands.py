"""What can be asked of the store from the command line.

python -m storage_service check      is everything there that the service needs?
python -m storage_service migrate    bring the database of Supabase to the present schema
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeAlias

from servicekit.main import BAD_CONFIGURATION
from servicekit.resilience.errors import ProviderError
from servicekit.settings import ConfigurationError, load
from storage_service.settings import StorageSettings
from storage_service.supabase.checking import check
from storage_service.supabase.connection import Connection
from storage_service.supabase.migrating import migrate
from storage_service.supabase.setup import config_of

Command: TypeAlias = Callable[[StorageSettings, argparse.Namespace], Coroutine[Any, Any, None]]

_FAILED: Final = 1


def run_command(arguments: Sequence[str]) -> int:
    """Runs a command; the exit code: 0, 1 where it could not be done now, 2 where the settings are wrong."""
    given = _parser().parse_args(arguments)
    try:
        asyncio.run(_COMMANDS[given.command](load(StorageSettings), given))
    except ConfigurationError as error:
        sys.stderr.write(f"storage: {error}\n")
        return BAD_CONFIGURATION
    except ProviderError as error:
        sys.stderr.write(f"storage: SUPABASE_URL can not be used at the moment: {error.message}\n")
        return _FAILED
    return 0


async def _check(settings: StorageSettings, given: argparse.Namespace) -> None:
    del given
    if settings.backend == "embedded":
        _tell("the store is embedded: there is nothing to check (STORAGE_BACKEND)")
        return
    connection = Connection(config_of(settings))
    try:
        await check(await connection.client())
    finally:
        await connection.close()
    _tell("Supabase is ready: key, schema `tales` and bucket `tales` are as they should be")


async def _migrate(settings: StorageSettings, given: argparse.Namespace) -> None:
    del given
    if settings.supabase_db_url is None:
        raise ConfigurationError(
            "SUPABASE_DB_URL must be set to the connection string of the database (Project Settings, Database)"
        )
    count = await migrate(settings.supabase_db_url.get_secret_value(), _tell)
    _tell(f"{count} migrations were applied" if count else "nothing to do: the schema is up to date")


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")


_COMMANDS: Final[Mapping[str, Command]] = {"check": _check, "migrate": _migrate}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m storage_service", description="Without a command, runs the service.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="is everything there that the service needs?")
    commands.add_parser("migrate", help="bring the database of Supabase to the present schema (SUPABASE_DB_URL)")
    return parser
