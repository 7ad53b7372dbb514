"""Any answer is decoded by its bytes: all of it and at its true length, or it is refused."""

import io
import math
import struct
import subprocess
from functools import cache
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]

from servicekit.resilience.errors import ProviderErrorKind as Kind
from voice_service.audio.decode import AudioError, Pcm, decode, samples_of_mp3
from voice_service.audio.encoder import encode
from voice_service.audio.mp3 import Walk
from voice_service.ports import MP3_44100_128

RATE = 24_000


def tone(seconds: float, pitch: float = 0.05) -> Any:
    return (np.sin(np.arange(round(seconds * RATE)) * pitch) * 8_000).astype("<i2")


SAMPLES, MORE = tone(1.0), tone(0.75, 0.08)
PCM = SAMPLES.tobytes()
ID3 = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)
ID3V1 = b"TAG" + bytes(125)


def wave(data_size: int | None = None, *, data: bytes = PCM, extra: bytes = b"", behind: bytes = b"") -> bytes:
    """A WAVE file at 24 kHz that says it has `data_size` bytes."""
    size = len(data) if data_size is None else data_size
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    body = b"WAVE" + form + extra + b"data" + struct.pack("<I", size) + data + behind
    return b"RIFF" + struct.pack("<I", min(len(body), 0xFFFFFFFF)) + body


def coded(container: str, subtype: str | None = None, *, channels: int = 1, samples: Any = SAMPLES) -> bytes:
    file = io.BytesIO()
    given = np.repeat(samples[:, None], channels, axis=1)
    soundfile.write(file, given, RATE, format=container, subtype=subtype)
    return file.getvalue()


@cache
def piped(*options: str) -> bytes:
    """One second as ffmpeg writes it to a pipe, where it cannot return to the header."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "s16le", "-ar", str(RATE), "-ac", "1"]
    done = subprocess.run([*command, "-i", "-", *options, "-"], input=PCM, check=True, capture_output=True)
    return bytes(done.stdout)


def pcm_of(data: bytes, content_type: str = "") -> Pcm:
    heard = decode(data, content_type=content_type, sample_rate=RATE)
    return samples_of_mp3(heard) if isinstance(heard, Walk) else heard


def refusal(data: bytes, content_type: str = "", sample_rate: int = RATE) -> Kind:
    with pytest.raises(AudioError) as caught:
        decode(data, content_type=content_type, sample_rate=sample_rate)
    return caught.value.kind


def is_one_after_the_other(heard: Pcm, tolerance: int) -> bool:
    """Both tones are there in full, as the zero crossings of each count them."""
    crossings = int(np.count_nonzero(np.diff(heard.samples > 0)))
    expected = (len(SAMPLES) * 0.05 + len(MORE) * 0.08) / math.pi
    whole = abs(len(heard.samples) - len(SAMPLES) - len(MORE)) <= tolerance
    return whole and abs(crossings - expected) < 0.05 * expected


@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF, 0x7FFFFFFF, 2_000_000_000, 1_000, len(PCM) - 2])
def test_a_wave_is_read_to_its_end_whatever_its_header_says(size: int | None) -> None:
    """Servers write such sizes before they know the right one, or that of the first piece alone."""
    assert PCM == pcm_of(wave(size)).samples.tobytes()


@pytest.mark.parametrize(
    "data",
    [
        wave(extra=b"LIST\x03\x00\x00\x00abc\x00"),
        wave(behind=b"LIST\x04\x00\x00\x00abcd"),
        wave(behind=b"id3 \x03\x00\x00\x00abc"),
        wave(data=PCM[:-2] + PCM[-2:], behind=b"LIST\x04\x00\x00\x00abcdcue \x02\x00\x00\x00ab"),
    ],
)
def test_a_wave_may_have_other_parts(data: bytes) -> None:
    """Chunks around the samples are stepped over, those of odd length with their padding."""
    assert PCM == pcm_of(data).samples.tobytes()


@pytest.mark.parametrize("data", [wave()[:-1], wave()[:24_000], wave(0)[:-1], wave()[:44], wave()[:40], wave()[:20]])
def test_a_wave_that_is_shorter_than_it_says_is_refused(data: bytes) -> None:
    """Down to a header without samples, and half a sample."""
    assert Kind.TRUNCATED is refusal(data)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "PCM_24", "PCM_32"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
def test_samples_of_other_kinds_are_scaled(container: str, subtype: str) -> None:
    """Floating point from -1 to 1 would give silence to a decoder that is asked for whole numbers."""
    assert PCM == pcm_of(coded(container, subtype, samples=SAMPLES / 32_768)).samples.tobytes()


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "PCM_U8"])
def test_telephone_samples_are_decoded(subtype: str) -> None:
    """To the sample, at their own precision."""
    heard = pcm_of(coded("WAV", subtype)).samples

    assert len(SAMPLES) == len(heard)
    assert np.abs(heard.astype(int) - SAMPLES).max() < 600


@pytest.mark.parametrize(
    "data", [coded("FLAC"), coded("FLAC", channels=2), coded("WAV", channels=2)], ids=["flac", "flac stereo", "stereo"]
)
def test_channels_become_one(data: bytes) -> None:
    """At their mean: two that are alike give the same again."""
    assert PCM == pcm_of(data).samples.tobytes()


@pytest.mark.parametrize(("container", "subtype"), [("MP3", None), ("OGG", "OPUS"), ("OGG", "VORBIS")])
def test_what_was_compressed_is_as_long_as_before(container: str, subtype: str | None) -> None:
    """To the sample where the encoder's tag says so."""
    assert len(pcm_of(coded(container, subtype)).samples) == pytest.approx(len(SAMPLES), abs=2)


