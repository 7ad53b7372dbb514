"""What kind of audio a server has sent, whatever it was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from enum import Enum
from typing import TYPE_CHECKING, Final

from voice_service.speech.containers import is_container

if TYPE_CHECKING:
    from voice_service.speech.config import SpeechFormat

HEAD_BYTES: Final = 12
"""Bytes that are enough to tell."""

_RAW_TYPES: Final = frozenset({"audio/pcm", "audio/x-pcm", "audio/raw"})
_FILE_TYPES: Final = frozenset(
    {
        "audio/mpeg", "audio/mp3", "audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave", "audio/flac",
        "audio/x-flac", "audio/ogg", "audio/opus", "application/ogg",
    }
)  # fmt: skip
_OPAQUE_TYPES: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_RATES: Final = range(8_000, 192_001)
_MOST_CHANNELS: Final = 8


class Shape(Enum):
    """What the bytes are."""

    RAW = "raw"
    """Samples, s16le."""
    FILE = "file"
    """A file to decode."""
    JSON = "json"
    """No audio: an error, most likely."""
    OTHER = "other"
    """No audio, and nothing that can be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came; `sample_rate` in Hz and `channels` are of RAW alone."""

    shape: Shape
    sample_rate: int
    channels: int


def answer_of(content_type: str, head: bytes, asked: SpeechFormat, sample_rate: int) -> Answer:
    """Tell what an answer is by its Content-Type and its first bytes, `asked` and `sample_rate` being expected.

    OpenRouter states the rate and the channels of raw samples (`audio/pcm;rate=24000;channels=1`); many servers send
    application/octet-stream, and some another format than the one asked for.
    """
    message = Message()
    message["content-type"] = content_type
    media_type = message.get_content_type() if content_type else ""
    if is_container(head):
        return Answer(Shape.FILE, 0, 0)
    if media_type.endswith(("/json", "+json")) or _is_json(head):
        return Answer(Shape.JSON, 0, 0)
    if media_type in _RAW_TYPES or (media_type in _OPAQUE_TYPES and asked == "pcm"):
        rate, channels = _number(message, "rate", sample_rate), _number(message, "channels", 1)
        known = rate in _RATES and 1 <= channels <= _MOST_CHANNELS
        return Answer(Shape.RAW if known else Shape.OTHER, rate, channels)
    if media_type in _FILE_TYPES or media_type in _OPAQUE_TYPES:
        return Answer(Shape.FILE, 0, 0)
    return Answer(Shape.OTHER, 0, 0)


def _is_json(head: bytes) -> bool:
    """Whether text begins with `head` that can only be JSON; twelve bytes of sound are hardly ever all letters."""
    return head.lstrip().startswith(b"{") and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)


def _number(message: Message, name: str, default: int) -> int:
    """Value of a parameter of the Content-Type; 0 where it is no number."""
    value = message.get_param(name)
    if value is None:
        return default
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8 else 0
