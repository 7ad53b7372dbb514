"""A user's own Piper voices, with small models that the test makes."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hibari.tts import ASSETS
from support.piper_voices import FRAMES, HOP, IDS, make_voice

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.ports import AudioChunk, SegmentRequest, Timings, VoiceSettings
from voice_service.providers.offline import piper_worker
from voice_service.providers.offline.piper import load, sentences
from voice_service.providers.offline.provider import OfflineVoiceProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RATE = 24_000
TEXT = "Hello there, fox. Out of the box!"


@asynccontextmanager
async def opened(folder: Path | None) -> AsyncIterator[OfflineVoiceProvider]:
    provider = OfflineVoiceProvider(workers=1, piper=folder)
    try:
        yield provider
    finally:
        await provider.aclose()


async def said(
    provider: OfflineVoiceProvider, text: str = TEXT, *, voice: str = "", language: str = "en-US", speed: float = 1.0
) -> tuple[bytes, Timings | None]:
    settings = VoiceSettings(speed=speed)
    request = SegmentRequest(text=text, language_code=language, voice_id=voice, settings=settings, with_timings=True)
    items = [item async for item in provider.synthesize(request)]
    pcm = b"".join(item.data for item in items if isinstance(item, AudioChunk))
    return pcm, next((item for item in items if isinstance(item, Timings)), None)


def level(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, "<i2")
    return float(np.median(samples[samples != 0]) / 32_768)


async def test_a_voice_reads_its_language_and_times_its_words_exactly(tmp_path: Path) -> None:
    make_voice(tmp_path, "amy")
    async with opened(tmp_path) as provider:
        pcm, timings = await said(provider)
    assert level(pcm) == pytest.approx(0.2, abs=0.02)
    assert timings is not None
    assert [TEXT[word.text_start : word.text_end] for word in timings.words] == TEXT.replace(",", "").replace(
        ".", ""
    ).replace("!", "").split()
    # The start and its pad stand before "hello"; its six sounds and the space after it have a pad each.
    step = FRAMES * HOP / 22_050
    assert timings.words[0].start == pytest.approx(2 * step, abs=1e-3)
    assert timings.words[1].start == pytest.approx((2 + 2 * 7) * step, abs=1e-3)
    assert len(pcm) / 2 / RATE > timings.words[-1].start


async def test_the_same_request_gives_the_same_samples_whatever_came_before(tmp_path: Path) -> None:
    make_voice(tmp_path, "amy")
    async with opened(tmp_path) as provider:
        first, _ = await said(provider)
        await said(provider, "Something else.")
        again, _ = await said(provider)
    async with opened(tmp_path) as provider:
        other, _ = await said(provider)
    assert first == again == other
    assert len(set(np.frombuffer(first, "<i2")[2_000:2_100].tolist())) > 10


async def test_speakers_rates_and_speeds_are_those_of_the_request(tmp_path: Path) -> None:
    make_voice(tmp_path, "duo", speaker_id_map={"ann": 1, "bob": 4}, audio={"sample_rate": 16_000})
    async with opened(tmp_path) as provider:
        ann, _ = await said(provider, voice="piper:duo#ann")
        bob, _ = await said(provider, voice="piper:DUO#bob")
        fast, _ = await said(provider, voice="piper:duo#ann", speed=2.0)
        with pytest.raises(ProviderError) as refused:
            await said(provider, voice="piper:duo#eve")
        voices = [voice.voice_id for voice in await provider.list_voices("en")]
    assert level(ann) == pytest.approx(0.2, abs=0.02)
    assert level(bob) == pytest.approx(0.5, abs=0.02)
    pauses = 2 * 2 * round(0.3 * RATE)
    assert (len(fast) - pauses) / (len(ann) - pauses) == pytest.approx(0.5, abs=0.01)
    assert refused.value.kind is ProviderErrorKind.UNSUPPORTED
    assert voices[:3] == ["piper:duo", "piper:duo#ann", "piper:duo#bob"]


async def test_it_is_preferred_for_its_language_alone(tmp_path: Path) -> None:
    make_voice(tmp_path, "thorsten", language={"code": "de_DE"}, espeak={"voice": "de"})
    make_voice(tmp_path, "alan", language={"code": "en_GB"}, espeak={"voice": "en-gb"})
    make_voice(tmp_path, "joe")
    async with opened(tmp_path) as provider:
        german, _ = await said(provider, "Guten Tag.", language="de")
        french, _ = await said(provider, "Bonjour.", language="fr")
        british = await provider.list_voices("en-GB")
        american = await provider.list_voices("en-US")
        knows = [
            await provider.knows_voice(name, "de") for name in ("piper:thorsten", "piper:none", "heart", "thorsten")
        ]
    assert level(german) == pytest.approx(0.2, abs=0.02)
    assert level(french) != pytest.approx(0.2, abs=0.02)
    assert british[0].voice_id == "piper:alan"
    assert american[0].voice_id == "piper:joe"
    assert [voice.voice_id for voice in american if voice.voice_id == "heart"] == ["heart"]
    assert knows == [True, False, True, False]


async def test_a_model_without_durations_gives_no_timings(tmp_path: Path) -> None:
    make_voice(tmp_path, "plain", durations=False)
    async with opened(tmp_path) as provider:
        pcm, timings = await said(provider)
    assert level(pcm) == pytest.approx(0.2, abs=0.02)
    assert timings is None


async def test_a_voice_of_letters_needs_no_phonemes(tmp_path: Path) -> None:
    make_voice(tmp_path, "letters", phoneme_type="text", language={"code": "uk_UA"})
    async with opened(tmp_path) as provider:
        pcm, timings = await said(provider, "one two. three!", language="uk")
    assert timings is not None
    assert [word.text_start for word in timings.words] == [0, 4, 9]
    step = FRAMES * HOP / 22_050
    # "^one two.$" with pads but after "$": 21 ids; "^three!$" begins after a pause.
    assert timings.words[2].start == pytest.approx(21 * step - 2 * step + 0.3 + 2 * step, abs=2 * step)
    assert pcm


async def test_what_is_wrong_with_a_file_is_named_with_its_remedy_and_the_rest_works(tmp_path: Path) -> None:
    make_voice(tmp_path, "good")
    make_voice(tmp_path, "alone")
    (tmp_path / "alone.onnx.json").unlink()
    make_voice(tmp_path, "cut")
    model = (tmp_path / "cut.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(model[: len(model) // 2])
    make_voice(tmp_path, "odd", phoneme_id_map={})
    make_voice(tmp_path, "torn")
    (tmp_path / "torn.onnx.json").write_text('{"audio": ', encoding="utf-8")
    async with opened(tmp_path) as provider:
        reduced = await provider.reduced()
        pcm, _ = await said(provider)
        voices = [voice.voice_id for voice in await provider.list_voices() if voice.voice_id.startswith("piper:")]
    assert voices == ["piper:good"]
    assert level(pcm) == pytest.approx(0.2, abs=0.02)
    assert reduced.split("VOICE_PIPER_DIR: ")[1:] == [
        "alone.onnx has no alone.onnx.json beside it: put it there. ",
        "odd.onnx.json does not describe a Piper voice (phoneme_id_map): get it again. ",
        "torn.onnx.json does not describe a Piper voice (JSON): get it again. ",
        "cut.onnx cannot speak (the engine does not know this voice): get it again.",
    ]


async def test_a_model_of_another_kind_and_a_voice_without_phonemes_are_left_out(tmp_path: Path) -> None:
    """They would load, and fail at each text."""
    make_voice(tmp_path, "other")
    (tmp_path / "other.onnx").write_bytes((Path(ASSETS) / "oov.onnx").read_bytes())
    make_voice(tmp_path, "strange", espeak={"voice": "xx-strange"})
    async with opened(tmp_path) as provider:
        reduced = await provider.reduced()
        assert (await said(provider, "Hello."))[0]
        assert all(f"{name}.onnx cannot speak" in reduced for name in ("other", "strange"))


async def test_phonemes_are_found_by_any_code_of_the_language(tmp_path: Path) -> None:
    make_voice(tmp_path, "alan", language={"code": "en_GB"}, espeak={"voice": "en-gb"})
    async with opened(tmp_path) as provider:
        pcm, _ = await said(provider, language="en-GB")
        assert "LATIN" in provider.scripts("", "en-GB")
    assert level(pcm) == pytest.approx(0.2, abs=0.02)


async def test_voices_lie_in_folders_within_and_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    """As a library of voices has them; either way of naming the description is right."""
    within = tmp_path / "en" / "en_US" / "amy#2" / "medium"
    within.mkdir(parents=True)
    make_voice(within, "amy#2")
    (within / "amy#2.onnx.json").rename(within / "amy#2.json")
    (tmp_path / "folder.onnx").mkdir()
    os.mkfifo(tmp_path / "pipe.onnx")
    make_voice(tmp_path, "deep")
    (tmp_path / "deep.onnx.json").write_text("[" * 100_000, encoding="utf-8")
    async with opened(tmp_path) as provider:
        pcm, _ = await said(provider, voice="piper:amy#2")
        assert level(pcm) == pytest.approx(0.2, abs=0.02)
        assert await provider.reduced() == (
            "VOICE_PIPER_DIR: deep.onnx.json does not describe a Piper voice (JSON): get it again."
        )


async def test_a_folder_without_voices_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        async with opened(folder) as provider:
            assert f"{folder} is no folder with voices" in await provider.reduced()
            assert (await said(provider, "Hello."))[0]


async def test_without_the_setting_there_is_no_process_and_no_warning() -> None:
    async with opened(None) as provider:
        assert "PIPER" not in await provider.reduced()


def test_onnxruntime_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_voice(tmp_path, "amy")
    monkeypatch.setattr("voice_service.providers.offline.piper.find_spec", lambda _: None)
    assert load(tmp_path) == ([], ["onnxruntime is not installed: pip install onnxruntime."])


def test_sentences_are_cut_at_their_marks_and_unknown_sounds_left_out() -> None:
    clauses = [("ab", ","), ("a☃", "?"), ("b", "")]
    parts = list(sentences(clauses, [0, 4, 9], IDS))
    back = {ids[0]: symbol for symbol, ids in IDS.items()}
    assert ["".join(back[each] for each in ids).replace("_", "") for ids, _ in parts] == ["^ab, a?$", "^b$"]
    assert [marks for _, marks in parts] == [[(0, 2), (4, 10)], [(9, 2)]]
    assert [marks for _, marks in sentences(clauses, [0, 4], IDS)] == [[], []]


def test_the_voice_that_speaks_most_stays_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many voices the one that was used least recently goes."""
    loads: list[str] = []
    monkeypatch.setattr(piper_worker, "_loaded", loads.append)
    worker = piper_worker.Piper()
    others = [f"other {number}" for number in range(8)]
    for other in others:
        worker.load("usual")
        worker.load(other)
    assert ["usual", *others] == loads