@pytest.mark.parametrize(
    "options",
    [("-f", "wav"), ("-f", "flac"), ("-f", "mp3"), ("-c:a", "libopus", "-f", "ogg")],
    ids=lambda each: each[-1],
)
def test_what_comes_from_a_pipe_is_whole(options: tuple[str, ...]) -> None:
    """Lengths are not known when such a header is written; MP3 has the padding of its encoder then."""
    heard = pcm_of(piped(*options))

    assert 1.0 <= heard.duration < 1.12


KINDS = [("WAV", None), ("WAV", "ULAW"), ("FLAC", None), ("MP3", None), ("OGG", "OPUS"), ("OGG", "VORBIS")]


@pytest.mark.parametrize(("container", "subtype"), KINDS)
def test_several_files_one_after_another_are_all_heard(container: str, subtype: str | None) -> None:
    """A decoder alone stops after the first: a piece of the text would be missing."""
    joined = coded(container, subtype) + coded(container, subtype, samples=MORE)

    assert is_one_after_the_other(pcm_of(joined), 4)


@pytest.mark.parametrize(
    "joined",
    [
        wave(0xFFFFFFFF) + wave(0xFFFFFFFF, data=MORE.tobytes()),
        wave(0) + wave(data=MORE.tobytes()),
        coded("OGG", "OPUS") + coded("OGG", "VORBIS", samples=MORE),
        coded("FLAC", channels=2) + coded("FLAC", samples=MORE),
        ID3 + coded("MP3") + ID3V1 + ID3 + coded("MP3", samples=MORE) + ID3V1,
    ],
    ids=["wave from pipes", "wave", "opus and vorbis", "flac", "tagged mp3"],
)
def test_files_that_differ_are_all_heard(joined: bytes) -> None:
    """In their headers, codecs and channels, and with tags between them."""
    assert is_one_after_the_other(pcm_of(joined), 4)


def test_mp3_in_pieces_without_headers_is_all_heard() -> None:
    """Each keeps the silence of its encoder then, 50 ms or so."""
    joined = b"".join(encode(Pcm(each, RATE), MP3_44100_128).data for each in (SAMPLES, MORE))

    assert 1.75 < pcm_of(joined).duration < 1.95


def test_a_flac_that_counts_fewer_samples_than_there_are_is_read_to_its_end() -> None:
    """The count is that of the first piece where a server joined some."""
    data = bytearray(coded("FLAC"))
    data[22:26] = (500).to_bytes(4, "big")

    assert PCM == pcm_of(bytes(data)).samples.tobytes()


def test_an_ogg_that_counts_fewer_samples_than_there_are_is_refused() -> None:
    """A decoder stops where the last page says."""
    from voice_service.audio.container import audio_pages, header_pages, packets_of  # noqa: PLC0415

    packets = packets_of(piped("-c:a", "libopus", "-f", "ogg"))
    data = header_pages(1, 48_000) + audio_pages(packets, page=2, samples=0, last=True)
    short = header_pages(1, 48_000) + audio_pages(packets, page=2, samples=-40_000, last=True)

    assert pcm_of(data).duration == pytest.approx(1.0, abs=0.05)
    assert Kind.TRUNCATED is refusal(short)


@pytest.mark.parametrize(("container", "subtype"), KINDS)
def test_a_file_that_lost_its_end_is_refused(container: str, subtype: str | None) -> None:
    """Wherever it was cut, alone and behind another."""
    data = coded(container, subtype)
    for end in (-1, -7, len(data) // 2, len(data) // 3):
        for before in (b"", data):
            assert Kind.TRUNCATED is _kind_of_failure(before + data[:end]), (end, bool(before))


@pytest.mark.parametrize(("container", "subtype"), [("FLAC", None), ("OGG", "OPUS"), ("OGG", "VORBIS")])
def test_a_file_that_was_damaged_is_refused(container: str, subtype: str | None) -> None:
    """Decoders pass over a bad page or frame in silence."""
    data = coded(container, subtype)
    middle = len(data) // 2

    assert Kind.TRUNCATED is _kind_of_failure(data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :])


def test_an_ogg_without_one_of_its_pages_is_refused() -> None:
    """Each page is whole, and one of them is missing."""
    data = coded("OGG", "VORBIS", samples=tone(6.0))
    pages = [place for place in range(len(data)) if data.startswith(b"OggS", place)]

    assert Kind.TRUNCATED is refusal(data[: pages[-2]] + data[pages[-1] :])


