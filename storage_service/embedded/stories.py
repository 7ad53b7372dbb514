"""The StoryStore in SQLite: creates, changes and leases stories."""

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from secrets import randbits
from typing import Any, Final

from servicekit.errors import wrong_state
from storage_service.embedded.audio import attach_audio, find_audio, load_manifest, store_audio
from storage_service.embedded.checkpoints import (
    checkpoint_stories,
    end_attempts,
    follow_stories,
    store_attempts,
    store_manifest,
    store_problems,
)
from storage_service.embedded.database import SqliteStore, Transaction, reading, removing, writing
from storage_service.embedded.history import find_request, is_deleted, store_request
from storage_service.embedded.profiles import load_profile
from storage_service.embedded.removals import delete_story
from storage_service.embedded.rows import WORKED, load_facts, load_record
from storage_service.embedded.search import enter, leave, list_stories
from storage_service.embedded.usage import count_story, load_usage, refuse_beyond
from storage_service.errors import resource_deleted, revision_mismatch, story_not_found
from storage_service.messages import body_of, generation_of, without_segments
from storage_service.records import (
    SCAN_PAGE,
    Cancel,
    Change,
    Narrate,
    NewStory,
    ObjectKey,
    Rate,
    RepeatKey,
    Retry,
)
from storage_service.stories.states import CANCELLED, NARRATING, PENDING, READY, check_change
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_STEP_BITS: Final = 44
"""A token has room for 2 ** 19 claims of a story."""

_BEGIN_AGAIN: Final = """
UPDATE stories SET
    state = ?, revision = revision + 1, update_time = ?, end_time = NULL,
    lease_expire_time = NULL, renew_time = NULL, work_duration = 0, pickup_count = 0
WHERE id = ?
"""

_FREE: Final = """
state IN (1, 2, 3) AND (
    lease_expire_time IS NULL
    OR (:expired AND (lease_expire_time <= :now OR lease_expire_time - :now > 2 * (lease_expire_time - renew_time)))
)
"""

_NEXT: Final = f"""
WITH running AS (
    SELECT owner, count(*) AS runs FROM stories WHERE state IN (1, 2, 3) AND lease_expire_time > :now GROUP BY owner
), waiting AS (
    SELECT id, owner, create_time, row_number() OVER (PARTITION BY owner ORDER BY create_time, id) AS turn
    FROM stories WHERE {_FREE}{{chosen}}
)
SELECT id FROM waiting LEFT JOIN running USING (owner)
ORDER BY turn + coalesce(runs, 0), create_time, id LIMIT :most
"""  # noqa: S608 - an expression of this program

_TAKE: Final = f"""
UPDATE stories SET
    lease_token = lease_token + :step,
    lease_expire_time = :now + :duration,
    pickup_count = pickup_count + (renew_time IS NOT NULL),
    work_duration = {WORKED},
    renew_time = :now
WHERE id = :id
RETURNING id, owner, lease_token, pickup_count
"""  # noqa: S608 - an expression of this program

_RELEASE: Final = f"""
UPDATE stories SET work_duration = {WORKED}, lease_expire_time = NULL, renew_time = NULL
WHERE id = :id AND lease_token = :lease_token AND lease_expire_time IS NOT NULL
"""  # noqa: S608 - as above

_CANCEL: Final = f"""
UPDATE stories SET
    state = :state, revision = revision + 1, update_time = :now, end_time = :now,
    work_duration = {WORKED}, lease_expire_time = NULL
WHERE id = :id
"""  # noqa: S608 - as above


def update_story(
    tx: Transaction, owner: str, story_id: str, change: Change, *, expected_revision: int | None
) -> tuple[storage_pb2.StoryRecord, bool]:
    """Makes a change; the story, and False when it had been made before."""
    changed = _update(tx, owner, story_id, change, expected_revision)
    return load_record(tx, owner, story_id, full=False), changed


