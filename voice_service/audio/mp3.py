"""Exact walk over the frames of an MPEG audio Layer III stream.

A segment is passed on only when it is whole frames from its first byte to its last, so the walk starts at byte 0,
steps from header to header by the length that each header states, and accepts nothing in between but tags.
Published libraries do not offer that: mutagen and tinytag read tags and the first frames and estimate the rest;
decoders (libmpg123, ffmpeg) resynchronise over damage in silence, and a full decode costs fifty times as much.

Layout of the header: ISO/IEC 11172-3 section 2.4.1.3, ISO/IEC 13818-3 section 2.4.2.3 (half the sampling rates), and
MPEG 2.5 as Fraunhofer IIS defined it (a quarter). Tags: ID3v1, ID3v2.4 section 3, APEv2.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BIT_RATES_MPEG1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_BIT_RATES_MPEG2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_SAMPLE_RATES: Final = (44_100, 48_000, 32_000)
_MPEG1: Final = 0b11
_MPEG2: Final = 0b10
_MPEG25: Final = 0b00
_LAYER3: Final = 0b01
_MONO: Final = 0b11
_SYNC: Final = 0x7FF
_ID3V1_BYTES: Final = 128
_ID3V2_HEADER_BYTES: Final = 10
_APE_HEADER_BYTES: Final = 32
_VBRI_OFFSET: Final = 36
_SILENCE: Final = bytes(4)
_NO_CRC, _PADDING = 1, 2
_XING: Final = re.compile(rb"(?:Xing|Info)\x00\x00\x00[\x01\x03\x05\x07\x09\x0b\x0d\x0f](.{4})", re.DOTALL)
_SEARCHED: Final = 4096
_IN_A_ROW: Final = 3


class Mp3Fault(Enum):
    """What is wrong with a stream of frames."""

    TRUNCATED = "truncated"
    """It ends inside a frame or a tag, or holds no frame at all."""
    GARBAGE = "garbage"
    """There are bytes that are neither frame nor tag."""
    CHANGING = "changing"
    """Sampling rate, channels or MPEG version change from one frame to the next."""


class Mp3Error(ValueError):
    """A stream is not whole frames; `offset` is the byte at which it stops being so."""

    def __init__(self, fault: Mp3Fault, offset: int) -> None:
        super().__init__(f"MPEG audio is {fault.value} at byte {offset}")
        self.fault = fault
        self.offset = offset


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What the four bytes say that start a frame.

    `length` in bytes with the header, `bit_rate` in bit/s, `sample_rate` in Hz, `samples` per channel.
    """

    version: int
    bit_rate: int
    sample_rate: int
    channels: int
    length: int
    samples: int

    @property
    def tag_offset(self) -> int:
        """Where a Xing or Info tag would stand in the frame: behind the side information."""
        if self.version == _MPEG1:
            side_information = 17 if self.channels == 1 else 32
        else:
            side_information = 9 if self.channels == 1 else 17
        return 4 + side_information


class Piece(NamedTuple):
    """One of the streams that were joined; `data` begins with its encoder's info frame where that is true."""

    data: bytes
    samples: int


class _Info(NamedTuple):
    """An encoder's info frame, and what of the sound was before it: bytes and frames."""

    frame: bytes
    size: int
    frames: int

    @property
    def stated(self) -> int:
        """Frames that a Xing or Info tag counts behind it; 0 where it does not."""
        found = _XING.search(self.frame)
        return int.from_bytes(found[1], "big") if found else 0


