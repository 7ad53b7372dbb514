"""The embedded voice on its neural engine, in its own process."""

from __future__ import annotations

import hashlib
import io
import socket
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.servers import running
from support.voice_kit import Voice
from support.voice_kit import settings as service_settings
from support.voice_processes import without_neural
from support.voice_samples import ENGLISH, RUSSIAN, verify_pcm
from support.voice_samples import spoken as sound_of

from tale.common.v1 import common_pb2
from voice_service.bootstrap import assemble
from voice_service.ports import SegmentRequest, Timings, VoiceSettings
from voice_service.providers.offline import neural, neural_worker
from voice_service.providers.offline.engine import refusal
from voice_service.providers.offline.neural import parts_by_script
from voice_service.providers.offline.neural_worker import Heart
from voice_service.providers.offline.pipe import reply
from voice_service.providers.offline.provider import OfflineVoiceProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RATE = 24_000


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[OfflineVoiceProvider]:
    """The embedded voice."""
    made = OfflineVoiceProvider(workers=1)
    yield made
    await made.aclose()


@pytest.fixture(scope="module")
def heart() -> Heart:
    """The engine of the worker, in this process."""
    return Heart()


async def spoken(
    provider: OfflineVoiceProvider, text: str, *, language: str = "en", voice: str = "", speed: float | None = None
) -> tuple[bytes, Timings]:
    """The sound of a text and the times of its words."""
    request = SegmentRequest(
        text=text,
        language_code=language,
        voice_id=voice,
        settings=VoiceSettings(speed=speed),
        with_timings=True,
    )
    return await sound_of(provider, request)


def said(heart: Heart, text: str, **more: Any) -> tuple[dict[str, Any], np.ndarray[Any, np.dtype[np.int16]]]:
    """What the engine answers: its header and its samples."""
    request = {"text": text, "speed": 0.8, "max_pcm_bytes": 64 << 20, **more}
    header, pcm = heart.speak(request)
    return header, np.frombuffer(pcm, "<i2")


