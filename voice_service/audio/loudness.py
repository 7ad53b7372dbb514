"""Levels voices to one loudness, so that a voice that takes over in mid-story does not shout.

Loudness is that of EBU R128 (ITU-R BS.1770-4, gated, of one channel). It is that of a voice, not of a segment: a
whisper stays one. It is measured on the first seconds that a voice speaks, and its gain is fixed then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cachetools import LRUCache

from voice_service.audio.decode import whole_numbers
from voice_service.audio.mp3 import parse_header

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    from voice_service.audio.decode import Pcm
    from voice_service.audio.mp3 import Walk


TARGET: Final = -20.0
"""LUFS of one channel: what the embedded voices have (heart -19.7 to -20.3, espeak-ng -18.5 to -22.6), which are
therefore left as they are; about that of audiobooks."""
PEAK: Final = -1.5
"""dBFS that no sample is raised beyond: between samples the sound may be half a decibel higher."""
_MOST_RAISED: Final = 12.0
_SECONDS: Final = 8.0
_MOST_SEGMENTS: Final = 8
_LEAST_SECONDS: Final = 0.4
"""A block of the gate."""
_MOST_VOICES: Final = 256


@dataclass(frozen=True, slots=True)
class Measure:
    """How loud some sound is; `lufs` is None of silence, and of sound too short to be gated. `peak` in dBFS."""

    seconds: float
    lufs: float | None
    peak: float


def measure(pcm: Pcm) -> Measure:
    """Measures a segment, which takes about a millisecond for each eight seconds. Blocks."""
    import loudness  # type: ignore[import-not-found] # noqa: PLC0415 - a bare extension module, rarely needed

    samples = pcm.samples.astype("float32") / 32_768
    lufs = loudness.integrated_loudness(samples, pcm.sample_rate) if pcm.duration > _LEAST_SECONDS else -math.inf
    return Measure(pcm.duration, lufs if math.isfinite(lufs) else None, peak_of(pcm))


def peak_of(pcm: Pcm) -> float:
    """Returns the highest sample in dBFS."""
    highest = int(np.abs(pcm.samples.astype("int32")).max(initial=0))
    return 20 * math.log10(highest / 32_768) if highest else -math.inf


@dataclass(slots=True)
class _Level:
    segments: int = 0
    seconds: float = 0.0
    power: float = 0.0
    peak: float = -math.inf


class Levels:
    """The gain of each voice, the last 256 that spoke."""

    def __init__(self) -> None:
        self._levels: LRUCache[Hashable, _Level] = LRUCache(_MOST_VOICES)

    def is_fixed(self, voice: Hashable) -> bool:
        """Returns whether enough of the voice was measured."""
        level = self._levels.get(voice, _Level())
        return level.seconds >= _SECONDS or level.segments >= _MOST_SEGMENTS

    def add(self, voice: Hashable, found: Measure) -> None:
        """Takes up a segment of the voice."""
        level = self._levels.setdefault(voice, _Level())
        level.segments += 1
        level.peak = max(level.peak, found.peak)
        if found.lufs is not None:
            level.seconds += found.seconds
            level.power += found.seconds * 10 ** (found.lufs / 10)

    def gain(self, voice: Hashable) -> float:
        """Returns the gain in dB that brings the voice to the target, as far as its peaks allow; 0 if unknown."""
        level = self._levels.get(voice)
        if level is None or not level.seconds:
            return 0.0
        gain = TARGET - 10 * math.log10(level.power / level.seconds)
        return min(gain, _MOST_RAISED, raised_to(PEAK, level.peak))


def raised_to(limit: float, peak: float) -> float:
    """Returns by how many dB sound with that peak may be raised."""
    return max(0.0, limit - peak)


def amplified(pcm: Pcm, gain: float) -> Pcm:
    """Returns the samples `gain` dB louder, or less where a peak of theirs would go beyond the limit."""
    gain = min(gain, raised_to(PEAK, peak_of(pcm)))
    return replace(pcm, samples=whole_numbers(pcm.samples * np.float32(10 ** (gain / 20)))) if gain else pcm


_STEP: Final = 20 * math.log10(2) / 4
"""Decibels of one step of `global_gain`."""
_HEADROOM: Final = 1.5
"""Decibels that MP3 is raised less, since it is not decoded to see its peaks."""
_HEADER_BYTES, _CRC_BYTES, _SIDE_BYTES = 4, 2, 17
_GRANULES: Final = (18, 77)
"""Bits of the side information of one channel where its granules begin (ISO/IEC 11172-3 section 2.4.1.7): 12 bits for
the length of what is coded, 9 for the big values, 8 for the gain, 30 more."""


def has_sound(walked: Walk) -> bool:
    """Returns whether the first seconds of MPEG-1 frames of one channel hold anything but digital silence."""
    data, sides, _ = _sides(walked, 100)
    return any(bool(_field(data, sides, granule, 12).any()) for granule in _GRANULES)


def frames_amplified(walked: Walk, gain: float) -> Walk:
    """Returns MPEG-1 frames of one channel, louder by the steps of 1.5 dB nearest to `gain`; nothing is decoded."""
    steps = round(min(gain, max(0.0, gain - _HEADROOM)) / _STEP)
    if not steps:
        return walked
    data, sides, guarded = _sides(walked)
    for granule in _GRANULES:
        coded, old = _field(data, sides, granule, 12), _field(data, sides, granule + 21, 8)
        new = np.where((coded > 0) & (old > 0), np.clip(old.astype(int) + steps, 1, 255), old).astype("uint32")
        place, shift = sides + (granule + 21) // 8, 24 - (granule + 21) % 8 - 8
        for byte in range(3):
            # Eight bits over the three bytes that they may touch.
            data[place + byte] ^= ((old ^ new) << shift >> 8 * (2 - byte) & 0xFF).astype("uint8")
    if len(guarded):
        crc = np.full(len(guarded), 0xFFFF, "uint32")
        for offset in (-_CRC_BYTES - 2, -_CRC_BYTES - 1, *range(_SIDE_BYTES)):
            crc ^= data[guarded + offset].astype("uint32") << 8
            for _ in range(8):
                crc = (crc << 1 ^ np.where(crc & 0x8000, 0x8005, 0)).astype("uint32") & 0xFFFF
        data[guarded - 2], data[guarded - 1] = (crc >> 8).astype("uint8"), (crc & 0xFF).astype("uint8")
    return replace(walked, data=data.tobytes())


def _sides(walked: Walk, most: int | None = None) -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any]]:
    """Returns the bytes, to be changed, and where the side information of frames begins; then of those with a CRC."""
    data, place, starts = walked.data, 0, list[int]()
    header = parse_header(data[:_HEADER_BYTES])
    if header is None or walked.bit_rate is None:
        raise ValueError("no frames of one length")
    # Of frames of one bit rate each is as long as the others, or a byte longer where it says so.
    shortest = header.length - (data[2] >> 1 & 1)
    while place < len(data) and len(starts) != most:
        starts.append(place)
        place += shortest + (data[place + 2] >> 1 & 1)
    found, headers = np.frombuffer(data, "uint8", place).copy(), np.array(starts)
    guarded = found[headers + 1] & 1 == 0
    sides = headers + _HEADER_BYTES + _CRC_BYTES * guarded
    return found, sides, sides[guarded]


def _field(data: NDArray[np.uint8], sides: NDArray[Any], bit: int, bits: int) -> NDArray[np.uint32]:
    """Returns `bits` of each frame's side information, from `bit` on, within three bytes."""
    place = sides + bit // 8
    window = data[place].astype("uint32") << 16 | data[place + 1].astype("uint32") << 8 | data[place + 2]
    found: NDArray[np.uint32] = window >> (24 - bit % 8 - bits) & ((1 << bits) - 1)
    return found
