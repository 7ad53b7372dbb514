"""Fourteen nights of a child, with what it heard passed on."""

import re
from collections import Counter
from dataclasses import replace
from statistics import fmean

import pytest
from support.offline_briefs import THEMES, brief

from benchmarks.story_measures import new_share, repeated_sentences, sentence_words
from offline_writer import OfflineBrief, OfflineWriter, Outline

WRITER = OfflineWriter()
NIGHTS = 14
WISHES = ("", "a bear who bakes a cake", "to find the moon", "a dog who is afraid of thunder", "to fly")
INTERESTS = ((), ("cats",), ("trains", "cake"))


def asked(age: int, minutes: int, seed: int) -> OfflineBrief:
    """A brief of its own for each seed."""
    return brief(
        age=age, length_minutes=minutes, seed=100 * seed, wish=WISHES[seed % len(WISHES)], moral="", theme="",
        gender=("female", "male", "")[seed % 3], interests=INTERESTS[seed % len(INTERESTS)],
    )  # fmt: skip


def nights(first: OfflineBrief) -> list[tuple[str, Outline]]:
    """Returns a story and its plan for each night."""
    told: list[tuple[str, Outline]] = []
    for night in range(NIGHTS):
        tonight = replace(first, seed=first.seed + night, heard=tuple(outline for _, outline in reversed(told)))
        text = "".join(piece.text for piece in WRITER.write(tonight) if piece.kind == "text")
        told.append((text, WRITER.plan(tonight).outline))
    return told


def assert_new(first: OfflineBrief) -> None:
    """No scene twice, the tenth story new, sentences as long as the smallest take them, none told twice."""
    told = nights(first)
    texts = [text for text, _ in told]
    scenes = Counter(scene.key for _, outline in told for scene in outline.scenes if scene.key.startswith("stations/"))

    assert {} == {key: count for key, count in scenes.items() if count > 1}
    assert new_share(texts[9], texts[:9]) >= 0.8
    assert 5 <= fmean(sentence_words(text, "en") for text in texts) <= 8
    assert [0] * NIGHTS == [repeated_sentences(text, "en") for text in texts]


@pytest.mark.parametrize(("age", "minutes", "seed"), [(1, 1, 0), (2, 2, 1), (3, 5, 2), (2, 10, 3)])
def test_nights_of_the_smallest_differ(age: int, minutes: int, seed: int) -> None:
    """Of some lengths and wishes."""
    assert_new(asked(age, minutes, seed))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("minutes", [1, 2, 3, 5, 8, 10])
@pytest.mark.parametrize("age", [1, 2, 3])
def test_all_nights_of_the_smallest_differ(age: int, minutes: int, seed: int) -> None:
    """Of all lengths up to ten minutes, and every wish."""
    assert_new(asked(age, minutes, seed))


@pytest.mark.parametrize("theme", ["forest", "a story in space", "pirates"])
def test_smallest_are_told_of_the_theme_at_its_own_place(theme: str) -> None:
    """In sentences of their length, and from the second night on somewhere else."""
    first, second, *_ = nights(replace(asked(2, 10, 3), theme=theme))
    shapes = [outline.plot_shape for _, outline in (first, second)]

    assert shapes[0] == f"little_{theme.rsplit(maxsplit=1)[-1]}"
    assert shapes[1] != shapes[0]
    assert sentence_words(first[0], "en") <= 8


def test_a_wish_for_several_is_told_in_the_plural() -> None:
    """Of the arrivals, too, which are all heard after fourteen nights."""
    first = replace(asked(2, 1, 0), wish="two kittens who lost their mittens", interests=())
    text = " ".join(text for text, _ in nights(first))

    assert re.search(r"\bkittens (?:at [a-z ]+ )?(?:are|have|sit|look|run|think|laugh)\b", text)
    assert not re.search(r"\bkittens,? (?:at [a-z ]+ )?(?:is|has|\w+[^s\W]s)\b|\w+[^s\W]s the two kittens\b", text)


def assert_unheard(first: OfflineBrief) -> None:
    """No scene twice in all nights, and the tenth story new."""
    told = nights(first)
    texts = [text for text, _ in told]
    scenes = Counter(
        scene.key for _, outline in told for scene in outline.scenes if "@" in scene.key and "@short" not in scene.key
    )

    assert {} == {key: count for key, count in scenes.items() if count > 1}
    assert new_share(texts[9], texts[:9]) >= 0.7


@pytest.mark.parametrize(
    ("age", "minutes", "seed", "theme"), [(4, 5, 1, ""), (6, 10, 2, "sea"), (8, 3, 3, "space"), (11, 10, 4, "pirates")]
)
def test_nights_of_older_children_differ(age: int, minutes: int, seed: int, theme: str) -> None:
    """Of some ages, lengths and themes."""
    assert_unheard(replace(asked(age, minutes, seed), theme=theme))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("minutes", [3, 5, 8, 10])
@pytest.mark.parametrize("age", [4, 6, 8, 10, 12])
def test_all_nights_of_older_children_differ(age: int, minutes: int, seed: int) -> None:
    """Of all lengths up to ten minutes, with a theme and without."""
    assert_unheard(replace(asked(age, minutes, seed), theme=("", *THEMES)[seed % (len(THEMES) + 1)]))


RUSSIAN = brief(language_code="ru", name="Мия", gender="female", wish="", moral="", theme="", interests=("кошки",))


def assert_russian(age: int, minutes: int, seed: int, theme: str = "") -> list[float]:
    """Returns the words of a sentence of each night, of which no scene comes twice."""
    first = replace(RUSSIAN, age=age, length_minutes=minutes, seed=100 * seed, theme=theme)
    assert_unheard(first)
    return [sentence_words(text, "ru") for text, _ in nights(first)]


@pytest.mark.parametrize(
    ("age", "minutes", "theme"), [(2, 5, ""), (3, 8, ""), (6, 10, "sea"), (8, 3, ""), (12, 10, "")]
)
def test_russian_nights_differ(age: int, minutes: int, theme: str) -> None:
    """Of some ages and lengths; on average in sentences of the age."""
    mean = fmean(assert_russian(age, minutes, age, theme))
    least, most = {2: (4, 8), 3: (4, 8), 12: (13, 17)}.get(age, (7, 13))

    assert least <= mean <= most


@pytest.mark.long
@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("minutes", [1, 3, 5, 8, 10])
@pytest.mark.parametrize("age", [2, 3, 4, 6, 8, 10, 12])
def test_all_russian_nights_differ(age: int, minutes: int, seed: int) -> None:
    """Of all lengths up to ten minutes."""
    assert_russian(age, minutes, seed)


@pytest.mark.parametrize("wish", ["вчера умерла моя собака Рекс", "в школе надо мной смеются", "я боюсь темноты"])
@pytest.mark.parametrize("minutes", [3, 10])
def test_russian_comfort_has_the_sentences_of_the_age(wish: str, minutes: int) -> None:
    """At least 13 words for a child of twelve."""
    story = replace(RUSSIAN, age=12, length_minutes=minutes, wish=wish, seed=5)
    text = "".join(piece.text for piece in WRITER.write(story) if piece.kind == "text")

    assert sentence_words(text, "ru") >= 13