def _update(tx: Transaction, owner: str, story_id: str, change: Change, expected_revision: int | None) -> bool:
    row = _own(tx, owner, story_id, change)
    match change:
        case Retry(repeat=RepeatKey()) | Narrate(repeat=RepeatKey()):
            if find_request(tx, owner, type(change).__name__, change.repeat, story_id) is not None:
                return False
        case Cancel() if row["state"] == CANCELLED:
            return False
    if expected_revision is not None and row["revision"] != expected_revision:
        raise revision_mismatch(expected=expected_revision, actual=row["revision"])
    check_change(change, row["state"])
    match change:
        case Rate(rating):
            return _rate(tx, story_id, rating, row["rating"])
        case Cancel():
            _cancel(tx, story_id)
        case Retry(repeat, lease, quota):
            refuse_beyond(tx, owner, quota, waits=lease is None, narrates=bool(row["narrate"]))
            store_request(tx, owner, "Retry", repeat, story_id)
            # One whose text is not whole is not found until it is.
            leave(tx, story_id)
            tx.execute(_BEGIN_AGAIN, (PENDING, tx.now, story_id))
            enter(tx, story_id)
            _take(tx, story_id, lease)
        case Narrate(voice, repeat, lease, quota):
            refuse_beyond(tx, owner, quota, waits=lease is None)
            store_request(tx, owner, "Narrate", repeat, story_id)
            tx.execute(_BEGIN_AGAIN, (NARRATING, tx.now, story_id))
            _close_manifest(tx, story_id, voice)
            _take(tx, story_id, lease)
    return True


def _own(tx: Transaction, owner: str, story_id: str, change: Change | None) -> sqlite3.Row:
    mine = tx.execute("SELECT 1 FROM stories WHERE id = ? AND owner = ?", (story_id, owner)).fetchone()
    found = load_facts(tx, story_id) if mine else None
    if found is None:
        if isinstance(change, Retry | Narrate):
            # A repeated request learns that its story is gone.
            find_request(tx, owner, type(change).__name__, change.repeat, story_id)
        raise story_not_found(story_id)
    return found[1]


def _rate(tx: Transaction, story_id: str, rating: int, before: int | None) -> bool:
    if rating == before:
        return False
    tx.execute(
        "UPDATE stories SET rating = ?, revision = revision + 1, update_time = ? WHERE id = ?",
        (rating, tx.now, story_id),
    )
    return True


def _cancel(tx: Transaction, story_id: str) -> None:
    # A finished story that is only narrated again goes back to what it was, with its text and its audio.
    narrated = tx.execute(
        "SELECT 1 FROM stories JOIN story_audio ON story_audio.story_id = stories.id WHERE id = ? AND state = ?",
        (story_id, NARRATING),
    ).fetchone()
    leave(tx, story_id)
    tx.execute(_CANCEL, {"id": story_id, "now": tx.now, "state": READY if narrated else CANCELLED})
    enter(tx, story_id)
    end_attempts(tx, story_id)


def _close_manifest(tx: Transaction, story_id: str, voice: common_pb2.VoiceSelection) -> None:
    """Deletes the manifest of the run, but not the one that the stored audio came from."""
    tx.execute(
        "DELETE FROM story_segments WHERE story_id = ?1"
        " AND audio_id NOT IN (SELECT audio_id FROM story_audio WHERE story_id = ?1)",
        (story_id,),
    )
    tx.execute(
        "UPDATE stories SET narrate = 1, narration = NULL, narration_audio_id = '', segment_count = 0, text_end = 0,"
        " audio_end = 0 WHERE id = ?",
        (story_id,),
    )
    tx.execute("UPDATE story_bodies SET voice = ? WHERE story_id = ?", (voice.SerializeToString(), story_id))


def _take(tx: Transaction, story_id: str, lease: int | None) -> None:
    if lease is not None:
        take_lease(tx, story_id, lease)


def take_lease(tx: Transaction, story_id: str, lease: int) -> storage_pb2.ClaimedStory:
    """Takes the lease of a story that is known to be free. The first claim and one after a hand-over do not count."""
    # Random, so that the token of one story does not follow from that of another; growing, so that it fences.
    step = 1 + randbits(_STEP_BITS)
    row = tx.execute(_TAKE, {"id": story_id, "now": tx.now, "duration": lease, "step": step}).fetchone()
    return storage_pb2.ClaimedStory(
        story_id=row["id"], owner=row["owner"], lease_token=row["lease_token"], pickup_count=row["pickup_count"]
    )


