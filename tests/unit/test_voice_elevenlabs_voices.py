"""Which ElevenLabs voice is taken for which language."""

from typing import Any

import pytest
from elevenlabs.core.unchecked_base_model import construct_type
from elevenlabs.types import Voice

from voice_service.providers.elevenlabs.api import RACHEL
from voice_service.providers.elevenlabs.library import ListedVoice, listed_voice, speaking
from voice_service.providers.elevenlabs.models import bare, named, names_in, tag

MODEL = "eleven_multilingual_v2"


def _voice(voice_id: str, **told: Any) -> ListedVoice:
    voice: Any = construct_type(type_=Voice, object_={"voice_id": voice_id, "name": voice_id, **told})
    return listed_voice(voice)


def _verified(*entries: tuple[str, str, str]) -> list[dict[str, str]]:
    return [{"language": language, "locale": locale, "model_id": model} for language, locale, model in entries]


def _choice(language_code: str, *voices: ListedVoice, default: str = RACHEL, tier: str = "") -> str:
    found = speaking(voices, language_code, model_id=MODEL, tier=tier)
    return found[0].voice_id if found else default


def _any(language_code: str, *voices: ListedVoice, tier: str = "") -> list[str]:
    found = speaking(voices, language_code, model_id=MODEL, tier=tier, any_language=True)
    return [voice.voice_id for voice in found]


def test_verified_goes_before_labelled_before_named() -> None:
    """However they are listed."""
    name = _voice("name", name="Anna - German")
    label = _voice("label", labels={"language": "de"})
    verified = _voice("verified", verified_languages=_verified(("de", "de-DE", MODEL)))

    assert ["verified", "label", "name"] == [
        each.voice_id for each in speaking([name, label, verified], "de", model_id=MODEL)
    ]
    assert "label" == _choice("de", name, label)
    assert "name" == _choice("de", name)
    assert RACHEL == _choice("de")


def test_what_a_voice_is_like_is_passed_on() -> None:
    """Its description and the address of a sample, where they are text."""
    told = _voice("anna", description="A warm voice.", preview_url="https://voices.example/anna.mp3").info()
    bare_one = _voice("ben", description=None, preview_url=3).info()

    assert ("A warm voice.", "https://voices.example/anna.mp3") == (told.description, told.preview_url)
    assert ("", "") == (bare_one.description, bare_one.preview_url)


def test_this_model_and_this_region_go_before_others() -> None:
    """Among voices verified in the language."""
    other = _voice("other", verified_languages=_verified(("pt", "pt-PT", MODEL)))
    model = _voice("model", verified_languages=_verified(("pt", "pt-BR", "eleven_v3")))
    right = _voice("right", verified_languages=_verified(("pt", "pt-PT", MODEL), ("pt", "pt-BR", MODEL)))

    assert "right" == _choice("pt-BR", other, model, right)
    assert "model" == _choice("pt-BR", other, model)
    assert "other" == _choice("pt", model, other)


@pytest.mark.parametrize(
    "labels",
    [
        {"gender": "female", "description": "gentle", "accent": "transatlantic"},
        {"accent": "English with an accent"},
        {"use_case": "en"},
        {"language": "french"},
        {"language": "eng-lish"},
        {"language": ""},
    ],
)
def test_a_label_counts_only_where_it_says_the_language(labels: dict[str, str]) -> None:
    """Whole, under a name for languages: "en" stands in "gender", "gentle" and "french" too."""
    assert "other" == _choice("en", _voice("gentle", labels=labels), default="other")


@pytest.mark.parametrize("label", ["en", "EN", "English", "en-GB", "en_US", "German, English", "german;english"])
def test_a_label_may_be_a_code_or_a_name(label: str) -> None:
    """Or several of them."""
    assert "voice" == _choice("en", _voice("voice", labels={"language": label}), default="other")


@pytest.mark.parametrize("name", ["Engelbert", "Frenchy", "Germanicus", "It", "No", "De la Mare", "Polished"])
def test_a_name_counts_only_where_a_language_is_a_word_of_it(name: str) -> None:
    """Parts of words are no languages, nor are codes that are words."""
    assert () == _voice("voice", name=name).named


def test_of_equal_voices_the_choice_is_stable() -> None:
    """However they are listed, and whatever is added later: own voices first, the oldest first, retired ones last."""
    old = _voice("old", is_owner=True, created_at_unix=1_000, labels={"language": "de"})
    new = _voice("new", is_owner=True, created_at_unix=2_000, labels={"language": "de"})
    made = _voice("made", labels={"language": "de"})
    retired = _voice("retired", is_legacy=True, labels={"language": "de"})

    for voices in ((old, new, made, retired), (retired, made, new, old)):
        assert ["old", "new", "made", "retired"] == [each.voice_id for each in speaking(voices, "de", model_id=MODEL)]


def test_any_voice_reads_a_language_that_none_is_known_for() -> None:
    """Behind those that are: each of them reads every language."""
    german = _voice("german", verified_languages=_verified(("de", "de-DE", MODEL)))
    other = _voice("other", is_owner=True)

    assert ["german", "other"] == _any("de", other, german)
    assert ["other", "german"] == _any("fi", other, german)
    assert RACHEL == _choice("fi", other, german)


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        ({"available_for_tiers": ["creator", "pro"]}, "free"),
        ({"available_for_tiers": ["creator", "pro"]}, ""),
        ({"category": "professional", "is_owner": False}, "free"),
    ],
)
def test_a_voice_that_needs_another_plan_goes_last(told: dict[str, Any], tier: str) -> None:
    """It would be refused; with that plan it is one as the others."""
    dear = _voice("dear", verified_languages=_verified(("de", "de-DE", MODEL)), **told)
    plain = _voice("plain", labels={"language": "de"})

    assert "plain" == _choice("de", dear, plain, tier=tier)
    assert "dear" == _choice("de", dear, plain, tier="creator")


def test_a_verified_voice_goes_before_a_default_that_has_the_language_in_its_name_alone() -> None:
    """Who is merely called after a language may not speak it."""
    rachel = _voice(RACHEL, name="Rachel (speaks a little Russian)")
    ivan = _voice("ivan", verified_languages=_verified(("ru", "ru-RU", MODEL)))

    assert "ivan" == _choice("ru", rachel, ivan)


def test_callers_see_the_languages_of_a_voice() -> None:
    """With regions where they are known, each once."""
    voice = _voice(
        "voice",
        name="Anna (German)",
        labels={"gender": "Female", "language": "de"},
        verified_languages=_verified(("de", "de-DE", MODEL), ("fr", "", MODEL), ("de", "de-DE", "eleven_v3")),
    )

    assert (("de-DE", "fr", "de"), "female") == (voice.info().language_codes, voice.info().gender)


@pytest.mark.parametrize(
    ("code", "of_elevenlabs", "written"),
    [("pt-BR", "pt", "pt-BR"), ("pt_br", "pt", "pt-BR"), ("nb-NO", "no", "no-NO"), ("zh-Hant-TW", "zh", "zh-Hant")],
)
def test_codes_are_read_as_elevenlabs_writes_them(code: str, of_elevenlabs: str, written: str) -> None:
    """A language alone, or with its region."""
    assert (of_elevenlabs, written) == (bare(code), tag(code))


def test_names_of_languages_are_words() -> None:
    """In their own language too."""
    assert ("de", "ru") == names_in("Ганс: Deutsch und Русский")
    assert ("de", None) == (named(" German "), named("Klingon"))