@pytest.mark.parametrize("tagged", [False, True])
def test_an_mp3_that_lost_frames_is_refused(*, tagged: bool) -> None:
    """The encoder's tag counts them, behind an ID3 tag too, and in each of several pieces."""
    whole = (ID3 if tagged else b"") + coded("MP3")
    sync = coded("MP3")[:2]
    frames = [place for place in range(138 * tagged, len(whole)) if whole[place : place + 2] == sync]

    for data in (whole[: frames[-3]], whole + whole[: frames[-3]], whole[: frames[-3]] + whole):
        assert Kind.TRUNCATED is refusal(data)


@pytest.mark.parametrize("junk", [b"junkjunkjunk", b"\xff\xfb", b"<html></html>"])
def test_an_mp3_with_bytes_between_its_frames_is_refused(junk: bytes) -> None:
    """They may be what is left of frames."""
    data = encode(Pcm(SAMPLES, RATE), MP3_44100_128).data

    for broken in (data + junk + data, junk + data):
        assert refusal(broken) in {Kind.TRUNCATED, Kind.TRANSPORT}


@pytest.mark.parametrize("content_type", ["audio/pcm", "", "audio/mpeg", "audio/wav", "application/octet-stream", "x"])
def test_raw_samples_are_known_whatever_they_are_labelled(content_type: str) -> None:
    """Neighbours are close to each other in sound, and in nothing else."""
    assert PCM == pcm_of(PCM, content_type).samples.tobytes()


@pytest.mark.parametrize("content_type", ["audio/L16;rate=16000;channels=2", 'audio/pcm; Rate="16000"; channels=2'])
@pytest.mark.parametrize("order", ["<", ">"])
def test_raw_samples_have_the_rate_and_channels_that_are_stated(content_type: str, order: str) -> None:
    """In either order of bytes: the standard says the high one first, and servers do as they like."""
    heard = pcm_of(np.repeat(SAMPLES, 2).astype(f"{order}i2").tobytes(), content_type)

    assert (16_000, PCM) == (heard.sample_rate, heard.samples.tobytes())


def test_silence_is_sound() -> None:
    """It has no order of bytes."""
    assert 0.5 == pcm_of(bytes(RATE)).duration


@pytest.mark.parametrize(
    ("data", "content_type", "kind"),
    [
        (PCM[:-1], "audio/pcm", Kind.TRUNCATED),
        (PCM[:-2], "audio/pcm;channels=2", Kind.TRUNCATED),
        (PCM, "audio/pcm;rate=99", Kind.UNSUPPORTED),
        (PCM, "audio/pcm;channels=none", Kind.UNSUPPORTED),
        ((SAMPLES / 32_768).astype("<f4").tobytes(), "audio/pcm", Kind.UNSUPPORTED),
        (np.random.default_rng(1).bytes(50_000), "audio/mpeg", Kind.UNSUPPORTED),
        (b"", "audio/mpeg", Kind.TRUNCATED),
    ],
    ids=["half a sample", "half a pair", "rate", "channels", "floating point", "noise", "nothing"],
)
def test_raw_bytes_that_cannot_be_right_are_refused(data: bytes, content_type: str, kind: Kind) -> None:
    """As what they are."""
    assert kind is refusal(data, content_type)


@pytest.mark.parametrize(
    "options",
    [
        ("-c:a", "aac", "-f", "adts"),
        ("-c:a", "libopus", "-f", "webm"),
        ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4"),
        ("-c:a", "flac", "-f", "ogg"),
        ("-f", "aiff"),
    ],
    ids=["aac", "webm", "mp4", "flac in ogg", "aiff"],
)
def test_kinds_that_are_not_decoded_are_refused_for_good(options: tuple[str, ...]) -> None:
    """The same call gives the same again."""
    assert Kind.UNSUPPORTED is refusal(piped(*options), "audio/mpeg")


@pytest.mark.parametrize(
    "text",
    [
        b'{"error": {"message": "no such voice"}}',
        b"<!DOCTYPE html>\n<html><body>Bad gateway</body></html>",
        b"Internal Server Error!",
        "Внутренняя ошибка сервера, попробуйте позже".encode(),
        b"data: {}\r\n\r\n",
    ],
)
@pytest.mark.parametrize("sample_rate", [0, RATE])
def test_text_is_no_audio(text: bytes, sample_rate: int) -> None:
    """Under whatever label, from a provider of MP3 or of samples."""
    for content_type in ("audio/mpeg", "audio/pcm"):
        assert Kind.TRANSPORT is refusal(text, content_type, sample_rate)


def test_a_small_file_of_endless_sound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is next to nothing in FLAC."""
    monkeypatch.setattr("voice_service.audio.decode._MOST_SAMPLES", 100_000)

    assert Kind.TRUNCATED is refusal(coded("FLAC", samples=np.zeros(200_000, "<i2")))


def _kind_of_failure(data: bytes) -> Kind | None:
    try:
        pcm_of(data)
    except AudioError as error:
        return error.kind
    return None
