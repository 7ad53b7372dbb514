"""The storage service dies in the middle of writes: what it said it kept is there."""

import asyncio
import hashlib
import random
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from support.storage_stores import check_index

from servicekit.ids import new_id
from standins.processes import Cluster
from standins.storage_kit import Speech, checkpoint, create_request, narration, put_messages, speech
from storage_service.stories import states
from tale.common.v1 import common_pb2
from tale.storage.v1 import segment_pb2, segment_pb2_grpc, storage_pb2, storage_pb2_grpc

WRITERS = 4
GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN}
SENTENCE = "The dragon closed one eye. "
SIZES = (20_000, 100_000, 1_200_000, 100_000)


@dataclass
class Acknowledged:
    """What the service said that it stored of one story."""

    spoken: list[Speech]
    text: str = ""
    attempts: set[str] = field(default_factory=set)
    segments: int = 0
    audio_id: str = ""

    @property
    def audio(self) -> bytes:
        """All that is spoken of it."""
        return b"".join(one.data for one in self.spoken)


class Gateway:
    """Writes stories as fast as it can and notes what was acknowledged."""

    def __init__(self, channel: grpc.aio.Channel, stories: dict[str, Acknowledged], answers: int) -> None:
        self._stub = storage_pb2_grpc.StorageServiceStub(channel)
        self._segments = segment_pb2_grpc.SegmentServiceStub(channel)
        self._stories = stories
        self._left = answers
        self.answered = asyncio.Event()
        """Set after so many answers."""

    async def write(self) -> None:
        """Tells story after story until the service is gone."""
        try:
            while True:
                await self._tell()
        except grpc.aio.AioRpcError as error:
            # Who is still sending when the connection breaks is told so by the library, not by the service.
            if error.code() not in GONE and error.details() != "Internal error from Core":
                raise

    async def _tell(self) -> None:
        record = (await self._stub.CreateStory(create_request())).record
        story_id, token = record.story.id, record.run.lease_token
        kept = Acknowledged(speech(SIZES, story_id, characters=len(SENTENCE)))
        self._stories[story_id] = kept
        header = narration()
        for turn, one in enumerate(kept.spoken):
            await self._segments.PutSegment(iter(put_messages(one.stored, one.data, story_id=story_id)))
            kept.segments += 1
            self._count()
            attempt = common_pb2.Attempt(attempt_id=new_id())
            last = turn == len(SIZES) - 1
            await self._checkpoint(
                checkpoint(
                    story_id,
                    token,
                    state=states.NARRATING if last else states.WRITING,
                    text=(len(kept.text), "" if last else SENTENCE),
                    content_complete=last,
                    narration=header,
                    segments=[one.place],
                    attempts=[attempt],
                )
            )
            kept.text += "" if last else SENTENCE
            kept.attempts.add(attempt.attempt_id)
        request = storage_pb2.FinishAudioRequest(story_id=story_id, lease_token=token, audio_id=header.audio_id)
        assert (await self._stub.FinishAudio(request)).audio.sha256 == hashlib.sha256(kept.audio).digest()
        kept.audio_id = header.audio_id
        self._count()

    async def _checkpoint(self, made: storage_pb2.StoryCheckpoint) -> None:
        request = storage_pb2.CheckpointStoriesRequest(lease_duration=Duration(seconds=30), checkpoints=[made])
        (result,) = (await self._stub.CheckpointStories(request)).results
        assert "" == result.error.reason
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self.answered.set()


async def check(channel: grpc.aio.Channel, story_id: str, kept: Acknowledged) -> None:
    """What was acknowledged is there; more may be, where the answer was lost."""
    stub, segments = storage_pb2_grpc.StorageServiceStub(channel), segment_pb2_grpc.SegmentServiceStub(channel)
    request = storage_pb2.GetStoryRequest(story_id=story_id, view=common_pb2.STORY_VIEW_FULL)
    record = (await stub.GetStory(request)).record
    story = record.story
    assert story.content.startswith(kept.text)
    assert (SENTENCE * (len(SIZES) - 1)).startswith(story.content)
    assert kept.attempts <= {attempt.attempt_id for attempt in story.attempts}
    lookups = [segment_pb2.SegmentLookup(key=one.stored.key) for one in kept.spoken]
    found = {
        one.key for one in (await segments.FindSegments(segment_pb2.FindSegmentsRequest(lookups=lookups))).segments
    }
    assert {one.stored.key for one in kept.spoken[: kept.segments]} <= found
    for one in kept.spoken:
        if one.stored.key in found:
            stored = segments.ReadSegment(segment_pb2.ReadSegmentRequest(key=one.stored.key))
            assert one.data == b"".join([response.chunk async for response in stored])
    if kept.audio_id:
        assert kept.audio_id == story.audio.audio_id
    if record.run.segments:
        read = [piece.chunk.data async for piece in stub.ReadAudio(storage_pb2.ReadAudioRequest(story_id=story_id))]
        heard = b"".join(read)
        assert kept.audio.startswith(heard)
        assert len(heard) == record.run.segments[-1].audio.end


