"""Interjections as sounds, in the notation of espeak-ng."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_service.narration.spoken_text import speakable
from voice_service.providers.offline.espeak import with_sounds

INTERJECTIONS = [
    ("Shhh", "SSSS"), ("Shh", "SSS"), ("SHHH", "SSSS"), ("Sh", "SS"), ("Zzz", "zzz"), ("ZZZZZZZZZZ", "zzzzzz"),
    ("Psst", "psst"), ("Pst", "pst"), ("Brrr", "brrr"), ("Grr", "grr"), ("Hmm", "hmm"), ("Mmm", "mmm"),
    ("Ssss", "ssss"),
    ("Pff", "pff"), ("S-s-s", "sss"), ("Schhh", "SSSSS"),
    ("\u0422\u0441\u0441", "tss"), ("\u0422\u0441-\u0441", "tss"), ("\u0428-\u0448-\u0448", "SSS"),
    ("\u041c\u043c\u043c", "mmm"), ("\u0411\u0440\u0440\u0440", "brrr"),
    ("\u0425\u043c", "xm"), ("\u0428\u0448\u0448", "SSS"), ("\u0420\u0440\u0440", "rrr"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "sounds"), INTERJECTIONS)
def test_interjection_becomes_its_sounds(word: str, sounds: str) -> None:
    """Whatever is around it; positions point at where it began, and behind it."""
    text = f"Er, {word}! He slept."
    said, positions = with_sounds(text)

    assert f"Er, [[{sounds}]]! He slept." == said
    assert len(said) == len(positions)
    assert {4} == set(positions[4 : 4 + len(f"[[{sounds}]]")])
    assert [text[at] for at in positions[-11:]] == list("! He slept.")


@pytest.mark.parametrize(("word", "_"), INTERJECTIONS)
def test_interjection_is_passed_to_paid_voices_as_it_is(word: str, _: str) -> None:
    """They know how to say it."""
    assert f"Er, {word}! He slept." == speakable(f"Er, {word}! He slept.").text


@pytest.mark.parametrize(
    "text",
    [
        "BBC TV",
        "\u0421\u0421\u0421\u0420",
        "CSS",
        "PST",
        "ll",
        "5 mm",
        "www",
        "prst krk",
        "Dr. Mr",
        "tl;dr",
        "Chut",
        "shush",
        "Press",
        "x-ray",
    ],
)
def test_words_and_abbreviations_stay(text: str) -> None:
    """Without a long sound at the end, in capitals, or with a vowel."""
    assert text == with_sounds(text)[0]


@given(st.text(alphabet="[]Shz\u0422\u0441m-x )(!a\n", max_size=40))
def test_notation_in_a_text_is_none(text: str) -> None:
    """Nothing that a caller writes reaches the engine as phonemes."""
    said, positions = with_sounds(text)
    kept = [character for character, at in zip(said, positions, strict=True) if text[at] in "[]"]

    assert set(kept) <= {"(", ")"}
    assert said.count("[[") == said.count("]]") == sum(part != "" for part in said.split("[[")[1:])
