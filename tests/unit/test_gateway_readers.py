"""Reads of audio: bounded by owner, since a caller that does not read holds pieces of it in two processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.door import servicer
from gateway.door.servicer import GatewayServicer
from servicekit.context import Caller, RequestContext, bound
from servicekit.errors import DomainError
from tale.gateway.v1 import gateway_pb2
from tale.storage.v1 import storage_pb2


class Reader:
    """Audio of which the header comes at once, and the rest never."""

    async def read(self, request: object, *, timeout: float | None) -> AsyncIterator[storage_pb2.ReadAudioResponse]:
        del request, timeout
        response = storage_pb2.ReadAudioResponse()
        response.header.audio_id = "a"
        yield response
        await asyncio.Event().wait()


async def test_reads_of_audio_are_bounded_by_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond waits, and is refused after a while; another owner is served, and one that leaves makes room."""
    monkeypatch.setattr(servicer, "_MOST_READERS", 8)
    monkeypatch.setattr(servicer, "_READER_SECONDS", 0.02)
    sources: Any = SimpleNamespace(storage=None, runs=None)
    parts: list[Any] = [sources, Reader(), None, None, None, None]
    door, caller = GatewayServicer(*parts), SimpleNamespace(time_remaining=lambda: None)

    async def begin(owner: str) -> Any:
        with bound(RequestContext("r", Caller(owner))):
            reading: Any = door.ReadStoryAudio(gateway_pb2.ReadStoryAudioRequest(story_id="s"), caller)  # type: ignore[arg-type]
            assert "a" == (await anext(reading)).header.audio_id
        return reading

    async with aclosing(await begin("mia")) as one, aclosing(await begin("mia")):
        with pytest.raises(DomainError, match="RATE_LIMITED") as caught:
            await begin("mia")
        assert caught.value.retry_after == 0.02
        async with aclosing(await begin("ben")):
            await one.aclose()
        async with aclosing(await begin("mia")):
            pass
