"""What the domain needs from the outside. One contract suite holds every adapter to it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeAlias

from storage_service.records import (
    Attached,
    AudioKey,
    Change,
    Digest,
    Erased,
    KeptAudio,
    Lease,
    NewStory,
    Position,
    Profile,
    Removed,
    RepeatKey,
    SignedUrl,
)
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

ANY_BYTES: Final = "application/octet-stream"

KnownAudio: TypeAlias = Callable[[Collection[AudioKey]], Awaitable[Collection[AudioKey]]]
"""Tells which of some bytes are known."""


class Clock(Protocol):
    """Tells the time that leases and records go by."""

    def now(self) -> int:
        """Microseconds since the Unix epoch, UTC."""


class StoryStore(Protocol):
    """Keeps stories, their runs and what is known of their audio.

    Every method may raise UNAVAILABLE / STORAGE_UNAVAILABLE; a store behind a network also UNAVAILABLE with the reason
    of a provider, ABORTED / STORAGE_CONFLICT, and FAILED_PRECONDITION / UPSTREAM_AUTH or INVALID_CONFIGURATION. So may
    those of the other stores. Where an owner is given, somebody else's story is as good as none: NOT_FOUND /
    STORY_NOT_FOUND. Each write is one transaction; it also completes when the caller
    goes away, and repeating it is harmless.
    """

    async def open(self) -> None:
        """Makes the store usable, with its schema at the present version; ConfigurationError where it can not be."""

    async def close(self) -> None:
        """Gives up what `open` took."""

    async def create(self, owner: str, new: NewStory) -> tuple[storage_pb2.StoryRecord, bool]:
        """Keeps a story as PENDING; True when it is new. A story or request id that is known gives the kept story.

        The child and the hero that it names are taken into it as they are kept now; the store adds itself to its
        embedded parts where it is one. Raises ALREADY_EXISTS / REQUEST_ID_REUSED, NOT_FOUND / STORY_DELETED,
        CHILD_NOT_FOUND, HERO_NOT_FOUND or (for its parent) STORY_NOT_FOUND, and WRONG_STATE where the parent's text
        is not whole.
        """

    async def get(self, owner: str, story_id: str, *, full: bool) -> storage_pb2.StoryRecord:
        """A story; without `full` less the fields that are marked "FULL view only"."""

    async def list_page(
        self, owner: str, chosen: common_pb2.StoryFilter, *, limit: int, after: Position | None
    ) -> Sequence[common_pb2.StorySummary]:
        """At most `limit` stories, newest first (by time, then id), after `after`.

        A query are words of title and content, in any case and order, all of which must be there; "several words" in
        quotes stand together, and a word after "-" must not be there. It finds stories whose text is whole or whose
        run has ended.
        """

    async def update(
        self, owner: str, story_id: str, change: Change, *, expected_revision: int | None
    ) -> tuple[storage_pb2.StoryRecord, bool]:
        """Makes a change; False when it had been made before.

        Raises ABORTED / REVISION_MISMATCH, FAILED_PRECONDITION / WRONG_STATE and, for what can be repeated,
        ALREADY_EXISTS / REQUEST_ID_REUSED.
        """

    async def delete(self, owner: str, story_id: str) -> Removed:
        """Removes a story and leaves a tombstone. What is left to do about it is remembered: see RemovalStore."""

    async def claim(self, lease: Lease, *, most: int, story_ids: Collection[str]) -> Sequence[storage_pb2.ClaimedStory]:
        """Takes the lease of at most `most` unfinished stories that nobody holds, oldest first."""

    async def checkpoint(
        self, lease_duration: int, checkpoints: Sequence[storage_pb2.StoryCheckpoint]
    ) -> Sequence[storage_pb2.CheckpointResult]:
        """Keeps what runs have made, in one transaction; one verdict for each, in order."""

    async def release(self, leases: Sequence[storage_pb2.HeldLease]) -> int:
        """Gives leases back; how many were held with the token given."""

    async def check_lease(self, story_id: str, lease_token: int) -> None:
        """Raises STORY_NOT_FOUND, WRONG_STATE or LEASE_LOST unless a run holds the story with this token."""

    async def attach_audio(
        self, story_id: str, lease_token: int, audio: common_pb2.StoryAudio, key: AudioKey
    ) -> Attached:
        """Makes `audio`, whose bytes are kept under `key`, the story's audio, with the segments of the run's book.

        Checks the lease as `check_lease` does. Where the same audio is kept already, that one stays and `key` is
        among the dropped; INVALID_ARGUMENT / AUDIO_MISMATCH where it has other bytes.
        """

    async def find_audio(self, owner: str, story_id: str) -> KeptAudio | None:
        """The story's audio without segments; None while it has none."""

    async def known_audio(self, keys: Collection[AudioKey]) -> Collection[AudioKey]:
        """Of `keys` (at most 500) those that stories refer to."""


