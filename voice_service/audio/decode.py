"""Decodes any answer of any provider by its bytes, whatever its label says: all of it, or it is refused.

libsndfile decodes; what it leaves out is done here. It reads the first of several files alone, ends a WAVE file where
its header says, passes over damage in Ogg and MP3, and cannot tell raw samples from noise. PyAV decodes more kinds, but
loses the same sound, and its wheels (100 MB) hold x264 and x265, which are GPL; miniaudio has no Opus.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass, replace
from email.message import Message
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soxr  # type: ignore[import-untyped]

from servicekit.resilience.errors import ProviderErrorKind
from voice_service.audio.container import OggError, ogg_streams
from voice_service.audio.mp3 import Mp3Error, has_frames, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from voice_service.audio.mp3 import Walk


class AudioError(ValueError):
    """An answer that is no audio, or not all of it can be decoded; `kind` is what it is to its provider."""

    def __init__(self, message: str, kind: ProviderErrorKind = ProviderErrorKind.TRUNCATED) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Pcm:
    """Mono samples of 16 bits at `sample_rate` Hz."""

    samples: NDArray[np.int16]
    sample_rate: int

    @property
    def duration(self) -> float:
        """Seconds, exact to a sample."""
        return len(self.samples) / self.sample_rate

    def resampled(self, sample_rate: int) -> Pcm:
        """Returns the samples at another rate."""
        if sample_rate == self.sample_rate:
            return self
        # Given whole numbers, soxr would add noise of its own, other noise each time.
        samples = soxr.resample(self.samples.astype("float32"), self.sample_rate, sample_rate, quality="HQ")
        return Pcm(whole_numbers(samples), sample_rate)

    def followed_by_silence(self, seconds: float) -> Pcm:
        """Returns the samples and `seconds` of silence."""
        return replace(self, samples=np.concatenate((self.samples, silent(seconds, self.sample_rate).samples)))


def silent(seconds: float, sample_rate: int) -> Pcm:
    """Returns silence."""
    return Pcm(np.zeros(int(seconds * sample_rate), "<i2"), sample_rate)


HEAD_BYTES: Final = 64
"""Bytes that are enough to tell text from sound."""
_MOST_SAMPLES: Final = 32 << 20
"""Most samples of one answer, 64 MiB of 16 bits: a small file may decode to a very long sound."""
_BLOCK: Final = 1 << 16
_UNKNOWN: Final = 1 << 30
"""Sizes from here on stand for "not known yet" in files that are streamed: 0xFFFFFFFF, 0x7FFFFFFF, 2,000,000,000 are
in use (and 0)."""
_WAVE: Final = re.compile(rb"(?:RIFF|RF64).{4}WAVE", re.DOTALL)
_RIFF_HEADER_BYTES: Final = 12
_CHUNK_HEADER_BYTES: Final = 8
_CHUNK_NAME: Final = re.compile(rb"[A-Za-z0-9 _]{4}")
_FLAC: Final = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_FLAC_TOTAL: Final = slice(18, 26)
"""Where STREAMINFO has rate, channels and bits, and in the last 36 bits the samples (RFC 9639, section 8.2)."""
_TOTAL_BITS: Final = (1 << 36) - 1
_MP3_PADDING: Final = 4 * 1_152
"""Samples that decoders may leave out at both ends, by the tag of the encoder."""
_RATES: Final = range(8_000, 192_001)
_MOST_CHANNELS: Final = 8
_OTHER_FILES: Final = re.compile(rb"FORM|RIFX|caff|\.snd|\x1aE\xdf\xa3|....ftyp", re.DOTALL)
"""AIFF, WAVE with the high byte first, CAF, AU, WebM, MP4."""
_ROUGH: Final = 1.6
"""Power of the steps between samples, by that of the samples: 2 of noise, and so of compressed data, of floating point
and of samples with their bytes in the other order; speech, with what hisses, has 0.01 to 0.6."""


def is_text(head: bytes) -> bool:
    """Returns whether an answer that begins with `head` is text: an error or a page, whatever it is labelled."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        # The last character may be cut.
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return bool(text) and (text.isprintable() or all(each.isprintable() or each in "\t\r\n" for each in text))


