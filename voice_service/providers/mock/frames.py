"""Silence as MP3 that is valid, cheap to make and different for every seed.

A Layer III frame whose side information claims no bits of main data is silent; what is left of it is ancillary data,
which decoders skip (ISO/IEC 11172-3 section 2.4.2.7). There the seed's own bytes go. Frames of 128 kbit/s at 44.1 kHz
are 417 or 418 bytes long in a pattern that comes round every 49 frames, which are 20,480 bytes or 1.28 s.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAMES: Final = 49
_BLOCK_BYTES: Final = 20_480
_SAMPLES: Final = 1152
_SAMPLE_RATE: Final = 44_100
_FRAME_STARTS: Final = tuple(frame * _BLOCK_BYTES // _FRAMES for frame in range(_FRAMES + 1))
_HEADER: Final = bytes.fromhex("fffb90c4")
_HEADER_PADDED: Final = bytes.fromhex("fffb92c4")
# No main data in either granule; a gain that is not zero, so that the frame does not pass for an encoder's info frame.
_SIDE_INFORMATION: Final = bytes.fromhex("0000000001a40000000000000000000000")
_PREFIX_BYTES: Final = len(_HEADER) + len(_SIDE_INFORMATION)
_STAMP_BYTES: Final = 64
# Filler without 0xFF can never be taken for the start of a frame.
_NO_SYNC: Final = bytes(range(0xFF)) + b"\x7f"


def frames_for(seconds: float) -> int:
    """Return how many frames hold `seconds` of sound, one at least."""
    return max(1, -(-round(seconds * _SAMPLE_RATE) // _SAMPLES))


def silent_mp3(seed: bytes, frames: int) -> bytes:
    """Make `frames` silent frames of MPEG-1 Layer III, 44.1 kHz, mono, 128 kbit/s, which differ for every `seed`.

    Each run of 49 frames carries its own number, so runs that are lost, repeated or swapped show in the bytes.
    """
    return b"".join(silent_runs(seed, frames))


def silent_runs(seed: bytes, frames: int) -> Iterator[bytes]:
    """Make the same run by run, so that nobody need hold all of it."""
    filler = hashlib.shake_128(seed).digest(_BLOCK_BYTES).translate(_NO_SYNC)
    block = b"".join(_frame(filler, start, end) for start, end in pairwise(_FRAME_STARTS))
    rest = block[_PREFIX_BYTES + _STAMP_BYTES :]
    prefix = block[:_PREFIX_BYTES]
    whole, over = divmod(frames, _FRAMES)
    for number in range(whole + (over > 0)):
        stamp = hashlib.sha256(seed + number.to_bytes(4, "big")).hexdigest().encode()
        run = b"".join((prefix, stamp, rest))
        yield run if number < whole else run[: _FRAME_STARTS[over]]


def _frame(filler: bytes, start: int, end: int) -> bytes:
    padded = end - start > _FRAME_STARTS[1]
    return (_HEADER_PADDED if padded else _HEADER) + _SIDE_INFORMATION + filler[start + _PREFIX_BYTES : end]
