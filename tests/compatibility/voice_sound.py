"""Sound as servers really send it: labels, headers, pieces, lengths and loudness."""

import io
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import soundfile  # type: ignore[import-untyped]
from support.speech_fake import Reply, Speech, SpeechFake

from compatibility.voice_harness import TEXT, WHOLE, VoiceCase, VoiceResult
from voice_service.audio.decode import Pcm
from voice_service.audio.loudness import measure

_RATE: Final = 24_000
_ID3: Final = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)
_CHINESE: Final = (
    "从前有一只小狐狸睡不着。她数着海上的星星。然后风开始唱起漫长的回家路和安静的河流。"
    "狐狸听着忘了数星星。她慢慢闭上了眼睛。"
)
_LONG: Final = " ".join(TEXT.replace("fox", animal) for animal in ("fox", "hare", "owl", "bear"))


def _samples(speech: Speech) -> Any:
    return np.frombuffer(SpeechFake().sound(speech.body, "pcm"), "<i2")


def _file(samples: Any, container: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, _RATE, format=container, subtype=subtype)
    return file.getvalue()


def _each(make: Callable[[Any], bytes], content_type: str = "audio/mpeg") -> Callable[[Speech, int], Reply]:
    return lambda speech, _: Reply(body=make(_samples(speech)), content_type=content_type)


def _in_two(container: str, subtype: str | None = None, before: bytes = b"") -> Callable[[Any], bytes]:
    return lambda samples: b"".join(before + _file(half, container, subtype) for half in np.array_split(samples, 2))


def _open_wave(samples: Any) -> bytes:
    whole = _file(samples, "WAV")
    return whole[:4] + b"\xff" * 4 + whole[8:40] + b"\xff" * 4 + whole[44:]


def _short_wave(samples: Any) -> bytes:
    whole = _file(samples, "WAV")
    return whole[:40] + (2_000).to_bytes(4, "little") + whole[44:]


def _endless_flac(samples: Any) -> bytes:
    whole = _file(samples, "FLAC")
    return whole[:21] + bytes([whole[21] & 0xF0]) + bytes(20) + whole[42:]


def _silent(samples: Any) -> bytes:
    return bytes(2 * len(samples))


