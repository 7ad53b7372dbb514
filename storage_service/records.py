"""What the domain hands to its ports. Times and durations are microseconds, times since the Unix epoch, UTC."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from tale.common.v1 import common_pb2


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that is asked for: the address of the gateway, and for how long."""

    runner: str
    duration: int


@dataclass(frozen=True, slots=True)
class RepeatKey:
    """What makes a request repeatable: the caller's id for it and the SHA-256 of what it asks."""

    request_id: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class NewStory:
    """A story to keep. `story` holds the snapshots and resolved defaults, `spec` what was asked."""

    story_id: str
    spec: common_pb2.StorySpec
    story: common_pb2.Story
    repeat: RepeatKey | None = None
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """Sets the rating, 1 to 10."""

    rating: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stops a story and takes the lease from its run."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Lets a failed story go on."""

    repeat: RepeatKey | None = None
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class Narrate:
    """Tells a story again with `voice`."""

    voice: common_pb2.VoiceSelection
    repeat: RepeatKey | None = None
    lease: Lease | None = None


Profile = TypeVar("Profile", common_pb2.Child, common_pb2.Hero)
"""Somebody whom stories are told to or about."""

Change: TypeAlias = Rate | Cancel | Retry | Narrate


@dataclass(frozen=True, slots=True)
class Position:
    """Where a listing goes on: after the story, child or hero of this time and id."""

    create_time: int
    resource_id: str


@dataclass(frozen=True, slots=True)
class AudioKey:
    """Names the bytes of one upload. Both are UUIDv7, so they can be part of a path."""

    story_id: str
    object_id: str


@dataclass(frozen=True, slots=True)
class KeptAudio:
    """The audio of a story: what is known of it (no segments) and where its bytes are."""

    audio: common_pb2.StoryAudio
    key: AudioKey


@dataclass(frozen=True, slots=True)
class Attached:
    """How attaching audio went. `dropped` are bytes that nothing refers to any more."""

    audio: common_pb2.StoryAudio
    dropped: Sequence[AudioKey]


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removed story leaves: hashes for caches to forget, bytes to remove."""

    story_id: str
    segment_sha256: Sequence[bytes]
    dropped: Sequence[AudioKey]


@dataclass(frozen=True, slots=True)
class Erased:
    """How far a child is erased: stories removed now, bytes to remove, and whether there are more stories."""

    story_count: int
    dropped: Sequence[AudioKey]
    more: bool


@dataclass(frozen=True, slots=True)
class Digest:
    """Size in bytes and SHA-256 of what was written."""

    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """An address for audio, and when it ends."""

    url: str
    expire_time: int