def is_file(data: bytes) -> bool:
    """Returns whether it says that it is a file of samples, which takes its time to decode."""
    return data[:4] in {b"RIFF", b"RF64", b"fLaC", b"OggS"}


def decode(data: bytes, *, content_type: str = "", sample_rate: int = 0) -> Walk | Pcm:
    """Returns the frames of MP3 as they are, and anything else as samples. Blocks. Raises AudioError.

    WAVE, FLAC and Ogg (Opus, Vorbis) name themselves, and may be several files one after another. Raw samples do not:
    they are of the rate and channels that `content_type` states, else mono at `sample_rate` Hz; 0 where none come.
    """
    if not data:
        raise AudioError("its answer is empty")
    if is_text(data[:HEAD_BYTES]):
        raise AudioError("it sent text that is no audio", ProviderErrorKind.TRANSPORT)
    try:
        match data[:4]:
            case b"RIFF" | b"RF64":
                return _decoded(_waves(data))
            case b"fLaC":
                return _decoded(_flacs(data))
            case b"OggS":
                return _decoded((data[begin:end], None) for begin, end in ogg_streams(data))
            case _ if not sample_rate or has_frames(data):
                return walk(data)
            case _:
                return _raw(data, content_type, sample_rate)
    except (Mp3Error, OggError) as error:
        raise AudioError(f"the audio is not whole: {error}") from error


def samples_of_mp3(walked: Walk) -> Pcm:
    """Decodes MP3, of each stream in it what its encoder did not add. Blocks. Raises AudioError."""
    return _decoded(((piece.data, piece.samples - _MP3_PADDING) for piece in walked.pieces), walked.sample_rate)


def _decoded(files: Iterator[tuple[bytes, int | None]], sample_rate: int = 0) -> Pcm:
    """Decodes files, each with the least samples that it has where that is known, to the rate of the first."""
    import soundfile  # type: ignore[import-untyped] # noqa: PLC0415 - most narrations never need it

    class Stream(soundfile.SoundFile):  # type: ignore[misc]
        """Reads to the end of the bytes: a FLAC file of unknown length has no place to seek to."""

        def seekable(self) -> bool:
            return False

    total, parts = 0, []
    for data, least in files:
        try:
            file = Stream(io.BytesIO(data))
        except soundfile.LibsndfileError as error:
            raise AudioError("its kind of audio cannot be decoded", ProviderErrorKind.UNSUPPORTED) from error
        with file:
            sample_rate = sample_rate or file.samplerate
            blocks: list[NDArray[Any]] = []
            try:
                while not blocks or len(blocks[-1]) == _BLOCK:
                    # Whole numbers would be read from files of floating point without being scaled.
                    blocks.append(file.read(_BLOCK, dtype="float32", always_2d=True).mean(axis=1))
                    total += len(blocks[-1])
                    if total > _MOST_SAMPLES:
                        raise AudioError("the audio does not end")
            except soundfile.LibsndfileError as error:
                raise AudioError("the audio is not whole: it is cut or damaged") from error
            mono = np.concatenate(blocks)
            if len(mono) < (file.frames if least is None else least):
                raise AudioError("the audio is not whole: it does not decode to its end")
            if file.samplerate != sample_rate:
                mono = soxr.resample(mono, file.samplerate, sample_rate, quality="HQ")
            parts.append(whole_numbers(mono * 32_768))
    if not total:
        raise AudioError("it holds no sound")
    return Pcm(np.concatenate(parts), sample_rate)


def whole_numbers(samples: NDArray[Any]) -> NDArray[np.int16]:
    """Rounds samples to 16 bits; what is too loud is cut."""
    rounded: NDArray[np.int16] = np.clip(np.rint(samples), -32_768, 32_767).astype("<i2")
    return rounded


