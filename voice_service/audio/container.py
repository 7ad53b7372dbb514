"""Lays out the segments of a story as one file that can be heard from its first byte on."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voice_service.ports import Codec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voice_service.ports import StoryFormat


_UNKNOWN_SIZE: Final = 0xFFFFFFFF
"""Size in the header of a stream of unknown length: ffmpeg writes it, and readers read to the end."""


HEADER_PAGES: Final = 2
"""Pages that begin a stream of Ogg Opus."""


@dataclass(slots=True)
class Position:
    """Where a file in progress ends: bytes, samples and, of Ogg, pages."""

    size: int = 0
    samples: int = 0
    pages: int = HEADER_PAGES

    def go_on(self, size: int, samples: int) -> None:
        """Moves past a segment of `samples`, after which the file has `size` bytes."""
        self.size = size
        self.samples += samples
        self.pages += page_count(samples)

    def dependence(self, codec: Codec, *, last: bool) -> str:
        """Returns what the next segment's bytes depend on beside the segment; "" where that is nothing."""
        match codec:
            case Codec.MP3:
                return ""
            case Codec.WAV:
                return "" if self.size else "header"
            case Codec.OPUS:
                return f"page {self.pages} sample {self.samples}{' last' if last else ''}"


def lay_out(sound: bytes, story_format: StoryFormat, at: Position, *, last: bool) -> bytes:
    """Returns the file's next bytes, which hold the stored segment `sound`; the first ones have the header."""
    match story_format.codec:
        case Codec.MP3:
            return sound
        case Codec.WAV:
            return sound if at.size else _wav_header(story_format) + sound
        case Codec.OPUS:
            header = b"" if at.size else header_pages(story_format.channels, story_format.sample_rate)
            return header + audio_pages(unpack(sound), page=at.pages, samples=at.samples, last=last)


def _wav_header(story_format: StoryFormat) -> bytes:
    frame = 2 * story_format.channels
    rate = story_format.sample_rate
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", _UNKNOWN_SIZE, b"WAVE",
        b"fmt ", 16, 1, story_format.channels, rate, rate * frame, frame, 16,
        b"data", _UNKNOWN_SIZE,
    )  # fmt: skip


_PACKET_SAMPLES: Final = 960
"""Samples of a packet: 20 ms at 48 kHz; of the last one of a segment, less."""
_PAGE_PACKETS: Final = 40
"""A packet of one frame has 1,275 bytes at most, so this many never need more than the 255 lacing values of a page."""
_PAGE: Final = struct.Struct("<4sBBqIIIB")
_SERIAL: Final = 0x656C6174
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_LACING: Final = 255
_CRC_OFFSET: Final = 22
_MOST_TRIMMED: Final = 9_600
"""Samples by which the last page may cut the end: those of the last packet, and of the encoder's delay."""
_VENDOR: Final = b"tale"
_FRAME_SAMPLES: Final = (
    *([480, 960, 1920, 2880] * 3),  # SILK, narrow to wide band
    *([480, 960] * 2),  # hybrid
    *([120, 240, 480, 960] * 4),  # CELT
)
"""Samples of a frame at 48 kHz by configuration number: RFC 6716 section 3.1, table 2."""


class OggError(ValueError):
    """The bytes are no whole Ogg Opus stream."""


def packets_of(data: bytes) -> list[bytes]:
    """Returns the audio packets of an Ogg file with one Opus stream. Raises OggError."""
    packets = _Packets()
    for page in _pages(data):
        packets.add(page)
    if packets.rest or len(packets.whole) < 3 or not packets.are_opus:
        raise OggError("no whole Opus stream")
    audio = packets.whole[2:]
    whole, last = audio[:-1], audio[-1]
    if any(_samples(packet) != _PACKET_SAMPLES for packet in whole) or not 0 < _samples(last) <= _PACKET_SAMPLES:
        raise OggError("packets of another length than 20 ms")
    return audio


def samples_of(packets: Sequence[bytes]) -> int:
    """Returns how many samples the packets of a segment hold, at 48 kHz."""
    return (len(packets) - 1) * _PACKET_SAMPLES + _samples(packets[-1])


def pack(packets: Sequence[bytes]) -> bytes:
    """Returns the packets as a stored segment has them."""
    return b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)


def unpack(data: bytes) -> list[bytes]:
    """Returns the packets of a stored segment."""
    packets = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        packets.append(data[at + 2 : end])
        at = end
    return packets


