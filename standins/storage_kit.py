"""Provides stories and segments to store, a manual clock, and an object store in memory."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from servicekit.errors import DomainError
from servicekit.ids import new_id
from storage_service.errors import audio_corrupt, audio_url_unsupported, check_digest
from storage_service.ports import ANY_BYTES, ObjectNotes, SegmentStore, StoryStore
from storage_service.records import Blob, Digest, NewStory, ObjectKey, ObjectKind, RepeatKey, SignedUrl
from tale.common.v1 import common_pb2
from tale.storage.v1 import segment_pb2, storage_pb2

SECOND = 1_000_000
LEASE = 30 * SECOND
OWNERS = ("mia", "ben", "ben|google:4711", "local")
FINGERPRINT = hashlib.sha256(b"a dragon who cannot sleep").digest()


class ManualClock:
    """A manual clock; `now` is microseconds since the Unix epoch."""

    def __init__(self, now: int = 1_790_000_000 * SECOND) -> None:
        self._now = now
        self._steady = 0

    def now(self) -> int:
        """Returns the time that was set."""
        return self._now

    def advance(self, seconds: float) -> int:
        """Lets time pass and returns the new time."""
        self._steady += int(seconds * SECOND)
        return self.set_forward(seconds)

    def steady(self) -> int:
        """Returns the time that has passed."""
        return self._steady

    def set_forward(self, seconds: float) -> int:
        """Sets the clock forward, or back, without any time passing; returns the new time."""
        self._now += int(seconds * SECOND)
        return self._now


class MemoryObjects:
    """An ObjectStore with its bytes in a dictionary."""

    def __init__(self) -> None:
        self.stored: dict[ObjectKey, bytes] = {}

    async def open(self) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""

    async def settle(self) -> None:
        """Does nothing."""

    @asynccontextmanager
    async def upload(self, key: ObjectKey, *, content_type: str = ANY_BYTES) -> AsyncIterator["MemoryUpload"]:
        """Starts an upload."""
        del content_type
        yield MemoryUpload(self, key)

    async def read(self, blob: Blob, *, offset: int = 0, limit: int | None = None) -> AsyncGenerator[bytes, None]:
        """Returns bytes, ten at a time."""
        data = self.stored.get(blob.key, b"")
        end = blob.size if limit is None else min(blob.size, offset + limit)
        whole = len(data) == blob.size
        if not whole or (offset == 0 and end == len(data) and hashlib.sha256(data).digest() != blob.sha256):
            raise audio_corrupt()
        for start in range(offset, end, 10):
            yield data[start : min(end, start + 10)]

    async def remove(self, keys: Collection[ObjectKey]) -> None:
        """Removes bytes."""
        for key in keys:
            self.stored.pop(key, None)

    async def url(self, blob: Blob, *, expiry: int) -> SignedUrl:
        """Returns no URL."""
        del blob, expiry
        raise audio_url_unsupported()


class MemoryUpload:
    """An upload into MemoryObjects."""

    def __init__(self, objects: MemoryObjects, key: ObjectKey) -> None:
        self._objects = objects
        self._key = key
        self._data = b""

    async def write(self, data: bytes) -> None:
        """Adds bytes."""
        self._data += data

    async def publish(self, expected: Digest | None = None) -> Digest:
        """Stores the bytes."""
        digest = Digest(len(self._data), hashlib.sha256(self._data).digest())
        check_digest(digest, expected)
        self._objects.stored[self._key] = self._data
        return digest


def begun_story(**changes: object) -> common_pb2.Story:
    """Returns a story as the gateway stores it first."""
    fields: dict[str, object] = {
        "kind": common_pb2.STORY_KIND_CHILD,
        "child": common_pb2.Child(name="Mia", age=6),
        "wish": "a dragon who cannot sleep",
        "language_code": "en",
        "length_minutes": 5,
        "narrate": True,
        "voice": common_pb2.VoiceSelection(provider="offline"),
    }
    return common_pb2.Story(**{**fields, **changes})  # type: ignore[arg-type]


def new_story(
    *,
    story_id: str | None = None,
    request_id: str = "",
    fingerprint: bytes = FINGERPRINT,
    lease: int | None = None,
    **changes: object,
) -> NewStory:
    """Returns a story to create through the port."""
    return NewStory(
        story_id=story_id or new_id(),
        spec=common_pb2.StorySpec(child=common_pb2.Child(name="Mia"), wish="a dragon who cannot sleep"),
        story=begun_story(**changes),
        repeat=RepeatKey(request_id, fingerprint) if request_id else None,
        lease=lease,
    )


def create_request(**changes: object) -> storage_pb2.CreateStoryRequest:
    """Returns a CreateStory request that claims the story at once."""
    fields: dict[str, object] = {
        "story_id": new_id(),
        "spec": common_pb2.StorySpec(child=common_pb2.Child(name="Mia"), wish="a dragon who cannot sleep"),
        "story": begun_story(),
        "lease": lease_request(),
    }
    return storage_pb2.CreateStoryRequest(**{**fields, **changes})  # type: ignore[arg-type]


def lease_request(seconds: int = 30) -> storage_pb2.LeaseRequest:
    """Returns a lease request."""
    return storage_pb2.LeaseRequest(duration=Duration(seconds=seconds))


def checkpoint(story_id: str, token: int = 0, **changes: Any) -> storage_pb2.StoryCheckpoint:
    """Returns a checkpoint with the given fields; without a token, `held` adds it."""
    text = changes.pop("text", None)
    if isinstance(text, tuple):
        changes["text"] = storage_pb2.TextAppend(offset=text[0], text=text[1])
    return storage_pb2.StoryCheckpoint(story_id=story_id, lease_token=token, **changes)


async def lease_token(stories: StoryStore, story_id: str) -> int:
    """Returns the token of the last lease of a story, of whichever owner of the tests; 1 where it is not stored."""
    for owner in OWNERS:
        with suppress(DomainError):
            return (await stories.get(owner, story_id, full=False)).run.lease_token
    return 1


async def held(stories: StoryStore, *checkpoints: storage_pb2.StoryCheckpoint) -> list[storage_pb2.StoryCheckpoint]:
    """Returns the checkpoints, those without a token with the one of the last lease of the story."""
    for one in checkpoints:
        one.lease_token = one.lease_token or await lease_token(stories, one.story_id)
    return list(checkpoints)


async def write_held(
    stories: StoryStore, *checkpoints: storage_pb2.StoryCheckpoint
) -> Sequence[storage_pb2.CheckpointResult]:
    """Stores checkpoints as `held` returns them, and returns the results."""
    return await stories.checkpoint(LEASE, await held(stories, *checkpoints))


async def stored_token(stub: Any, story_id: str) -> int:
    """Returns the token of the last lease of a story of the local owner, from the service; 1 where it is not stored."""
    try:
        answer = await stub.GetStory(storage_pb2.GetStoryRequest(story_id=story_id), timeout=10)
    except grpc.aio.AioRpcError:
        return 1
    return int(answer.record.run.lease_token)


@dataclass(frozen=True, slots=True)
class Speech:
    """A piece of speech: its bytes, its segment for the segment store and its place in a manifest."""

    data: bytes
    stored: segment_pb2.StoredSegment
    place: common_pb2.Segment


def speech(sizes: Sequence[int], seed: str = "", *, characters: int = 10) -> list[Speech]:
    """Returns the segments of a narration: the title, then pieces of so many characters, each lasting a second.

    Bytes and keys follow from `seed` and the position.
    """
    made: list[Speech] = []
    begin = 0
    for index, size in enumerate(sizes):
        name = hashlib.sha256(f"{seed}{index}".encode())
        data = (name.digest() * (size // 32 + 1))[:size]
        stored = segment_pb2.StoredSegment(
            key=name.hexdigest(),
            size_bytes=size,
            sha256=hashlib.sha256(data).digest(),
            sample_count=44_100,
            sample_rate=44_100,
            provider="mock",
            voice_id="mock-1",
            model_id="mock",
            words=segment_pb2.SegmentWords(text_starts=[0], text_ends=[4], start_us=[0], end_us=[500_000]),
        )
        text = common_pb2.Span(start=max(0, index - 1) * characters, end=index * characters)
        place = common_pb2.Segment(
            index=index,
            text=text,
            audio=common_pb2.Span(start=begin, end=begin + size),
            provider=stored.provider,
            voice_id=stored.voice_id,
            model_id=stored.model_id,
            sha256=stored.sha256,
            duration=Duration(seconds=1),
            start=Duration(seconds=index),
            key=stored.key,
        )
        begin += size
        made.append(Speech(data, stored, place))
    return made


def narration(audio_id: str = "") -> common_pb2.NarrationHeader:
    """Returns the header of a narration."""
    return common_pb2.NarrationHeader(
        audio_id=audio_id or new_id(),
        provider="mock",
        voice_id="mock-1",
        model_id="mock",
        audio_format=common_pb2.AUDIO_FORMAT_MP3,
        content_type="audio/mpeg",
        sample_rate=44_100,
        bit_rate=128_000,
        language_code="en",
    )


async def add_segments(segments: SegmentStore, objects: ObjectNotes, spoken: Sequence[Speech], story_id: str) -> None:
    """Adds segments to a segment store, without their bytes."""
    keys = await objects.note(ObjectKind.SEGMENT, len(spoken))
    for one, key in zip(spoken, keys, strict=True):
        await segments.add(one.stored, key, story_id)


def put_messages(
    segment: segment_pb2.StoredSegment, data: bytes, *, story_id: str = "", piece: int = 1 << 20
) -> list[segment_pb2.PutSegmentRequest]:
    """Returns the messages of a PutSegment call."""
    header = segment_pb2.PutSegmentHeader(segment=segment, story_id=story_id)
    return [
        segment_pb2.PutSegmentRequest(header=header),
        *(segment_pb2.PutSegmentRequest(chunk=data[start : start + piece]) for start in range(0, len(data), piece)),
        segment_pb2.PutSegmentRequest(commit=segment_pb2.PutSegmentCommit()),
    ]