def claim_stories(
    tx: Transaction, lease: int, *, most: int, story_ids: Collection[str], expired: Callable[[], bool] = lambda: True
) -> Sequence[storage_pb2.ClaimedStory]:
    """Takes the leases of unfinished stories that no run holds, round robin by owner."""
    chosen = " AND id IN (SELECT value FROM json_each(:ids))" if story_ids else ""
    free = tx.execute(
        _NEXT.format(chosen=chosen),
        {"now": tx.now, "expired": expired(), "ids": json.dumps([*story_ids]), "most": most},
    ).fetchall()
    return [take_lease(tx, row["id"], lease) for row in free]


def release_stories(tx: Transaction, leases: Sequence[storage_pb2.HeldLease]) -> int:
    """Gives leases back for others to take at once; how many were held with the token given."""
    released = 0
    for lease in leases:
        held = {"id": lease.story_id, "lease_token": lease.lease_token, "now": tx.now}
        released += tx.execute(_RELEASE, held).rowcount
    return released


PART: Final = "store"
"""What this store is called among the embedded parts of a story."""


def create_story(tx: Transaction, owner: str, new: NewStory) -> tuple[storage_pb2.StoryRecord, bool]:
    """Stores a story unless its request or id is known; the story and whether it is new."""
    story_id, created = _find_or_insert(tx, owner, new)
    return load_record(tx, owner, story_id, full=False), created


def _find_or_insert(tx: Transaction, owner: str, new: NewStory) -> tuple[str, bool]:
    known = find_request(tx, owner, "CreateStory", new.repeat)
    if known is not None:
        return known, False
    if _is_known(tx, owner, new.story_id):
        return new.story_id, False
    refuse_beyond(tx, owner, new.quota, waits=new.lease is None, creates=True, narrates=new.story.narrate)
    record = storage_pb2.StoryRecord(owner=owner, spec=new.spec, story=_resolved(tx, owner, new))
    store_request(tx, owner, "CreateStory", new.repeat, new.story_id)
    _insert_story(tx, record)
    count_story(tx, owner)
    if new.lease is not None:
        take_lease(tx, new.story_id, new.lease)
    return new.story_id, True


def _is_known(tx: Transaction, owner: str, story_id: str) -> bool:
    row = tx.execute("SELECT owner FROM stories WHERE id = ?", (story_id,)).fetchone()
    if row is not None:
        if row["owner"] != owner:
            raise story_not_found(story_id)
        return True
    if is_deleted(tx, owner, story_id):
        raise resource_deleted("story", story_id)
    return False


def _resolved(tx: Transaction, owner: str, new: NewStory) -> common_pb2.Story:
    """Returns the story as it begins, with its child and hero as they are stored now."""
    story = common_pb2.Story()
    story.CopyFrom(new.story)
    story.id, story.state, story.revision = new.story_id, common_pb2.STORY_STATE_PENDING, 1
    story.kind = story.kind or common_pb2.STORY_KIND_CHILD
    story.embedded_parts[:] = dict.fromkeys([PART, *story.embedded_parts])
    story.create_time.FromMicroseconds(tx.now)
    story.update_time.FromMicroseconds(tx.now)
    if story.child_id:
        story.child.CopyFrom(load_profile(tx, owner, common_pb2.Child, story.child_id))
    if story.hero_id:
        story.hero.CopyFrom(load_profile(tx, owner, common_pb2.Hero, story.hero_id))
    if story.parent_story_id:
        _check_parent(tx, owner, story.parent_story_id)
    return story


def _check_parent(tx: Transaction, owner: str, story_id: str) -> None:
    row = tx.execute("SELECT content_complete FROM stories WHERE id = ? AND owner = ?", (story_id, owner)).fetchone()
    if row is None:
        raise story_not_found(story_id)
    if not row["content_complete"]:
        raise wrong_state("A story can only continue one whose text is complete.", parent_story_id=story_id)