def page_count(samples: int) -> int:
    """Returns how many pages hold a segment of `samples`."""
    return -(-samples // (_PACKET_SAMPLES * _PAGE_PACKETS))


def header_pages(channels: int, sample_rate: int) -> bytes:
    """Returns the two pages that begin a stream. Of its sound nothing is skipped: it is as long as its packets are."""
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, channels, 0, sample_rate, 0, 0)
    tags = struct.pack("<8sI", b"OpusTags", len(_VENDOR)) + _VENDOR + bytes(4)
    return _page(_FIRST, 0, 0, [head]) + _page(0, 0, 1, [tags])


def audio_pages(packets: Sequence[bytes], *, page: int, samples: int, last: bool) -> bytes:
    """Lays out `packets` from page number `page` on, behind `samples` of sound; `last` ends the stream."""
    laid: list[bytes] = []
    for begin in range(0, len(packets), _PAGE_PACKETS):
        some = packets[begin : begin + _PAGE_PACKETS]
        samples += samples_of(some)
        ends = last and begin + _PAGE_PACKETS >= len(packets)
        laid.append(_page(_LAST if ends else 0, samples, page + len(laid), some))
    return b"".join(laid)


def _page(flags: int, granule: int, number: int, packets: Sequence[bytes]) -> bytes:
    lacing = b"".join(
        bytes([_LACING]) * (len(packet) // _LACING) + bytes([len(packet) % _LACING]) for packet in packets
    )
    header = _PAGE.pack(b"OggS", 0, flags, granule, _SERIAL, number, 0, len(lacing))
    page = bytearray(b"".join((header, lacing, *packets)))
    page[_CRC_OFFSET : _CRC_OFFSET + 4] = _crc(page).to_bytes(4, "little")
    return bytes(page)


@dataclass(frozen=True, slots=True)
class _Page:
    begin: int
    end: int
    flags: int
    granule: int
    stream: tuple[int, int]
    """Serial number of the stream, and the number of the page in it."""
    lacing: bytes
    body: bytes


def _pages(data: bytes) -> Iterator[_Page]:
    """Steps over every page. Raises OggError where one is cut or damaged: decoders pass over such in silence."""
    at = 0
    while at < len(data):
        begin, lacing_at = at, at + _PAGE.size
        if len(data) < lacing_at or not data.startswith(b"OggS", at):
            raise OggError("no whole page")
        _, _, flags, granule, serial, number, crc, segments = _PAGE.unpack_from(data, at)
        body_at = lacing_at + segments
        lacing = data[lacing_at:body_at]
        at = body_at + sum(lacing)
        bare = data[begin : begin + _CRC_OFFSET] + bytes(4) + data[begin + _CRC_OFFSET + 4 : at]
        if at > len(data) or crc != _crc(bare):
            raise OggError("no whole page")
        yield _Page(begin, at, flags, granule, (serial, number), lacing, data[body_at:at])


def ogg_streams(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields where each of the streams begins and ends, which stand one after another. Raises OggError."""
    begin, following, packets = 0, None, _Packets()
    for page in _pages(data):
        if page.flags & _FIRST:
            if following is not None:
                raise OggError("a stream without its last page")
            begin, packets = page.begin, _Packets()
        elif page.stream != following:
            raise OggError("a page is missing")
        packets.add(page)
        serial, number = page.stream
        following = None if page.flags & _LAST else (serial, number + 1)
        if following is None:
            if packets.are_opus and sum(map(_samples, packets.whole[2:])) > page.granule + _MOST_TRIMMED:
                raise OggError("its last page counts fewer samples than there are")
            yield begin, page.end
    if following is not None:
        raise OggError("a stream without its last page")


class _Packets:
    """The packets of the pages of one stream."""

    def __init__(self) -> None:
        self.whole: list[bytes] = []
        self.rest = b""

    @property
    def are_opus(self) -> bool:
        return bool(self.whole) and self.whole[0].startswith(b"OpusHead")

    def add(self, page: _Page) -> None:
        at = 0
        for size in page.lacing:
            self.rest += page.body[at : at + size]
            at += size
            if size < _LACING:
                self.whole.append(self.rest)
                self.rest = b""


def _samples(packet: bytes) -> int:
    """Samples of a packet at 48 kHz: RFC 6716 section 3.2, by the code of how many frames it has."""
    if not packet:
        return 0
    code = packet[0] & 0b11
    frames = sum(packet[1:2]) & 0x3F if code == 3 else min(code, 1) + 1
    return frames * _FRAME_SAMPLES[packet[0] >> 3]


_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _crc(data: bytes | bytearray) -> int:
    """CRC-32 of Ogg: the polynomial of zlib's, unreflected, with neither a start value nor a final inversion.

    Both are linear, so zlib's on mirrored bytes gives it at native speed: mirror in, take the two inversions back out,
    mirror out.
    """
    mirrored = zlib.crc32(bytes(data).translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_REVERSED), "big")
