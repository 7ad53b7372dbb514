"""The walk over the frames of an MP3 stream."""

from __future__ import annotations

import io

import lameenc  # type: ignore[import-not-found]
import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from voice_service.audio.mp3 import Mp3Error, Mp3Fault, followed_by_silence, parse_header, walk
from voice_service.providers.mock.provider import silent_mp3

FIVE = silent_mp3(b"five", 5)
BOUNDARIES = {frame * 20_480 // 49 for frame in range(6)}
ID3V2 = b"ID3\x04\x00\x00\x00\x00\x01\x02" + bytes(130)
ID3V1 = b"TAG" + bytes(125)
APE_HEADER = b"APETAGEX" + (2000).to_bytes(4, "little") + (52).to_bytes(4, "little") + bytes(4) + b"\x00\x00\x00\xa0"
APE = APE_HEADER + bytes(8) + bytes(20) + b"APETAGEX" + bytes(24)
INFO = FIVE[:4] + bytes(17) + b"Info" + bytes(417 - 25)
STEREO_44100_128 = bytes.fromhex("fffb9064") + bytes(413)
MPEG2_22050_MONO = bytes.fromhex("fff380c4") + bytes(204)


@pytest.mark.parametrize(
    ("header", "length", "samples", "sample_rate", "bit_rate", "channels"),
    [
        ("fffb90c4", 417, 1152, 44_100, 128_000, 1),
        ("fffb92c4", 418, 1152, 44_100, 128_000, 1),
        ("fffa9064", 417, 1152, 44_100, 128_000, 2),
        ("fffbe464", 960, 1152, 48_000, 320_000, 2),
        ("fffb1864", 144, 1152, 32_000, 32_000, 2),
        ("fff380c4", 208, 576, 22_050, 64_000, 1),
        ("ffe318c4", 72, 576, 8_000, 8_000, 1),
    ],
)
def test_header_gives_what_the_standard_says(
    header: str, length: int, samples: int, sample_rate: int, bit_rate: int, channels: int
) -> None:
    """Versions, rates, padding and channels are read from the four bytes."""
    parsed = parse_header(bytes.fromhex(header))

    assert parsed is not None
    assert (length, samples, sample_rate) == (parsed.length, parsed.samples, parsed.sample_rate)
    assert (bit_rate, channels) == (parsed.bit_rate, parsed.channels)


@pytest.mark.parametrize("header", ["fffbf0c4", "fffb00c4", "fffb9cc4", "fffd90c4", "ffeb90c4", "7ffb90c4", "fffb90"])
def test_header_that_states_no_length_is_none(header: str) -> None:
    """Free format, reserved values, other layers and short rests are no headers."""
    assert parse_header(bytes.fromhex(header)) is None


def test_walk_counts_frames_and_samples() -> None:
    """Five frames are five times 1152 samples, and clean bytes are handed back as they are."""
    walked = walk(FIVE)

    assert (5, 5760, 44_100, 1, 128_000) == (
        walked.frames,
        walked.samples,
        walked.sample_rate,
        walked.channels,
        walked.bit_rate,
    )
    assert walked.data is FIVE
    assert 5 * 1152 / 44_100 == walked.duration


@pytest.mark.parametrize(
    "wrapped",
    [
        ID3V2 + FIVE,
        FIVE + ID3V1,
        FIVE + APE,
        APE + FIVE + APE + ID3V1,
        ID3V2 + INFO + FIVE,
        FIVE[:417] + ID3V2 + FIVE[417:],
        INFO + FIVE[:417] + INFO + FIVE[417:],
    ],
    ids=["id3v2", "id3v1", "ape", "all-tags", "info", "tag-between-frames", "info-between-frames"],
)
def test_walk_drops_what_is_not_sound(wrapped: bytes) -> None:
    """Tags and encoders' info frames are taken out, wherever they stand."""
    walked = walk(wrapped)

    assert FIVE == walked.data
    assert 5 == walked.frames


def test_walk_drops_vbri_frames() -> None:
    """Fraunhofer's info frame has its tag at byte 36."""
    vbri = FIVE[:4] + bytes(32) + b"VBRI" + bytes(417 - 40)

    assert FIVE == walk(vbri + FIVE).data


def test_walk_of_joined_streams_is_the_sum() -> None:
    """Segments joined end to end are as many frames as they were apart."""
    assert 5 + 7 == walk(FIVE + silent_mp3(b"seven", 7)).frames


def test_walk_gives_no_bit_rate_where_frames_differ() -> None:
    """A stream of variable bit rate is whole, but has no one rate."""
    slower = bytes.fromhex("fffb80c4") + bytes(361)

    walked = walk(FIVE + slower)

    assert (6, None) == (walked.frames, walked.bit_rate)


@given(st.integers(min_value=0, max_value=len(FIVE) - 1))
def test_walk_refuses_every_cut_inside_a_frame(position: int) -> None:
    """A cut anywhere but between two frames is seen, and placed at the frame that it hit."""
    if position in BOUNDARIES and position:
        assert len([start for start in BOUNDARIES if start < position]) == walk(FIVE[:position]).frames
        return

    with pytest.raises(Mp3Error) as caught:
        walk(FIVE[:position])

    assert Mp3Fault.TRUNCATED == caught.value.fault
    assert max(start for start in BOUNDARIES if start <= position) == caught.value.offset


@given(st.integers(min_value=1, max_value=len(ID3V2 + APE + ID3V1) - 1))
def test_walk_refuses_every_cut_inside_a_tag(missing: int) -> None:
    """A stream that ends within its tags is cut, unless it ends exactly behind one."""
    tags = FIVE + ID3V2 + APE + ID3V1
    cut = tags[: len(tags) - missing]
    if missing in {len(ID3V1), len(APE + ID3V1)}:
        assert FIVE == walk(cut).data
        return

    with pytest.raises(Mp3Error) as caught:
        walk(cut)

    assert Mp3Fault.TRUNCATED == caught.value.fault


@given(st.sampled_from(sorted(BOUNDARIES)), st.binary(min_size=4, max_size=40))
def test_walk_refuses_stray_bytes_between_frames(boundary: int, stray: bytes) -> None:
    """Bytes that are neither frame nor tag are placed where they begin."""
    stray = b"<" + stray

    with pytest.raises(Mp3Error) as caught:
        walk(FIVE[:boundary] + stray + FIVE[boundary:])

    assert boundary == caught.value.offset


@pytest.mark.parametrize("other", [STEREO_44100_128, MPEG2_22050_MONO], ids=["channels", "sample-rate"])
def test_walk_refuses_a_change_of_format(other: bytes) -> None:
    """A stream that changes channels or sampling rate is refused at the first frame that differs."""
    with pytest.raises(Mp3Error) as caught:
        walk(FIVE + other)

    assert (Mp3Fault.CHANGING, len(FIVE)) == (caught.value.fault, caught.value.offset)


@pytest.mark.parametrize("data", [b"", ID3V2, INFO, ID3V1])
def test_walk_refuses_a_stream_without_sound(data: bytes) -> None:
    """Nothing, or tags alone, is not a whole stream."""
    with pytest.raises(Mp3Error) as caught:
        walk(data)

    assert Mp3Fault.TRUNCATED == caught.value.fault


def test_walk_refuses_an_id3_size_that_is_no_size() -> None:
    """Size bytes of ID3v2 have seven bits each."""
    with pytest.raises(Mp3Error) as caught:
        walk(b"ID3\x04\x00\x00\x80\x00\x00\x00" + FIVE)

    assert Mp3Fault.GARBAGE == caught.value.fault


@given(st.binary(max_size=200))
def test_walk_of_anything_raises_nothing_else(data: bytes) -> None:
    """Whatever the bytes, the answer is a walk or an Mp3Error."""
    try:
        walked = walk(data)
    except Mp3Error:
        return
    assert walked.frames > 0


@pytest.mark.parametrize(("sample_rate", "channels", "bit_rate"), [(44_100, 1, 128), (24_000, 1, 64), (44_100, 2, 192)])
def test_silence_follows_in_frames_of_the_same_format(sample_rate: int, channels: int, bit_rate: int) -> None:
    """A decoder reads the whole as one stream, as long as it says, and silent to the sample at its end."""
    noise = np.random.default_rng(1).integers(-8_000, 8_000, sample_rate * channels, dtype=np.int16)
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_in_sample_rate(sample_rate)
    encoder.set_channels(channels)
    encoder.set_bit_rate(bit_rate)
    spoken = walk(bytes(encoder.encode(noise.tobytes()) + encoder.flush()))

    longer = followed_by_silence(spoken, 0.4)
    samples, rate = soundfile.read(io.BytesIO(longer.data), dtype="int16", always_2d=True)

    assert walk(longer.data) == longer
    assert longer.data.startswith(spoken.data)
    assert 0.4 <= longer.duration - spoken.duration < 0.43
    assert sample_rate == rate
    assert abs(longer.samples - len(samples)) <= 2 * 1_152
    assert not samples[-round(0.3 * rate) :].any()
    assert spoken == followed_by_silence(spoken, 0.0)
