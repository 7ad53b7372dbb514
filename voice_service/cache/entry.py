"""A cached segment as one object: checksum of the rest (32 bytes), length of the header (4), header (JSON), audio."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from voice_service.cache.ports import CachedSegment
from voice_service.ports import WordTiming

_CHECKSUM: Final = 32
_LENGTH: Final = 4


def encode(segment: CachedSegment) -> bytes:
    """Return the object of `segment`."""
    header = json.dumps(
        {
            "sha256": segment.sha256.hex(),
            "samples": segment.samples,
            "sample_rate": segment.sample_rate,
            "provider": segment.provider,
            "voice_id": segment.voice_id,
            "model_id": segment.model_id,
            "words": [[word.text_start, word.text_end, word.start, word.end] for word in segment.words],
        },
        separators=(",", ":"),
    ).encode()
    body = b"".join((len(header).to_bytes(_LENGTH, "big"), header, segment.audio))
    return hashlib.sha256(body).digest() + body


def decode(data: bytes) -> CachedSegment | None:
    """Return the segment of an object; None where the object is damaged."""
    body = memoryview(data)[_CHECKSUM:]
    if len(body) < _LENGTH or hashlib.sha256(body).digest() != data[:_CHECKSUM]:
        return None
    end = _LENGTH + int.from_bytes(body[:_LENGTH], "big")
    try:
        header: dict[str, Any] = json.loads(bytes(body[_LENGTH:end]))
        return CachedSegment(
            audio=bytes(body[end:]),
            sha256=bytes.fromhex(header["sha256"]),
            samples=header["samples"],
            sample_rate=header["sample_rate"],
            provider=header["provider"],
            voice_id=header["voice_id"],
            model_id=header["model_id"],
            words=tuple(WordTiming(*word) for word in header["words"]),
        )
    except (ValueError, KeyError, TypeError):
        # Whole, yet not of this version's making.
        return None
