"""The storage service over the embedded store, and what its callers do."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from servicekit.errors import DomainError
from servicekit.status import from_rpc_error
from standins.storage_kit import (
    ManualClock,
    Speech,
    checkpoint,
    create_request,
    narration,
    put_messages,
    speech,
    stored_token,
)
from storage_service.bootstrap import StorageApp, build_app
from storage_service.settings import StorageSettings, Tuning
from storage_service.stories import states
from support.servers import running
from tale.common.v1 import common_pb2
from tale.storage.v1 import segment_pb2, segment_pb2_grpc, storage_pb2, storage_pb2_grpc

SIZES = (30_000, 300_000, 700_000, 300_000)
"""Bytes of the segments of a narration."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A service that runs, and where it stores its data."""

    stub: "storage_pb2_grpc.StorageServiceAsyncStub"
    segments: "segment_pb2_grpc.SegmentServiceAsyncStub"
    channel: grpc.aio.Channel
    app: StorageApp
    folder: Path
    clock: ManualClock

    def files(self, kind: str = "*") -> list[Path]:
        """The files of objects that there are, whole or in part; of one kind, "audio" or "segments"."""
        return list((self.folder / "storage").glob(f"{kind}/*/*"))


@asynccontextmanager
async def service(
    folder: Path, clock: ManualClock | None = None, tuning: Tuning | None = None, **changes: Any
) -> AsyncIterator[Storage]:
    """The service over a folder."""
    clock = clock or ManualClock()
    settings = StorageSettings(
        listen="127.0.0.1:0", ops_listen="127.0.0.1:0", data_dir=folder, drain_seconds=1, **changes
    )
    app = build_app(settings, tuning or Tuning(), clock=clock)
    async with running(app, service="storage", settings=settings) as it:
        yield Storage(
            storage_pb2_grpc.StorageServiceStub(it.channel),
            segment_pb2_grpc.SegmentServiceStub(it.channel),
            it.channel,
            app,
            folder,
            clock,
        )


async def failure(call: Awaitable[object]) -> DomainError:
    """What a call fails with, as its caller sees it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def created(storage: Storage, **changes: object) -> str:
    """Id of a new story that is leased."""
    return (await storage.stub.CreateStory(create_request(**changes))).record.story.id


async def verdicts(storage: Storage, *checkpoints: storage_pb2.StoryCheckpoint) -> list[str]:
    """Why each checkpoint was refused; "" for one that holds."""
    for one in checkpoints:
        one.lease_token = one.lease_token or await stored_token(storage.stub, one.story_id)
    request = storage_pb2.CheckpointStoriesRequest(lease_duration=Duration(seconds=30), checkpoints=checkpoints)
    return [result.error.reason for result in (await storage.stub.CheckpointStories(request)).results]


async def kept(storage: Storage, *checkpoints: storage_pb2.StoryCheckpoint) -> None:
    """Checkpoints that hold."""
    assert await verdicts(storage, *checkpoints) == [""] * len(checkpoints)


async def put(storage: Storage, one: Speech, story_id: str = "") -> segment_pb2.PutSegmentResponse:
    """Stores a segment."""
    return await storage.segments.PutSegment(iter(put_messages(one.stored, one.data, story_id=story_id)))


async def read_segment(storage: Storage, key: str) -> bytes:
    """What ReadSegment gives."""
    request = segment_pb2.ReadSegmentRequest(key=key)
    return b"".join([response.chunk async for response in storage.segments.ReadSegment(request)])


async def found(storage: Storage, *keys: str, story_id: str = "") -> set[str]:
    """Which keys are stored."""
    lookups = [segment_pb2.SegmentLookup(key=key, story_id=story_id) for key in keys]
    response = await storage.segments.FindSegments(segment_pb2.FindSegmentsRequest(lookups=lookups))
    return {segment.key for segment in response.segments}


@dataclass(frozen=True, slots=True)
class Narrated:
    """A story with a narration."""

    story_id: str
    audio_id: str
    spoken: Sequence[Speech]
    token: int

    @property
    def data(self) -> bytes:
        """All bytes of the narration."""
        return joined(self.spoken)

    def finish(self) -> storage_pb2.FinishAudioRequest:
        """Asks for the file."""
        return storage_pb2.FinishAudioRequest(story_id=self.story_id, lease_token=self.token, audio_id=self.audio_id)


def joined(spoken: Iterable[Speech]) -> bytes:
    """The bytes of segments, one after the other."""
    return b"".join(one.data for one in spoken)


def digest(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


async def narrating(
    storage: Storage, *, sizes: Sequence[int] = SIZES, seed: str = "", text: str | None = None, **changes: object
) -> Narrated:
    """A story with whole text and a whole manifest, held with the token of its creation."""
    story_id = await created(storage, **changes)
    spoken = speech(sizes, seed or story_id)
    for one in spoken:
        await put(storage, one, story_id)
    header = narration()
    whole = "x" * spoken[-1].place.text.end if text is None else text
    await kept(
        storage,
        checkpoint(
            story_id,
            state=states.NARRATING,
            title="The dragon",
            text=(0, whole),
            content_complete=True,
            narration=header,
            segments=[one.place for one in spoken],
        ),
    )
    return Narrated(story_id, header.audio_id, spoken, await stored_token(storage.stub, story_id))


async def narrated(storage: Storage, **changes: Any) -> Narrated:
    """A READY story with audio."""
    made = await narrating(storage, **changes)
    await storage.stub.FinishAudio(made.finish())
    await kept(storage, checkpoint(made.story_id, state=states.READY))
    return made


async def read(storage: Storage, story_id: str, **changes: Any) -> tuple[common_pb2.StoryAudio, bytes]:
    """What ReadAudio gives; its offsets are checked on the way."""
    request = storage_pb2.ReadAudioRequest(story_id=story_id, **changes)
    header, data = None, b""
    async for response in storage.stub.ReadAudio(request):
        if response.WhichOneof("piece") == "header":
            assert header is None
            header = response.header
        else:
            assert request.offset + len(data) == response.chunk.offset
            assert len(response.chunk.data) <= 1_048_576
            data += response.chunk.data
    assert header is not None
    return header, data


def harm_file(path: Path, harm: str) -> None:
    """What can happen to stored bytes: they are "gone", cut "short" by a byte, or "changed" in their last one."""
    data = path.read_bytes()
    match harm:
        case "gone":
            path.unlink()
        case "short":
            path.write_bytes(data[:-1])
        case "changed":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case _:
            raise ValueError(harm)
