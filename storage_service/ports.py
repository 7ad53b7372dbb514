"""The ports of the domain: stores of records, and of bytes. One contract suite tests every adapter."""

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from storage_service.records import (
    AddResult,
    AttachResult,
    Blob,
    Change,
    Digest,
    EvictResult,
    Manifest,
    NewStory,
    ObjectKey,
    ObjectKind,
    OwnedProfile,
    Position,
    Profile,
    RemovalResult,
    RepeatKey,
    SegmentBlob,
    SignedUrl,
    StoredAudio,
    StoredRequest,
    Tombstone,
    UnfinishedAudio,
)
from tale.common.v1 import common_pb2
from tale.storage.v1 import segment_pb2, storage_pb2

ANY_BYTES: Final = "application/octet-stream"


class Clock(Protocol):
    """The time of leases and records."""

    def now(self) -> int:
        """Returns microseconds since the Unix epoch, UTC."""

    def steady(self) -> int:
        """Returns microseconds since any moment, by a clock that is never set."""


class StoryStore(Protocol):
    """Stores stories, their runs and what is known of their audio.

    Every method may raise UNAVAILABLE / STORAGE_UNAVAILABLE; a store behind a network also UNAVAILABLE with the reason
    of a provider, ABORTED / STORAGE_CONFLICT, and FAILED_PRECONDITION / UPSTREAM_AUTH or INVALID_CONFIGURATION. So may
    those of the other stores. Where an owner is given, the story of another owner does not exist: NOT_FOUND /
    STORY_NOT_FOUND. Each write is one transaction; it also completes when the caller goes away, and repeating it is
    harmless.
    """

    async def open(self) -> None:
        """Opens the store, with its schema at the version of this program; ConfigurationError where that fails."""

    async def close(self) -> None:
        """Closes what `open` opened."""

    async def create(self, owner: str, new: NewStory) -> tuple[storage_pb2.StoryRecord, bool]:
        """Stores a story as PENDING; True if it is new. A story or request id that is known returns the stored story.

        The child and the hero that it names are copied into it as they are stored now; the store adds itself to its
        embedded parts where it is one. Raises ALREADY_EXISTS / REQUEST_ID_REUSED, NOT_FOUND / STORY_DELETED,
        CHILD_NOT_FOUND, HERO_NOT_FOUND or (for its parent) STORY_NOT_FOUND, WRONG_STATE where the parent's text is not
        whole, and RESOURCE_EXHAUSTED / CALLER_QUOTA_EXCEEDED where the story is new and beyond its quota (see
        `quotas.check_quota`): of calls at once, as many as there is room for are not refused.
        """

    async def get(self, owner: str, story_id: str, *, full: bool) -> storage_pb2.StoryRecord:
        """Returns a story; without `full` less the fields that are marked "FULL view only"."""

    async def list_page(
        self, owner: str, chosen: common_pb2.StoryFilter, *, limit: int, after: Position | None
    ) -> Sequence[common_pb2.StorySummary]:
        """Returns at most `limit` stories, newest first (by time, then id), after `after`.

        A query are words of title and content, in any case and order, all of which must be there; "several words" in
        quotes stand together, and a word after "-" must not be there. It finds stories whose text is whole or whose
        run has ended.
        """

    async def update(
        self, owner: str, story_id: str, change: Change, *, expected_revision: int | None
    ) -> tuple[storage_pb2.StoryRecord, bool]:
        """Makes a change; False when it had been made before.

        Raises ABORTED / REVISION_MISMATCH, FAILED_PRECONDITION / WRONG_STATE and, for what can be repeated,
        ALREADY_EXISTS / REQUEST_ID_REUSED and RESOURCE_EXHAUSTED / CALLER_QUOTA_EXCEEDED.
        """

    async def delete(self, owner: str, story_id: str) -> Sequence[ObjectKey]:
        """Removes a story and leaves a tombstone.

        Its audio, and its segments that no other story uses, go with it: their objects, which are returned, are marked
        DELETED in the same transaction.
        """

    async def follow(
        self, positions: Sequence[storage_pb2.StoryPosition], *, max_bytes: int
    ) -> tuple[Sequence[storage_pb2.StoryChange], bool]:
        """Returns what is new behind each position, of all owners, in order; True where not all fits `max_bytes`.

        Reads only. A run's own story (`lease_token` set) changes where it is final, deleted, or has another token; no
        text, narration, segment or problem is returned of it. Of the others, also a title without text and whole text
        in a state before NARRATING count as new each time: a position does not say that they are known. What does not
        fit is left to the next call: whole stories, and segments of the last story given. The first change always fits,
        with at least one segment where there are any.
        """

    async def claim(
        self, lease: int, *, most: int, story_ids: Collection[str], expired: Callable[[], bool] = lambda: True
    ) -> Sequence[storage_pb2.ClaimedStory]:
        """Takes the lease of at most `most` unfinished stories that no run holds, for `lease`.

        Round robin by owner: of each the oldest first, and of all owners that with the fewest runs.

        Not of those whose lease has expired, unless `expired`, which is asked last: the call may have waited for the
        store. A lease that has more than twice its duration left has expired too: it was taken before the clock was set
        back.
        """

    async def checkpoint(
        self, lease_duration: int, checkpoints: Sequence[storage_pb2.StoryCheckpoint]
    ) -> Sequence[storage_pb2.CheckpointResult]:
        """Stores what runs have made, in one transaction; one verdict for each, in order (see `checkpoints.judge`).

        Notes that the stories use their new segments. Of a checkpoint for a story that is final only attempts, problems
        and `generation` are stored, and an attempt that is STARTED is stored as CANCELLED, ended now.
        """

    async def release(self, leases: Sequence[storage_pb2.HeldLease]) -> int:
        """Gives leases back; how many were held with the token given."""

    async def manifest(self, story_id: str, lease_token: int, audio_id: str) -> Manifest | StoredAudio:
        """Returns the narration `audio_id` of a story, as far as it is stored; the audio where it is finished already.

        A part has a blob only where the segment store has its key with its SHA-256. Raises STORY_NOT_FOUND, LEASE_LOST
        where the token is another, WRONG_STATE where the run has ended or the narration is another.
        """

    async def attach_audio(
        self, story_id: str, lease_token: int, audio: common_pb2.StoryAudio, key: ObjectKey
    ) -> AttachResult:
        """Makes `audio`, whose bytes are the object `key`, the story's audio, with the segments of the run's manifest.

        In the same transaction the object becomes STORED and that of the audio before it DELETED. Where the same audio
        id is stored already, that audio stays and `key` becomes DELETED and is among the dropped. Raises what
        `manifest` raises, and ABORTED / STORAGE_CONFLICT where `key` is not noted (any more).
        """

    async def find_audio(self, owner: str, story_id: str, audio_id: str) -> StoredAudio | UnfinishedAudio | None:
        """Returns the audio `audio_id` of a story, finished or in progress; None where there is none.

        With "" it is the finished one, or else that in progress.
        """

    async def usage(self, owner: str | None, days: int) -> Sequence[common_pb2.UsageEntry]:
        """Returns what `owner`, or None: every owner, used on each of the last `days`, newest first.

        `create` counts each new story, and what ends an attempt counts it, once, in the same transaction. Nothing that
        removes a story changes it.
        """

    async def scan(self, after: str) -> Sequence[tuple[str, str]]:
        """Returns owner and id of at most SCAN_PAGE stories of all owners, by id, from the one behind `after` on."""

    async def restore(self, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> bool:
        """Stores an exported story with all that belongs to it; False where its id is stored or deleted.

        The bytes of its audio are the noted object `key`, which becomes STORED. No run holds its lease then, and its
        next claim is no pick-up, like one after a hand-over. A narration in progress is not restored: it starts again.
        """


class SegmentStore(Protocol):
    """Stores what is known of segments, by their keys, and which stories use them.

    Each write is one transaction.
    """

    async def find(self, lookups: Sequence[segment_pb2.SegmentLookup]) -> Sequence[segment_pb2.StoredSegment]:
        """Returns the segments that are stored, each once. Misses only read.

        Of hits the use is noted where the story exists, and `last_used` is set where it is older than a minute.
        """

    async def add(self, segment: segment_pb2.StoredSegment, key: ObjectKey, story_id: str) -> AddResult:
        """Stores a segment whose bytes are the object `key`, and notes its use unless `story_id` is "".

        The first one stored under a key stays: then `key` becomes DELETED. Raises STORY_NOT_FOUND, and ABORTED /
        STORAGE_CONFLICT where `key` is not noted (any more); nothing is stored then.
        """

    async def get(self, segment_key: str) -> SegmentBlob | None:
        """Returns a segment and where its bytes are; `last_used` stays."""

    async def drop(self, segment_key: str, key: ObjectKey) -> bool:
        """Removes a segment whose bytes are lost, so that it can be stored again; its object becomes DELETED.

        Does nothing where the segment has other bytes by now, and returns False.
        """

    async def evict(self, down_to: int) -> EvictResult:
        """Removes segments, least recently used first, until all together have at most `down_to` bytes.

        None that an unfinished story (PENDING, WRITING, NARRATING) uses; at most 1,000 in a call.
        """


class ObjectNotes(Protocol):
    """Notes every object of bytes before its first byte, so that bytes without a record are found without listing.

    An object is NOTED, then STORED with the record that refers to it, and DELETED with that record.
    """

    async def note(self, kind: ObjectKind, count: int) -> Sequence[ObjectKey]:
        """Notes new objects, at most 1,000, and returns their keys."""

    async def mark_deleted(self, keys: Collection[ObjectKey]) -> Collection[ObjectKey]:
        """Makes objects DELETED that no record refers to, those without a note too; which of `keys` are DELETED now.

        STORED ones stay as they are.
        """

    async def take_deleted(self, *, grace: int, most: int, after: str = "") -> Sequence[ObjectKey]:
        """Returns objects whose bytes are to be removed, by their id, those behind the id `after`.

        Those that are NOTED for longer than `grace` become DELETED first.

        Costs nothing where there are none, however many are STORED.
        """

    async def remove_notes(self, keys: Collection[ObjectKey]) -> None:
        """Removes DELETED objects whose bytes are gone."""


class ProfileStore(Protocol):
    """Stores children and heroes: one store for both, distinguished by their messages.

    Every method may raise UNAVAILABLE / STORAGE_UNAVAILABLE. The profile of another owner does not
    exist for a caller: NOT_FOUND / CHILD_NOT_FOUND or HERO_NOT_FOUND. Each write is one transaction.
    """

    async def create(self, owner: str, profile: Profile, repeat: RepeatKey | None) -> Profile:
        """Stores a profile under a new id. A request that is known returns the profile that it created.

        Raises ALREADY_EXISTS / REQUEST_ID_REUSED and NOT_FOUND / CHILD_DELETED or HERO_DELETED.
        """

    async def get(self, owner: str, kind: type[Profile], profile_id: str) -> Profile:
        """Returns a stored profile."""

    async def list_page(
        self, owner: str, kind: type[Profile], *, limit: int, after: Position | None
    ) -> Sequence[Profile]:
        """Returns at most `limit` profiles, newest first (by time, then id), after `after`."""

    async def update(
        self, owner: str, change: Profile, fields: Collection[str], *, expected_revision: int | None
    ) -> Profile:
        """Sets `fields` of a profile to those of `change`, which names it by its id; returns the changed profile.

        The revision grows by one where anything differs. Raises ABORTED / REVISION_MISMATCH.
        """

    async def delete(self, owner: str, kind: type[Profile], profile_id: str) -> None:
        """Removes a profile and leaves a tombstone. Stories stay."""

    async def scan(self, after: str) -> Sequence[OwnedProfile]:
        """Returns at most SCAN_PAGE profiles of both kinds and all owners, by id, from the one behind `after` on."""

    async def restore(self, profiles: Sequence[OwnedProfile]) -> int:
        """Stores exported profiles, at most SCAN_PAGE; returns how many were neither stored nor deleted before."""


class HistoryStore(Protocol):
    """Stores requests that can be repeated and tombstones of what was deleted. The other stores write and judge by it.

    These methods carry all of it, of all owners, to another store, at most SCAN_PAGE entries at a time.
    """

    async def scan_requests(self, after: StoredRequest | None) -> Sequence[StoredRequest]:
        """Returns requests by owner and request id, from the one behind `after` on."""

    async def scan_tombstones(self, after: Tombstone | None) -> Sequence[Tombstone]:
        """Returns tombstones by id, from the one behind `after` on."""

    async def known_stories(self, story_ids: Collection[str]) -> frozenset[str]:
        """Returns those of the ids, at most SCAN_PAGE, that are of stored stories or have a tombstone."""

    async def restore(self, requests: Sequence[StoredRequest], tombstones: Sequence[Tombstone]) -> int:
        """Stores what is not known, but no tombstone of what is stored here; returns how many entries were new."""


class RemovalStore(Protocol):
    """Removes many stories for good. Each write is one transaction."""

    async def erase_child(self, owner: str, child_id: str) -> RemovalResult:
        """Removes a child with all its stories, running ones too, and what requests said of them, as `delete` does.

        Also gives the objects of that child that earlier calls left. Can be repeated after the child is erased;
        NOT_FOUND / CHILD_NOT_FOUND where there never was such a child.
        """

    async def expire(self, before: int, *, most: int) -> RemovalResult:
        """Removes at most `most` stories accepted before a time, oldest first; none that is being made."""

    async def scrub(self) -> None:
        """Leaves nothing of what was removed in the files and logs of the store.

        May also raise UNAVAILABLE / STORAGE_BUSY.
        """


class Upload(Protocol):
    """An upload of bytes."""

    async def write(self, data: bytes) -> None:
        """Adds bytes."""

    async def publish(self, expected: Digest | None = None) -> Digest:
        """Stores the bytes durably and returns their size and hash: on return they survive the process.

        INVALID_ARGUMENT / AUDIO_MISMATCH where they are not as `expected`.
        """


class ObjectStore(Protocol):
    """Stores bytes under the keys of objects. It never lists what it stores.

    Every method may raise UNAVAILABLE / STORAGE_UNAVAILABLE.
    """

    async def open(self) -> None:
        """Makes the store usable."""

    async def close(self) -> None:
        """Closes what `open` opened."""

    def upload(self, key: ObjectKey, *, content_type: str = ANY_BYTES) -> AbstractAsyncContextManager[Upload]:
        """Takes bytes; what is not published by the end of the block is discarded.

        `content_type` is the media type that an address of the bytes will answer with.
        """

    def read(self, blob: Blob, *, offset: int = 0, limit: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yields the bytes from `offset`, at most `limit`, in blocks of any size.

        Raises DATA_LOSS / AUDIO_CORRUPT when bytes are missing or, where all are read, do not have their hash.
        """

    async def remove(self, keys: Collection[ObjectKey]) -> None:
        """Removes bytes, those of uploads that were broken off too. Those that are not there are no error."""

    async def settle(self) -> None:
        """Returns when the writes under way have ended, those whose callers are gone too."""

    async def url(self, blob: Blob, *, expiry: int) -> SignedUrl:
        """Returns an address under which the bytes can be fetched; FAILED_PRECONDITION / AUDIO_URL_UNSUPPORTED."""


@dataclass(frozen=True, slots=True)
class Records:
    """Stores of records over one database. That of the stories opens and closes what they share."""

    stories: StoryStore
    profiles: ProfileStore
    removals: RemovalStore
    segments: SegmentStore
    objects: ObjectNotes
    history: HistoryStore