def check_files(folder: Path) -> None:
    """The database is sound, and its index of words in step with the stories."""
    connection = sqlite3.connect(folder / "tale.sqlite3")
    assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
    assert [] == connection.execute("PRAGMA foreign_key_check").fetchall()
    check_index(connection)
    connection.close()


def strays(folder: Path) -> tuple[set[str], set[str]]:
    """Files that no record refers to, and those of them that nothing would remove: they are not noted either."""
    connection = sqlite3.connect(folder / "tale.sqlite3")
    notes = dict(connection.execute("SELECT object_id, state FROM objects"))
    connection.close()
    files = {path.name for kind in ("audio", "segments") for path in (folder / kind).glob("*/*")}
    return {name for name in files if notes.get(name) != "STORED"}, {name for name in files if name not in notes}


def age_notes(folder: Path) -> None:
    """Makes all notes of objects older than an upload can be."""
    connection = sqlite3.connect(folder / "tale.sqlite3")
    connection.execute("UPDATE objects SET note_time = 0")
    connection.commit()
    connection.close()


async def settled(folder: Path) -> None:
    """Waits until the service has removed what no record refers to."""
    async with asyncio.timeout(30):
        # Another process does it: there is no event to wait for.
        while (await asyncio.to_thread(strays, folder))[0]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def kill_and_check(tmp_path: Path, *, sync: str, kills: int, seed: int) -> None:
    """Kills the service in the middle of writes, again and again, and looks at what is left."""
    stories: dict[str, Acknowledged] = {}
    cluster = Cluster(tmp_path, {"LOG_LEVEL": "WARNING", "STORAGE_SYNC": sync, "STORAGE_SWEEP_INTERVAL_SECONDS": "0.2"})
    folder, dice = tmp_path / "data" / "storage", random.Random(seed)
    left = 0
    try:
        for _ in range(kills):
            await cluster.start("storage")
            async with cluster.channel("storage") as channel:
                gateway = Gateway(channel, stories, answers=dice.randint(5, 60))
                async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                    for _ in range(WRITERS):
                        group.create_task(gateway.write())
                    await gateway.answered.wait()
                    await cluster.kill("storage")
            await asyncio.to_thread(check_files, folder)
            unsettled, unknown = await asyncio.to_thread(strays, folder)
            assert unknown == set()
            left += len(unsettled)
        await asyncio.to_thread(age_notes, folder)
        await cluster.start("storage")
        await settled(folder)
        async with cluster.channel("storage") as channel:
            for story_id, kept in stories.items():
                await check(channel, story_id, kept)
    finally:
        await cluster.close()
    if not any(kept.audio_id for kept in stories.values()):
        pytest.fail("no story got as far as its audio: the test shows less than it says")
    if kills >= 50 and not left:
        pytest.fail("no kill left anything to remove: the test shows less than it says")


@pytest.mark.parametrize("sync", ["normal", "full"])
@pytest.mark.sampled(2)
async def test_what_was_acknowledged_survives_kills(tmp_path: Path, sync: str) -> None:
    """After each kill -9 in the middle of writes every acknowledged one is there, and the database is sound."""
    await kill_and_check(tmp_path, sync=sync, kills=5, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("sync", "kills"), [("normal", 200), ("full", 50)])
async def test_what_was_acknowledged_survives_hundreds_of_kills(tmp_path: Path, sync: str, kills: int) -> None:
    """The same, 200 times over one growing store, and 50 times with every write brought to the medium."""
    await kill_and_check(tmp_path, sync=sync, kills=kills, seed=2)
