"""Audio from storage: resumed where a stream broke, and read once for all listeners."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any

import grpc
import pytest

from gateway.watch.audio import AudioBuffer, AudioReader, Piece
from servicekit.context import Caller, RequestContext, bound
from servicekit.errors import DomainError, not_found
from tale.storage.v1 import storage_pb2

DATA = random.Random(1).randbytes(1000)


@pytest.fixture(autouse=True)
def _context() -> Iterator[None]:
    """Calls carry a request id and an owner."""
    with bound(RequestContext("r", Caller("o"))):
        yield


class Storage:
    """Plays storage: reads of DATA in chunks, each broken after as many bytes as `cuts` says."""

    def __init__(self, cuts: Sequence[int] = (), *, size: int = len(DATA)) -> None:
        self.cuts = list(cuts)
        self.size = size
        self.requests: list[storage_pb2.ReadAudioRequest] = []
        self.hold: asyncio.Event | None = None
        self.refusal: Exception | None = None

    def ReadAudio(  # noqa: N802
        self, request: storage_pb2.ReadAudioRequest, *, timeout: float | None, **_: Any
    ) -> "Call":
        """The header, then chunks of 64 bytes."""
        return Call(self._answer(request, timeout))

    async def _answer(
        self, request: storage_pb2.ReadAudioRequest, timeout: float | None
    ) -> AsyncGenerator[storage_pb2.ReadAudioResponse, None]:
        assert timeout is None or timeout >= 0
        asked = storage_pb2.ReadAudioRequest()
        asked.CopyFrom(request)
        self.requests.append(asked)
        if self.hold is not None:
            await self.hold.wait()
        if self.refusal is not None:
            raise self.refusal
        cut = self.cuts.pop(0) if self.cuts else None
        if cut == 0:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
        header = storage_pb2.ReadAudioResponse()
        header.header.audio_id, header.header.size_bytes = "a", self.size
        yield header
        end = min(self.size, asked.offset + asked.limit) if asked.HasField("limit") else self.size
        for start in range(asked.offset, end, 64):
            if cut is not None and start - asked.offset >= cut:
                raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
            chunk = storage_pb2.ReadAudioResponse()
            chunk.chunk.offset, chunk.chunk.data = start, DATA[start : min(end, start + 64)]
            yield chunk
        if cut == end - asked.offset:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())


class Call:
    """One stream."""

    def __init__(self, responses: AsyncGenerator[storage_pb2.ReadAudioResponse, None]) -> None:
        self._responses = responses

    def __aiter__(self) -> AsyncIterator[storage_pb2.ReadAudioResponse]:
        return self._responses

    def cancel(self) -> None:
        """Has no effect on a call that has ended."""


def reader(storage: Any) -> AudioReader:
    """A reader of that storage."""
    return AudioReader(storage)


async def read(storage: Storage, offset: int = 0) -> tuple[int, bytes]:
    """How many headers came, and the bytes, whose offsets must follow each other."""
    headers, data = 0, b""
    request = storage_pb2.ReadAudioRequest(story_id="s", offset=offset)
    async for response in reader(storage).read(request):
        if response.WhichOneof("piece") == "header":
            headers += 1
        else:
            assert offset + len(data) == response.chunk.offset
            data += response.chunk.data
    return headers, data


@pytest.mark.parametrize("offset", [0, 65])
async def test_broken_read_is_resumed_after_the_last_byte(offset: int) -> None:
    """The caller sees one header and every byte once."""
    storage = Storage([0, 128, 64, 0, 300])
    assert await read(storage, offset) == (1, DATA[offset:])
    assert len(storage.requests) == 6


async def test_resumed_read_is_of_the_same_audio_and_size() -> None:
    """Though the narration grows meanwhile."""
    storage = Storage([128], size=500)
    reading = reader(storage).read(storage_pb2.ReadAudioRequest(story_id="s"))
    seen = [await anext(reading)]
    storage.size = 1000
    seen += [response async for response in reading]
    assert sum(len(response.chunk.data) for response in seen) == 500
    assert storage.requests[-1].audio_id == "a"
    assert storage.requests[-1].limit == 500 - 128


async def test_read_that_breaks_after_its_last_byte_is_complete() -> None:
    """Nothing is left to be read."""
    storage = Storage([len(DATA)])
    assert await read(storage) == (1, DATA)
    assert len(storage.requests) == 1


async def test_refusal_is_not_repeated() -> None:
    """It reaches the caller as it is."""
    storage = Storage()
    storage.refusal = not_found("AUDIO_NOT_FOUND", "None.")
    with pytest.raises(DomainError, match="AUDIO_NOT_FOUND"):
        await read(storage)
    assert len(storage.requests) == 1


def piece(number: int, size: int = 100) -> Piece:
    """The piece of that number."""
    return Piece("s", "a", number * size, (number + 1) * size)


async def test_two_hundred_listeners_cost_one_read_of_each_piece() -> None:
    """Also those that come while it is being read."""
    storage = Storage()
    storage.hold = asyncio.Event()
    buffer = AudioBuffer(reader(storage))
    heard = [buffer.fetch(piece(number)) for _ in range(200) for number in range(3)]
    await asyncio.sleep(0)
    storage.hold.set()
    assert set(await asyncio.gather(*heard)) == {DATA[:100], DATA[100:200], DATA[200:300]}
    assert len(storage.requests) == 3


async def test_buffer_holds_no_more_than_its_bound() -> None:
    """What was used longest ago makes room; what is being read counts as well."""
    storage = Storage()
    buffer = AudioBuffer(reader(storage), max_bytes=200)
    for number in (0, 1, 0, 2, 0, 1):
        assert await buffer.fetch(piece(number)) == DATA[number * 100 : (number + 1) * 100]
    assert [request.offset for request in storage.requests] == [0, 100, 200, 100]


async def test_reads_beyond_the_bound_wait_for_their_turn() -> None:
    """And all come in the end."""
    storage = Storage()
    storage.hold = asyncio.Event()
    buffer = AudioBuffer(reader(storage), max_bytes=200)
    reads = [buffer.fetch(piece(number)) for number in range(6)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(storage.requests) == 2
    storage.hold.set()
    assert b"".join(await asyncio.gather(*reads)) == DATA[:600]


async def test_failed_read_is_not_buffered() -> None:
    """The next listener reads it again, and its bytes are free again."""
    storage = Storage()
    storage.refusal = not_found("AUDIO_NOT_FOUND", "None.")
    buffer = AudioBuffer(reader(storage), max_bytes=100)
    with pytest.raises(DomainError):
        await buffer.fetch(piece(0))
    storage.refusal = None
    assert await buffer.fetch(piece(0)) == DATA[:100]


async def test_listener_that_leaves_does_not_affect_the_others() -> None:
    """The read belongs to the buffer."""
    storage = Storage()
    storage.hold = asyncio.Event()
    buffer = AudioBuffer(reader(storage))
    task = buffer.fetch(piece(0))
    leaving = asyncio.create_task(asyncio.wait([task]))
    await asyncio.sleep(0)
    leaving.cancel()
    storage.hold.set()
    assert await buffer.fetch(piece(0)) == DATA[:100]
    assert len(storage.requests) == 1


async def test_storage_that_returns_too_little_is_an_error() -> None:
    """Never a short piece."""
    buffer = AudioBuffer(reader(Storage(size=50)))
    with pytest.raises(DomainError, match="STREAM_BROKEN"):
        await buffer.fetch(piece(0))
