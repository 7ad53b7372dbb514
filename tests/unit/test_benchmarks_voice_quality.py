"""How the benchmark of the voices counts words, and that its table is in the document."""

from pathlib import Path

import pytest

from benchmarks.voice_quality import SENTENCES, VOICES, Spoken, line, word_errors

PAGE = Path(__file__).resolve().parents[2] / "docs" / "voices.md"


@pytest.mark.parametrize(
    ("said", "heard", "wrong"),
    [
        ('"Shhh," said the moon.', "Shh, said the moon!", 0),
        ("The small owl slept.", "The owl slept.", 1),
        ("The owl slept.", "The small owl slept.", 1),
        ("The owl slept.", "The old slept.", 1),
        ("Leaf by leaf the oak slept.", "", 6),
    ],
)
def test_words_that_are_wrong_missing_or_too_many_count(said: str, heard: str, wrong: int) -> None:
    """Marks and capitals do not."""
    assert (wrong, len(said.split())) == word_errors(said, heard)


def test_row_has_what_was_measured() -> None:
    """Sums over all sentences."""
    judged = [{"heard": sentence, "mos": 4.5, "lufs": -20.04, "seconds": 5.0} for sentence in SENTENCES]
    words = sum(len(sentence.split()) for sentence in SENTENCES)

    row = line("a voice", Spoken([], 1.5, 100.4, 200.6), judged)

    assert f"| a voice | 0.0 % | 4.50 | 0.020 | {words / 75 * 60:.0f} | -20.0 | 100 MB | 201 MB |" == row


def test_document_has_the_table_of_all_voices() -> None:
    """The benchmark writes it there."""
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"\n| {name} | " in text for name, _, _ in VOICES)