def _three_fifths(samples: Any) -> bytes:
    return bytes(samples[: len(samples) * 3 // 5])


def _damaged_once(speech: Speech, number: int) -> Reply:
    whole = _file(_samples(speech), "OGG", "OPUS")
    middle = len(whole) // 2
    broken = whole[:middle] + bytes([whole[middle] ^ 0x55]) + whole[middle + 1 :]
    return Reply(body=broken if number == 2 else whole, content_type="audio/ogg")


def _cut_once(kept: float, at: int, seconds_a_character: float = 1 / 15) -> Callable[[Speech, int], Reply]:
    """Ends one answer cleanly, at a share of its samples."""

    def answer(speech: Speech, number: int) -> Reply:
        times = np.arange(round(len(speech.body["input"]) * seconds_a_character * _RATE)) / _RATE
        samples = (np.sin(times * 1_900) * 8_000).astype("<i2")
        return Reply(body=samples[: round(kept * len(samples)) if number == at else None].tobytes())

    return answer


def _loud_until(number: int) -> Callable[[Speech, int], Reply]:
    def answer(speech: Speech, call: int) -> Reply:
        return Reply(status=402) if call >= number else Reply(body=(_samples(speech) * 3.9).astype("<i2").tobytes())

    return answer


def _is_level(result: VoiceResult) -> None:
    """What each provider has spoken is as loud as what the other one has."""
    sound, place, loudness = result.samples(), 0, dict[str, list[float]]()
    for segment in result.stories[0].segments:
        size = round(segment.duration.ToNanoseconds() * 44_100 / 1e9)
        lufs = measure(Pcm((sound[place : place + size] * 32_767).astype("<i2"), 44_100)).lufs
        place += size
        if lufs is not None and segment.text.end:
            loudness.setdefault(segment.provider, []).append(lufs)
    assert {"speech", "offline"} == loudness.keys()
    assert abs(float(np.mean(loudness["speech"]) - np.mean(loudness["offline"]))) < 2.5, loudness


CASES: Final[tuple[VoiceCase, ...]] = (
    *(
        VoiceCase(kind="Sound under any label, in any pieces", sends=sends, speech=answers, seconds=22.7)
        for sends, answers in (
            ("raw samples under `audio/mpeg`", _each(np.ndarray.tobytes)),
            (
                "`audio/L16;rate=24000`, the high byte first as its standard says",
                _each(lambda samples: samples.astype(">i2").tobytes(), "audio/L16;rate=24000"),
            ),
            ("`audio/L16;rate=24000`, the low byte first", _each(np.ndarray.tobytes, "audio/L16;rate=24000")),
            ("WAVE from a pipe, its sizes open", _each(_open_wave, "audio/x-wav")),
            ("WAVE whose header counts 2,000 bytes and more follow", _each(_short_wave, "audio/wav")),
            ("several WAVE files, one after another", _each(_in_two("WAV"), "application/octet-stream")),
            ("WAVE of floating point", _each(lambda samples: _file(samples / 32_768, "WAV", "FLOAT"), "audio/wav")),
            ("FLAC of unknown length", _each(_endless_flac, "audio/flac")),
            ("several FLAC files, one after another", _each(_in_two("FLAC"), "audio/flac")),
            ("several Ogg streams of Opus, one after another", _each(_in_two("OGG", "OPUS"), "audio/ogg")),
            ("several Ogg streams of Vorbis, one after another", _each(_in_two("OGG", "VORBIS"), "audio/ogg")),
            ("MP3 in pieces, each with its own tags and header", _each(_in_two("MP3", before=_ID3))),
        )
    ),
    VoiceCase(
        kind="Answers that are not the whole sound",
        sends="one answer whose Ogg page is damaged on the way",
        speech=_damaged_once,
        calls=WHOLE + 1,
        seconds=22.7,
    ),
    VoiceCase(
        kind="Answers that are not the whole sound",
        sends="one answer of `Internal Server Error!` under status 200 and `audio/mpeg`",
        speech=[Reply(body=b"Internal Server Error!", content_type="audio/mpeg"), Reply()],
        calls=WHOLE + 1,
        seconds=22.7,
    ),
    VoiceCase(
        kind="Answers that are not the whole sound",
        sends="two bytes for the title, once",
        speech=[Reply(body=b"\x00\x01"), Reply()],
        calls=WHOLE + 1,
        seconds=22.7,
    ),
    VoiceCase(
        kind="Answers that are not the whole sound",
        sends="one answer in Chinese that ends cleanly at 18 %",
        speech=_cut_once(0.18, 2, 0.2),
        texts=[_CHINESE],
        language_code="zh",
        title="小狐狸",
        calls=5,
        voices=[{"id": "zf_xiaobei", "language": "zh"}],
        voice={"voice_id": "zf_xiaobei"},
    ),
    VoiceCase(
        kind="Answers that are not the whole sound",
        sends="one answer in English that ends cleanly at 60 %, after some that were whole",
        speech=_cut_once(0.6, 6),
        texts=[_LONG],
        calls=8,
    ),
    VoiceCase(
        kind="Answers that are not the whole sound",
        sends="each answer in English ends cleanly at 60 %, after some that were whole",
        speech=lambda speech, number: Reply() if number < 6 else _each(_three_fifths)(speech, number),
        texts=[_LONG],
        # One at a time: how many more were begun when it failed depended on the machine.
        settings={"speech_concurrency": 1},
        calls=9,
        outcome="AUDIO_GENERATION_FAILED",
        says="characters take this voice",
    ),
    VoiceCase(
        kind="Answers that are not the whole sound",
        sends="one answer of the right length that is silent",
        speech=lambda speech, number: _each(_silent)(speech, number) if number == 3 else Reply(),
        calls=WHOLE + 1,
        seconds=22.7,
    ),
    VoiceCase(
        kind="Answers that are not the whole sound",
        sends="noise under `audio/mpeg`, which no decoder knows",
        speech=[Reply(body=np.random.default_rng(1).bytes(100_000), content_type="audio/mpeg")],
        # Else another segment or two may be called for before the noise is looked at, in a thread.
        settings={"segments_ahead": 0},
        calls=1,
        outcome="UPSTREAM_UNSUPPORTED",
        says="neither WAVE, FLAC, MP3",
    ),
    VoiceCase(
        kind="Loudness",
        sends="two segments that are 10 dB louder than the embedded voice, which then replaces it",
        speech=_loud_until(3),
        settings={"provider_fallback": ("offline",), "segments_ahead": 0},
        calls=3,
        outcome="READY, PROVIDER_FAILED",
        check=_is_level,
    ),
)
