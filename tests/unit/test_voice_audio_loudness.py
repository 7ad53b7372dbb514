"""Voices come to one loudness, by a gain that is theirs and not of a segment."""

import io
import math
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
from support.voice_samples import decode as play

from voice_service.audio.decode import Pcm, samples_of_mp3
from voice_service.audio.encoder import AudioEncoder, Sound, encode
from voice_service.audio.loudness import (
    PEAK,
    TARGET,
    Levels,
    Measure,
    amplified,
    frames_amplified,
    has_sound,
    measure,
    peak_of,
)
from voice_service.audio.mp3 import Walk, walk
from voice_service.audio.verify import SegmentFinisher
from voice_service.ports import MP3_44100_128, OGG_OPUS_48000, WAV_44100, NativeFormat, SegmentRequest, StoryFormat
from voice_service.providers.mock.provider import MockVoiceProvider, silent_mp3

TEXT = "Once there was a small fox who could not sleep at all, and so she counted the stars."
RATE = 24_000


def humming(level: float, seconds: float = 6.0, rate: int = RATE) -> Pcm:
    """Syllables of a voice, more or less, at a peak of `level`."""
    moments = np.arange(round(seconds * rate)) / rate
    syllables = 0.2 + 0.8 * np.abs(np.sin(2 * np.pi * 2 * moments))
    tones = sum(np.sin(2 * np.pi * 180 * harmonic * moments) / harmonic for harmonic in range(1, 12))
    return Pcm((tones / np.abs(tones).max() * syllables * level * 32_767).astype("<i2"), rate)


def lufs(pcm: Pcm) -> float:
    found = measure(pcm).lufs
    assert found is not None
    return found


def mp3(pcm: Pcm) -> Walk:
    return walk(encode(pcm, MP3_44100_128).data)


def test_a_sine_has_the_loudness_that_the_standard_gives_it() -> None:
    """EBU Tech 3341: 1 kHz at -23 dBFS in two channels is -23 LUFS, so one channel at -20 is as loud."""
    moments = np.arange(20 * 48_000) / 48_000
    sine = Pcm((np.sin(2 * np.pi * 997 * moments) * 10 ** (-20 / 20) * 32_767).astype("<i2"), 48_000)

    assert lufs(sine) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("pcm", [Pcm(np.zeros(RATE, "<i2"), RATE), Pcm(np.ones(100, "<i2"), RATE), humming(0.5, 0.3)])
def test_silence_and_what_is_too_short_have_none(pcm: Pcm) -> None:
    """The gate takes blocks of 0.4 s."""
    assert measure(pcm).lufs is None


@pytest.mark.parametrize("level", [0.05, 0.1, 0.3, 0.5, 0.99])
def test_samples_come_to_the_target(level: float) -> None:
    """Louder or quieter, as far as the peaks allow."""
    levels, pcm = Levels(), humming(level)
    levels.add("voice", measure(pcm))
    levelled = amplified(pcm, levels.gain("voice"))

    expected = min(TARGET, lufs(pcm) + 12, lufs(pcm) + max(0.0, PEAK - peak_of(pcm)))
    assert lufs(levelled) == pytest.approx(expected, abs=0.2)
    assert peak_of(levelled) <= max(PEAK, peak_of(pcm)) + 0.01


def test_a_gain_is_of_the_voice_and_not_of_a_segment() -> None:
    """A whisper after the first seconds stays one."""
    levels = Levels()
    levels.add("voice", Measure(9.0, -26.0, -12.0))
    gain = levels.gain("voice")
    assert levels.is_fixed("voice")
    assert 6.0 == pytest.approx(gain)
    assert 0.0 == levels.gain("another")
    assert not levels.is_fixed("another")


def test_a_voice_that_cannot_be_measured_is_left_as_it_is() -> None:
    """Eight segments of silence are enough to know."""
    levels = Levels()
    for _ in range(8):
        assert not levels.is_fixed("voice")
        levels.add("voice", Measure(1.0, None, -math.inf))

    assert levels.is_fixed("voice")
    assert 0.0 == levels.gain("voice")


def test_voices_are_bounded() -> None:
    """Those that spoke last stay."""
    levels = Levels()
    for number in range(300):
        levels.add(number, Measure(9.0, -26.0, -12.0))

    assert (0.0, 256) == (levels.gain(0), len(levels._levels))


@pytest.mark.parametrize("gain", [-9.0, -3.0, 4.6, 7.6])
def test_frames_are_raised_in_steps_without_being_decoded(gain: float) -> None:
    """To the step; nothing else of the sound changes, ffmpeg finds no fault, and the way back gives the same bytes."""
    before = mp3(humming(0.2))
    after = frames_amplified(before, gain)
    steps = round(min(gain, max(0.0, gain - 1.5)) / 1.505)
    assert after.samples == before.samples
    assert len(before.data) == len(after.data)
    assert walk(after.data) == after

    heard, louder = samples_of_mp3(before), samples_of_mp3(after)
    assert lufs(louder) - lufs(heard) == pytest.approx(steps * 1.505, abs=0.1)
    scaled = heard.samples * 10 ** (steps * 1.505 / 20)
    assert np.abs(scaled - louder.samples).max() < 12
    assert (before.samples, "") == play(after.data)
    back = frames_amplified(after, -steps * 1.505 + (1.5 if steps < 0 else 0.0))
    assert before.data == back.data


