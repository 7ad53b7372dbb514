"""Speech to text: what is asked of a transcriber."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole recording: the bytes of a file, its media type, and the language spoken (BCP-47; "": unknown)."""

    data: bytes
    content_type: str
    language_code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What was said.

    `language_code` is the language that was heard (BCP-47), "" if unknown. `duration` of the recording in
    seconds, None if unknown. `request_id` is the provider's.
    """

    text: str
    language_code: str
    duration: float | None
    model: str
    request_id: str = ""


class Transcriber(Protocol):
    """Writes down what is said."""

    @property
    def name(self) -> str:
        """The provider's name, as errors, breakers and metrics have it."""

    def missing(self) -> str:
        """Returns what has to be set before it can be called, else ""."""

    async def transcribe(self, recording: Recording, *, deadline: float | None = None) -> Transcript:
        """Writes down `recording`; `deadline` in seconds of the loop's clock. Raises ProviderError.

        A recording without words gives an empty text.
        """

    async def aclose(self) -> None:
        """Closes connections."""


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
    """Returns the media type alone, in lower case: "audio/webm" of "audio/webm;codecs=opus"."""
    return content_type.partition(";")[0].strip().lower()


def is_known(content_type: str) -> bool:
    """Whether recordings of that type can be written down."""
    return media_type(content_type) in _SUFFIXES


def suffix_of(content_type: str) -> str:
    """Returns the suffix of a file of that type, "wav" where it is not known."""
    return _SUFFIXES.get(media_type(content_type), "wav")
