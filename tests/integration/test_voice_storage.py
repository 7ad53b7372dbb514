"""The voice service over the storage service: what it stores is the file that storage composes."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.servers import running
from support.voice_kit import STORY, NamedVoice, reason_of, voice_service

from servicekit.ids import new_id
from standins.storage_kit import checkpoint, create_request, stored_token
from storage_service.audio.finishing import true_sizes
from storage_service.bootstrap import StorageApp, build_app
from storage_service.settings import StorageSettings
from storage_service.stories import states
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2, storage_pb2_grpc
from tale.voice.v1 import voice_pb2

STORED = voice_pb2.DELIVERY_STORED
TITLE = "The Fox"


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage service that runs."""

    app: StorageApp
    address: str
    stub: Any

    async def story(self) -> str:
        """Id of a new story whose lease has token 1."""
        response = await self.stub.CreateStory(create_request(), timeout=10)
        return str(response.record.story.id)

    def codes(self) -> set[str]:
        """How the calls to the segment store ended."""
        assert self.app.metrics is not None
        return {
            sample.labels["grpc_code"]
            for family in self.app.metrics.registry.collect()
            for sample in family.samples
            if sample.labels.get("grpc_service") == "tale.storage.v1.SegmentService"
        }


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """The storage service over an empty folder."""
    settings = StorageSettings(listen="127.0.0.1:0", ops_listen="127.0.0.1:0", data_dir=tmp_path, drain_seconds=1)
    app = build_app(settings)
    async with running(app, settings=settings, service="storage") as service:
        yield Storage(app, service.address, storage_pb2_grpc.StorageServiceStub(service.channel))


@pytest.mark.parametrize(
    "audio_format",
    [common_pb2.AUDIO_FORMAT_MP3, common_pb2.AUDIO_FORMAT_WAV, common_pb2.AUDIO_FORMAT_OGG_OPUS],
)
async def test_the_file_of_a_manifest_is_what_a_direct_caller_hears(
    storage: Storage, audio_format: common_pb2.AudioFormat.ValueType
) -> None:
    """The segments are accepted as a manifest, and composed they are the narration; every call ended well."""
    story_id, choice = await storage.story(), common_pb2.VoiceSelection(audio_format=audio_format)
    async with voice_service(NamedVoice("mock"), storage_target=storage.address) as voice:
        told = await voice.tell(STORY, title=TITLE, story_id=story_id, delivery=STORED, voice=choice, word_timings=True)
        heard = await voice.tell(STORY, title=TITLE, voice=choice)
    assert told.error is None
    assert told.header is not None
    assert told.summary is not None
    token = await stored_token(storage.stub, story_id)
    point = checkpoint(
        story_id,
        token,
        state=states.NARRATING,
        title=TITLE,
        text=(0, STORY),
        content_complete=True,
        narration=told.header,
        segments=told.segments,
    )
    lease = create_request().lease.duration
    request = storage_pb2.CheckpointStoriesRequest(lease_duration=lease, checkpoints=[point])
    answer = await storage.stub.CheckpointStories(request, timeout=10)
    finish = storage_pb2.FinishAudioRequest(story_id=story_id, lease_token=token, audio_id=told.header.audio_id)
    audio = (await storage.stub.FinishAudio(finish, timeout=10)).audio
    pieces = [each async for each in storage.stub.ReadAudio(storage_pb2.ReadAudioRequest(story_id=story_id))]

    assert [""] == [result.error.reason for result in answer.results]
    # A stream of WAVE leaves its sizes open; the file that it becomes has them.
    stored = b"".join(piece.chunk.data for piece in pieces)
    assert true_sizes(heard.audio, len(heard.audio)) == stored
    assert (stored != heard.audio) is (audio_format == common_pb2.AUDIO_FORMAT_WAV)
    assert hashlib.sha256(stored).digest() == audio.sha256
    assert told.summary.size_bytes == audio.size_bytes
    # Storage has the duration of each segment to a microsecond.
    short = told.summary.duration.ToMicroseconds() - audio.duration.ToMicroseconds()
    assert abs(short) <= len(told.segments)
    assert {"OK"} == storage.codes()


async def test_two_voice_services_that_make_the_same_segments_at_once_store_them_once(storage: Storage) -> None:
    """Both announce the same facts, and what one made the other need not."""
    stories = [await storage.story(), await storage.story()]
    one, two = NamedVoice("mock"), NamedVoice("mock")
    async with (
        voice_service(one, storage_target=storage.address) as first,
        voice_service(two, storage_target=storage.address) as second,
    ):
        told = await asyncio.gather(
            first.tell(STORY, story_id=stories[0], delivery=STORED),
            second.tell(STORY, story_id=stories[1], delivery=STORED),
        )
        again = await second.tell(STORY, story_id=stories[0], delivery=STORED)

    assert [None, None, None] == [each.error for each in (*told, again)]
    assert [each.key for each in told[0].segments] == [each.key for each in told[1].segments]
    assert [each.sha256 for each in told[0].segments] == [each.sha256 for each in told[1].segments]
    assert all(segment.cached for segment in again.segments)


async def test_a_story_that_is_not_there_ends_its_narration(storage: Storage) -> None:
    """NOT_FOUND / STORY_NOT_FOUND after one call, which is reported."""
    mock = NamedVoice("mock")
    async with voice_service(mock, storage_target=storage.address, segments_ahead=0) as voice:
        told = await voice.tell(STORY, story_id=new_id(), delivery=STORED)

    assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == reason_of(told.error)[:2]
    assert 1 == mock.journal.calls == len(told.attempts)
