"""The StoryStore in Supabase: a function of the schema for each method, so that each is one transaction."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.ids import is_id
from servicekit.reasons import explained
from storage_service.messages import ChangePage, body_of, generation_of, without_segments
from storage_service.records import (
    SCAN_PAGE,
    AttachResult,
    Cancel,
    Change,
    Manifest,
    Narrate,
    NewStory,
    ObjectKey,
    Position,
    Rate,
    RepeatKey,
    Retry,
    StoredAudio,
    UnfinishedAudio,
)
from storage_service.stories.quotas import MOST_ENTRIES
from storage_service.stories.states import check_change, is_final
from storage_service.supabase.audio import from_audio, to_audio, to_keys, to_manifest, to_unfinished
from storage_service.supabase.connection import SupabaseStore, check_refusal
from storage_service.supabase.errors import SupabaseError
from storage_service.supabase.rows import (
    KIND,
    STATE,
    encoded,
    from_attempts,
    from_base64,
    from_ending,
    from_filter,
    from_position,
    from_problems,
    from_quota,
    from_repeat,
    to_base64,
    to_name,
    to_record,
    to_segments,
    to_state,
    to_summary,
    to_text,
    to_timestamp,
    to_usage,
)
from storage_service.supabase.schema import check
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_log: Final = structlog.stdlib.get_logger("storage_service.supabase")

_POSITION: Final = ("story_id", "lease_token", "text_length", "audio_id", "segment_count", "problem_count")


def from_new(new: NewStory) -> dict[str, Any]:
    """Returns the columns of a new story. The database adds the stored child and hero."""
    story = common_pb2.Story()
    story.CopyFrom(new.story)
    story.id, story.state = new.story_id, common_pb2.STORY_STATE_PENDING
    if story.child_id:
        story.ClearField("child")
    if story.hero_id:
        story.ClearField("hero")
    return from_record(storage_pb2.StoryRecord(spec=new.spec, story=story))


def created_by(record: storage_pb2.StoryRecord, new: NewStory) -> bool:
    """Returns True where a record is just what this call would have made."""
    story, run = record.story, record.run
    untouched = story.state == common_pb2.STORY_STATE_PENDING and story.revision == 1 and not run.pickup_count
    return story.id == new.story_id and untouched and run.HasField("lease_expire_time") == (new.lease is not None)


def from_record(record: storage_pb2.StoryRecord) -> dict[str, Any]:
    """Returns the columns of a story. Its child and hero stay in it as they were when it was requested."""
    story, run = record.story, record.run
    generation, final = generation_of(story), is_final(story.state)
    return {
        "id": story.id,
        "revision": story.revision,
        "language_code": story.language_code,
        "length_minutes": story.length_minutes,
        "narrate": story.narrate,
        "title": story.title,
        "content": story.content,
        "content_complete": story.content_complete,
        **{name: getattr(story, name) or None for name in ("child_id", "hero_id", "parent_story_id")},
        "owner": record.owner,
        "state": to_name(common_pb2.StoryState.Name, story.state, STATE),
        "kind": to_name(common_pb2.StoryKind.Name, story.kind or common_pb2.STORY_KIND_CHILD, KIND),
        "child_name": story.child.name,
        "rating": story.rating if story.HasField("rating") else None,
        "embedded_parts": list(dict.fromkeys(story.embedded_parts)),
        "created_at": story.create_time.ToJsonString(),
        "updated_at": story.update_time.ToJsonString(),
        "ended_at": (story.end_time if story.HasField("end_time") else story.update_time).ToJsonString()
        if final
        else None,
        "lease_token": run.lease_token,
        "work_us": run.work_duration.ToMicroseconds(),
        "pickup_count": run.pickup_count,
        "spec": encoded(record.spec),
        "story": encoded(body_of(story)),
        "voice": encoded(story.voice),
        "generation": None if generation is None else encoded(generation),
        "outline": encoded(story.outline) or None,
    }


def segments_of(audio: common_pb2.StoryAudio) -> list[dict[str, Any]]:
    """Returns the manifest that stored audio was composed from."""
    return [
        {
            "audio_id": audio.audio_id,
            "index": segment.index,
            "key": segment.key,
            "sha256": to_base64(segment.sha256),
            "text_end": segment.text.end,
            "audio_end": segment.audio.end,
            "segment": encoded(segment),
        }
        for segment in audio.segments
    ]


def to_item(checkpoint: storage_pb2.StoryCheckpoint) -> dict[str, Any]:
    """Returns one item of `tales.checkpoint_stories`, with what the checkpoint brings and nothing else."""
    state, text, narration = checkpoint.state, checkpoint.text, checkpoint.narration
    brought: dict[str, Any] = {
        "state": common_pb2.StoryState.Name(state).removeprefix(STATE) if state else None,
        "title": checkpoint.title,
        "text": {"offset": text.offset, "text": text.text} if checkpoint.HasField("text") else None,
        "content_complete": checkpoint.content_complete,
        "generation": {"record": encoded(checkpoint.generation)} if checkpoint.HasField("generation") else None,
        "outline": encoded(checkpoint.outline),
        "narration": {"audio_id": narration.audio_id, "header": encoded(narration)} if narration.audio_id else None,
        "segments": [
            {
                "index": segment.index,
                "key": to_text(segment.key),
                "sha256": to_base64(segment.sha256),
                "text_start": segment.text.start,
                "text_end": segment.text.end,
                "audio_start": segment.audio.start,
                "audio_end": segment.audio.end,
                "segment": encoded(segment),
            }
            for segment in checkpoint.segments
        ],
        "attempts": from_attempts(checkpoint.attempts),
        "problems": from_problems(checkpoint.problems),
        "embedded_parts": list(checkpoint.embedded_parts),
        "waiting": checkpoint.waiting,
    }
    given = {name: value for name, value in brought.items() if value}
    return {"id": checkpoint.story_id, "lease_token": checkpoint.lease_token, **given}


def to_result(verdict: Mapping[str, Any]) -> storage_pb2.CheckpointResult:
    """Returns how one item went."""
    result = storage_pb2.CheckpointResult(story_id=verdict["id"])
    if verdict.get("refused") is not None:
        now = Timestamp()
        now.GetCurrentTime()
        problem = common_pb2.Problem(reason=verdict["refused"], message=verdict["message"], time=now)
        result.error.CopyFrom(explained(problem))
    if verdict.get("lease_expires_at") is not None:
        result.lease_expire_time.CopyFrom(to_timestamp(verdict["lease_expires_at"]))
    return result


def from_positions(positions: Sequence[storage_pb2.StoryPosition]) -> list[dict[str, Any]]:
    """Returns positions for `tales.follow_stories`."""
    return [
        {
            **{name: getattr(position, name) for name in _POSITION},
            "state": to_name(common_pb2.StoryState.Name, position.state, STATE),
        }
        for position in positions
    ]


def to_answer(
    positions: Sequence[storage_pb2.StoryPosition], answer: Mapping[str, Any], *, max_bytes: int
) -> tuple[Sequence[storage_pb2.StoryChange], bool]:
    """Returns as many changes as fit into `max_bytes`, and whether there are more."""
    known = {position.story_id: position.text_length for position in positions}
    taken = ChangePage(max_bytes)
    for row in answer["changes"]:
        taken.add(_change(row, known[row["id"]]), to_segments(row.get("segments", ())))
    return taken.changes, taken.truncated or answer["more"]


def _change(row: Mapping[str, Any], text_length: int) -> storage_pb2.StoryChange:
    if "state" not in row:
        return storage_pb2.StoryChange(story_id=row["id"], deleted=True)
    change = storage_pb2.StoryChange(
        story_id=row["id"],
        state=to_state(row["state"]),
        leased=row["leased"],
        title=row.get("title", ""),
        content_complete=row.get("content_complete", False),
        problems=[common_pb2.Problem.FromString(from_base64(one)) for one in row.get("problems", ())],
    )
    if row.get("text"):
        change.text.offset, change.text.text = text_length, row["text"]
    if row.get("narration"):
        change.narration.ParseFromString(from_base64(row["narration"]))
    return change


class SupabaseStoryStore(SupabaseStore):
    """Stores stories in the schema `tales`; see StoryStore for the methods."""

    async def open(self) -> None:
        """Builds the client and checks schema and bucket; ConfigurationError with the remedy.

        Where Supabase does not answer, the service starts all the same: Supabase may answer later.
        """
        try:
            await check(await self._connection.client())
        except SupabaseError as error:
            _log.warning("supabase not reachable yet", kind=error.kind.value, status=error.status, why=error.message)

    async def close(self) -> None:
        """Closes the client."""
        await self._connection.close()

    async def create(self, owner: str, new: NewStory) -> tuple[storage_pb2.StoryRecord, bool]:
        """Stores a new story, or finds the stored one."""
        repeated = []
        answer = await self._connection.timed_rpc(
            "create_story",
            new.story.parent_story_id or new.story_id,
            owner=owner,
            story=from_new(new) | from_quota(new.quota),
            problems=from_problems(new.story.problems),
            request=from_repeat("CreateStory", new.repeat),
            lease_us=new.lease,
            on_retry=lambda: repeated.append(True),
        )
        record = to_record(answer["record"])
        # The first try may have made it, and its answer was lost.
        return record, answer["created"] or (bool(repeated) and created_by(record, new))

    async def get(self, owner: str, story_id: str, *, full: bool) -> storage_pb2.StoryRecord:
        """Returns a story."""
        answer = await self._connection.rpc("get_story", story_id, owner=owner, story_id=story_id, full=full)
        return to_record(answer)

    async def list_page(
        self, owner: str, chosen: common_pb2.StoryFilter, *, limit: int, after: Position | None
    ) -> Sequence[common_pb2.StorySummary]:
        """Returns a page of stories."""
        if not all(is_id(given) for given in (chosen.child_id, chosen.hero_id) if given):
            return []
        page = await self._connection.rpc(
            "list_stories", owner=owner, filter=from_filter(chosen), limit=limit, after=from_position(after)
        )
        return [to_summary(row) for row in page]

    async def update(
        self, owner: str, story_id: str, change: Change, *, expected_revision: int | None
    ) -> tuple[storage_pb2.StoryRecord, bool]:
        """Makes a change."""
        given: dict[str, object] = {"kind": type(change).__name__}
        repeat: RepeatKey | None = None
        lease: int | None = None
        quota: storage_pb2.Quota | None = None
        match change:
            case Rate(rating):
                given["rating"] = rating
            case Narrate(voice, repeat, lease, quota):
                given["voice"] = encoded(voice)
            case Retry(repeat, lease, quota):
                pass
            case Cancel():
                given |= from_ending(self._connection.now())
        answer = await self._connection.timed_rpc(
            "update_story",
            # Repeated, any other change would find the story in another state and be refused.
            safe=isinstance(change, Rate) and expected_revision is None,
            owner=owner,
            story_id=story_id,
            change=given | from_quota(quota),
            request=from_repeat(type(change).__name__, repeat),
            lease_us=lease,
            expected_revision=expected_revision,
        )
        if answer.get("refused") == "WRONG_STATE":
            check_change(change, to_state(answer["detail"]["state"]))
        check_refusal(answer, story_id)
        return to_record(answer["record"]), answer["changed"]

    async def delete(self, owner: str, story_id: str) -> Sequence[ObjectKey]:
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
        self, lease: int, *, most: int, story_ids: Collection[str], expired: Callable[[], bool] = lambda: True
    ) -> Sequence[storage_pb2.ClaimedStory]:
        """Takes leases. Not repeated where it may have been done: the leases that were taken then just run out."""
        claimed = await self._connection.timed_rpc(
            "claim_stories",
            safe=False,
            duration_us=lease,
            most=most,
            story_ids=sorted(story_ids) or None,
            expired=expired(),
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
            ending=from_ending(self._connection.now()),
        )
        return [to_result(verdict) for verdict in verdicts]

    async def release(self, leases: Sequence[storage_pb2.HeldLease]) -> int:
        """Releases leases."""
        given = [{"id": lease.story_id, "lease_token": lease.lease_token} for lease in leases]
        return int(await self._connection.timed_rpc("release_stories", leases=given))

    async def manifest(self, story_id: str, lease_token: int, audio_id: str) -> Manifest | StoredAudio:
        """Returns the narration to compose, or the audio that it became."""
        answer = await self._connection.rpc(
            "load_manifest", story_id, story_id=story_id, lease_token=lease_token, audio_id=audio_id
        )
        return to_audio(answer) if "audio" in answer else to_manifest(answer)

    async def attach_audio(
        self, story_id: str, lease_token: int, audio: common_pb2.StoryAudio, key: ObjectKey
    ) -> AttachResult:
        """Makes an object the audio of a story."""
        answer = await self._connection.timed_rpc(
            "attach_audio", story_id, story_id=story_id, lease_token=lease_token, audio=from_audio(audio, key)
        )
        return AttachResult(common_pb2.StoryAudio.FromString(from_base64(answer["audio"])), to_keys(answer["dropped"]))

    async def usage(self, owner: str | None, days: int) -> Sequence[common_pb2.UsageEntry]:
        """Returns what was used."""
        rows = await self._connection.timed_rpc("get_usage", owner=owner, days=days, limit=MOST_ENTRIES)
        return [to_usage(row) for row in rows]

    async def scan(self, after: str) -> Sequence[tuple[str, str]]:
        """Returns owners and ids of stories, by id."""
        page = await self._connection.rpc("scan_stories", after=after or None, most=SCAN_PAGE)
        return [(one["owner"], one["id"]) for one in page]

    async def restore(self, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> bool:
        """Stores an exported story."""
        story, repeated = record.story, list[bool]()
        audio = None if key is None else from_audio(without_segments(story.audio), key)
        answer = await self._connection.rpc(
            "restore_story",
            story.id,
            on_retry=lambda: repeated.append(True),
            story=from_record(record),
            segments=[] if key is None else segments_of(story.audio),
            attempts=from_attempts(story.attempts),
            problems=from_problems(story.problems),
            audio=audio,
        )
        # The first try may have stored it, and its answer was lost.
        return answer["created"] or bool(repeated)

    async def find_audio(self, owner: str, story_id: str, audio_id: str) -> StoredAudio | UnfinishedAudio | None:
        """Returns the audio of a story, finished or in progress."""
        answer = await self._connection.rpc(
            "find_audio", story_id, owner=owner, story_id=story_id, audio_id=audio_id or None
        )
        if not answer:
            return None
        return to_audio(answer) if "audio" in answer else to_unfinished(answer)