def _insert_story(tx: Transaction, record: storage_pb2.StoryRecord) -> None:
    """Stores a story whose id is not known, with all that belongs to it but its audio and a narration in progress."""
    story, columns = record.story, _columns(record)
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    tx.execute(f"INSERT INTO stories ({names}) VALUES ({marks})", list(columns.values()))  # noqa: S608
    body = (record.spec.SerializeToString(), body_of(story).SerializeToString(), story.voice.SerializeToString())
    outline = story.outline.SerializeToString() or None
    tx.execute(
        "INSERT INTO story_bodies (story_id, spec, story, voice, outline) VALUES (?, ?, ?, ?, ?)",
        (story.id, *body, outline),
    )
    if story.content:
        tx.execute("INSERT INTO story_texts (story_id, start, text) VALUES (?, 0, ?)", (story.id, story.content))
    if (generation := generation_of(story)) is not None:
        tx.execute(
            "INSERT INTO story_generations (story_id, generation) VALUES (?, ?)",
            (story.id, generation.SerializeToString()),
        )
    store_attempts(tx, story.id, story.attempts, ended=None, counted=False)
    store_problems(tx, story.id, story.problems)
    enter(tx, story.id)


def _columns(record: storage_pb2.StoryRecord) -> dict[str, Any]:
    story, run = record.story, record.run
    return {
        "id": story.id,
        "owner": record.owner,
        "state": story.state,
        "revision": story.revision,
        "kind": story.kind,
        "child_id": story.child_id,
        "child_name": story.child.name,
        "hero_id": story.hero_id,
        "parent_story_id": story.parent_story_id,
        "language_code": story.language_code,
        "length_minutes": story.length_minutes,
        "narrate": story.narrate,
        "title": story.title,
        "content_complete": story.content_complete,
        "rating": story.rating if story.HasField("rating") else None,
        "content_length": len(story.content),
        "embedded_parts": ",".join(story.embedded_parts),
        "create_time": story.create_time.ToMicroseconds(),
        "update_time": story.update_time.ToMicroseconds(),
        "end_time": story.end_time.ToMicroseconds() if story.HasField("end_time") else None,
        "lease_token": run.lease_token,
        "work_duration": run.work_duration.ToMicroseconds(),
        "pickup_count": run.pickup_count,
    }


def _scan(tx: Transaction, after: str) -> Sequence[tuple[str, str]]:
    rows = tx.execute("SELECT owner, id FROM stories WHERE id > ? ORDER BY id LIMIT ?", (after, SCAN_PAGE))
    return [(row["owner"], row["id"]) for row in rows]


def _restore(tx: Transaction, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> bool:
    story_id, audio = record.story.id, record.story.audio
    known = "SELECT 1 FROM stories WHERE id = ?1 UNION ALL SELECT 1 FROM tombstones WHERE resource_id = ?1"
    if tx.execute(known, (story_id,)).fetchone() is not None:
        return False
    _insert_story(tx, record)
    if key is not None:
        store_audio(tx, story_id, without_segments(audio), key, len(audio.segments))
        store_manifest(tx, story_id, audio.audio_id, audio.segments)
    return True


class SqliteStoryStore(SqliteStore):
    """Stores stories in a database of SQLite; see StoryStore for the methods."""

    create = writing(create_story)
    get = reading(load_record)
    list_page = reading(list_stories)
    update = writing(update_story)
    delete = removing(delete_story)
    follow = reading(follow_stories)
    claim = writing(claim_stories)
    checkpoint = writing(checkpoint_stories)
    release = writing(release_stories)
    manifest = reading(load_manifest)
    attach_audio = writing(attach_audio)
    find_audio = reading(find_audio)
    usage = reading(load_usage)
    scan = reading(_scan)
    restore = writing(_restore)

    async def open(self) -> None:
        """Opens the database."""
        await self.database.open()

    async def close(self) -> None:
        """Closes the database."""
        await self.database.close()
