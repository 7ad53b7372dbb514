"""Age bands: their edges and figures, the same for the prompts and the embedded writer."""

import pytest

from offline_writer.bands import BANDS, band_of


@pytest.mark.parametrize(
    ("age", "name"),
    [
        (0, "toddler"),
        (3, "toddler"),
        (4, "preschool"),
        (6, "preschool"),
        (7, "school"),
        (8, "school"),
        (9, "preteen"),
        (12, "preteen"),
        (13, "teen"),
        (200, "teen"),
        (-3, "toddler"),
        (None, "preschool"),
    ],
)
def test_band_follows_from_the_age(age: int | None, name: str) -> None:
    """The smallest are up to three, more plot begins at nine."""
    assert band_of(age).name == name


def test_sentences_grow_with_the_age() -> None:
    """Two-year-olds get at most eight words, twelve-year-olds at least thirteen."""
    lengths = [(band.least_words, band.most_words) for band in BANDS]

    assert sorted(lengths) == lengths
    assert all(least < most for least, most in lengths)
    assert band_of(2).most_words == 8
    assert band_of(12).least_words == 13


def test_smallest_hear_refrains_and_the_oldest_choices() -> None:
    """From nine on a story has more events and one choice; the smallest have one event and a line that returns."""
    assert [band.name for band in BANDS if band.refrain] == ["toddler", "preschool"]
    assert [band.oldest for band in BANDS if band.choice] == [12, 18]
    assert sorted(band.events for band in BANDS) == [band.events for band in BANDS]
