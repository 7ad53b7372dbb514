"""Going on from text that somebody else began."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.offline_briefs import HERO, SEQUEL
from support.offline_briefs import brief as a_brief

from offline_writer import OfflineBrief, OfflineWriter
from offline_writer.fitting import sentence_keys

WRITER = OfflineWriter()
BEGUN = (
    "Once upon a time Mia found a map in the attic. It was older than the house.\n\n"
    "“Where does it lead?” asked her teddy bear. Nobody knew."
)


def brief(**changes: object) -> OfflineBrief:
    """Mia's brief of four minutes, changed."""
    usual: dict[str, object] = {
        "interests": ("dragons", "the sea"), "wish": "to find the moon", "moral": "honesty", "theme": "sea",
        "length_minutes": 4,
    }  # fmt: skip
    return a_brief(**(usual | changes))


def rest(asked: OfflineBrief, written: str) -> str:
    """What the writer adds to it."""
    return "".join(piece.text for piece in WRITER.write(asked, title_so_far="The Map", written_so_far=written))


@pytest.mark.parametrize(("minutes", "seed"), [(2, 0), (2, 1), (3, 2), (4, 3), (6, 0), (10, 1), (20, 2), (30, 3)])
def test_whole_has_the_asked_length(minutes: int, seed: int) -> None:
    """What was there counts."""
    whole = BEGUN + rest(brief(length_minutes=minutes, seed=seed), BEGUN)

    assert 0.85 <= len(whole.split()) / (150 * minutes) <= 1.15


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
def test_length_is_right_wherever_the_other_stopped(share: float) -> None:
    """A story of another seed stands for somebody else's text."""
    asked = brief(length_minutes=5)
    other = rest(brief(length_minutes=5, seed=99, wish="fly to Mars"), "")
    written = other[: other.index(". ", int(len(other) * share)) + 1]
    whole = written + rest(asked, written)

    assert whole != other
    assert 0.85 <= len(whole.split()) / 750 <= 1.15


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 1.0])
def test_no_sentence_that_is_there_comes_again(share: float) -> None:
    """Even where the other text is made of the same stock."""
    other = rest(brief(length_minutes=6, seed=7), "")
    written = other[: other.index(".", int((len(other) - 200) * share)) + 1]
    added = rest(brief(length_minutes=8), written)

    assert set() == set(sentence_keys(written)) & set(sentence_keys(added))
    assert [] == [key for key, count in Counter(sentence_keys(added)).items() if count > 1]


def test_begins_a_new_paragraph_and_comes_to_the_turn() -> None:
    """With the same child, through the moral's scene, to sleep."""
    added = rest(brief(), BEGUN)

    assert added.startswith("\n\n")
    assert "Mia" in added
    assert re.search("It was I|The crow did not do it", added)


def test_full_text_gets_a_short_calm_close() -> None:
    """Nothing but an ending where the length is reached."""
    full = " ".join(f"Then came wave number {number}." for number in range(140))
    added = rest(brief(), full)

    assert 10 <= len(added.split()) <= 70
    assert added.endswith(".")


@pytest.mark.parametrize(
    ("written", "joint"),
    [
        ("The dragon looked at", "…\n\n"),
        ("The dragon slept.", "\n\n"),
        ("The dragon slept.\n\n", ""),
        ("The dragon slept.\n", "\n"),
        ("“Sleep!”", "\n\n"),
    ],
)
def test_joint_fits_how_the_text_ends(written: str, joint: str) -> None:
    """A hanging sentence trails off; a paragraph break is made once."""
    added = rest(brief(), written)

    assert joint == added[: len(added) - len(added.lstrip("…\n"))]


@pytest.mark.parametrize("kind", ["hero", "combined"])
@pytest.mark.parametrize("minutes", [2, 5])
def test_whole_of_another_kind_has_the_asked_length_and_its_hero(kind: str, minutes: int) -> None:
    """A hero's text is gone on with as a hero's, and cut where you like, it comes out the same."""
    asked = brief(kind=kind, hero=HERO, sequel=SEQUEL, length_minutes=minutes)
    begun = "Once Robin found a map.\n\nIt was older than the house."
    added = rest(asked, begun)

    assert 0.85 <= len((begun + added).split()) / (150 * minutes) <= 1.15
    assert "Robin" in added
    for cut in (130, len(added) // 2):
        assert added == added[:cut] + rest(asked, begun + added[:cut])


@pytest.mark.parametrize("kind", ["child", "hero", "combined"])
@pytest.mark.parametrize("left", [20, 90, 110, 130])
def test_short_continuation_can_be_gone_on_from_exactly(kind: str, left: int) -> None:
    """Where there is only room for the beginning in a breath, too."""
    asked = brief(kind=kind, hero=HERO, length_minutes=1)
    begun = " ".join(f"Then came wave number {number}." for number in range((150 - left) // 5 + 1))
    added = rest(asked, begun)
    cut = added[: len(added) * 2 // 3]

    assert added == cut + rest(asked, begun + cut)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.sampled_from([BEGUN, "The dragon looked at", "It snowed.\n\n", "It snowed.\n"]), st.floats(0.1, 1))
def test_own_continuation_can_be_gone_on_from_exactly(begun: str, where: float) -> None:
    """Killed in the middle of a continuation, the writer finds where it had taken over."""
    asked = brief()
    added = rest(asked, begun)
    cut = added[: max(80, int(len(added) * where))]

    assert added == cut + rest(asked, begun + cut)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.text(min_size=1, max_size=400))
def test_any_text_can_be_gone_on_from(written: str) -> None:
    """There is always a calm end."""
    added = rest(brief(length_minutes=2), written)

    assert added
    assert added == added.rstrip()
