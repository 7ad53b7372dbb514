"""What the database knows of audio."""

import sqlite3
from collections.abc import Collection
from typing import NoReturn

from servicekit.errors import wrong_state
from storage_service.checkpoints import CheckpointRefused, RunFacts, check_token
from storage_service.embedded.rows import load_facts
from storage_service.errors import audio_mismatch, lease_lost, story_not_found
from storage_service.records import Attached, AudioKey, KeptAudio
from tale.common.v1 import common_pb2


def check_lease(connection: sqlite3.Connection, story_id: str, lease_token: int) -> RunFacts:
    """What is kept of a story that a run holds with this token; STORY_NOT_FOUND, WRONG_STATE, LEASE_LOST."""
    found = load_facts(connection, story_id)
    if found is None:
        raise story_not_found(story_id)
    facts, _ = found
    try:
        check_token(facts, lease_token)
    except CheckpointRefused as refused:
        _reject(refused, story_id)
    return facts


def attach_audio(
    connection: sqlite3.Connection,
    story_id: str,
    lease_token: int,
    audio: common_pb2.StoryAudio,
    key: AudioKey,
    now: int,
) -> Attached:
    """Makes `audio` the audio of a story and lets go of what was there before."""
    facts = check_lease(connection, story_id, lease_token)
    kept = _load(connection, story_id)
    if kept is not None and kept.audio.audio_id == audio.audio_id:
        if kept.audio.sha256 != audio.sha256:
            raise audio_mismatch("Other audio is kept under this audio id.")
        return Attached(kept.audio, [key])
    connection.execute(
        "INSERT OR REPLACE INTO story_audio (story_id, audio_id, object_id, sha256, duration, segment_count, audio)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            story_id,
            audio.audio_id,
            key.object_id,
            audio.sha256,
            audio.duration.ToMicroseconds(),
            facts.segment_count if facts.narration_audio_id == audio.audio_id else 0,
            audio.SerializeToString(),
        ),
    )
    connection.execute(
        "DELETE FROM story_segments WHERE story_id = ? AND audio_id NOT IN (?, ?)",
        (story_id, audio.audio_id, facts.narration_audio_id),
    )
    connection.execute("UPDATE stories SET update_time = ? WHERE id = ?", (now, story_id))
    return Attached(audio, [] if kept is None else [kept.key])


def find_audio(connection: sqlite3.Connection, owner: str, story_id: str) -> KeptAudio | None:
    """The audio of a story, without segments; STORY_NOT_FOUND."""
    mine = connection.execute("SELECT 1 FROM stories WHERE id = ? AND owner = ?", (story_id, owner)).fetchone()
    if mine is None:
        raise story_not_found(story_id)
    return _load(connection, story_id)


def known_audio(connection: sqlite3.Connection, keys: Collection[AudioKey]) -> Collection[AudioKey]:
    """Of `keys` those that are referred to."""
    marks = ",".join("?" * len(keys))
    rows = connection.execute(
        f"SELECT story_id, object_id FROM story_audio WHERE object_id IN ({marks})",  # noqa: S608 - marks only
        [key.object_id for key in keys],
    )
    return {AudioKey(row["story_id"], row["object_id"]) for row in rows}.intersection(keys)


def _load(connection: sqlite3.Connection, story_id: str) -> KeptAudio | None:
    row = connection.execute("SELECT object_id, audio FROM story_audio WHERE story_id = ?", (story_id,)).fetchone()
    if row is None:
        return None
    return KeptAudio(common_pb2.StoryAudio.FromString(row["audio"]), AudioKey(story_id, row["object_id"]))


def _reject(refused: CheckpointRefused, story_id: str) -> NoReturn:
    if refused.reason == "LEASE_LOST":
        raise lease_lost(story_id) from refused
    raise wrong_state(refused.message) from refused