def _raw(data: bytes, content_type: str, sample_rate: int) -> Pcm:
    """Reads samples of 16 bits. Of `audio/L16` the standard wants the high byte first, and many servers do not."""
    message = Message()
    message["content-type"] = content_type
    rate, channels = _number(message, "rate", sample_rate), _number(message, "channels", 1)
    if rate not in _RATES or not 1 <= channels <= _MOST_CHANNELS:
        raise AudioError("it names a rate or channels that cannot be", ProviderErrorKind.UNSUPPORTED)
    whole = len(data) // (2 * channels)
    for order in "<>":
        samples = np.frombuffer(data, f"{order}i2", whole * channels).reshape(-1, channels)
        if not _OTHER_FILES.match(data) and _roughness(samples[: _MOST_SAMPLES >> 6]) < _ROUGH:
            if len(data) != 2 * channels * whole:
                raise AudioError(f"the audio is not whole: {len(data)} bytes of 16-bit samples")
            mono = samples[:, 0] if channels == 1 else whole_numbers(samples.mean(axis=1, dtype="float32"))
            return Pcm(mono.astype("<i2", copy=False), rate)
    message_text = "it is neither WAVE, FLAC, MP3, Ogg (Opus, Vorbis) nor samples of 16 bits"
    raise AudioError(message_text, ProviderErrorKind.UNSUPPORTED)


def _roughness(samples: NDArray[Any]) -> float:
    wide = samples.astype("float32")
    power = float(wide.var()) if len(wide) > 1 else 0.0
    return float(np.square(np.diff(wide, axis=0)).mean()) / power if power else 0.0


def _number(message: Message, name: str, default: int) -> int:
    """Value of a parameter of the Content-Type; 0 where it is no number."""
    value = message.get_param(name)
    if value is None:
        return default
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8 else 0


def _waves(data: bytes) -> Iterator[tuple[bytes, None]]:
    starts = [match.start() for match in _WAVE.finditer(data)]
    if not starts or starts[0]:
        raise AudioError("it is no WAVE file", ProviderErrorKind.UNSUPPORTED)
    for begin, end in zip(starts, [*starts[1:], len(data)], strict=True):
        yield _true_wave(data[begin:end]), None


def _true_wave(data: bytes) -> bytes:
    """Returns the file with nothing but the kind of its samples, and all of them, under their true size."""
    place, form, long_size = _RIFF_HEADER_BYTES, b"", 0
    while place + _CHUNK_HEADER_BYTES <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        begin = place + _CHUNK_HEADER_BYTES
        if name == b"data":
            size = long_size if data.startswith(b"RF64") and size == 0xFFFFFFFF else size
            if len(data) - begin < size < _UNKNOWN:
                raise AudioError("the audio is not whole: it is shorter than it says")
            # What is no other chunk behind the stated samples is more of them.
            samples = data[begin : begin + size] if size and _are_chunks(data, begin + size) else data[begin:]
            if not form or len(samples) % int.from_bytes(form[20:22], "little"):
                raise AudioError("the audio is not whole: it ends within a sample")
            body = b"WAVE" + form + struct.pack("<4sI", b"data", len(samples)) + samples
            return struct.pack("<4sI", b"RIFF", len(body)) + body
        if name == b"fmt " and size >= 16:
            form = data[place : begin + size]
        elif name == b"ds64":
            long_size = int.from_bytes(data[begin + 8 : begin + 16], "little")
        place = begin + size + size % 2
    raise AudioError("the audio is not whole: it holds no samples")


def _are_chunks(data: bytes, place: int) -> bool:
    while (place := place + place % 2) < len(data):
        if len(data) - place < _CHUNK_HEADER_BYTES or not _CHUNK_NAME.match(data, place):
            return False
        place += _CHUNK_HEADER_BYTES + int.from_bytes(data[place + 4 : place + 8], "little")
    return place <= len(data) + 1


def _flacs(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yields each file as one of unknown length, so that all of it is decoded, with the samples that it states."""
    starts = [match.start() for match in _FLAC.finditer(data)]
    for begin, end in zip(starts, [*starts[1:], len(data)], strict=True):
        file = bytearray(data[begin:end])
        shape = int.from_bytes(file[_FLAC_TOTAL], "big")
        file[_FLAC_TOTAL] = (shape & ~_TOTAL_BITS).to_bytes(8, "big")
        yield bytes(file), shape & _TOTAL_BITS
