"""A cached segment as one object.

    checksum     32 bytes: SHA-256 of all that follows up to the audio
    lengths      4 + 4 bytes, big-endian: of the facts in bytes, of the words in number
    facts        JSON, with the SHA-256 of the audio
    words        24 bytes each, big-endian: two uint32 and two doubles
    audio        up to the end

The audio's own checksum, which is known anyway, guards the audio, so that writing hashes it no second time.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any, Final

from voice_service.cache.ports import CachedSegment
from voice_service.ports import WordTiming

_CHECKSUM: Final = 32
_LENGTHS: Final = struct.Struct(">II")
_WORD: Final = struct.Struct(">IIdd")


def encode(segment: CachedSegment) -> bytes:
    """Return the object of `segment`."""
    facts = json.dumps(
        {
            "sha256": segment.sha256.hex(),
            "samples": segment.samples,
            "sample_rate": segment.sample_rate,
            "provider": segment.provider,
            "voice_id": segment.voice_id,
            "model_id": segment.model_id,
        },
        separators=(",", ":"),
    ).encode()
    words = [_WORD.pack(word.text_start, word.text_end, word.start, word.end) for word in segment.words]
    head = b"".join((_LENGTHS.pack(len(facts), len(words)), facts, *words))
    return b"".join((hashlib.sha256(head).digest(), head, segment.audio))


def decode(data: bytes) -> CachedSegment | None:
    """Return the segment of an object; None where the object is damaged."""
    body = memoryview(data)[_CHECKSUM:]
    if len(body) < _LENGTHS.size:
        return None
    facts_length, word_count = _LENGTHS.unpack_from(body)
    facts_end = _LENGTHS.size + facts_length
    head_end = facts_end + word_count * _WORD.size
    if hashlib.sha256(body[:head_end]).digest() != data[:_CHECKSUM]:
        return None
    try:
        facts: dict[str, Any] = json.loads(bytes(body[_LENGTHS.size : facts_end]))
        segment = CachedSegment(
            audio=bytes(body[head_end:]),
            sha256=bytes.fromhex(facts["sha256"]),
            samples=facts["samples"],
            sample_rate=facts["sample_rate"],
            provider=facts["provider"],
            voice_id=facts["voice_id"],
            model_id=facts["model_id"],
            words=tuple(WordTiming(*word) for word in _WORD.iter_unpack(body[facts_end:head_end])),
        )
    except (ValueError, KeyError, TypeError, struct.error):
        # Whole, yet not of this version's making.
        return None
    return segment if hashlib.sha256(segment.audio).digest() == segment.sha256 else None
