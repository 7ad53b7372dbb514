"""What makes two segments of audio the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voice_service.ports import ProviderMetadata, SegmentRequest, StoryFormat

_VERSION: Final = 1
"""Raised when the same request comes to sound different, so that what was stored before is not found."""


def segment_key(request: SegmentRequest, metadata: ProviderMetadata, story_format: StoryFormat) -> str:
    """Returns the key of the segment in the segment store: 64 hexadecimal digits that reveal nothing of the text.

    The text before counts only for providers that take it. Word timings do not count: they are always asked for.
    """
    facts = {
        "version": _VERSION,
        "text": request.text,
        "language": request.language_code,
        "provider": metadata.name,
        "voice": request.voice_id,
        "model": request.model_id,
        "settings": {name: value for name, value in asdict(request.settings).items() if value is not None},
        "format": story_format.name,
        "previous_text": request.previous_text if metadata.takes_previous_text else "",
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
