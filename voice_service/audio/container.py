"""Lays out the segments of a story as one file that can be heard from its first byte on."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voice_service.audio.opus import HEADER_PAGES, audio_pages, header_pages, page_count, unpack
from voice_service.ports import Codec

if TYPE_CHECKING:
    from voice_service.ports import StoryFormat

_UNKNOWN_SIZE: Final = 0xFFFFFFFF
"""What a stream of unknown length says of its size: ffmpeg writes it, and readers go on to the end."""


@dataclass(slots=True)
class Position:
    """Where a file in the making ends: bytes, samples and, of Ogg, pages."""

    size: int = 0
    samples: int = 0
    pages: int = HEADER_PAGES

    def go_on(self, size: int, samples: int) -> None:
        """Goes behind a segment of `samples`, after which the file has `size` bytes."""
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
