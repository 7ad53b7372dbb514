"""Rows of the schema as messages, and messages as rows."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from storage_service.messages import add_facts, add_generation, excerpt_of, listed
from storage_service.records import Position, Profile, RepeatKey
from storage_service.stories.quotas import CHARACTERS_PER_MINUTE
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

STATE: Final = "STORY_STATE_"
KIND: Final = "STORY_KIND_"

_TIMES: Final = {"create_time": "created_at", "update_time": "updated_at", "end_time": "ended_at"}


def to_record(row: Mapping[str, Any]) -> storage_pb2.StoryRecord:
    """Returns a story as `tales.story_record` returns it."""
    record = storage_pb2.StoryRecord(owner=row["owner"], story=_to_story(row), run=_to_run(row))
    record.spec.ParseFromString(from_base64(row["spec"]))
    return add_facts(record)


def to_profile(kind: type[Profile], row: Mapping[str, Any]) -> Profile:
    """Returns a row of `tales.profiles`, also one that a story took into itself, as a message."""
    profile = kind.FromString(from_base64(row["profile"]))
    profile.id, profile.revision = row["id"], row["revision"]
    profile.create_time.CopyFrom(to_timestamp(row["created_at"]))
    profile.update_time.CopyFrom(to_timestamp(row["updated_at"]))
    return profile


def from_filter(chosen: common_pb2.StoryFilter) -> dict[str, Any]:
    """Returns what is set in a filter."""
    given: dict[str, Any] = {
        "child_id": chosen.child_id,
        "hero_id": chosen.hero_id,
        "child_name": chosen.child_name,
        "language_code": chosen.language_code,
        "kind": common_pb2.StoryKind.Name(chosen.kind).removeprefix(KIND) if chosen.kind else "",
        "states": [common_pb2.StoryState.Name(state).removeprefix(STATE) for state in chosen.states],
        "min_rating": chosen.min_rating,
        "max_rating": chosen.max_rating,
        "created_from": _rounded_up(chosen.created_after) if chosen.HasField("created_after") else "",
        "created_before": _rounded_up(chosen.created_before) if chosen.HasField("created_before") else "",
        "query": chosen.query,
    }
    return {name: value for name, value in given.items() if value}


def to_state(name: str) -> common_pb2.StoryState.ValueType:
    """Returns a state from its name."""
    return common_pb2.StoryState.Value(STATE + name)


def to_summary(row: Mapping[str, Any]) -> common_pb2.StorySummary:
    """Returns a row of `tales.list_stories`."""
    summary = common_pb2.StorySummary(
        id=row["id"],
        title=row["title"],
        child_id=row["child_id"] or "",
        hero_id=row["hero_id"] or "",
        child_name=row["child_name"],
        language_code=row["language_code"],
        length_minutes=row["length_minutes"],
        rating=row["rating"],
        revision=row["revision"],
        state=to_state(row["state"]),
        kind=common_pb2.StoryKind.Value(KIND + row["kind"]),
        create_time=to_timestamp(row["created_at"]),
        update_time=to_timestamp(row["updated_at"]),
        excerpt=excerpt_of(row["beginning"]),
    )
    if row["duration_us"] is not None:
        summary.audio_duration.FromMicroseconds(row["duration_us"])
    if row["outline"] is not None:
        summary.outline.CopyFrom(listed(common_pb2.StoryOutline.FromString(from_base64(row["outline"]))))
    return summary


def from_problems(problems: Sequence[common_pb2.Problem]) -> list[dict[str, str]]:
    """Returns problems to store; equal ones are one row."""
    return [
        {"reason": to_text(problem.reason), "problem": to_base64(problem.SerializeToString(deterministic=True))}
        for problem in problems
    ]


def from_attempts(attempts: Sequence[common_pb2.Attempt]) -> list[dict[str, Any]]:
    """Returns lines of the ledger."""
    return [
        {
            "attempt_id": attempt.attempt_id,
            "kind": to_name(common_pb2.AttemptKind.Name, attempt.kind, "ATTEMPT_KIND_"),
            "provider": to_text(attempt.provider),
            "model": to_text(attempt.model),
            "outcome": to_name(common_pb2.AttemptOutcome.Name, attempt.outcome, "ATTEMPT_OUTCOME_"),
            "reason": to_text(attempt.reason),
            "cost_usd": attempt.cost_usd,
            "cost_known": attempt.cost_known,
            **{name: getattr(attempt, name) for name in ("characters", "prompt_tokens", "completion_tokens")},
            "started_at": attempt.start_time.ToJsonString() if attempt.HasField("start_time") else None,
            "ended_at": attempt.end_time.ToJsonString() if attempt.HasField("end_time") else None,
            "attempt": encoded(attempt),
        }
        for attempt in attempts
    ]


def from_quota(quota: storage_pb2.Quota | None) -> dict[str, Any]:
    """Returns the bounds that are set, for `tales.check_quota`."""
    if quota is None:
        return {}
    given = {field.name: value for field, value in quota.ListFields()}
    return {"quota": {**given, "characters_per_minute": CHARACTERS_PER_MINUTE}}


def to_usage(row: Mapping[str, Any]) -> common_pb2.UsageEntry:
    """Returns a row of `tales.usage`."""
    of_calls = row["kind"] != "STORY"
    numbers = ("characters", "prompt_tokens", "completion_tokens", "cost_usd")
    return common_pb2.UsageEntry(
        date=row["day"],
        kind=common_pb2.AttemptKind.Value(f"ATTEMPT_KIND_{row['kind']}") if of_calls else 0,  # type: ignore[arg-type]
        stories=0 if of_calls else row["calls"],
        calls=row["calls"] if of_calls else 0,
        **{name: row[name] for name in ("owner", "provider", "model", *numbers)},
    )


def from_ending(now: str | None) -> dict[str, str]:
    """Returns how the schema ends attempts as cancelled: in a serialized message the last value of a field counts."""
    time = Timestamp()
    if now is None:
        time.GetCurrentTime()
    else:
        time.FromJsonString(now)
    ending = common_pb2.Attempt(outcome=common_pb2.ATTEMPT_OUTCOME_CANCELLED, end_time=time)
    return {"ended_at": time.ToJsonString(), "ending": encoded(ending)}


def to_segments(encoded_segments: Sequence[str]) -> list[common_pb2.Segment]:
    """Returns segments of a manifest."""
    return [common_pb2.Segment.FromString(from_base64(one)) for one in encoded_segments]


def _to_story(row: Mapping[str, Any]) -> common_pb2.Story:
    story = common_pb2.Story.FromString(from_base64(row["story"]))
    story.id, story.title, story.content = row["id"], row["title"], row["content"]
    story.state = to_state(row["state"])
    story.kind = common_pb2.StoryKind.Value(KIND + row["kind"])
    story.revision, story.narrate, story.content_complete = row["revision"], row["narrate"], row["content_complete"]
    if row["child"] is not None:
        story.child.CopyFrom(to_profile(common_pb2.Child, row["child"]))
    if row["hero"] is not None:
        story.hero.CopyFrom(to_profile(common_pb2.Hero, row["hero"]))
    if row["voice"]:
        story.voice.ParseFromString(from_base64(row["voice"]))
    if row["outline"] is not None:
        story.outline.ParseFromString(from_base64(row["outline"]))
    for field, column in _TIMES.items():
        if row[column] is not None:
            getattr(story, field).CopyFrom(to_timestamp(row[column]))
    story.embedded_parts.extend(row["embedded_parts"])
    if row["rating"] is not None:
        story.rating = row["rating"]
    if row["audio"] is not None:
        story.audio.ParseFromString(from_base64(row["audio"]))
        story.audio.segments.extend(to_segments(row.get("audio_segments", ())))
    story.problems.extend(common_pb2.Problem.FromString(from_base64(one)) for one in row["problems"])
    story.attempts.extend(common_pb2.Attempt.FromString(from_base64(one)) for one in row.get("attempts", ()))
    if row["generation"] is not None:
        add_generation(story, from_base64(row["generation"]), full="attempts" in row)
    return story


def _to_run(row: Mapping[str, Any]) -> storage_pb2.RunRecord:
    run = storage_pb2.RunRecord(
        lease_token=row["lease_token"],
        pickup_count=row["pickup_count"],
        segments=to_segments(row["segments"]),
    )
    if row["lease_expires_at"] is not None:
        run.lease_expire_time.CopyFrom(to_timestamp(row["lease_expires_at"]))
    run.work_duration.FromMicroseconds(row["work_us"])
    if row["narration"] is not None:
        run.narration.ParseFromString(from_base64(row["narration"]))
    return run


def _rounded_up(time: Timestamp) -> str:
    # Stored times are whole microseconds: "at or after" and "before" hold for a bound between two of them when it is
    # rounded up.
    return to_time_text(time.seconds * 1_000_000 - (-time.nanos // 1_000))


_LATEST: Final = 253_402_300_799_999_999


def to_base64(data: bytes) -> str:
    """Returns bytes as text."""
    return b64encode(data).decode("ascii")


def from_base64(text: str | None) -> bytes:
    """Returns bytes from text; none from None."""
    return b64decode(text) if text else b""


def to_hex(data: bytes) -> str:
    """Returns bytes as PostgreSQL reads them in a row."""
    return f"\\x{data.hex()}"


def to_time_text(microseconds: int) -> str:
    """Returns microseconds since the Unix epoch, UTC, as RFC 3339; at most the end of 9999."""
    time = Timestamp()
    time.FromMicroseconds(min(microseconds, _LATEST))
    return time.ToJsonString()


def to_timestamp(text: str) -> Timestamp:
    """Returns a time of the database as a message."""
    time = Timestamp()
    time.FromJsonString(text)
    return time


def to_microseconds(text: str) -> int:
    """Returns a time of the database as microseconds since the Unix epoch."""
    return to_timestamp(text).ToMicroseconds()


def to_name(name_of: Callable[[Any], str], value: int, prefix: str) -> str:
    """Returns the name of an enum's value, less `prefix`; UNSPECIFIED for one that this program does not know."""
    try:
        return name_of(value).removeprefix(prefix)
    except ValueError:
        return "UNSPECIFIED"


def from_position(after: Position | None) -> dict[str, str] | None:
    """Returns where a list continues."""
    return None if after is None else {"created_at": to_time_text(after.create_time), "id": after.resource_id}


def from_repeat(rpc: str, repeat: RepeatKey | None) -> dict[str, str] | None:
    """Returns the key of a request that can be repeated."""
    if repeat is None:
        return None
    return {"rpc": rpc, "id": repeat.request_id, "fingerprint": to_base64(repeat.fingerprint)}


def encoded(message: Message) -> str:
    """Returns a message, for a column of type bytea."""
    return to_base64(message.SerializeToString())


def to_text(text: str) -> str:
    """Returns text without NUL, which PostgreSQL does not take."""
    return text.replace("\0", "")
