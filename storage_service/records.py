"""Values that the domain passes to its ports. Times and durations are microseconds, times since the Unix epoch, UTC."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, TypeVar

from servicekit.ids import is_id
from tale.common.v1 import common_pb2
from tale.storage.v1 import segment_pb2, storage_pb2


@dataclass(frozen=True, slots=True)
class RepeatKey:
    """What makes a request repeatable: the caller's id for it and the SHA-256 of what it asks."""

    request_id: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class NewStory:
    """A story to store. `story` holds the snapshots and resolved defaults, `spec` what was asked.

    `lease` is the duration of one that is asked for, here and below.
    """

    story_id: str
    spec: common_pb2.StorySpec
    story: common_pb2.Story
    repeat: RepeatKey | None = None
    lease: int | None = None
    quota: storage_pb2.Quota | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """Sets the rating, 1 to 10."""

    rating: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stops a story and takes the lease from its run."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Continues a failed story."""

    repeat: RepeatKey | None = None
    lease: int | None = None
    quota: storage_pb2.Quota | None = None


@dataclass(frozen=True, slots=True)
class Narrate:
    """Narrates a story again with `voice`."""

    voice: common_pb2.VoiceSelection
    repeat: RepeatKey | None = None
    lease: int | None = None
    quota: storage_pb2.Quota | None = None


Profile = TypeVar("Profile", common_pb2.Child, common_pb2.Hero)
"""A child or a hero."""

SCAN_PAGE: Final = 500
"""Records that a scan of a store returns, or `restore` takes, at most."""


@dataclass(frozen=True, slots=True)
class OwnedProfile:
    """A stored profile and its owner."""

    owner: str
    profile: common_pb2.Child | common_pb2.Hero


class StoredRequest(NamedTuple):
    """A request that can be repeated, as stored: what it was and what it made."""

    owner: str
    request_id: str
    rpc: str
    fingerprint: bytes
    resource_id: str
    create_time: int


class Tombstone(NamedTuple):
    """What is left of a story, child or hero that was deleted."""

    resource_id: str
    owner: str
    delete_time: int


Change: TypeAlias = Rate | Cancel | Retry | Narrate


@dataclass(frozen=True, slots=True)
class Position:
    """Where a listing continues: after the story, child or hero of this time and id."""

    create_time: int
    resource_id: str


class ObjectKind(StrEnum):
    """What the bytes of an object are. Each kind may be in an object store of its own."""

    AUDIO = "audio"
    SEGMENT = "segment"


_FOLDERS: Final = {ObjectKind.AUDIO: "audio", ObjectKind.SEGMENT: "segments"}


def object_folders(root: Path) -> Iterator[Path]:
    """Yields all folders below `root` in which objects may be, without a look at the disk."""
    for name in _FOLDERS.values():
        yield root / name
        yield from (root / name / f"{number:02x}" for number in range(256))


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """The name of an object. `object_id` is a UUIDv7, so it can be part of a path."""

    kind: ObjectKind
    object_id: str

    @property
    def path(self) -> str:
        """Returns where its bytes are in an object store, made of its kind and id alone."""
        if not is_id(self.object_id):
            raise ValueError("an object is named by a UUIDv7")
        return f"{_FOLDERS[self.kind]}/{self.object_id[-2:]}/{self.object_id}"


@dataclass(frozen=True, slots=True)
class Blob:
    """An object with what its bytes must be: size and SHA-256."""

    key: ObjectKey
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class StoredAudio:
    """The finished audio of a story: what is known of it (no segments) and where its bytes are."""

    audio: common_pb2.StoryAudio
    blob: Blob


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of one segment of a manifest; `blob` is None where the segment store has them no more."""

    segment_key: str
    size: int
    blob: Blob | None


@dataclass(frozen=True, slots=True)
class UnfinishedAudio:
    """Audio in progress: facts, size and duration so far (no SHA-256, no segments), and its parts in order."""

    audio: common_pb2.StoryAudio
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A narration to compose: `parts` are the bytes of `segments`; `content_length` counts code points."""

    header: common_pb2.NarrationHeader
    segments: Sequence[common_pb2.Segment]
    parts: Sequence[Part]
    content_length: int
    content_complete: bool


@dataclass(frozen=True, slots=True)
class AttachResult:
    """How attaching audio went. `dropped` are objects that nothing refers to any more."""

    audio: common_pb2.StoryAudio
    dropped: Sequence[ObjectKey]


@dataclass(frozen=True, slots=True)
class SegmentBlob:
    """A stored segment and where its bytes are."""

    segment: segment_pb2.StoredSegment
    blob: Blob


@dataclass(frozen=True, slots=True)
class AddResult:
    """The segment as stored, whether it is the one that was given, and the bytes of all stored segments together."""

    segment: segment_pb2.StoredSegment
    created: bool
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class EvictResult:
    """Objects of evicted segments, and the bytes of all segments that are still stored."""

    dropped: Sequence[ObjectKey]
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class RemovalResult:
    """How many stories were removed, and the objects whose bytes are to be removed after them."""

    story_count: int
    dropped: Sequence[ObjectKey]

    def count(self, kind: ObjectKind) -> int:
        """Returns how many of the objects are of this kind."""
        return sum(key.kind is kind for key in self.dropped)


@dataclass(frozen=True, slots=True)
class Digest:
    """Size in bytes and SHA-256."""

    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """An address for audio, and when it ends."""

    url: str
    expire_time: int
