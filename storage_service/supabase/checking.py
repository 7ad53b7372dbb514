"""Checks that the schema and the bucket are as the store needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderErrorKind
from servicekit.settings import ConfigurationError
from storage_service.supabase.failures import (
    MIGRATE,
    MisaddressedError,
    MissingError,
    SchemaMismatchError,
    SupabaseDefectError,
    SupabaseError,
)

if TYPE_CHECKING:
    from storage_service.supabase.client import Client

SCHEMA_VERSION: Final = 1
"""What `tales.schema_version()` must say at least."""


async def check(client: Client) -> None:
    """Asks for the schema and for the bucket.

    Raises ConfigurationError, which names the variable and the remedy, where the key is refused or a part is missing,
    and SupabaseError where Supabase does not answer.
    """
    try:
        version = await client.rpc("schema_version", {})
        if not isinstance(version, int) or version < SCHEMA_VERSION:
            raise ConfigurationError(f"SUPABASE_URL has an older schema `tales`: {MIGRATE}")
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


async def _check_bucket(client: Client) -> None:
    try:
        bucket = await client.bucket()
    except MissingError as error:
        raise ConfigurationError(f"SUPABASE_URL: the bucket `tales` is not there; {MIGRATE}") from error
    if bucket.get("public"):
        raise ConfigurationError("SUPABASE_URL: the bucket `tales` is public; make it private in the Storage settings")