def silences(samples: np.ndarray[Any, np.dtype[np.int16]]) -> list[float]:
    """Seconds of each silence of a tenth of a second or more, the one at the end included."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 200)
    gaps = np.diff(np.append(loud, len(samples))) / RATE
    return [round(float(gap), 2) for gap in gaps if gap > 0.1]


async def test_english_is_read_by_heart(provider: OfflineVoiceProvider) -> None:
    """It leads the list for English and is the default; other languages have the voices that they had."""
    first, second, *_ = await provider.list_voices("en")

    assert ("heart", "female") == (first.voice_id, first.gender)
    assert "en-gb+f2" == second.voice_id
    assert "heart" == provider.metadata.default_voice
    assert "ru+f2" == (await provider.list_voices("ru"))[0].voice_id
    assert "" == await provider.validate_configuration()
    assert "" == await provider.reduced()
    assert await spoken(provider, ENGLISH) == await spoken(provider, ENGLISH, voice="af_heart")
    assert await spoken(provider, ENGLISH) != await spoken(provider, ENGLISH, voice="en-gb+f2")


async def test_sound_is_gentle(provider: OfflineVoiceProvider) -> None:
    """A pace for bedtime, no sample at the limit, as loud as espeak-ng, and no silence before the first word."""
    pcm, _ = await spoken(provider, ENGLISH)
    other, _ = await spoken(provider, ENGLISH, voice="en-gb+f2")
    samples, others = np.frombuffer(pcm, "<i2") / 32_768, np.frombuffer(other, "<i2") / 32_768

    verify_pcm(pcm, sample_rate=RATE, text=ENGLISH, speed=None, provider="offline")
    assert 140 < len(ENGLISH.split()) / len(samples) * RATE * 60 < 180
    assert np.abs(samples).max() < 0.91
    assert abs(20 * np.log10(np.std(samples) / np.std(others))) < 3
    assert np.flatnonzero(np.abs(samples) > 0.01)[0] / RATE < 0.1


@pytest.mark.parametrize("speed", [0.7, 1.2, 2.0])
async def test_speed_is_a_factor_on_the_pace(provider: OfflineVoiceProvider, speed: float) -> None:
    """Pauses included."""
    plain, _ = await spoken(provider, ENGLISH)
    paced, _ = await spoken(provider, ENGLISH, speed=speed)

    assert len(plain) / len(paced) == pytest.approx(speed, rel=0.12)


async def test_speed_is_held_within_the_limits_of_the_engine(provider: OfflineVoiceProvider) -> None:
    """Beyond them it changes nothing."""
    assert await spoken(provider, "Good night.", speed=0.625) == await spoken(provider, "Good night.", speed=0.25)
    assert await spoken(provider, "Good night.", speed=2.5) == await spoken(provider, "Good night.", speed=4.0)


async def test_words_are_timed_where_they_sound(provider: OfflineVoiceProvider) -> None:
    """A word after a pause begins where the sound comes back; words, numbers and abbreviations keep their places."""
    text = "Dr. Fox counted 23 stars, one by one.\n\nBears came at 3:30. Goodnight, Mia!"
    pcm, timings = await spoken(provider, text)
    loud = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(int)) > 200)
    returns = [loud[gap + 1] / RATE for gap in np.flatnonzero(np.diff(loud) > 0.3 * RATE)]
    words = {text[word.text_start : word.text_end]: word for word in timings.words}

    assert text.replace(",", "").replace("!", "").replace("one.", "one").replace("30.", "30").replace(
        "Dr.", "Dr"
    ).split() == [text[word.text_start : word.text_end] for word in timings.words]
    for first in ("Bears", "Goodnight"):
        assert min(abs(words[first].start - moment) for moment in returns) < 0.06
    assert words["23"].end - words["23"].start > 0.5
    assert all(before.end <= after.start for before, after in pairwise(timings.words))
    assert timings.words[-1].end == pytest.approx(len(pcm) / 2 / RATE)


def test_pauses_are_put_by_the_engine(heart: Heart) -> None:
    """After a sentence, a line without a stop, a paragraph; none where a line is broken within a sentence."""
    assert [0.45, 0.45] == pytest.approx(silences(said(heart, "Good night. Good night.", speed=1.0)[1]), abs=0.09)
    assert [0.9, 0.3] == pytest.approx(silences(said(heart, "The end\n\nThe end", speed=1.0)[1]), abs=0.09)
    assert [0.3, 0.3] == pytest.approx(silences(said(heart, "The moon\nThe stars", speed=1.0)[1]), abs=0.09)
    assert [0.3] == pytest.approx(silences(said(heart, "The moon\nand the stars", speed=1.0)[1]), abs=0.09)


async def test_other_scripts_are_read_by_espeak(provider: OfflineVoiceProvider) -> None:
    """A foreign word within English takes about the time it takes there, and its words are timed."""
    text = "The bear said: «Привет, мой друг!» Then she slept."
    pcm, timings = await spoken(provider, text)
    plain, _ = await spoken(provider, "The bear said: Then she slept.")
    foreign, _ = await spoken(provider, "«Привет, мой друг!»", language="ru")

    assert len(pcm) == pytest.approx(len(plain) + len(foreign), rel=0.15)
    assert ["The", "bear", "said", "Привет", "мой", "друг", "Then", "she", "slept"] == [
        text[word.text_start : word.text_end] for word in timings.words
    ]
    russian, _ = await spoken(provider, RUSSIAN, voice="heart", language="en")
    assert russian == (await spoken(provider, RUSSIAN, language="ru"))[0]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Good night.", [("Good night.", "")]),
        ("Zoë and Łukasz — 3:30!", [("Zoë and Łukasz — 3:30!", "")]),
        ("He said «Да, да» twice.", [("He said ", ""), ("«Да, да» ", "ru"), ("twice.", "")]),
        ("Χαίρε! said he", [("Χαίρε! ", "el"), ("said he", "")]),
        ("Да … — да.", [("Да … — да.", "ru")]),
        ("🐉 小さ", [("🐉 ", ""), ("小さ", "ja")]),
        ("小女孩 slept", [("小女孩 ", "zh"), ("slept", "")]),
        ("ሰላም, విజయ్ и Їжак", [("ሰላም, ", "am"), ("విజయ్ ", "te"), ("и Їжак", "uk")]),
        ("  ", []),
    ],
)
def test_text_is_parted_by_script(text: str, parts: list[tuple[str, str]]) -> None:
    """Between words of one script nothing is cut; all but white space is in a part."""
    assert parts == [(text[start:end], language) for start, end, language in parts_by_script(text)]


def test_overrides_are_said_as_they_are(heart: Heart) -> None:
    """Also before a possessive, whose sound follows from theirs."""
    ((words, _),) = heart.pieces("Niamh's dog met Niamh.")

    assert ["nˈivz ", "dˈɔɡ ", "mˈɛt ", "nˈiv."] == [word.phonemes for word in words]


def test_same_request_gives_the_same_samples(heart: Heart) -> None:
    """Whatever was said before."""
    first = said(heart, ENGLISH)[1]
    said(heart, "Something else.")

    assert first.tobytes() == said(heart, ENGLISH)[1].tobytes()


async def test_same_request_gives_the_same_samples_in_another_process(provider: OfflineVoiceProvider) -> None:
    """Which has spoken nothing before."""
    other = OfflineVoiceProvider(workers=1)
    await spoken(provider, "Something else.")

    assert await spoken(provider, ENGLISH) == await spoken(other, ENGLISH)
    await other.aclose()


HARD = {
    "hyphens": "a-" * 250,
    "digits": "9" * 200,
    "grouped digits": "1,000," * 60,
    "phonemes of its own notation": "[x](/y/) [](//) [a]()",
    "lone quote": '"',
    "quotes": "\u201c\u201d\u2018\u2019\"'" * 20,
    "one run": "x" * 600,
    "shouting run": "AB" * 300,
    "initials": "a." * 200,
    "address": "http://example.com/" + "a/b?c=d&" * 60,
    "domain": "www." * 60 + "com",
    "underscores": "a_b_" * 90,
    "symbols": "=<>~+*/%#&@^|" * 20,
    "currencies": "$£€¥₹" * 40 + "5",
    "commands": "a\x01 50P\x00b\x07",
    "emoji": "🐉👨\u200d👩\u200d👧🌙" * 20,
    "combining": "e" + "\u0301" * 300,
    "invisible": "\u200b\u00ad\ufeff" * 50,
    "half a surrogate": "a\ud83d b",
    "dots": "…" * 100,
    "empty clauses": ", , ; : — . ! ? " * 20,
    "numerals": "Chapter MMMCMXCIX. Henry VIII. II. III.",
    "fractions": "½ ⅔ 1/2 22/7 1/2/3 ² ₂ Ⅷ ٣٤٥",
    "times": "12:99 25:61 0:0 7:30pm. 99/99/9999 0000-00-00",
    "no stop": "word " * 120,
}


@pytest.mark.parametrize("text", HARD.values(), ids=list(HARD))
@pytest.mark.sampled(3)
def test_hard_text_takes_bounded_time(heart: Heart, text: str) -> None:
    """CPU follows the sound: never seconds for a run without spaces, never an error, places in order."""
    begun = time.process_time()
    header, samples = said(heart, text)
    took = time.process_time() - begun

    # 9 ms a second of sound on the machine that it was measured on.
    assert took < 0.5 + 0.1 * len(samples) / RATE
    _is_sound(text, header, samples)


CHARACTERS = st.one_of(
    st.characters(),
    st.sampled_from("abcXYZ0123456789 \n\t.,;:!?…'\"“”’()[]{}/\\@#$%^&*_+=<>~|-–—"),
    st.sampled_from(("Mr. ", "'s ", "www.", "http://", "1/2", "12:30", "$5", "II ", "é", "ß", "п", "小", "٣", "²")),
)


@given(st.lists(CHARACTERS, max_size=120).map("".join))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_sound_or_silence(heart: Heart, text: str) -> None:
    """Whatever it is made of: no error ends the process."""
    header, samples = said(heart, text)

    _is_sound(text, header, samples)


def _is_sound(text: str, header: dict[str, Any], samples: np.ndarray[Any, np.dtype[np.int16]]) -> None:
    assert 2 * len(samples) == header["pcm_bytes"]
    places, moments = [place for place, _ in header["words"]], [moment for _, moment in header["words"]]
    assert sorted(places) == places
    assert sorted(moments) == moments
    assert all(0 <= place < len(text) for place in places)
    assert all(0 <= moment <= len(samples) for moment in moments)


async def test_hard_text_leaves_the_worker_alive(provider: OfflineVoiceProvider) -> None:
    """Each gives sound or a pause, by the same process."""
    await provider.reduced()
    before = provider._neural._pool.idle_pids
    for name in ("hyphens", "phonemes of its own notation", "lone quote", "half a surrogate", "emoji", "fractions"):
        pcm, _ = await spoken(provider, HARD[name])
        assert len(pcm) >= 2 * RATE * 0.25, name

    assert before == provider._neural._pool.idle_pids


async def test_text_that_the_engine_fails_at_is_read_by_espeak(
    provider: OfflineVoiceProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is known that the text is to blame."""

    async def fail(request: dict[str, Any]) -> None:
        assert request["text"]
        raise refusal("failed")

    monkeypatch.setattr(provider._neural._pool, "speak", fail)

    assert (await spoken(provider, "Good night."))[0] == (await spoken(provider, "Good night.", voice="en+f2"))[0]