def test_the_crc_of_guarded_frames_is_made_anew() -> None:
    """A strict decoder would drop frames otherwise: ffmpeg checks it where it is told to."""
    from voice_service.audio.loudness import _sides  # noqa: PLC0415

    before = mp3(humming(0.2, 1.0))
    shielded = replace(before, data=_with_crc(before))
    after = frames_amplified(shielded, 6.0)
    _, sides, guarded_sides = _sides(after)
    assert len(sides) == len(guarded_sides) == after.frames
    for side in sides:
        stated = int.from_bytes(after.data[side - 2 : side], "big")
        assert _crc(after.data[side - 4 : side - 2] + after.data[side : side + 17]) == stated


def _crc(data: bytes) -> int:
    value = 0xFFFF
    for bit in (byte >> shift & 1 for byte in data for shift in range(7, -1, -1)):
        value = (value << 1 & 0xFFFF) ^ (0x8005 if bit ^ value >> 15 else 0)
    return value


def _with_crc(walked: Walk) -> bytes:
    """Frames that say that they have a CRC, and have one; what they code is not looked at."""
    frames, place = [], 0
    while place < len(walked.data):
        length = 417 + (walked.data[place + 2] >> 1 & 1)
        frame = walked.data[place : place + length]
        header = frame[:1] + bytes([frame[1] & 0xFE]) + frame[2:4]
        frames.append(header + _crc(header[2:] + frame[4:21]).to_bytes(2, "big") + frame[4:-2])
        place += length
    return b"".join(frames)


def test_the_silence_of_the_mock_voice_is_seen_without_decoding() -> None:
    """So it passes untouched, and is not measured."""
    assert not has_sound(walk(silent_mp3(b"x", 60)))
    assert has_sound(mp3(humming(0.2, 1.0)))


async def finished(
    finisher: SegmentFinisher, data: bytes, *, native: NativeFormat, story_format: StoryFormat, **given: Any
) -> Sound:
    metadata = replace(MockVoiceProvider().metadata, name="some", native_format=native, sample_rate=RATE)
    request = SegmentRequest(text=TEXT, language_code="en", voice_id="fox")
    return await finisher.finish(data, request=request, metadata=metadata, story_format=story_format, **given)


def _coded(pcm: Pcm, container: str, subtype: str | None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm.samples, pcm.sample_rate, format=container, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("story_format", [MP3_44100_128, WAV_44100, OGG_OPUS_48000], ids=lambda each: each.name)
@pytest.mark.parametrize("kind", ["mp3", "variable mp3", "other mp3", "pcm", "flac"])
@pytest.mark.sampled(4)
async def test_every_answer_is_levelled_in_every_format(kind: str, story_format: StoryFormat) -> None:
    """A loud voice and a quiet one come out alike, to a step of MP3 and its headroom."""
    loudness = []
    for level in (0.12, 0.9):
        encoder = AudioEncoder(1)
        pcm = humming(level)
        data, native = {
            "mp3": (encode(pcm, MP3_44100_128).data, NativeFormat.MP3_44100_128),
            "variable mp3": (_coded(pcm, "MP3", None), NativeFormat.MP3),
            "other mp3": (_coded(humming(level, rate=44_100), "MP3", None), NativeFormat.MP3_44100_128),
            "pcm": (pcm.samples.tobytes(), NativeFormat.PCM_S16LE),
            "flac": (_coded(pcm, "FLAC", None), NativeFormat.PCM_S16LE),
        }[kind]
        sound = await finished(SegmentFinisher(encoder), data, native=native, story_format=story_format)
        await encoder.aclose()
        loudness.append(_loudness_of(sound, story_format))

    assert all(TARGET - 2.4 < each < TARGET + 1 for each in loudness), loudness
    assert lufs(humming(0.9)) - lufs(humming(0.12)) > 15


def _loudness_of(sound: Sound, story_format: StoryFormat) -> float:
    if story_format is MP3_44100_128:
        return lufs(samples_of_mp3(walk(sound.data)))
    if story_format is WAV_44100:
        return lufs(Pcm(np.frombuffer(sound.data, "<i2"), 44_100))
    from voice_service.audio.container import audio_pages, header_pages, unpack  # noqa: PLC0415

    file = header_pages(1, 48_000) + audio_pages(unpack(sound.data), page=2, samples=0, last=True)
    samples, rate = soundfile.read(io.BytesIO(file), dtype="int16")
    return lufs(Pcm(samples, rate))


async def test_what_has_the_loudness_already_stays_as_it_is() -> None:
    """The embedded voices were measured once; they give the same bytes each time."""
    encoder = AudioEncoder(1)
    pcm = humming(0.9)
    finisher = SegmentFinisher(encoder)
    given: dict[str, Any] = {"native": NativeFormat.PCM_S16LE, "story_format": WAV_44100}
    same = await finished(finisher, pcm.samples.tobytes(), levelled=True, **given)
    other = await finished(finisher, pcm.samples.tobytes(), **given)
    await encoder.aclose()

    assert encode(pcm, WAV_44100).data == same.data
    assert same.data != other.data


async def test_once_the_gain_is_fixed_mp3_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight seconds of a voice are measured; what follows passes with the gain of its frames changed."""
    encoder = AudioEncoder(1)
    finisher = SegmentFinisher(encoder)
    data = encode(humming(0.9), MP3_44100_128).data
    decoding = Mock(side_effect=samples_of_mp3)
    monkeypatch.setattr("voice_service.audio.verify.samples_of_mp3", decoding)
    sounds = [
        await finished(finisher, data, native=NativeFormat.MP3_44100_128, story_format=MP3_44100_128) for _ in range(6)
    ]
    await encoder.aclose()

    assert 2 == decoding.call_count
    assert 1 == len({sound.data for sound in sounds})
