"""Measures the embedded store with 100,000 stories, and the throughput of audio.

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

import grpc
import psutil

from standins.processes import Cluster
from standins.storage_kit import checkpoint, create_request, lease_request, narration, put_messages, speech
from standins.storage_volume import NEWEST, OWNER, fill
from storage_service.backends import SystemClock
from storage_service.embedded.database import Database
from storage_service.embedded.removals import SqliteRemovalStore
from storage_service.embedded.stories import SqliteStoryStore
from storage_service.records import Position
from storage_service.stories import states
from tale.common.v1 import common_pb2
from tale.storage.v1 import segment_pb2, segment_pb2_grpc, storage_pb2, storage_pb2_grpc

TIMES = 50
LEASE = 30_000_000
SIZES = (30_000, *([397_500] * 12))
"""A title and twelve pieces, five minutes at 128 kbit/s: 4.8 MB."""
WORDS = segment_pb2.SegmentWords(
    text_starts=range(60), text_ends=range(60), start_us=range(0, 60_000_000, 1_000_000), end_us=[1] * 60
)


def row(what: str, target: str, measured: str) -> None:
    """Prints one line of the table."""
    print(f"| {what} | {target} | {measured} |", flush=True)


async def median(call: Callable[[], Awaitable[object]], times: int = TIMES) -> str:
    """Returns the median and the 95th percentile."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await call()
        taken.append(1000 * (time.perf_counter() - began))
    taken.sort()
    return f"{statistics.median(taken):.2f} ms (p95 {taken[int(0.95 * times)]:.2f} ms)"


async def stories(folder: Path, count: int, words: int) -> None:
    """Measures lists, searches and claims."""
    path = folder / "tale.sqlite3"
    began = time.perf_counter()
    await fill(path, count, words=words)
    size = path.stat().st_size / (1 << 20)
    print(
        f"| {count} stories of {words} words stored | | {time.perf_counter() - began:.0f} s, {size:.0f} MiB |",
        flush=True,
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


async def narrate(channel: grpc.aio.Channel, number: int) -> str:
    """Stores a five-minute narration as a gateway and a voice service do, and returns the id of its story."""
    stub: Any = storage_pb2_grpc.StorageServiceStub(channel)
    segments: Any = segment_pb2_grpc.SegmentServiceStub(channel)
    record: storage_pb2.StoryRecord = (await stub.CreateStory(create_request())).record
    story_id, token = record.story.id, record.run.lease_token
    spoken, header = speech(SIZES, f"{number} ", characters=300), narration()
    for one in spoken:
        one.stored.words.CopyFrom(WORDS)

    async def store(made: storage_pb2.StoryCheckpoint) -> None:
        request = storage_pb2.CheckpointStoriesRequest(lease_duration=lease_request().duration, checkpoints=[made])
        assert not (await stub.CheckpointStories(request)).results[0].HasField("error")

    written = 0
    for one in spoken:
        lookup = segment_pb2.SegmentLookup(key=one.stored.key, story_id=story_id)
        await segments.FindSegments(segment_pb2.FindSegmentsRequest(lookups=[lookup]))
        await segments.PutSegment(iter(put_messages(one.stored, one.data, story_id=story_id)))
        made = checkpoint(story_id, token, text=(written, "x" * (one.place.text.end - written)), narration=header)
        made.segments.append(one.place)
        await store(made)
        written = one.place.text.end
    for _ in range(3):
        await store(checkpoint(story_id, token, content_complete=True))
    finish = storage_pb2.FinishAudioRequest(story_id=story_id, lease_token=token, audio_id=header.audio_id)
    await stub.FinishAudio(finish)
    await store(checkpoint(story_id, token, state=states.READY))
    return story_id


async def audio(folder: Path, sync: str) -> None:
    """Measures storing and reading narrations over gRPC."""
    it = Cluster(folder, {"STORAGE_SYNC": sync, "LOG_LEVEL": "WARNING"})
    try:
        await it.start("storage")
        process = psutil.Process(it.pid("storage"))
        async with it.channel("storage") as channel:
            stub: Any = storage_pb2_grpc.StorageServiceStub(channel)
            await narrate(channel, TIMES)
            before, began = cpu(process), time.perf_counter()
            ids = [await narrate(channel, number) for number in range(TIMES)]
            stored, spent = time.perf_counter() - began, cpu(process) - before
            began = time.perf_counter()
            for story_id in ids:
                async for _ in stub.ReadAudio(storage_pb2.ReadAudioRequest(story_id=story_id)):
                    pass
            read = TIMES * sum(SIZES) / (time.perf_counter() - began) / (1 << 20)
    finally:
        await it.close()
    what = f"a narration of 4.8 MB in 13 segments, one at a time, STORAGE_SYNC={sync}"
    row(what, "<= 30 ms CPU", f"{spent / TIMES * 1000:.0f} ms CPU, {stored / TIMES * 1000:.0f} ms")
    row("ReadAudio, the same files", ">= 200 MiB/s", f"{read:.0f} MiB/s")


def cpu(process: psutil.Process) -> float:
    """Returns the seconds of CPU that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


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
