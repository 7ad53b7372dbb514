"""Joins the segments of a story into one file that can be heard from its first byte on."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Protocol

from voice_service.audio.opus import HEADER_PAGES, audio_pages, header_pages, page_count, unpack
from voice_service.ports import Codec

if TYPE_CHECKING:
    from voice_service.ports import StoryFormat

_UNKNOWN_SIZE: Final = 0xFFFFFFFF
"""What a stream of unknown length says of its size: ffmpeg writes it, and readers go on to the end."""


class Container(Protocol):
    """A file in the making. Segments are laid out, or passed over, in order."""

    def lay(self, sound: bytes, samples: int, *, last: bool) -> bytes:
        """Return the file's next bytes, which hold the cached segment `sound`; the first call brings the header."""

    def skip(self, samples: int) -> None:
        """Go past a segment that is in the caller's hands already."""


def container_of(story_format: StoryFormat) -> Container:
    """Return a file of that format, empty yet."""
    match story_format.codec:
        case Codec.MP3:
            return _Frames()
        case Codec.WAV:
            return _Wav(story_format)
        case Codec.OPUS:
            return _OggOpus(story_format)


class _Frames:
    """MPEG audio: frames behind frames."""

    def lay(self, sound: bytes, samples: int, *, last: bool) -> bytes:
        del samples, last
        return sound

    def skip(self, samples: int) -> None:
        del samples


class _Wav:
    """WAV whose header leaves the sizes open, since it is heard before its end is known."""

    def __init__(self, story_format: StoryFormat) -> None:
        self._header = _wav_header(story_format)

    def lay(self, sound: bytes, samples: int, *, last: bool) -> bytes:
        del samples, last
        header, self._header = self._header, b""
        return header + sound

    def skip(self, samples: int) -> None:
        del samples
        self._header = b""


class _OggOpus:
    """One logical stream from beginning to end."""

    def __init__(self, story_format: StoryFormat) -> None:
        self._header = header_pages(story_format.channels, story_format.sample_rate)
        self._page = HEADER_PAGES
        self._samples = 0

    def lay(self, sound: bytes, samples: int, *, last: bool) -> bytes:
        header = self._header
        pages = audio_pages(unpack(sound), page=self._page, samples=self._samples, last=last)
        self.skip(samples)
        return header + pages

    def skip(self, samples: int) -> None:
        self._header = b""
        self._page += page_count(samples)
        self._samples += samples


def _wav_header(story_format: StoryFormat) -> bytes:
    frame = 2 * story_format.channels
    rate = story_format.sample_rate
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", _UNKNOWN_SIZE, b"WAVE",
        b"fmt ", 16, 1, story_format.channels, rate, rate * frame, frame, 16,
        b"data", _UNKNOWN_SIZE,
    )  # fmt: skip
