"""The embedded voice, with espeak-ng alone."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.voice_processes import gone, without_neural
from support.voice_samples import ENGLISH, GERMAN, RUSSIAN, decode, spoken, verify_pcm

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.encoder import AudioEncoder
from voice_service.audio.verify import SegmentFinisher
from voice_service.ports import SegmentRequest, VoiceSettings
from voice_service.providers.mock.provider import MockVoiceProvider
from voice_service.providers.offline.espeak import worker_command
from voice_service.providers.offline.voices import EspeakVoices, UnknownVoiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voice_service.providers.offline.provider import OfflineVoiceProvider

SAMPLE_RATE = 24_000
LIST_VOICES = """
import ctypes, json, os, sys
class Voice(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("languages", ctypes.c_void_p), ("identifier", ctypes.c_char_p)]
lib = ctypes.CDLL(sys.argv[1])
os.chdir(sys.argv[2])
lib.espeak_Initialize(2, 0, b".", 0)
lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(Voice))
voices, found = lib.espeak_ListVoices(None), []
while voices[len(found)]:
    found.append(voices[len(found)].contents.identifier.decode())
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[OfflineVoiceProvider]:
    """The embedded voice with two workers of espeak-ng."""
    provider = without_neural(workers=2)
    provider.warm_up()
    yield provider
    await provider.aclose()


@pytest.fixture(scope="module")
def installation() -> tuple[Path, Path]:
    """The library and its data."""
    loader = importlib.import_module("espeakng_loader")
    return Path(loader.get_library_path()), Path(loader.get_data_path())


def asked(text: str, language: str = "en", voice: str = "", speed: float | None = None) -> SegmentRequest:
    """A request with timings."""
    return SegmentRequest(
        text=text,
        language_code=language,
        voice_id=voice,
        settings=VoiceSettings(speed=speed),
        with_timings=True,
    )


def seconds(pcm: bytes) -> float:
    """The length of samples."""
    return len(pcm) / 2 / SAMPLE_RATE


async def test_configuration_is_sound(provider: OfflineVoiceProvider) -> None:
    """With espeak-ng installed there is nothing to fix, and the languages are many."""
    assert "" == await provider.validate_configuration()
    assert {"en", "en-US", "ru", "de", "pt-BR", "zh"} <= set(provider.metadata.languages)


