"""More calls at once than gRPC holds for a busy server: none of them is dropped without a word."""

import asyncio
from collections import Counter
from pathlib import Path

import grpc
import pytest

from servicekit.channel import open_channel
from servicekit.status import from_rpc_error
from standins.processes import cluster
from standins.watcher import gateway_stub, spec
from tale.gateway.v1 import gateway_pb2

CREATED, TOLD = 1500, 2000


@pytest.mark.long
async def test_bursts_of_calls_end_without_a_bare_cancelled(tmp_path: Path) -> None:
    """1,500 CreateStory and 2,000 TellStory: each is accepted, or refused with a reason and a time to wait."""
    async with cluster(tmp_path, DEFAULT_VOICE_PROVIDER="mock") as house:
        address = house.address("gateway").grpc
        ends: Counter[str] = Counter()

        async def create(stub: object, seed: int) -> None:
            request = gateway_pb2.CreateStoryRequest(spec=spec(seed, narrate=False))
            await stub.CreateStory(request, timeout=120)  # type: ignore[attr-defined]

        async def tell(stub: object, seed: int) -> None:
            request = gateway_pb2.TellStoryRequest(spec=spec(seed, narrate=False))
            call = stub.TellStory(request, timeout=300)  # type: ignore[attr-defined]
            assert await call.read() is not grpc.aio.EOF
            call.cancel()

        async def ended(work: object, kind: str) -> None:
            try:
                await work  # type: ignore[misc]
            except grpc.aio.AioRpcError as error:
                known = from_rpc_error(error)
                ends[f"{kind} {error.code().name} {known.reason if error.trailing_metadata() else 'bare'}"] += 1
            else:
                ends[f"{kind} OK"] += 1

        options = (("grpc.use_local_subchannel_pool", 1),)
        channels = [open_channel(address, options=options) for _ in range(4)]
        stubs = [gateway_stub(channel) for channel in channels]
        for channel in channels:
            await channel.channel_ready()
        await asyncio.gather(*(ended(create(stubs[n % 4], n), "create") for n in range(CREATED)))
        await asyncio.gather(*(ended(tell(stubs[n % 4], n), "tell") for n in range(TOLD)))
        for channel in channels:
            await channel.close()
    assert not [end for end in ends if "CANCELLED" in end or "bare" in end], ends
    assert CREATED + TOLD == sum(ends.values())
    assert ends["create OK"] >= CREATED * 0.9, ends
    assert ends["tell OK"] >= TOLD * 0.9, ends