@dataclass(frozen=True, slots=True)
class Walk:
    """A stream of whole frames. `data` is the frames alone, without tags and without Xing, Info or VBRI frames.

    `samples` is per channel; `bit_rate` in bit/s is None where frames differ in it.
    """

    data: bytes
    frames: int
    samples: int
    sample_rate: int
    channels: int
    bit_rate: int | None
    infos: tuple[_Info, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds, exact to a frame."""
        return self.samples / self.sample_rate

    @property
    def shape(self) -> tuple[int, int, int | None]:
        """Sampling rate, channels and bit rate."""
        return self.sample_rate, self.channels, self.bit_rate

    @property
    def pieces(self) -> Iterator[Piece]:
        """The streams that were joined, as far as their encoders began each with an info frame."""
        starts = [*([] if self.infos and not self.infos[0].size else [_Info(b"", 0, 0)]), *self.infos]
        for info, (_, end, frames) in zip(starts, [*starts[1:], (b"", len(self.data), self.frames)], strict=True):
            count = frames - info.frames
            if count:
                head = info.frame if info.stated in {count, count + 1} else b""
                yield Piece(head + self.data[info.size : end], count * (self.samples // self.frames))


@lru_cache(maxsize=256)
def parse_header(header: bytes) -> FrameHeader | None:
    """Reads the first four bytes of a frame; None where they are no Layer III header of a stated bit rate."""
    if len(header) != 4:
        return None
    bits = int.from_bytes(header, "big")
    version = bits >> 19 & 0b11
    bit_rate_index = bits >> 12 & 0b1111
    sample_rate_index = bits >> 10 & 0b11
    if bits >> 21 != _SYNC or bits >> 17 & 0b11 != _LAYER3 or version not in {_MPEG1, _MPEG2, _MPEG25}:
        return None
    bit_rates = _BIT_RATES_MPEG1 if version == _MPEG1 else _BIT_RATES_MPEG2
    if not bit_rates[bit_rate_index] or sample_rate_index == len(_SAMPLE_RATES):
        return None
    bit_rate = bit_rates[bit_rate_index] * 1000
    sample_rate = _SAMPLE_RATES[sample_rate_index] // {_MPEG1: 1, _MPEG2: 2, _MPEG25: 4}[version]
    samples = 1152 if version == _MPEG1 else 576
    padding = bits >> 9 & 1
    return FrameHeader(
        version=version,
        bit_rate=bit_rate,
        sample_rate=sample_rate,
        channels=1 if bits >> 6 & 0b11 == _MONO else 2,
        length=samples // 8 * bit_rate // sample_rate + padding,
        samples=samples,
    )


def walk(data: bytes) -> Walk:
    """Steps over every frame of `data` from its first byte to its last.

    Raises Mp3Error where `data` is not whole frames of one sampling rate and number of channels. A cut that falls
    exactly between two frames leaves whole frames and cannot be seen here.
    """
    size = len(data)
    position = run_start = frames = 0
    runs: list[bytes] = []
    infos: list[_Info] = []
    first: FrameHeader | None = None
    lengths: dict[bytes, int] = {}
    bit_rates: set[int] = set()
    while position < size:
        key = data[position : position + 4]
        length = lengths.get(key)
        if length is None:
            header = parse_header(key)
            if header is None:
                behind = _skip_tag(data, position)
                runs.append(data[run_start:position])
                position = run_start = behind
                continue
            if first is None:
                first = header
            elif not _alike(first, header):
                raise Mp3Error(Mp3Fault.CHANGING, position)
            length = lengths[key] = header.length
            bit_rates.add(header.bit_rate)
        if position + length > size:
            raise Mp3Error(Mp3Fault.TRUNCATED, position)
        # Side information of such a frame is zero, which is quick to see; the first one is looked at whatever it says.
        if (data[position + 6 : position + 10] == _SILENCE or not frames) and _is_info_frame(data, position):
            runs.append(data[run_start:position])
            infos.append(_Info(data[position : position + length], sum(map(len, runs)), frames))
            position = run_start = position + length
            continue
        frames += 1
        position += length
    if first is None or not frames:
        raise Mp3Error(Mp3Fault.TRUNCATED, size)
    _check_counts(infos, frames, size)
    runs.append(data[run_start:])
    return Walk(
        data=b"".join(runs) if len(runs) > 1 else data,
        frames=frames,
        samples=frames * first.samples,
        sample_rate=first.sample_rate,
        channels=first.channels,
        bit_rate=bit_rates.pop() if len(bit_rates) == 1 else None,
        infos=tuple(infos),
    )


def _check_counts(infos: Sequence[_Info], frames: int, size: int) -> None:
    """Raises Mp3Error where a piece has fewer frames than its encoder counted."""
    for info, end in zip(infos, [*(each.frames for each in infos[1:]), frames], strict=False):
        if end - info.frames < info.stated - 1:
            raise Mp3Error(Mp3Fault.TRUNCATED, size)


def followed_by_silence(walked: Walk, seconds: float) -> Walk:
    """Returns the frames and at least `seconds` of silence, in frames of their format that hold nothing."""
    header = bytearray(walked.data[:4])
    header[1] |= _NO_CRC
    header[2] &= ~_PADDING
    frame = parse_header(bytes(header))
    if frame is None or not seconds:
        return walked
    count = math.ceil(seconds * frame.sample_rate / frame.samples)
    return replace(
        walked,
        data=walked.data + (bytes(header) + bytes(frame.length - len(header))) * count,
        frames=walked.frames + count,
        samples=walked.samples + count * frame.samples,
    )


def has_frames(data: bytes) -> bool:
    """Returns whether it is MP3, whole or not: a tag, or near its beginning three frames in a row or up to its end."""
    place = 0 if data.startswith(b"ID3") else data.find(b"\xff", 0, _SEARCHED)
    while place >= 0 and not data.startswith(b"ID3"):
        at, headers = place, 0
        while headers < _IN_A_ROW and (header := parse_header(data[at : at + 4])):
            at, headers = at + header.length, headers + 1
        if headers == _IN_A_ROW or (headers and at == len(data)):
            return True
        place = data.find(b"\xff", place + 1, _SEARCHED)
    return place >= 0


def _alike(one: FrameHeader, other: FrameHeader) -> bool:
    return (one.version, one.sample_rate, one.channels) == (other.version, other.sample_rate, other.channels)


def _is_info_frame(data: bytes, position: int) -> bool:
    """Returns whether the frame is an encoder's table of contents, which holds no sound."""
    header = parse_header(data[position : position + 4])
    if header is None:
        return False
    # The tag ignores a CRC: encoders write it at the place that it has without one.
    offset = position + header.tag_offset
    vbri = position + _VBRI_OFFSET
    return data[offset : offset + 4] in {b"Xing", b"Info"} or data[vbri : vbri + 4] == b"VBRI"


def _skip_tag(data: bytes, position: int) -> int:
    """Returns the first byte behind the tag at `position`. Raises Mp3Error where there is no whole tag."""
    rest = len(data) - position
    if data.startswith(b"ID3", position):
        if rest < _ID3V2_HEADER_BYTES:
            raise Mp3Error(Mp3Fault.TRUNCATED, position)
        size_bytes = data[position + 6 : position + 10]
        if any(byte & 0x80 for byte in size_bytes):
            raise Mp3Error(Mp3Fault.GARBAGE, position)
        size = 0
        for byte in size_bytes:
            size = size << 7 | byte
        has_footer = data[position + 5] & 0x10
        length = size + _ID3V2_HEADER_BYTES * (2 if has_footer else 1)
    elif data.startswith(b"APETAGEX", position):
        if rest < _APE_HEADER_BYTES:
            raise Mp3Error(Mp3Fault.TRUNCATED, position)
        # The size counts items and footer, not the header.
        length = _APE_HEADER_BYTES + int.from_bytes(data[position + 12 : position + 16], "little")
    elif data.startswith(b"TAG", position):
        length = _ID3V1_BYTES
    else:
        could_go_on = rest < 4 or b"APETAGEX".startswith(data[position : position + 8])
        raise Mp3Error(Mp3Fault.TRUNCATED if could_go_on else Mp3Fault.GARBAGE, position)
    if length > rest:
        raise Mp3Error(Mp3Fault.TRUNCATED, position)
    return position + length
