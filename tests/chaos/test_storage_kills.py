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

from servicekit.ids import new_id
from standins.processes import Cluster
from standins.storage_kit import audio_messages, checkpoint, create_request, segment
from storage_service import states
from storage_service.embedded import indexing
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

WRITERS = 4
GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN}
SENTENCE = "The dragon closed one eye. "
AUDIO = bytes(range(256)) * 1_000


@dataclass
class Acknowledged:
    """What the service said that it kept of one story."""

    text: str = ""
    attempts: set[str] = field(default_factory=set)
    audio_id: str = ""


class Gateway:
    """Writes stories as fast as it can and notes what was acknowledged."""

    def __init__(self, channel: grpc.aio.Channel, stories: dict[str, Acknowledged], answers: int) -> None:
        self._stub = storage_pb2_grpc.StorageServiceStub(channel)
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
        response = await self._stub.CreateStory(create_request())
        kept = self._stories.setdefault(response.record.story.id, Acknowledged())
        audio_id = new_id()
        for turn in range(4):
            attempt = common_pb2.Attempt(attempt_id=new_id())
            last = turn == 3
            await self._checkpoint(
                checkpoint(
                    response.record.story.id,
                    state=states.NARRATING if last else states.WRITING,
                    text=(len(kept.text), SENTENCE),
                    content_complete=last,
                    narration=common_pb2.NarrationHeader(audio_id=audio_id),
                    segments=[segment(turn)],
                    attempts=[attempt],
                )
            )
            kept.text += SENTENCE
            kept.attempts.add(attempt.attempt_id)
        await self._stub.WriteAudio(iter(audio_messages(response.record.story.id, 1, audio_id, AUDIO)))
        kept.audio_id = audio_id
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


async def check(stub: "storage_pb2_grpc.StorageServiceAsyncStub", story_id: str, kept: Acknowledged) -> None:
    """What was acknowledged is there; more may be, where the answer was lost."""
    request = storage_pb2.GetStoryRequest(story_id=story_id, view=common_pb2.STORY_VIEW_FULL)
    story = (await stub.GetStory(request)).record.story
    assert story.content.startswith(kept.text)
    assert (SENTENCE * 4).startswith(story.content)
    assert kept.attempts <= {attempt.attempt_id for attempt in story.attempts}
    if kept.audio_id:
        assert kept.audio_id == story.audio.audio_id
    if story.HasField("audio"):
        read = [piece.chunk.data async for piece in stub.ReadAudio(storage_pb2.ReadAudioRequest(story_id=story_id))]
        assert hashlib.sha256(AUDIO).digest() == hashlib.sha256(b"".join(read)).digest()


def check_files(folder: Path) -> None:
    """The database is sound, and its index of words in step with the stories."""
    connection = sqlite3.connect(folder / "tale.sqlite3")
    assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
    assert [] == connection.execute("PRAGMA foreign_key_check").fetchall()
    indexing.check(connection)
    connection.close()


def strays(folder: Path) -> set[str]:
    """Files of audio that no story refers to, and uploads that never ended."""
    connection = sqlite3.connect(folder / "tale.sqlite3")
    known = {".".join(row) for row in connection.execute("SELECT story_id, object_id FROM story_audio")}
    connection.close()
    return {path.name for path in (folder / "audio").glob("*/*")} - known


async def kill_and_check(tmp_path: Path, *, sync: str, kills: int, seed: int) -> None:
    """Kills the service in the middle of writes, again and again, and looks at what is left."""
    stories: dict[str, Acknowledged] = {}
    # What is swept at a start may have been left by the kill before it.
    cluster = Cluster(tmp_path, {"LOG_LEVEL": "WARNING", "STORAGE_SYNC": sync, "AUDIO_SWEEP_GRACE_SECONDS": "0"})
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
            left += len(await asyncio.to_thread(strays, folder))
        await cluster.start("storage")
        assert set() == await asyncio.to_thread(strays, folder)
        async with cluster.channel("storage") as channel:
            stub = storage_pb2_grpc.StorageServiceStub(channel)
            for story_id, kept in stories.items():
                await check(stub, story_id, kept)
    finally:
        await cluster.close()
    if not any(kept.audio_id for kept in stories.values()):
        pytest.fail("no story got as far as its audio: the test shows less than it says")
    if kills >= 50 and not left:
        pytest.fail("no kill left anything to sweep: the test shows less than it says")


@pytest.mark.parametrize("sync", ["normal", "full"])
async def test_what_was_acknowledged_survives_kills(tmp_path: Path, sync: str) -> None:
    """After each kill -9 in the middle of writes every acknowledged one is there, and the database is sound."""
    await kill_and_check(tmp_path, sync=sync, kills=5, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("sync", "kills"), [("normal", 200), ("full", 50)])
async def test_what_was_acknowledged_survives_hundreds_of_kills(tmp_path: Path, sync: str, kills: int) -> None:
    """The same, 200 times over one growing store, and 50 times with every write brought to the medium."""
    await kill_and_check(tmp_path, sync=sync, kills=kills, seed=2)
