"""Going on from text that somebody else began."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from story_service.offline import OfflineBrief, OfflineWriter
from story_service.offline.sentences import sentence_keys

WRITER = OfflineWriter()
BEGUN = (
    "Once upon a time Mia found a map in the attic. It was older than the house.\n\n"
    "“Where does it lead?” asked her teddy bear. Nobody knew."
)


def brief(*, minutes: int = 4, seed: int = 1, wish: str = "to find the moon") -> OfflineBrief:
    """Mia's brief."""
    return OfflineBrief(
        name="Mia",
        age=6,
        gender="female",
        interests=("dragons", "the sea"),
        wish=wish,
        moral="honesty",
        theme="sea",
        language_code="en",
        length_minutes=minutes,
        seed=seed,
    )


def rest(asked: OfflineBrief, written: str) -> str:
    """What the writer adds to it."""
    return "".join(piece.text for piece in WRITER.write(asked, title_so_far="The Map", written_so_far=written))


@pytest.mark.parametrize("minutes", [2, 3, 4, 6, 10, 20, 30])
@pytest.mark.parametrize("seed", range(4))
def test_whole_has_the_asked_length(minutes: int, seed: int) -> None:
    """What was there counts."""
    whole = BEGUN + rest(brief(minutes=minutes, seed=seed), BEGUN)

    assert 0.85 <= len(whole.split()) / (150 * minutes) <= 1.15


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
def test_length_is_right_wherever_the_other_stopped(share: float) -> None:
    """A story of another seed stands for somebody else's text."""
    asked = brief(minutes=5)
    other = rest(brief(minutes=5, seed=99, wish="fly to Mars"), "")
    written = other[: other.index(". ", int(len(other) * share)) + 1]
    whole = written + rest(asked, written)

    assert whole != other
    assert 0.85 <= len(whole.split()) / 750 <= 1.15


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 1.0])
def test_no_sentence_that_is_there_comes_again(share: float) -> None:
    """Even where the other text is made of the same stock."""
    other = rest(brief(minutes=6, seed=7), "")
    written = other[: other.index(".", int((len(other) - 200) * share)) + 1]
    added = rest(brief(minutes=8), written)

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


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([BEGUN, "The dragon looked at", "It snowed.\n\n", "It snowed.\n"]), st.floats(0.1, 1))
def test_own_continuation_can_be_gone_on_from_exactly(begun: str, where: float) -> None:
    """Killed in the middle of a continuation, the writer finds where it had taken over."""
    asked = brief()
    added = rest(asked, begun)
    cut = added[: max(80, int(len(added) * where))]

    assert added == cut + rest(asked, begun + cut)


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=400))
def test_any_text_can_be_gone_on_from(written: str) -> None:
    """There is always a calm end."""
    added = rest(brief(minutes=2), written)

    assert added
    assert added == added.rstrip()
