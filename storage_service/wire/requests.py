"""What is wrong with a request, all of it at once."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, TypeAlias, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.validation import Violations
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_LONGEST_LEASE: Final = 3_600 * 1_000_000
_MAX_PER_BATCH: Final = 1_000
T = TypeVar("T")

Repeatable: TypeAlias = storage_pb2.CreateStoryRequest | storage_pb2.RetryChange | storage_pb2.NarrateChange
"""Requests with an id that makes them repeatable, and perhaps a lease."""

_KINDS: Final = frozenset(common_pb2.StoryKind.values())
_STATES: Final = frozenset(common_pb2.StoryState.values()) - {common_pb2.STORY_STATE_UNSPECIFIED}
_NOT_YET: Final = (
    "title",
    "content",
    "rating",
    "full_response",
    "generation_info",
    "audio",
    "attempts",
    "usage",
    "content_complete",
)
"""Fields that a story gets only later."""


def check_create(request: storage_pb2.CreateStoryRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    found.check_uuid7("story_id", request.story_id)
    _check_repeatable(found, "", request)
    if found.check(request.HasField("spec"), "spec", "must be given"):
        found.text_bounds("spec.wish", request.spec.wish, most=2_000)
        found.text_bounds("spec.moral", request.spec.moral, most=200)
        found.text_bounds("spec.theme", request.spec.theme, most=200)
    if found.check(request.HasField("story"), "story", "must be given"):
        _check_new_story(found, request.story)
    found.raise_if_any()


def check_list(request: storage_pb2.ListStoriesRequest) -> int:
    """The page size to use; raises VALIDATION_FAILED."""
    found = Violations()
    chosen = request.filter
    found.text_bounds("filter.child_id", chosen.child_id, most=36)
    found.text_bounds("filter.hero_id", chosen.hero_id, most=36)
    found.text_bounds("filter.child_name", chosen.child_name, most=100)
    found.text_bounds("filter.language_code", chosen.language_code, most=35)
    found.check(chosen.kind in _KINDS, "filter.kind", "must be a known kind")
    found.check(
        len(chosen.states) <= len(_STATES) and _STATES.issuperset(chosen.states),
        "filter.states",
        "must be known states, each once",
    )
    for field in ("min_rating", "max_rating"):
        if chosen.HasField(field):
            found.in_range(f"filter.{field}", getattr(chosen, field), 1, 10)
    if chosen.HasField("min_rating") and chosen.HasField("max_rating"):
        found.check(chosen.min_rating <= chosen.max_rating, "filter.min_rating", "must not be above filter.max_rating")
    if chosen.HasField("created_after"):
        _check_time(found, "filter.created_after", chosen.created_after)
    if chosen.HasField("created_before"):
        _check_time(found, "filter.created_before", chosen.created_before)
    found.text_bounds("filter.query", chosen.query, most=200)
    size = found.page_size(request.page_size)
    found.text_bounds("page_token", request.page_token, most=512)
    found.raise_if_any()
    return size


def check_update(request: storage_pb2.UpdateStoryRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    found.check_uuid7("story_id", request.story_id)
    if request.HasField("expected_revision"):
        found.check(request.expected_revision >= 1, "expected_revision", "must be 1 or more")
    match request.WhichOneof("change"):
        case "rating":
            found.in_range("rating", request.rating, 1, 10)
        case "retry":
            _check_repeatable(found, "retry.", request.retry)
        case "narrate":
            _check_repeatable(found, "narrate.", request.narrate)
            found.check(request.narrate.HasField("voice"), "narrate.voice", "must be given")
        case "cancel":
            pass
        case _:
            found.add("change", "must be given")
    found.raise_if_any()


def check_claim(request: storage_pb2.ClaimStoriesRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    if found.check(request.HasField("lease"), "lease", "must be given"):
        check_duration(found, "lease.duration", request.lease.duration)
    found.in_range("max_count", request.max_count, 1, 100)
    if found.check(len(request.story_ids) <= 100, "story_ids", "must have at most 100 entries"):
        for index, story_id in enumerate(request.story_ids):
            found.check_uuid7(f"story_ids[{index}]", story_id)
    found.raise_if_any()


def check_release(request: storage_pb2.ReleaseStoriesRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    for field, lease in check_batch(found, "leases", request.leases):
        found.check_uuid7(f"{field}.story_id", lease.story_id)
        found.check(lease.lease_token >= 1, f"{field}.lease_token", "must be 1 or more")
    found.raise_if_any()


def check_finish(request: storage_pb2.FinishAudioRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    found.check_uuid7("story_id", request.story_id)
    found.check(request.lease_token >= 1, "lease_token", "must be 1 or more")
    found.check_uuid7("audio_id", request.audio_id)
    found.raise_if_any()


def check_follow(request: storage_pb2.FollowStoriesRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    for field, position in check_batch(found, "positions", request.positions):
        found.check_uuid7(f"{field}.story_id", position.story_id)
        found.check_uuid7(f"{field}.audio_id", position.audio_id, required=False)
        for name in ("lease_token", "text_length", "segment_count", "problem_count"):
            found.check(getattr(position, name) >= 0, f"{field}.{name}", "must not be negative")
    check_each_once(found, "positions", [position.story_id for position in request.positions])
    found.raise_if_any()


def check_read(request: storage_pb2.ReadAudioRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    found.check_uuid7("story_id", request.story_id)
    found.check_uuid7("audio_id", request.audio_id, required=False)
    found.check(request.offset >= 0, "offset", "must not be negative")
    if request.HasField("limit"):
        found.check(request.limit >= 0, "limit", "must not be negative")
    found.raise_if_any()


def check_audio_url(request: storage_pb2.GetAudioUrlRequest) -> int:
    """How long the address should hold, in microseconds; raises VALIDATION_FAILED."""
    found = Violations()
    found.check_uuid7("story_id", request.story_id)
    expiry = 3_600 * 1_000_000
    if request.HasField("expiry"):
        expiry = request.expiry.ToMicroseconds()
        found.check(1_000_000 <= expiry <= 604_800_000_000, "expiry", "must be from 1 second to 7 days")
    found.raise_if_any()
    return expiry


def check_id(field: str, resource_id: str) -> None:
    """Raises VALIDATION_FAILED for what can be no id."""
    found = Violations()
    found.check_uuid7(field, resource_id)
    found.raise_if_any()


def check_get(request: storage_pb2.GetStoryRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    found.check_uuid7("story_id", request.story_id)
    found.check(request.view in common_pb2.StoryView.values(), "view", "must be a known view")
    found.raise_if_any()


def check_batch(
    found: Violations, field: str, entries: Collection[T], most: int = _MAX_PER_BATCH
) -> Iterator[tuple[str, T]]:
    """Each entry with the name of its field; none, and a violation, where there are not 1 to `most`."""
    if found.check(1 <= len(entries) <= most, field, f"must have 1 to {most} entries"):
        for index, entry in enumerate(entries):
            yield f"{field}[{index}]", entry


def check_each_once(found: Violations, field: str, story_ids: Sequence[str]) -> None:
    """Notes where a story is named twice."""
    found.check(len(set(story_ids)) == len(story_ids), field, "must name each story once")


def _check_repeatable(
    found: Violations,
    prefix: str,
    asked: Repeatable,
) -> None:
    """Notes what is wrong with the key of a request that can be repeated, and with the lease that it asks for."""
    found.check_token(f"{prefix}request_id", asked.request_id)
    if asked.request_id or asked.fingerprint:
        found.check(len(asked.fingerprint) == 32, f"{prefix}fingerprint", "must have 32 bytes")
    if asked.HasField("lease"):
        check_duration(found, f"{prefix}lease.duration", asked.lease.duration)


def _check_new_story(found: Violations, story: common_pb2.Story) -> None:
    found.check(story.kind in _KINDS, "story.kind", "must be a known kind")
    found.text_bounds("story.language_code", story.language_code, least=1, most=35)
    found.in_range("story.length_minutes", story.length_minutes, 1, 30)
    found.text_bounds("story.child.name", story.child.name, most=100)
    check_texts(found, "story.child.interests", story.child.interests)
    found.check_uuid7("story.child_id", story.child_id, required=False)
    found.check_uuid7("story.hero_id", story.hero_id, required=False)
    found.check_uuid7("story.parent_story_id", story.parent_story_id, required=False)
    check_parts(found, "story.embedded_parts", story.embedded_parts)
    given = {field.name for field, _ in story.ListFields()}
    for name in _NOT_YET:
        found.check(name not in given, f"story.{name}", "must be empty in a new story")


def check_texts(found: Violations, field: str, texts: Collection[str]) -> None:
    """Notes what is wrong with a list of short texts."""
    if found.check(len(texts) <= 20, field, "must have at most 20 entries"):
        for index, text in enumerate(texts):
            found.text_bounds(f"{field}[{index}]", text, least=1, most=100)


def check_parts(found: Violations, field: str, parts: Collection[str]) -> None:
    """Notes what is wrong with names of embedded parts."""
    if found.check(len(parts) <= 20, field, "must have at most 20 entries"):
        for index, part in enumerate(parts):
            found.check_token(f"{field}[{index}]", part, required=True)


def check_duration(found: Violations, field: str, duration: Duration) -> None:
    """Notes what is wrong with the duration of a lease."""
    found.check(0 < duration.ToMicroseconds() <= _LONGEST_LEASE, field, "must be above 0 and at most 1 hour")


def _check_time(found: Violations, field: str, time: Timestamp) -> None:
    found.check(0 <= time.seconds <= 253_402_300_799, field, "must be a time from 1970 to 9999")
