"""What a store gives and takes so that all it keeps can be carried elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence

    from storage_service.records import Blob, ObjectKey
    from tale.storage.v1 import storage_pb2

Line: TypeAlias = dict[str, Any]
"""A record that is no story, as JSON has it; times are microseconds since the Unix epoch, bytes are in base64.

    {kind: "child" | "hero", id, owner, revision, create_time, update_time, profile}   a serialized Child or Hero
    {kind: "request", owner, request_id, rpc, fingerprint, resource_id, create_time}
    {kind: "tombstone", id, owner, delete_time}
"""


class ExchangeStore(Protocol):
    """All that is kept, of all owners. May raise what a StoryStore may."""

    def lines(self) -> AsyncGenerator[Sequence[Line], None]:
        """Children, heroes and requests, at most 500 at a time."""

    def last_lines(self) -> AsyncGenerator[Sequence[Line], None]:
        """Tombstones, at most 500 at a time: what was deleted while the rest was read."""

    def stories(self) -> AsyncGenerator[tuple[storage_pb2.StoryRecord, Blob | None], None]:
        """Each story in full, with the bytes of its finished audio; each as it is at one moment."""

    async def story(self, owner: str, story_id: str) -> tuple[storage_pb2.StoryRecord, Blob | None] | None:
        """A story as `stories` gives it; None where it is gone."""

    async def keep_lines(self, lines: Sequence[Line]) -> int:
        """Keeps what is not known, at most 500 in one transaction; how many were new."""

    async def missing(self, story_ids: Collection[str]) -> Collection[str]:
        """Of `story_ids` (at most 500) those that are neither kept nor deleted."""

    async def keep_story(self, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> bool:
        """Stores a story with all that hangs on it, in one transaction; False where its id is known.

        The bytes of its audio are the noted object `key`, which becomes STORED. No run holds its lease then, and its
        next claim counts as one after a hand-over. Of a narration in the making nothing is stored: it starts again.
        """
