"""Stories to keep, a clock to set by hand, and audio kept in memory, for the tests of the storage service."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.duration_pb2 import Duration

from servicekit.ids import new_id
from storage_service.errors import audio_corrupt, audio_url_unsupported
from storage_service.ports import ANY_BYTES, KnownAudio
from storage_service.records import AudioKey, Digest, KeptAudio, Lease, NewStory, RepeatKey, SignedUrl
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

SECOND = 1_000_000
LEASE = Lease("gateway-1:50051", 30 * SECOND)
FINGERPRINT = hashlib.sha256(b"a dragon who cannot sleep").digest()


class ManualClock:
    """A clock that moves when it is told to; `now` is microseconds since the Unix epoch."""

    def __init__(self, now: int = 1_790_000_000 * SECOND) -> None:
        self._now = now

    def now(self) -> int:
        """The time that was set."""
        return self._now

    def advance(self, seconds: float) -> int:
        """Moves on; the new time."""
        self._now += int(seconds * SECOND)
        return self._now


class MemoryAudio:
    """An AudioStore that keeps its bytes in a dictionary."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.kept: dict[AudioKey, tuple[bytes, int]] = {}

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    @asynccontextmanager
    async def upload(self, key: AudioKey, *, content_type: str = ANY_BYTES) -> AsyncIterator["MemoryUpload"]:
        """Takes bytes in."""
        del content_type
        yield MemoryUpload(self, key)

    async def read(self, kept: KeptAudio, *, offset: int, limit: int | None) -> AsyncGenerator[bytes, None]:
        """Gives bytes out, ten at a time."""
        data, _ = self.kept.get(kept.key, (b"", 0))
        end = kept.audio.size_bytes if limit is None else min(kept.audio.size_bytes, offset + limit)
        whole = len(data) == kept.audio.size_bytes
        if not whole or (offset == 0 and end == len(data) and hashlib.sha256(data).digest() != kept.audio.sha256):
            raise audio_corrupt(kept.key.story_id)
        for start in range(offset, end, 10):
            yield data[start : min(end, start + 10)]

    async def remove(self, keys: Collection[AudioKey]) -> None:
        """Forgets bytes."""
        for key in keys:
            self.kept.pop(key, None)

    async def sweep(self, known: KnownAudio, *, grace: int) -> int:
        """Forgets old bytes that nobody refers to."""
        newest = self._clock.now() - grace
        old = [key for key, (_, time) in self.kept.items() if time < newest]
        stray = set(old).difference(await known(old))
        await self.remove(stray)
        return len(stray)

    async def url(self, kept: KeptAudio, *, expiry: int) -> SignedUrl:
        """There is none."""
        del kept, expiry
        raise audio_url_unsupported()

    def put(self, key: AudioKey, data: bytes) -> None:
        """Keeps bytes."""
        self.kept[key] = (data, self._clock.now())


class MemoryUpload:
    """Bytes on their way into a MemoryAudio."""

    def __init__(self, audio: MemoryAudio, key: AudioKey) -> None:
        self._audio = audio
        self._key = key
        self._data = b""

    async def write(self, data: bytes) -> None:
        """Adds bytes."""
        self._data += data

    async def digest(self) -> Digest:
        """Size and hash so far."""
        return Digest(len(self._data), hashlib.sha256(self._data).digest())

    async def publish(self) -> None:
        """Keeps the bytes."""
        self._audio.put(self._key, self._data)


def begun_story(**changes: object) -> common_pb2.Story:
    """A story as the gateway asks to have it kept."""
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
    lease: Lease | None = None,
    **changes: object,
) -> NewStory:
    """A story to create through the port."""
    return NewStory(
        story_id=story_id or new_id(),
        spec=common_pb2.StorySpec(wish="a dragon who cannot sleep"),
        story=begun_story(**changes),
        repeat=RepeatKey(request_id, fingerprint) if request_id else None,
        lease=lease,
    )


def create_request(**changes: object) -> storage_pb2.CreateStoryRequest:
    """A CreateStory request that claims the story at once."""
    fields: dict[str, object] = {
        "story_id": new_id(),
        "spec": common_pb2.StorySpec(wish="a dragon who cannot sleep"),
        "story": begun_story(),
        "lease": lease_request(),
    }
    return storage_pb2.CreateStoryRequest(**{**fields, **changes})  # type: ignore[arg-type]


def lease_request(runner: str = "gateway-1:50051", seconds: int = 30) -> storage_pb2.LeaseRequest:
    """A lease to ask for."""
    return storage_pb2.LeaseRequest(runner=runner, duration=Duration(seconds=seconds))


def checkpoint(story_id: str, token: int = 1, **changes: Any) -> storage_pb2.StoryCheckpoint:
    """A checkpoint with the fields given."""
    text = changes.pop("text", None)
    if isinstance(text, tuple):
        changes["text"] = storage_pb2.TextAppend(offset=text[0], text=text[1])
    return storage_pb2.StoryCheckpoint(story_id=story_id, lease_token=token, **changes)


def segment(index: int, seed: str = "") -> common_pb2.Segment:
    """A segment whose hash follows from `index` and `seed`."""
    return common_pb2.Segment(index=index, sha256=hashlib.sha256(f"{seed}{index}".encode()).digest())


def audio_messages(
    story_id: str, token: int, audio_id: str, data: bytes, *, piece: int = 65_536
) -> list[storage_pb2.WriteAudioRequest]:
    """An upload from header to commit."""
    audio = common_pb2.StoryAudio(audio_id=audio_id, content_type="audio/mpeg", duration=Duration(seconds=7))
    header = storage_pb2.AudioHeader(story_id=story_id, lease_token=token, audio=audio)
    chunks = [
        storage_pb2.AudioPiece(offset=start, data=data[start : start + piece]) for start in range(0, len(data), piece)
    ]
    commit = storage_pb2.AudioCommit(size_bytes=len(data), sha256=hashlib.sha256(data).digest())
    return [
        storage_pb2.WriteAudioRequest(header=header),
        *(storage_pb2.WriteAudioRequest(chunk=chunk) for chunk in chunks),
        storage_pb2.WriteAudioRequest(commit=commit),
    ]
