"""Media types of recordings that servers take, and the file names by which they tell them."""

from __future__ import annotations

from typing import Final

_SUFFIXES: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/mp4": "m4a",
    "audio/m4a": "m4a",
    "audio/x-m4a": "m4a",
    "video/mp4": "mp4",
    "audio/ogg": "ogg",
    "audio/opus": "ogg",
    "audio/webm": "webm",
    "video/webm": "webm",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
}

KNOWN: Final = ("audio/wav", "audio/mpeg", "audio/mp4", "audio/ogg", "audio/webm", "audio/flac")
"""The media types to name to people; others stand for the same kinds."""


def media_type(content_type: str) -> str:
    """Return the media type alone, in lower case: "audio/webm" of "audio/webm;codecs=opus"."""
    return content_type.partition(";")[0].strip().lower()


def is_known(content_type: str) -> bool:
    """Whether recordings of that type can be written down."""
    return media_type(content_type) in _SUFFIXES


def suffix_of(content_type: str) -> str:
    """Return the suffix of a file of that type, "wav" where it is not known."""
    return _SUFFIXES.get(media_type(content_type), "wav")
