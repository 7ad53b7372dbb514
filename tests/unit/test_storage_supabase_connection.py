"""The connection to Supabase: what takes the place of what."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from unittest.mock import AsyncMock, Mock

import pytest
from pydantic import SecretStr

from storage_service.settings import StorageSettings
from storage_service.supabase import connection as connecting
from storage_service.supabase.client import Client
from storage_service.supabase.config import config_of
from storage_service.supabase.connection import Connection


@asynccontextmanager
async def read(*_: object, **__: object) -> AsyncGenerator[object, None]:
    """A download."""
    yield Mock()


async def test_listeners_who_pause_take_no_place_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many downloads as there may be are open, and a call passes."""
    monkeypatch.setattr(connecting, "_CONCURRENCY", 2)
    settings = StorageSettings(backend="supabase", supabase_url="http://127.0.0.1:1", supabase_key=SecretStr("k" * 40))
    connection = Connection(config_of(settings))
    client = Mock(Client, rpc=AsyncMock(return_value={}), read=read)
    monkeypatch.setattr(connection, "client", AsyncMock(return_value=client))
    async with AsyncExitStack() as listeners, asyncio.timeout(5):
        for _ in range(2):
            await listeners.enter_async_context(connection.stream("audio/x", offset=0, end=1))
        assert {} == await connection.rpc("checkpoint")