async def test_missing_engine_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the provider says which extra brings it, and speaks nothing."""
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    provider = without_neural()

    assert "pip install espeakng-loader" in await provider.validate_configuration()
    assert ((), ()) == (provider.metadata.languages, await provider.list_voices())
    with pytest.raises(ProviderError) as caught:
        await spoken(provider, asked("Mia"))
    assert ProviderErrorKind.AUTH == caught.value.kind
    await provider.aclose()


@pytest.mark.parametrize(("text", "language"), [(ENGLISH, "en"), (ENGLISH, "en-US"), (RUSSIAN, "ru"), (GERMAN, "de")])
async def test_passage_is_plausible_and_its_half_is_not(
    provider: OfflineVoiceProvider, text: str, language: str
) -> None:
    """The measurement behind the bounds of verification: whole passages pass at every speed, halves never."""
    pcm, _ = await spoken(provider, asked(text, language))

    verify_pcm(pcm, sample_rate=SAMPLE_RATE, text=text, speed=None, provider="offline")
    with pytest.raises(ProviderError, match="truncated"):
        verify_pcm(pcm[: len(pcm) // 4 * 2], sample_rate=SAMPLE_RATE, text=text, speed=None, provider="offline")
    for speed in (0.25, 0.7, 1.2, 2.0, 4.0):
        paced, _ = await spoken(provider, asked(text, language, speed=speed))
        verify_pcm(paced, sample_rate=SAMPLE_RATE, text=text, speed=speed, provider="offline")


@pytest.mark.parametrize(
    "text",
    [
        *("Mia", "…", "🐉", "?!", "* * *", "A I O U.", "Through though thought thorough", "Zzzzzzzzzzzzzzzzzzzzzzzzz."),
        *(
            "No! Oh no! Go! Run!",
            "1234567890",
            "I. II. III. IV.",
            "👨‍👩‍👧‍👦🐉🌙",
            "从前有一个小女孩",
            "กาลครั้งหนึ่งนานมาแล้ว",
        ),
        *(RUSSIAN[:200], "a\x01 50P\x00b", "\ud83d", "[[h@l'oU]]"),
    ],
)
async def test_odd_texts_are_spoken_and_plausible(provider: OfflineVoiceProvider, text: str) -> None:
    """What is short, wordless, drawn out, spelled out or half a command still gives a segment that passes."""
    pcm, _ = await spoken(provider, asked(text))

    verify_pcm(pcm, sample_rate=SAMPLE_RATE, text=text, speed=None, provider="offline")


@pytest.mark.parametrize(("text", "language"), [(ENGLISH, "en"), (RUSSIAN, "ru"), (GERMAN, "de")])
async def test_sound_is_gentle(provider: OfflineVoiceProvider, text: str, language: str) -> None:
    """150 words a minute, no sample at the limit, a pause at the end, none in between longer than 0.8 s."""
    pcm, _ = await spoken(provider, asked(text, language))
    samples = np.abs(np.frombuffer(pcm, "<i2").astype(int))
    loud = np.flatnonzero(samples > 200)

    assert 130 < len(text.split()) / seconds(pcm) * 60 < 165
    assert samples.max() < 29_500
    assert 0.2 < (len(samples) - loud[-1]) / SAMPLE_RATE < 0.4
    assert 0.3 < np.diff(loud).max() / SAMPLE_RATE < 0.8


async def test_speed_changes_the_pace(provider: OfflineVoiceProvider) -> None:
    """Twice the speed is about half the time."""
    plain, _ = await spoken(provider, asked(ENGLISH))
    fast, _ = await spoken(provider, asked(ENGLISH, speed=2.0))

    assert 0.45 < len(fast) / len(plain) < 0.55


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("Once upon a time, out of the sea.", "en", ["Once", "upon", "a", "time", "out", "of", "the", "sea"]),
        ("“I don't know,” said 🐉 Mia—well-known.", "en", ["I", "don't", "know", "said", "🐉", "Mia", "well-known"]),
        ("Жил-был дракон 🐲 в лесу… «Ты спишь?»", "ru", ["Жил-был", "дракон", "🐲", "в", "лесу", "Ты", "спишь"]),
        ("A cafe\u0301 at 3:30.", "en", ["A", "cafe\u0301", "at", "3:30"]),
        ("小女孩。", "zh-CN", ["小女", "孩"]),
    ],
)
async def test_timings_match_the_words(
    provider: OfflineVoiceProvider, text: str, language: str, words: list[str]
) -> None:
    """Spans are code points of the text, also beside emoji, Cyrillic and combining marks; times go forward."""
    pcm, timings = await spoken(provider, asked(text, language))
    times = [moment for word in timings.words for moment in (word.start, word.end)]

    assert words == [text[word.text_start : word.text_end] for word in timings.words]
    assert sorted(times) == times
    assert 0 <= times[0] < times[-1] == seconds(pcm)


async def test_timings_are_where_the_sound_is(provider: OfflineVoiceProvider) -> None:
    """A word after a long pause begins where the sound comes back."""
    pcm, timings = await spoken(provider, asked("Hush.\n\nDragons."))
    samples = np.abs(np.frombuffer(pcm, "<i2").astype(int))
    loud = np.flatnonzero(samples > 200)
    gap = int(np.argmax(np.diff(loud)))

    assert loud[gap + 1] / SAMPLE_RATE == pytest.approx(timings.words[1].start, abs=0.1)


async def test_markup_is_text(provider: OfflineVoiceProvider) -> None:
    """A tag in the text is read out: it makes no pause of five seconds and changes no voice."""
    pcm, timings = await spoken(provider, asked("Good <break time='5s'/> night."))
    plain, _ = await spoken(provider, asked("Good night."))
    loud = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(int)) > 200)

    assert len(pcm) > len(plain) + 2 * SAMPLE_RATE
    assert np.diff(loud).max() / SAMPLE_RATE < 1.0
    assert 4 == len(timings.words)


async def test_commands_of_the_engine_are_text(provider: OfflineVoiceProvider) -> None:
    """A control character that would set the pitch is a space, and phoneme notation is spelled out."""
    set_pitch, _ = await spoken(provider, asked("Good \x0199P night."))
    spaced, _ = await spoken(provider, asked("Good  99P night."))
    phonemes, _ = await spoken(provider, asked("[[g'Ud]] night."))

    assert spaced == set_pitch
    assert len(phonemes) > len(spaced) / 2


@pytest.mark.parametrize(
    ("text", "voice_id", "position"),
    [("Er, Shhh! Good night.", "en-gb+f2", 4), ("Шшш! Спи.", "ru+f2", 0), ("Pst! Gute Nacht.", "de+f2", 0)],
)
async def test_interjections_sound_and_are_not_spelled(
    provider: OfflineVoiceProvider, text: str, voice_id: str, position: int
) -> None:
    """Spelled, four letters take 1.3 s with the pause of the sentence; the time is that of the word."""
    _, timings = await spoken(provider, asked(text, voice=voice_id))
    (sound,) = [word for word in timings.words if word.text_start == position]

    assert position + 3 <= sound.text_end <= position + 4
    assert 0.05 < sound.end - sound.start < 0.95


async def test_same_request_gives_the_same_samples(provider: OfflineVoiceProvider) -> None:
    """Whichever worker speaks, and whatever it spoke before, the samples are the same."""
    other = without_neural()
    await spoken(other, asked(RUSSIAN, "ru"))

    first, *rest = await asyncio.gather(*(spoken(provider, asked(ENGLISH)) for _ in range(4)))

    assert [first] * 3 == rest
    assert first == await spoken(other, asked(ENGLISH))
    await other.aclose()


async def test_sixty_four_segments_at_once(provider: OfflineVoiceProvider) -> None:
    """Each caller gets its own sound."""
    texts = [f"Page {number}." for number in range(64)]

    together = await asyncio.gather(*(spoken(provider, asked(text)) for text in texts))

    assert [await spoken(provider, asked(text)) for text in texts] == list(together)
    assert 64 == len({pcm for pcm, _ in together})


async def test_killed_worker_is_a_retry() -> None:
    """kill -9 of espeak-ng in mid-sentence raises a retryable error; the same request then succeeds."""
    provider = without_neural()
    await provider.validate_configuration()
    pool = provider._espeak._pool
    assert pool is not None
    (worker,) = pool.idle_pids
    # Stopped, it holds the request for as long as it takes to kill it.
    os.kill(worker, signal.SIGSTOP)
    speaking = asyncio.create_task(spoken(provider, asked(ENGLISH)))
    while pool.idle_pids:  # noqa: ASYNC110 - the pool has no event for it, and a turn of the loop is enough
        await asyncio.sleep(0)

    os.kill(worker, signal.SIGKILL)

    with pytest.raises(ProviderError) as caught:
        await speaking
    assert (ProviderErrorKind.TRANSPORT, True) == (caught.value.kind, caught.value.retryable)
    pcm, _ = await spoken(provider, asked(ENGLISH))
    verify_pcm(pcm, sample_rate=SAMPLE_RATE, text=ENGLISH, speed=None, provider="offline")
    await provider.aclose()


async def test_worker_dies_with_its_parent() -> None:
    """kill -9 of the service leaves no worker behind."""
    script = (
        "import asyncio\n"
        "from voice_service.providers.offline.provider import OfflineVoiceProvider\n"
        "async def main():\n"
        "    provider = OfflineVoiceProvider(workers=1)\n"
        "    await provider.validate_configuration()\n"
        "    print(provider._espeak._pool.idle_pids[0], flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker = int(await parent.stdout.readline())

    parent.kill()
    await parent.wait()

    await gone(worker)


async def test_worker_ends_with_its_stdin(installation: tuple[Path, Path]) -> None:
    """Where no signal tells of the parent's death, the end of stdin does."""
    process = await asyncio.create_subprocess_exec(
        *worker_command(*installation), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    hello, _ = await process.communicate(b"")

    assert {"id": 0, "sample_rate": 22_050} == json.loads(hello[4:])
    assert 0 == process.returncode


async def test_catalogue_is_what_the_engine_lists(installation: tuple[Path, Path]) -> None:
    """Every voice of espeak-ng is in the catalogue, but the three without a dictionary and those that do not read."""
    library, data = installation
    listing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LIST_VOICES, str(library), str(data.parent)), stdout=subprocess.PIPE
    )
    listed, _ = await listing.communicate()

    ours = {voice.identifier for voice in EspeakVoices.load(data).all()}

    unreadable = {"sem/he", "tai/th", "tai/shn", "sit/my", "sit/hak", "art/piqd", "gmw/en-Shaw"}
    assert {"gmq/fo", "trk/kaa", "art/xex", *unreadable} == set(json.loads(listed)) - ours
    assert ours <= set(json.loads(listed))


