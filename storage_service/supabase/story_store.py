"""The StoryStore in Supabase: a function of the schema for each method, so that each is one transaction."""

from collections.abc import Collection, Sequence
from typing import Final

import structlog

from servicekit.ids import is_id
from storage_service import records
from storage_service.stories import states
from storage_service.supabase import rows
from storage_service.supabase.checking import check
from storage_service.supabase.connection import SupabaseStore, check_refusal
from storage_service.supabase.failures import SupabaseError
from storage_service.supabase.objects import to_keys
from storage_service.supabase.rows import from_filter
from storage_service.supabase.segments import from_audio, to_audio, to_manifest, to_unfinished
from storage_service.supabase.stories import created_by, from_new, from_positions, to_answer, to_item, to_result
from storage_service.supabase.wire import encoded, from_base64, from_position, from_repeat
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_log: Final = structlog.stdlib.get_logger("storage_service.supabase")


class SupabaseStoryStore(SupabaseStore):
    """Stores stories in the schema `tales`; see StoryStore for the methods."""

    async def open(self) -> None:
        """Builds the client and checks schema and bucket; ConfigurationError with the remedy.

        Where Supabase does not answer, the service starts all the same: Supabase may answer later.
        """
        try:
            await check(await self._connection.client())
        except SupabaseError as error:
            _log.warning(
                "Supabase does not answer yet", kind=error.kind.value, status=error.status, detail=error.message
            )

    async def close(self) -> None:
        """Closes the client."""
        await self._connection.close()

    async def create(self, owner: str, new: records.NewStory) -> tuple[storage_pb2.StoryRecord, bool]:
        """Stores a new story, or finds the stored one."""
        repeated = []
        answer = await self._connection.timed_rpc(
            "create_story",
            new.story.parent_story_id or new.story_id,
            owner=owner,
            story=from_new(new),
            problems=rows.from_problems(new.story.problems),
            request=from_repeat("CreateStory", new.repeat),
            lease_us=new.lease and new.lease.duration,
            on_retry=lambda: repeated.append(True),
        )
        record = rows.to_record(answer["record"])
        # The first try may have made it, and its answer was lost.
        return record, answer["created"] or (bool(repeated) and created_by(record, new))

    async def get(self, owner: str, story_id: str, *, full: bool) -> storage_pb2.StoryRecord:
        """A story."""
        answer = await self._connection.rpc("get_story", story_id, owner=owner, story_id=story_id, full=full)
        return rows.to_record(answer)

    async def list_page(
        self, owner: str, chosen: common_pb2.StoryFilter, *, limit: int, after: records.Position | None
    ) -> Sequence[common_pb2.StorySummary]:
        """A page of stories."""
        if not all(is_id(given) for given in (chosen.child_id, chosen.hero_id) if given):
            return []
        page = await self._connection.rpc(
            "list_stories", owner=owner, filter=from_filter(chosen), limit=limit, after=from_position(after)
        )
        return [rows.to_summary(row) for row in page]

    async def update(
        self, owner: str, story_id: str, change: records.Change, *, expected_revision: int | None
    ) -> tuple[storage_pb2.StoryRecord, bool]:
        """Makes a change."""
        given: dict[str, object] = {"kind": type(change).__name__}
        repeat: records.RepeatKey | None = None
        lease: records.Lease | None = None
        match change:
            case records.Rate(rating):
                given["rating"] = rating
            case records.Narrate(voice, repeat, lease):
                given["voice"] = encoded(voice)
            case records.Retry(repeat, lease):
                pass
            case records.Cancel():
                given |= rows.from_ending(self._connection.now())
        answer = await self._connection.timed_rpc(
            "update_story",
            # Repeated, any other change would find the story in another state and be refused.
            safe=isinstance(change, records.Rate) and expected_revision is None,
            owner=owner,
            story_id=story_id,
            change=given,
            request=from_repeat(type(change).__name__, repeat),
            lease_us=lease and lease.duration,
            expected_revision=expected_revision,
        )
        if answer.get("refused") == "WRONG_STATE":
            states.check_change(change, rows.to_state(answer["detail"]["state"]))
        check_refusal(answer, story_id)
        return rows.to_record(answer["record"]), answer["changed"]

    async def delete(self, owner: str, story_id: str) -> Sequence[records.ObjectKey]:
        """Removes a story."""
        answer = await self._connection.timed_rpc("delete_story", story_id, safe=False, owner=owner, story_id=story_id)
        return to_keys(answer["dropped"])

    async def follow(
        self, positions: Sequence[storage_pb2.StoryPosition], *, max_bytes: int
    ) -> tuple[Sequence[storage_pb2.StoryChange], bool]:
        """Returns what is new."""
        answer = await self._connection.timed_rpc(
            "follow_stories", positions=from_positions(positions), most_bytes=max_bytes
        )
        return to_answer(positions, answer, max_bytes=max_bytes)

    async def claim(
        self, lease: records.Lease, *, most: int, story_ids: Collection[str]
    ) -> Sequence[storage_pb2.ClaimedStory]:
        """Takes leases. Not repeated where it may have been done: the leases that were taken then just run out."""
        claimed = await self._connection.timed_rpc(
            "claim_stories", safe=False, duration_us=lease.duration, most=most, story_ids=sorted(story_ids) or None
        )
        return [
            storage_pb2.ClaimedStory(
                story_id=row["id"], owner=row["owner"], lease_token=row["lease_token"], pickup_count=row["pickup_count"]
            )
            for row in claimed
        ]

    async def checkpoint(
        self, lease_duration: int, checkpoints: Sequence[storage_pb2.StoryCheckpoint]
    ) -> Sequence[storage_pb2.CheckpointResult]:
        """Stores what runs have made."""
        verdicts = await self._connection.timed_rpc(
            "checkpoint_stories",
            lease_us=lease_duration,
            items=[to_item(checkpoint) for checkpoint in checkpoints],
            ending=rows.from_ending(self._connection.now()),
        )
        return [to_result(verdict) for verdict in verdicts]

    async def release(self, leases: Sequence[storage_pb2.HeldLease]) -> int:
        """Releases leases."""
        given = [{"id": lease.story_id, "lease_token": lease.lease_token} for lease in leases]
        return int(await self._connection.rpc("release_stories", leases=given))

    async def manifest(self, story_id: str, lease_token: int, audio_id: str) -> records.Manifest | records.StoredAudio:
        """Returns the narration to compose, or the audio that it became."""
        answer = await self._connection.rpc(
            "load_manifest", story_id, story_id=story_id, lease_token=lease_token, audio_id=audio_id
        )
        return to_audio(answer) if "audio" in answer else to_manifest(answer)

    async def attach_audio(
        self, story_id: str, lease_token: int, audio: common_pb2.StoryAudio, key: records.ObjectKey
    ) -> records.Attached:
        """Makes an object the audio of a story."""
        answer = await self._connection.timed_rpc(
            "attach_audio", story_id, story_id=story_id, lease_token=lease_token, audio=from_audio(audio, key)
        )
        return records.Attached(
            common_pb2.StoryAudio.FromString(from_base64(answer["audio"])), to_keys(answer["dropped"])
        )

    async def find_audio(
        self, owner: str, story_id: str, audio_id: str
    ) -> records.StoredAudio | records.UnfinishedAudio | None:
        """Returns the audio of a story, finished or in the making."""
        answer = await self._connection.rpc(
            "find_audio", story_id, owner=owner, story_id=story_id, audio_id=audio_id or None
        )
        if not answer:
            return None
        return to_audio(answer) if "audio" in answer else to_unfinished(answer)
