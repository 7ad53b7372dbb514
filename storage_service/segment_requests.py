"""What is wrong with a request about segments, all of it at once."""

from typing import Final

from servicekit.validation import Violations
from storage_service.checkpoint_requests import KEY
from storage_service.errors import field_error
from tale.storage.v1 import segment_pb2

_MAX_LOOKUPS: Final = 1_000
_MAX_BYTES: Final = 64 << 20
_MAX_WORDS: Final = 10_000
_HEX: Final = "must have 64 hexadecimal digits, in lower case"


def check_find(request: segment_pb2.FindSegmentsRequest) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    if found.check(1 <= len(request.lookups) <= _MAX_LOOKUPS, "lookups", f"must have 1 to {_MAX_LOOKUPS} entries"):
        for index, lookup in enumerate(request.lookups):
            found.check(KEY.fullmatch(lookup.key), f"lookups[{index}].key", _HEX)
            found.check_uuid7(f"lookups[{index}].story_id", lookup.story_id, required=False)
    found.raise_if_any()


def check_put(header: segment_pb2.PutSegmentHeader) -> None:
    """Raises VALIDATION_FAILED."""
    found = Violations()
    segment, words = header.segment, header.segment.words
    found.check(KEY.fullmatch(segment.key), "header.segment.key", _HEX)
    found.check(len(segment.sha256) == 32, "header.segment.sha256", "must have 32 bytes")
    found.in_range("header.segment.size_bytes", segment.size_bytes, 1, _MAX_BYTES)
    found.in_range("header.segment.sample_rate", segment.sample_rate, 1, 384_000)
    found.check(segment.sample_count >= 0, "header.segment.sample_count", "must not be negative")
    for name in ("provider", "voice_id", "model_id"):
        found.text_bounds(f"header.segment.{name}", getattr(segment, name), most=200)
    counts = {len(words.text_starts), len(words.text_ends), len(words.start_us), len(words.end_us)}
    found.check(
        len(counts) == 1 and max(counts) <= _MAX_WORDS,
        "header.segment.words",
        f"must have four lists of one length, at most {_MAX_WORDS}",
    )
    found.check_uuid7("header.story_id", header.story_id, required=False)
    found.raise_if_any()


def check_key(key: str) -> None:
    """Raises VALIDATION_FAILED for what can be no key of a segment."""
    if not KEY.fullmatch(key):
        raise field_error("key", _HEX)