async def test_every_voice_speaks(provider: OfflineVoiceProvider) -> None:
    """Every voice of the catalogue, and every listed variant of one, is known to the engine."""
    voices = await provider.list_voices()
    some = [voice.voice_id for voice in voices if voice.voice_id.endswith("+f2") or voice.voice_id.startswith("en-gb")]

    sounds = await asyncio.gather(*(spoken(provider, asked("1", voice=voice)) for voice in some))

    assert len(voices) == len({voice.voice_id for voice in voices})
    assert len(some) > 130
    assert all(len(pcm) > 0.1 * SAMPLE_RATE for pcm, _ in sounds)


@pytest.mark.parametrize(
    ("voice", "language", "name"),
    [
        ("+f2", "en", "gmw/en+f2"),
        ("+f2", "en-AU", "gmw/en+f2"),
        ("+f2", "en-us", "gmw/en-US+f2"),
        ("+f2", "pt_BR", "roa/pt-BR+f2"),
        ("+f2", "zh-Hans-CN", "sit/cmn+f2"),
        ("+f2", "no", "gmq/nb+f2"),
        ("+f2", "es-MX", "roa/es-419+f2"),
        ("+F3", "ru", "zle/ru+f3"),
        ("en-gb", "ru", "gmw/en"),
        ("en-US+annie", "ru", "gmw/en-US+Annie"),
        ("Russian", "en", "zle/ru"),
    ],
)
def test_voice_is_found_by_name_or_language(
    installation: tuple[Path, Path], voice: str, language: str, name: str
) -> None:
    """A named voice wins; else the best voice of the language, of its parent language for want of one."""
    assert name == EspeakVoices.load(installation[1]).resolve(voice, language)