class ProfileStore(Protocol):
    """Keeps children and heroes: one store for both, told apart by their messages.

    Every method may raise UNAVAILABLE / STORAGE_UNAVAILABLE. Somebody else's profile is as good as none: NOT_FOUND /
    CHILD_NOT_FOUND or HERO_NOT_FOUND. Each write is one transaction.
    """

    async def create(self, owner: str, profile: Profile, repeat: RepeatKey | None) -> Profile:
        """Keeps a profile under an id of the store's making. A request that is known gives the profile it made.

        Raises ALREADY_EXISTS / REQUEST_ID_REUSED and NOT_FOUND / CHILD_DELETED or HERO_DELETED.
        """

    async def get(self, owner: str, kind: type[Profile], profile_id: str) -> Profile:
        """A kept profile."""

    async def list_page(
        self, owner: str, kind: type[Profile], *, limit: int, after: Position | None
    ) -> Sequence[Profile]:
        """At most `limit` profiles, newest first (by time, then id), after `after`."""

    async def update(
        self, owner: str, change: Profile, fields: Collection[str], *, expected_revision: int | None
    ) -> Profile:
        """Takes `fields` over from `change`, whose id says which; the profile after it.

        The revision grows where anything differs. Raises ABORTED / REVISION_MISMATCH.
        """

    async def delete(self, owner: str, kind: type[Profile], profile_id: str) -> None:
        """Removes a profile and leaves a tombstone. Stories stay."""


class RemovalStore(Protocol):
    """Removes many stories for good and remembers, of every removed story, what is left to do outside the store.

    Every method may raise UNAVAILABLE / STORAGE_UNAVAILABLE. Each write is one transaction.
    """

    async def erase_child(self, owner: str, child_id: str, *, most: int) -> Erased:
        """Removes a child and at most `most` of its stories, running ones too, and what requests said of them.

        Also gives the bytes that earlier calls left. NOT_FOUND / CHILD_NOT_FOUND where nothing is left to do.
        """

    async def expire(self, before: int, *, most: int) -> Sequence[Removed]:
        """Removes at most `most` stories accepted before a time, oldest first; none that is being made."""

    async def files_to_remove(self, *, most: int) -> Sequence[AudioKey]:
        """Bytes of removed stories that may still be there."""

    async def files_removed(self, story_ids: Collection[str]) -> None:
        """Notes that the bytes of removed stories are gone."""

    async def list_forgettable(self, owner: str, child_id: str, *, most: int) -> Sequence[storage_pb2.ForgettableStory]:
        """Removed stories that caches are to forget now, oldest first; with an empty `child_id` those of all owners.

        One that was being made is listed again 2 minutes after its removal. At most 10,000 hashes in all.
        """

    async def confirm_forgotten(self, story_ids: Collection[str]) -> None:
        """Notes that caches have forgotten stories."""

    async def scrub(self) -> None:
        """Leaves nothing of what was removed in the store's files and logs; does nothing where nothing was.

        May also raise UNAVAILABLE / STORAGE_BUSY.
        """


class Upload(Protocol):
    """Bytes on their way in. Nothing of them is seen before `publish`."""

    async def write(self, data: bytes) -> None:
        """Adds bytes."""

    async def digest(self) -> Digest:
        """Size and hash of what was written so far."""

    async def publish(self) -> None:
        """Keeps the bytes for good: on return they survive the process."""


class AudioStore(Protocol):
    """Keeps bytes of audio under keys.

    Every method may raise UNAVAILABLE / STORAGE_UNAVAILABLE.
    """

    async def open(self) -> None:
        """Makes the store usable."""

    async def close(self) -> None:
        """Gives up what `open` took."""

    def upload(self, key: AudioKey, *, content_type: str = ANY_BYTES) -> AbstractAsyncContextManager[Upload]:
        """Takes bytes in; what is not published by the end of the block is thrown away.

        `content_type` is the media type that an address of the bytes will answer with.
        """

    def read(self, kept: KeptAudio, *, offset: int, limit: int | None) -> AsyncGenerator[bytes, None]:
        """The bytes from `offset`, at most `limit`, in blocks of any size.

        Raises DATA_LOSS / AUDIO_CORRUPT when bytes are missing or, where all are read, do not have their hash.
        """

    async def remove(self, keys: Collection[AudioKey]) -> None:
        """Removes bytes. Those that are not there are no error."""

    async def sweep(self, known: KnownAudio, *, grace: int) -> int:
        """Removes bytes that are older than `grace` microseconds and not known; how many.

        `known` is asked for at most 500 keys at a time.
        """

    async def url(self, kept: KeptAudio, *, expiry: int) -> SignedUrl:
        """An address under which the bytes can be fetched; FAILED_PRECONDITION / AUDIO_URL_UNSUPPORTED."""
