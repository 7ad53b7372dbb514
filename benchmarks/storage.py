"""The embedded store with 100,000 stories, and the throughput of audio.

Run by `python -m benchmarks.storage [COUNT [WORDS]]`.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from servicekit.ids import new_id
from standins.processes import Cluster
from standins.storage_kit import audio_messages, create_request
from standins.storage_volume import NEWEST, OWNER, fill
from storage_service import states
from storage_service.clock import SystemClock
from storage_service.embedded.database import Database
from storage_service.embedded.removal_store import SqliteRemovalStore
from storage_service.embedded.story_store import SqliteStoryStore
from storage_service.records import Lease, Position
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

TIMES = 50
LEASE = Lease("gateway:50051", 30_000_000)
AUDIO = bytes(range(256)) * 18_750
"""Five minutes at 128 kbit/s: 4.8 MB."""


def row(what: str, target: str, measured: str) -> None:
    """One line of the table."""
    print(f"| {what} | {target} | {measured} |", flush=True)


async def median(call: Callable[[], Awaitable[object]], times: int = TIMES) -> str:
    """What half of the calls take at most, and 95 of a hundred."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await call()
        taken.append(1000 * (time.perf_counter() - began))
    taken.sort()
    return f"{statistics.median(taken):.2f} ms (p95 {taken[int(0.95 * times)]:.2f} ms)"


async def stories(folder: Path, count: int, words: int) -> None:
    """Lists, searches and claims."""
    path = folder / "tale.sqlite3"
    began = time.perf_counter()
    await fill(path, count, words=words)
    size = path.stat().st_size / (1 << 20)
    print(
        f"| {count} stories of {words} words kept | | {time.perf_counter() - began:.0f} s, {size:.0f} MiB |", flush=True
    )
    database = Database(path, sync="normal", readers=4)
    store = SqliteStoryStore(database, SystemClock())
    await store.open()
    middle = Position(NEWEST - count // 2 * 1_000_000, "0")

    def page(after: Position | None = None, **chosen: object) -> Callable[[], Awaitable[object]]:
        asked = common_pb2.StoryFilter(**chosen)  # type: ignore[arg-type]
        return lambda: store.list_page(OWNER, asked, limit=21, after=after)

    asked = {
        "list: newest": page(),
        "list: from the middle on": page(middle),
        "list: of a child": page(child_name="Child 3"),
        "list: nothing fits": page(states=[states.FAILED]),
        "search: a word of all stories": page(query="dragon"),
        "search: the same, from the middle on": page(middle, query="dragon"),
        "search: a word of one in 400": page(query="lighthouse"),
        "search: two words of one story": page(query="dragon number4242"),
        "search: a word of none": page(query="unicorn"),
        "search: a Russian word in its forms": page(query="драконы"),
        "claim: 10 of 1 % unfinished": lambda: store.claim(LEASE, most=10, story_ids=()),
    }
    for what, call in asked.items():
        row(what, "< 20 ms median", await median(call))
    removals = SqliteRemovalStore(database, SystemClock())
    first = (await store.list_page(OWNER, common_pb2.StoryFilter(), limit=1, after=None))[0]
    await store.delete(OWNER, first.id)
    began = time.perf_counter()
    await removals.scrub()
    row("scrub after a deletion (writers wait)", "", f"{time.perf_counter() - began:.1f} s")
    await store.close()


async def audio(folder: Path, sync: str) -> None:
    """Write and read of audio through the service, on the wire."""
    it = Cluster(folder, {"STORAGE_SYNC": sync, "LOG_LEVEL": "WARNING"})
    try:
        await it.start("storage")
        async with it.channel("storage") as channel:
            stub: Any = storage_pb2_grpc.StorageServiceStub(channel)
            ids = [(await stub.CreateStory(create_request())).record.story.id for _ in range(TIMES)]
            began = time.perf_counter()
            for story_id in ids:
                await stub.WriteAudio(iter(audio_messages(story_id, 1, new_id(), AUDIO, piece=256 << 10)))
            written = TIMES * len(AUDIO) / (time.perf_counter() - began) / (1 << 20)
            began = time.perf_counter()
            for story_id in ids:
                async for _ in stub.ReadAudio(storage_pb2.ReadAudioRequest(story_id=story_id)):
                    pass
            read = TIMES * len(AUDIO) / (time.perf_counter() - began) / (1 << 20)
    finally:
        await it.close()
    row(f"WriteAudio, 4.8 MB files one at a time, STORAGE_SYNC={sync}", "", f"{written:.0f} MiB/s")
    row("ReadAudio, the same files", ">= 150 MiB/s", f"{read:.0f} MiB/s")


async def main(count: int = 100_000, words: int = 750) -> None:
    """Measures and prints."""
    print("| what | target | measured |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        await stories(Path(folder), count, words)
    for sync in ("normal", "full"):
        with tempfile.TemporaryDirectory() as folder:
            await audio(Path(folder), sync)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
