"""Detects what kind of audio a server has sent, and decodes audio files to samples.

Decoders all decode what is left of a file that was cut; the checks that they leave out are made here. Blocks for a few
milliseconds for each minute of sound.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from email.message import Message
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np
import soundfile  # type: ignore[import-untyped]
import soxr  # type: ignore[import-untyped]

from voice_service.audio.mp3 import Mp3Error, parse_header, walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voice_service.providers.speech.config import SpeechFormat


_RIFF_HEADER_BYTES: Final = 12
_CHUNK_HEADER_BYTES: Final = 8
_PLACEHOLDER: Final = 1 << 30
"""Sizes from here on stand for "not known yet" in files that are streamed: 0xFFFFFFFF, 0x7FFFFFFF, 2,000,000,000 are
in use (and 0)."""
_OGG_HEADER_BYTES: Final = 27
_OGG_LAST_PAGE: Final = 0x04
_ID3_HEADER_BYTES: Final = 10
_MP3_PADDING: Final = 4 * 1_152
"""Samples that decoders may leave out at both ends, by the tag of the encoder."""
_MOST_SAMPLES: Final = 32 << 20
"""Most samples of one answer, 64 MiB of 16 bits: a small file may decode to a very long sound."""


class ContainerError(ValueError):
    """An audio file that cannot be decoded, or not to its end."""


def is_container(head: bytes) -> bool:
    """Returns whether `head` (12 bytes) is the start of a known file type. MP3 without a tag is not."""
    return head[:4] in {b"fLaC", b"OggS"} or head[:3] == b"ID3" or (head[:4] == b"RIFF" and head[8:12] == b"WAVE")


def decode(data: bytes, sample_rate: int) -> bytes:
    """Decodes a WAVE, FLAC, Ogg or MP3 file to mono s16le at `sample_rate` Hz. Raises ContainerError."""
    least: int | None = None
    if data[:4] == b"RIFF":
        data = _whole_wave(data)
    elif data[:4] == b"OggS":
        _check_ogg(data)
    elif data[:4] != b"fLaC":
        least = _least_samples(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            # Whole numbers would be read from files of floating point without being scaled.
            samples = file.read(_MOST_SAMPLES // file.channels, dtype="float32", always_2d=True)
            if len(samples) < (file.frames if least is None else least):
                raise ContainerError("it does not decode to its end")
            rate = file.samplerate
    except soundfile.LibsndfileError as error:
        raise ContainerError("it cannot be decoded") from error
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")
    return _s16le(mono * 32_768)


def resample(pcm: bytes, channels: int, rate: int, sample_rate: int) -> bytes:
    """Brings s16le `pcm` of `channels` at `rate` Hz to mono at `sample_rate` Hz. Raises ContainerError."""
    if len(pcm) % (2 * channels):
        raise ContainerError("it ends within a sample")
    samples = np.frombuffer(pcm, dtype="<i2").reshape(-1, channels).mean(axis=1, dtype="float32")
    resampled = soxr.resample(samples, rate, sample_rate, quality="HQ") if rate != sample_rate else samples
    return _s16le(resampled)


def _s16le(samples: NDArray[np.float32]) -> bytes:
    return np.clip(np.rint(samples), -32_768, 32_767).astype("<i2").tobytes()


def _whole_wave(data: bytes) -> bytes:
    """Returns the file with the size of its samples made true. Raises ContainerError where some are missing."""
    place = _RIFF_HEADER_BYTES
    while place + _CHUNK_HEADER_BYTES <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        begin = place + _CHUNK_HEADER_BYTES
        if name == b"data":
            there = len(data) - begin
            if there < size < _PLACEHOLDER:
                raise ContainerError("it is shorter than it says")
            if 0 < size <= there:
                return data
            return data[: place + 4] + struct.pack("<I", there) + data[begin:]
        place = begin + size + size % 2
    raise ContainerError("it holds no samples")


def _check_ogg(data: bytes) -> None:
    """Raises ContainerError unless the last page is whole and marked as the last (RFC 3533, section 6)."""
    place = data.rfind(b"OggS")
    page = data[place:]
    if len(page) > _OGG_HEADER_BYTES:
        table = page[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + page[26]]
        if page[5] & _OGG_LAST_PAGE and len(page) == _OGG_HEADER_BYTES + len(table) + sum(table):
            return
    raise ContainerError("its last page is missing")


def _least_samples(mp3: bytes) -> int:
    """Samples that its frames hold at least, the silence that encoders add put aside."""
    try:
        walked = walk(mp3)
    except Mp3Error as error:
        raise ContainerError(str(error)) from error
    if walked.frames < _stated_frames(mp3) - 1:
        raise ContainerError("it is shorter than it says")
    return walked.samples - _MP3_PADDING


def _stated_frames(mp3: bytes) -> int:
    """Frames that the tag of the encoder (Xing or Info, in the first frame) counts; 0 where it does not."""
    begin = 0
    if mp3[:3] == b"ID3":
        # Four times seven bits: ID3v2.4, section 3.1.
        begin = _ID3_HEADER_BYTES + sum(byte << 7 * (3 - index) for index, byte in enumerate(mp3[6:10]))
    header = parse_header(mp3[begin : begin + 4])
    if header is None:
        return 0
    tag = mp3[begin + header.tag_offset : begin + header.tag_offset + 12]
    if tag[:4] not in {b"Xing", b"Info"} or not tag[7] & 1:
        return 0
    return int.from_bytes(tag[8:12], "big")


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
class AudioType:
    """What came; `sample_rate` in Hz and `channels` are of RAW alone."""

    shape: Shape
    sample_rate: int
    channels: int


def audio_type(content_type: str, head: bytes, asked: SpeechFormat, sample_rate: int) -> AudioType:
    """Returns the type of a response by its Content-Type and first bytes; expected are `asked` and `sample_rate`.

    OpenRouter states the rate and the channels of raw samples (`audio/pcm;rate=24000;channels=1`); many servers send
    application/octet-stream, and some another format than the one asked for.
    """
    message = Message()
    message["content-type"] = content_type
    media_type = message.get_content_type() if content_type else ""
    if is_container(head):
        return AudioType(Shape.FILE, 0, 0)
    if media_type.endswith(("/json", "+json")) or _is_json(head):
        return AudioType(Shape.JSON, 0, 0)
    if media_type in _RAW_TYPES or (media_type in _OPAQUE_TYPES and asked == "pcm"):
        rate, channels = _number(message, "rate", sample_rate), _number(message, "channels", 1)
        known = rate in _RATES and 1 <= channels <= _MOST_CHANNELS
        return AudioType(Shape.RAW if known else Shape.OTHER, rate, channels)
    if media_type in _FILE_TYPES or media_type in _OPAQUE_TYPES:
        return AudioType(Shape.FILE, 0, 0)
    return AudioType(Shape.OTHER, 0, 0)


def _is_json(head: bytes) -> bool:
    """Whether text begins with `head` that can only be JSON; twelve bytes of sound are hardly ever all letters."""
    return head.lstrip().startswith(b"{") and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)


def _number(message: Message, name: str, default: int) -> int:
    """Value of a parameter of the Content-Type; 0 where it is no number."""
    value = message.get_param(name)
    if value is None:
        return default
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8 else 0