@pytest.mark.parametrize(("voice", "language"), [("", "tlh"), ("../../etc", "en"), ("en-gb+nobody", "en"), ("+", "en")])
async def test_unknown_voice_or_language_is_unsupported(
    provider: OfflineVoiceProvider, voice: str, language: str
) -> None:
    """What does not exist is refused for good, before a worker hears of it."""
    with pytest.raises(ProviderError) as caught:
        await spoken(provider, asked("Mia", language, voice))

    assert (ProviderErrorKind.UNSUPPORTED, False) == (caught.value.kind, caught.value.retryable)
    assert isinstance(caught.value.__cause__, UnknownVoiceError)


@pytest.mark.parametrize("text", ["", " \n", "x" * 4001])
async def test_text_that_cannot_be_spoken_is_refused(provider: OfflineVoiceProvider, text: str) -> None:
    """Nothing to say, or more than is allowed, is the caller's mistake."""
    with pytest.raises(ProviderError) as caught:
        await spoken(provider, asked(text))

    assert ProviderErrorKind.INVALID_INPUT == caught.value.kind


async def test_voices_of_a_language_come_best_first(provider: OfflineVoiceProvider) -> None:
    """The voice that is taken by default leads the list, and its gender is said."""
    first, *others = await provider.list_voices("en")

    assert ("en-gb+f2", "female") == (first.voice_id, first.gender)
    assert {"en-us", "en-us+m3"} <= {voice.voice_id for voice in others}
    assert () == tuple(await provider.list_voices("tlh"))


async def test_joined_segments_decode_without_a_word(provider: OfflineVoiceProvider) -> None:
    """Segments of two providers, joined, play in ffmpeg: no complaint, and exactly as many samples as frames hold."""
    encoder = AudioEncoder(threads=2)
    finisher = SegmentFinisher(encoder)
    mock = MockVoiceProvider()
    segments = []
    for text, speaker in (
        ("The Dragon", provider),
        (ENGLISH, provider),
        (ENGLISH, mock),
        ("…", provider),
        ("Mia", mock),
        (ENGLISH[:150], provider),
    ):
        request = asked(text)
        data, _ = await spoken(speaker, request)
        segments.append(await finisher.finish(data, request=request, metadata=speaker.metadata))

    samples, complaint = await asyncio.to_thread(decode, b"".join(segment.data for segment in segments))

    assert "" == complaint
    assert sum(segment.samples for segment in segments) == samples
    await encoder.aclose()
