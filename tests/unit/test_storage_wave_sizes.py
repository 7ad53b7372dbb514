"""A finished WAVE file has its true length; a stream, and what is no such stream, stays as it is."""

import io
import struct
import wave

import pytest

from storage_service.audio.finishing import true_sizes

FORM = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 44_100, 88_200, 2, 16)
OPEN = b"RIFF" + b"\xff" * 4 + b"WAVE" + FORM + b"data" + b"\xff" * 4
SOUND = bytes(range(200)) * 10


def test_a_finished_wave_has_its_length() -> None:
    """As every reader finds it."""
    whole = true_sizes(OPEN + SOUND[:700], 44 + len(SOUND)) + SOUND[700:]

    assert len(OPEN + SOUND) == len(whole)
    assert len(whole) - 8 == int.from_bytes(whole[4:8], "little")
    with wave.open(io.BytesIO(whole)) as file:
        assert len(SOUND) // 2 == file.getnframes()
        assert SOUND == file.readframes(file.getnframes())


@pytest.mark.parametrize("size", [(1 << 32) + 7, (1 << 32) + 8, 5 << 30])
def test_a_wave_of_four_gigabytes_stays_open(size: int) -> None:
    """There is no place for such a size."""
    assert OPEN + SOUND == true_sizes(OPEN + SOUND, size)


def test_the_longest_size_fits() -> None:
    """0xFFFFFFFE is a size, 0xFFFFFFFF stands for an open one."""
    assert b"\xfe\xff\xff\xff" == true_sizes(OPEN, 0xFFFFFFFE + 8)[4:8]


@pytest.mark.parametrize(
    "beginning",
    [b"", b"OggS" + bytes(60), b"\xff\xfb" + bytes(60), OPEN[:40], OPEN.replace(b"data", b"LIST"), b"RIFF" + bytes(60)],
)
def test_other_files_stay_as_they_are(beginning: bytes) -> None:
    """MP3 and Ogg have no sizes, and a header with its sizes needs none."""
    assert beginning == true_sizes(beginning, 1_000)
