"""The storage service dies in the middle of writes: what it said it kept is there."""

import asyncio
import hashlib
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from support.processes import Cluster
from support.storage_kit import audio_messages, checkpoint, create_request, segment

from servicekit.ids import new_id
from storage_service import states
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

KILLS = 10
WRITERS = 4
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

    def __init__(self, channel: grpc.aio.Channel, stories: dict[str, Acknowledged]) -> None:
        self._stub = storage_pb2_grpc.StorageServiceStub(channel)
        self._stories = stories
        self.answers = asyncio.Event()
        self._count = 0

    async def write(self) -> None:
        """Tells story after story until the service is gone."""
        try:
            while True:
                await self._tell()
        except grpc.aio.AioRpcError as error:
            if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN}:
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
        self._answered()

    async def _checkpoint(self, made: storage_pb2.StoryCheckpoint) -> None:
        request = storage_pb2.CheckpointStoriesRequest(lease_duration=Duration(seconds=30), checkpoints=[made])
        (result,) = (await self._stub.CheckpointStories(request)).results
        assert "" == result.error.reason
        self._answered()

    def _answered(self) -> None:
        self._count += 1
        if self._count >= 30:
            self.answers.set()


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


async def test_what_was_acknowledged_survives_kills(tmp_path: Path) -> None:
    """After each kill -9 in the middle of writes every acknowledged one is there, and the database is sound."""
    stories: dict[str, Acknowledged] = {}
    cluster = Cluster(tmp_path, {"LOG_LEVEL": "WARNING"})
    database = tmp_path / "data" / "storage" / "tale.sqlite3"
    try:
        for _ in range(KILLS):
            await cluster.start("storage")
            async with cluster.channel("storage") as channel:
                gateway = Gateway(channel, stories)
                async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                    for _ in range(WRITERS):
                        group.create_task(gateway.write())
                    await gateway.answers.wait()
                    await cluster.kill("storage")
            connection = sqlite3.connect(database)
            assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
            assert [] == connection.execute("PRAGMA foreign_key_check").fetchall()
            connection.close()
        await cluster.start("storage")
        async with cluster.channel("storage") as channel:
            stub = storage_pb2_grpc.StorageServiceStub(channel)
            for story_id, kept in stories.items():
                await check(stub, story_id, kept)
    finally:
        await cluster.close()
    if not any(kept.audio_id for kept in stories.values()):
        pytest.fail("no story got as far as its audio: the test shows less than it says")
