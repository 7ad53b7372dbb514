"""Audio files to samples: lengths, rates and scales are right, and what is cut is refused."""

import io
import struct

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]

from voice_service.providers.speech.containers import AudioType, ContainerError, Shape, audio_type, decode, resample

SAMPLES = (np.sin(np.arange(24_000) * 0.05) * 8_000).astype("<i2")
PCM = SAMPLES.tobytes()


def wave(data_size: int | None = None, *, data: bytes = PCM, extra: bytes = b"") -> bytes:
    """A WAVE file of one second at 24 kHz that says it has `data_size` bytes."""
    size = len(data) if data_size is None else data_size
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 24_000, 48_000, 2, 16)
    body = b"WAVE" + form + extra + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(len(body), 0xFFFFFFFF)) + body


def coded(container: str, subtype: str | None = None, *, channels: int = 1) -> bytes:
    file = io.BytesIO()
    samples = np.repeat(SAMPLES[:, None], channels, axis=1)
    soundfile.write(file, samples, 24_000, format=container, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF, 0x7FFFFFFF, 2_000_000_000])
def test_a_wave_that_is_streamed_is_read_to_its_end(size: int | None) -> None:
    """Servers write such sizes before they know the right one."""
    assert PCM == decode(wave(size), 24_000)


def test_a_wave_may_have_other_parts() -> None:
    """Chunks before the samples are stepped over, those of odd length with their padding."""
    assert PCM == decode(wave(extra=b"LIST\x03\x00\x00\x00abc\x00"), 24_000)


@pytest.mark.parametrize("data", [wave()[:-1], wave()[:24_000], wave()[:40], wave()[:20]])
def test_a_wave_that_is_shorter_than_it_says_is_refused(data: bytes) -> None:
    """Down to a header without samples."""
    with pytest.raises(ContainerError):
        decode(data, 24_000)


def test_floating_point_is_scaled() -> None:
    """Samples from -1 to 1, which a decoder that is asked for whole numbers gives as silence."""
    file = io.BytesIO()
    soundfile.write(file, SAMPLES.astype("float32") / 32_768, 24_000, format="WAV", subtype="FLOAT")

    assert PCM == decode(file.getvalue(), 24_000)


@pytest.mark.parametrize(
    "data", [coded("FLAC"), coded("FLAC", channels=2), coded("WAV", channels=2)], ids=["flac", "flac stereo", "stereo"]
)
def test_channels_become_one(data: bytes) -> None:
    """At their mean: two that are alike give the same again."""
    assert PCM == decode(data, 24_000)


@pytest.mark.parametrize(("container", "subtype"), [("MP3", None), ("OGG", "OPUS"), ("OGG", "VORBIS")])
def test_what_was_compressed_is_as_long_as_before(container: str, subtype: str | None) -> None:
    """To the sample where the encoder's tag says so."""
    assert len(decode(coded(container, subtype), 24_000)) == pytest.approx(len(PCM), abs=2)


def test_another_rate_is_resampled() -> None:
    """Twice the rate, twice the samples."""
    assert 2 * len(PCM) == len(decode(wave(), 48_000))
    assert 2 * len(PCM) == len(resample(PCM, 1, 24_000, 48_000))


def test_raw_samples_of_two_channels_become_one() -> None:
    """The mean of each pair; half a pair is refused."""
    stereo = np.repeat(SAMPLES, 2).astype("<i2").tobytes()

    assert PCM == resample(stereo, 2, 24_000, 24_000)
    with pytest.raises(ContainerError):
        resample(stereo[:-2], 2, 24_000, 24_000)


@pytest.mark.parametrize("tagged", [False, True])
def test_an_mp3_that_lost_frames_is_refused(*, tagged: bool) -> None:
    """The encoder's tag counts them, behind an ID3 tag too; a cut within a frame is seen without it."""
    id3 = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128) if tagged else b""
    whole = id3 + coded("MP3")
    frame = whole.rindex(whole[len(id3) : len(id3) + 2])

    assert len(decode(whole, 24_000)) == pytest.approx(len(PCM), abs=2)
    for end in (frame - 1, frame // 2):
        with pytest.raises(ContainerError):
            decode(whole[:end], 24_000)
    frames = [place for place in range(len(id3), len(whole)) if whole[place : place + 2] == whole[frame : frame + 2]]
    with pytest.raises(ContainerError, match="shorter than it says"):
        decode(whole[: frames[-3]], 24_000)


@pytest.mark.parametrize(
    ("content_type", "head", "asked", "shape"),
    [
        ("audio/pcm", bytes(12), "pcm", Shape.RAW),
        ("Audio/PCM; Rate=24000", bytes(12), "mp3", Shape.RAW),
        ("", bytes(12), "pcm", Shape.RAW),
        ("application/octet-stream", bytes(12), "mp3", Shape.FILE),
        ("audio/pcm", b"RIFF\x00\x00\x00\x00WAVE", "pcm", Shape.FILE),
        ("audio/pcm", b"RIFF\x00\x00\x00\x00AVI ", "pcm", Shape.RAW),
        ("application/json", b"OggS", "pcm", Shape.FILE),
        ("audio/mpeg", b"\xff\xfb\x00", "pcm", Shape.FILE),
        ("application/problem+json", b"{}", "pcm", Shape.JSON),
        ("audio/pcm", b'{"detail": "', "pcm", Shape.JSON),
        ("audio/pcm", b'{"\x00\x01\xff\xfe', "pcm", Shape.RAW),
        ("text/html; charset=utf-8", b"<html>", "pcm", Shape.OTHER),
    ],
)
def test_an_answer_is_told_by_what_it_says_and_how_it_begins(
    content_type: str, head: bytes, asked: str, shape: Shape
) -> None:
    """A file that names itself is one whatever the header says."""
    assert shape is audio_type(content_type, head, asked, 24_000).shape  # type: ignore[arg-type]


def test_the_rate_of_raw_samples_is_the_stated_one() -> None:
    """Else the one that is expected."""
    assert AudioType(Shape.RAW, 16_000, 2) == audio_type("audio/pcm;rate=16000;channels=2", bytes(12), "pcm", 24_000)
    assert AudioType(Shape.RAW, 24_000, 1) == audio_type("audio/pcm", bytes(12), "pcm", 24_000)