def test_worker_survives_a_text_that_its_engine_fails_at() -> None:
    """It says so and stays."""

    class Failing:
        sample_rate = RATE

        def speak(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
            raise IndexError(request["text"])

    replies = io.BytesIO()

    assert reply(Failing(), {"id": 7, "text": "9" * 200, "seconds": 30}, replies)
    assert b'{"id": 7, "error": "failed"}' == replies.getvalue()[4:]


def test_text_that_takes_too_long_is_refused(heart: Heart) -> None:
    """More bytes than allowed are a refusal, not memory."""
    header, samples = said(heart, "Good night.", max_pcm_bytes=1000)

    assert {"error": "too_long"} == header
    assert not len(samples)


def test_model_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file than the one that was measured is not read."""
    monkeypatch.setattr(neural_worker, "_SHA256", hashlib.sha256(b"another").hexdigest())
    with pytest.raises(OSError, match="another"):
        Heart()


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The voice loads and speaks in a process that may open no socket."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the voice opens a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    assert len(said(Heart(), "Good night.")[1])


@pytest.mark.parametrize("module", ["onnxruntime", "hibari"])
async def test_missing_package_leaves_english_to_espeak(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """And the provider says so; so does the voice of what it reads."""
    monkeypatch.setitem(sys.modules, module, None)
    provider = OfflineVoiceProvider(workers=1)

    assert "en-gb+f2" == (await provider.list_voices("en"))[0].voice_id
    assert "en-gb+f2" == provider.metadata.default_voice
    assert f"The embedded voice reads English with espeak-ng, since {module} is not installed." == (
        await provider.reduced()
    )
    assert "" == await provider.validate_configuration()
    assert not await provider.knows_voice("heart", "en")
    await provider.aclose()


async def test_missing_espeak_leaves_english_to_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other languages are refused."""
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    provider = OfflineVoiceProvider(workers=1)

    assert "" == await provider.validate_configuration()
    assert ["heart"] == [voice.voice_id for voice in await provider.list_voices()]
    assert len((await spoken(provider, "Good night."))[0]) > RATE
    await provider.aclose()


async def test_worker_that_does_not_start_is_in_status_and_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The story is read by espeak-ng, its segments say so, and so does the status."""
    monkeypatch.setattr(neural, "worker_program", lambda _: (sys.executable, "-I", "-S", "-c", ""))
    chosen = service_settings(default_provider="offline")
    app = assemble(chosen, [OfflineVoiceProvider(workers=1)])
    async with running(app, settings=chosen, service="voice") as service:
        told = await Voice(service).tell("Good night, Mia.")
        warnings = (await app.describe()).warnings

    assert (None, {"en-gb+f2"}) == (told.error, {segment.voice_id for segment in told.segments})
    assert [
        "The embedded voice reads English with espeak-ng, since the neural voice does not start: the worker has ended."
    ] == list(warnings)


async def test_story_in_english_is_recorded_as_heart() -> None:
    """The voice of its segments, without a warning."""
    chosen = service_settings(default_provider="offline")
    app = assemble(chosen, [OfflineVoiceProvider(workers=1)])
    async with running(app, settings=chosen, service="voice") as service:
        told = await Voice(service).tell("Good night, Mia.")
        named = await Voice(service).tell(
            "Good night, Mia.", voice=common_pb2.VoiceSelection(provider="offline", voice_id="heart")
        )
        warnings = (await app.describe()).warnings

    assert (None, {"heart"}) == (told.error, {segment.voice_id for segment in told.segments})
    assert told.audio == named.audio
    assert [] == list(warnings)


async def test_worker_that_failed_to_start_is_not_started_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it given up for good: a minute later it is tried again."""
    starts = 0
    provider = without_neural()
    now = time.monotonic()
    pool = provider._neural._pool

    async def refuse() -> None:
        nonlocal starts
        starts += 1
        pool._note("the worker does not start")

    monkeypatch.setattr(pool, "check", refuse)
    first = [await pool.failed() for _ in range(3)]
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    later = await pool.failed()

    assert ["the worker does not start"] * 4 == [*first, later]
    assert 2 == starts
    await provider.aclose()


async def test_worker_loads_nothing_of_espeak(provider: OfflineVoiceProvider) -> None:
    """espeak-ng's licence stays in espeak-ng's process."""
    await provider.reduced()
    (worker,) = provider._neural._pool.idle_pids
    loaded = {Path(each.path).name for each in psutil.Process(worker).memory_maps()}

    assert any("onnxruntime" in name for name in loaded)
    assert not any("espeak" in name for name in loaded)
