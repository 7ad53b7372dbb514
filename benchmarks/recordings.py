"""Puts finished recordings into storage, over its own RPCs."""

import asyncio
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration

from standins.storage_kit import checkpoint, create_request, narration, put_messages, speech
from tale.common.v1 import common_pb2
from tale.storage.v1 import segment_pb2_grpc, storage_pb2, storage_pb2_grpc

_AT_ONCE: Final = 16
_BYTES: Final = 16_000
_TEXT: Final = "Once there"
"""Ten characters: what one segment of `standins.storage_kit.speech` covers behind the title."""
_SECONDS: Final = 60


async def store_recordings(channel: grpc.aio.Channel, count: int) -> None:
    """Stores that many READY stories with audio of two segments each; RuntimeError if storage refuses one."""
    storage: Any = storage_pb2_grpc.StorageServiceStub(channel)
    segments: Any = segment_pb2_grpc.SegmentServiceStub(channel)
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await _store_recording(storage, segments, number)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(work())


async def _store_recording(storage: Any, segments: Any, number: int) -> None:
    record = (await storage.CreateStory(create_request(), timeout=_SECONDS)).record
    story_id, token = record.story.id, record.run.lease_token
    spoken = speech([_BYTES, _BYTES], f"recording {number} ")
    for each in spoken:
        await segments.PutSegment(iter(put_messages(each.stored, each.data, story_id=story_id)), timeout=_SECONDS)
    header = narration()
    await _checkpoint(
        storage,
        checkpoint(
            story_id,
            token,
            title="A recording",
            text=(0, _TEXT),
            content_complete=True,
            narration=header,
            segments=[each.place for each in spoken],
        ),
    )
    finish = storage_pb2.FinishAudioRequest(story_id=story_id, lease_token=token, audio_id=header.audio_id)
    await storage.FinishAudio(finish, timeout=_SECONDS)
    await _checkpoint(storage, checkpoint(story_id, token, state=common_pb2.STORY_STATE_READY))


async def _checkpoint(storage: Any, made: storage_pb2.StoryCheckpoint) -> None:
    request = storage_pb2.CheckpointStoriesRequest(lease_duration=Duration(seconds=_SECONDS), checkpoints=[made])
    (result,) = (await storage.CheckpointStories(request, timeout=_SECONDS)).results
    if result.HasField("error"):
        raise RuntimeError(f"storage refused a checkpoint: {result.error.reason}: {result.error.message}")
