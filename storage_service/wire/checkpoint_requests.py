"""What is wrong with the checkpoints of a request, all of it at once."""

import re
from typing import Final

from servicekit.validation import Violations
from storage_service.stories import states
from storage_service.wire.requests import check_batch, check_duration, check_each_once, check_parts
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_KEY: Final = re.compile(r"[0-9a-f]{64}")


def check_key(found: Violations, field: str, key: str) -> None:
    """Notes what can be no key of a segment."""
    found.check(_KEY.fullmatch(key), field, "must have 64 hexadecimal digits, in lower case")


def check_checkpoints(request: storage_pb2.CheckpointStoriesRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    check_duration(found, "lease_duration", request.lease_duration)
    for field, checkpoint in check_batch(found, "checkpoints", request.checkpoints):
        _check_checkpoint(found, field, checkpoint)
    check_each_once(found, "checkpoints", [checkpoint.story_id for checkpoint in request.checkpoints])
    found.raise_if_any()


def _check_checkpoint(found: Violations, field: str, checkpoint: storage_pb2.StoryCheckpoint) -> None:
    found.check_uuid7(f"{field}.story_id", checkpoint.story_id)
    found.check(checkpoint.lease_token >= 1, f"{field}.lease_token", "must be 1 or more")
    found.check(
        not checkpoint.state or checkpoint.state in states.RUN_STATES,
        f"{field}.state",
        "must be WRITING, NARRATING, READY, READY_WITHOUT_AUDIO, FAILED, CANCELLED or unset",
    )
    if checkpoint.HasField("title"):
        found.text_bounds(f"{field}.title", checkpoint.title, least=1, most=500)
    if checkpoint.HasField("text"):
        found.check(checkpoint.text.offset >= 0, f"{field}.text.offset", "must not be negative")
        found.check("\0" not in checkpoint.text.text, f"{field}.text.text", "must not contain NUL")
    if checkpoint.HasField("narration"):
        found.check_uuid7(f"{field}.narration.audio_id", checkpoint.narration.audio_id)
    for index, segment in enumerate(checkpoint.segments):
        _check_segment(found, f"{field}.segments[{index}]", segment)
    for index, attempt in enumerate(checkpoint.attempts):
        found.check_uuid7(f"{field}.attempts[{index}].attempt_id", attempt.attempt_id)
    for index, problem in enumerate(checkpoint.problems):
        found.check(problem.reason, f"{field}.problems[{index}].reason", "must be given")
    check_parts(found, f"{field}.embedded_parts", checkpoint.embedded_parts)


def _check_segment(found: Violations, field: str, segment: common_pb2.Segment) -> None:
    found.check(segment.index >= 0, f"{field}.index", "must not be negative")
    check_key(found, f"{field}.key", segment.key)
    found.check(len(segment.sha256) == 32, f"{field}.sha256", "must have 32 bytes")
    found.check(0 <= segment.text.start <= segment.text.end, f"{field}.text", "must be a range from 0 on")
    found.check(0 <= segment.audio.start < segment.audio.end, f"{field}.audio", "must be a range of bytes from 0 on")
    found.check(segment.duration.ToMicroseconds() >= 0, f"{field}.duration", "must not be negative")
