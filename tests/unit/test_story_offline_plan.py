"""What the embedded writer plans, follows and does not tell again."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources

import pytest
from support.offline_briefs import HERO, brief

from offline_writer import OfflineBrief, OfflineWriter, Outline
from offline_writer.stock import load
from servicekit.validation import violations
from story_service.wire.responses import story_response

WRITER = OfflineWriter()
CLOSES = {section.id for section in load(resources.files("offline_writer.english") / "stock")["shapes"]}


def told(asked: OfflineBrief) -> list[str]:
    """Title and text, piece by piece."""
    return [piece.text for piece in WRITER.write(asked)]


def scenes(outline: Outline) -> set[str]:
    """Scenes of the way, which no story needs."""
    return {scene.key for scene in outline.scenes if scene.key.startswith(("stations/", "interests/", "powers/"))}


@pytest.mark.parametrize("kind", ["child", "hero", "combined"])
@pytest.mark.parametrize("minutes", [1, 3, 8, 20])
@pytest.mark.parametrize("language", ["en", "ru"])
def test_outline_pins_the_story(language: str, minutes: int, kind: str) -> None:
    """Whatever the child has heard meanwhile, and whatever it had heard before."""
    before = WRITER.plan(brief(seed=5, length_minutes=minutes)).outline
    meanwhile = tuple(WRITER.plan(brief(seed=seed, length_minutes=minutes)).outline for seed in range(20, 26))
    asked = brief(
        language_code=language, kind=kind, hero=HERO, length_minutes=minutes, moral="", theme="", heard=(before,)
    )
    plan = WRITER.plan(asked)
    pinned = replace(asked, heard=(*meanwhile, before), outline=plan.outline)

    assert told(asked) == told(pinned)
    assert plan == WRITER.plan(pinned)


def test_plan_says_what_is_told() -> None:
    """Title, place, companion, gift, and a key for each scene."""
    journey = brief(length_minutes=4, outline=Outline(plot_shape="journey"))
    outline = WRITER.plan(journey).outline
    title, *pieces = told(journey)
    text = "".join(pieces)

    assert title == outline.title
    for part in (outline.setting, outline.companion, outline.gift.removeprefix("the ")):
        assert part
        assert part in text
    assert outline.plot_shape
    assert scenes(outline)
    assert len({scene.key for scene in outline.scenes}) == len(outline.scenes)


@pytest.mark.parametrize("language", ["en"])
def test_scene_is_not_told_again_within_fourteen_nights(language: str) -> None:
    """The same brief, night after night, with what was heard."""
    heard: tuple[Outline, ...] = ()
    for seed in range(14):
        outline = WRITER.plan(brief(language_code=language, seed=seed, length_minutes=4, heard=heard)).outline

        assert not scenes(outline) & {key for story in heard for key in scenes(story)}
        heard = (outline, *heard)


def test_companion_and_place_change_from_night_to_night() -> None:
    """Where the brief leaves them open."""
    heard: tuple[Outline, ...] = ()
    for seed in range(5):
        heard = (WRITER.plan(brief(seed=seed, theme="", moral="", heard=heard)).outline, *heard)

    assert 5 == len({outline.setting for outline in heard})
    assert 5 == len({outline.companion for outline in heard})
    assert 5 == len({outline.gift for outline in heard})


@pytest.mark.parametrize("age", [2, 5, 12])
@pytest.mark.parametrize("language", ["en", "ru"])
def test_plan_of_the_longest_story_fits_the_record(language: str, age: int) -> None:
    """And a page of a hundred stories with it a message."""
    asked = brief(language_code=language, age=age, length_minutes=30, seed=3)
    outline = story_response(WRITER.plan(asked).outline, lambda: datetime.now(UTC)).outline

    assert [] == violations(outline)
    assert 100 * outline.ByteSize() < 2**20


@pytest.mark.parametrize("age", [2, 5, 10])
def test_a_story_ends_as_it_began(age: int) -> None:
    """Who set out on a cart comes home on it: the close belongs to the beginning of its number."""
    pairs = Counter[bool]()
    for seed in range(60):
        asked = brief(age=age, length_minutes=4, seed=seed, wish="", theme="", moral="")
        keys = [scene.key.partition("@")[0] for scene in WRITER.plan(asked).outline.scenes]
        begins = [key for key in keys if ".begin" in key and key.replace(".begin", ".close") in CLOSES]
        pairs.update(begin.replace(".begin", ".close") in keys for begin in begins)
    assert not pairs[False]
    assert pairs[True] > 10
