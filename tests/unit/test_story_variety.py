"""Plot shape, place and mood of a story: drawn by seed, and not what the child heard lately."""

import tomllib
from dataclasses import replace
from importlib.resources import files
from typing import Any, Final

import pytest

from offline_writer import Outline
from story_service.assignment import Assignment, Listener
from story_service.prompting.variety import MOST_HEARD, draw, plot_of

_ASSIGNMENT: Final = Assignment(story_id="one", child=Listener(name="Mia"))
_KNOWN: Final[dict[str, Any]] = tomllib.loads(
    (files("story_service.prompting") / "variety.toml").read_text(encoding="utf-8")
)
_FIELDS: Final = ("plot_shape", "setting", "mood")


def _nights(language_codes: tuple[str, ...], count: int, **given: object) -> list[Outline]:
    """Returns the outlines of one child's stories, oldest first."""
    told: list[Outline] = []
    for night in range(count):
        assignment = replace(
            _ASSIGNMENT,
            story_id=str(night),
            language_code=language_codes[night % len(language_codes)],
            heard=tuple(reversed(told)),
            **given,  # type: ignore[arg-type] # fields of an assignment by name
        )
        told.append(draw(assignment))
    return told


@pytest.mark.parametrize("language_codes", [("en",), ("ru",), ("de", "ru-RU", "en-GB")])
@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("field", _FIELDS)
def test_nothing_of_the_last_twenty_stories_is_drawn(
    language_codes: tuple[str, ...], seed: int | None, field: str
) -> None:
    """Whatever the seed, and although the language changes from night to night."""
    told = [getattr(outline, field) for outline in _nights(language_codes, 60, seed=seed)]
    same = (
        [{en, ru} for en, ru in zip(_KNOWN[f"{field}s"]["en"], _KNOWN[f"{field}s"]["ru"], strict=True)]
        if (field != "plot_shape")
        else [{key} for key in _KNOWN["shapes"]]
    )
    places = [next(place for place, texts in enumerate(same) if text in texts) for text in told]

    assert [] == [night for night, place in enumerate(places) if place in places[max(night - MOST_HEARD, 0) : night]]


def test_outline_follows_from_the_seed_and_what_was_heard() -> None:
    """The same twice, another for another story, and that of the record where it has one."""
    drawn = draw(_ASSIGNMENT)

    assert draw(_ASSIGNMENT) == drawn
    assert len({draw(replace(_ASSIGNMENT, story_id=str(number))) for number in range(50)}) > 45
    assert draw(replace(_ASSIGNMENT, heard=(drawn,), outline=drawn)) == drawn


def test_place_unlike_a_models_own_words_is_drawn() -> None:
    """A model names the same place in other words; forms of a word count as the word."""
    heard = (Outline(setting="The lighthouses of the islands"), Outline(setting="сады под крышей"))
    drawn = {
        draw(replace(_ASSIGNMENT, story_id=str(number), heard=heard, language_code=code)).setting
        for number in range(200)
        for code in ("en", "ru")
    }

    assert len(drawn) > 40
    assert [] == [place for place in drawn if "lighthouse" in place or "маяк" in place or "крыш" in place]


@pytest.mark.parametrize(
    ("language_code", "avoid", "absent"),
    [("en", "the moon", "moon"), ("en", "Forests", "forest"), ("ru", "снег", "снег"), ("ru", "облако", "облак")],
)
def test_place_to_avoid_is_not_drawn(language_code: str, avoid: str, absent: str) -> None:
    """Nor a mood that speaks of it, in whatever form the word is given."""
    drawn = [
        draw(replace(_ASSIGNMENT, story_id=str(number), avoid=(avoid,), language_code=language_code))
        for number in range(200)
    ]

    assert [] == [outline for outline in drawn if absent in outline.setting + outline.mood]


@pytest.mark.parametrize("kind", ["settings", "moods"])
def test_entries_are_the_same_in_every_language(kind: str) -> None:
    """As many, none twice, and more than a child hears before one returns."""
    lists = _KNOWN[kind]

    assert len({len(entries) for entries in lists.values()}) == 1
    assert all(len(set(entries)) == len(entries) > MOST_HEARD for entries in lists.values())
    assert all(len(entry) <= 200 for entries in lists.values() for entry in entries)


@pytest.mark.parametrize("language_code", ["en", "ru", "ja"])
def test_plot_shape_is_put_into_words(language_code: str) -> None:
    """In the language of the prompt; a shape of another writer has none."""
    plots = [plot_of(Outline(plot_shape=key), language_code) for key in _KNOWN["shapes"]]

    assert len(set(plots)) == len(_KNOWN["shapes"]) > MOST_HEARD
    assert all(plots)
    assert plot_of(Outline(plot_shape="unknown"), language_code) == ""
