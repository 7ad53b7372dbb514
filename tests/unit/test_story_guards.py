"""The seam between two attempts, and what repeats itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from story_service.generation.guards import (
    ContinuationGuard,
    RepeatedError,
    RepetitionGuard,
    StartedOverError,
    keys,
    sentences,
)

_STORY = (
    "Once upon a time a girl named Mia could not sleep.",
    " The moon looked in at her window.",
    ' "Are you awake?" asked the moon.',
    "\n\nMia nodded and sat up in her bed.",
    " Outside an old owl called three times.",
    ' "She wants to show you something," said the moon.',
    "\n\nSo Mia put on her slippers and went out.",
    " The grass was wet and smelled of clover.",
    " Far away a small light was waiting.",
    ' "Good night," it said.',
    "\n\nAnd Mia slept until the morning came.",
)


def _joined(written: str, pieces: list[str], *, new_paragraph: bool = False) -> str:
    joint = ContinuationGuard(written)
    out = [joint.feed(piece, new_paragraph=new_paragraph) for piece in pieces]
    return "".join([*out, joint.finish(new_paragraph=new_paragraph)])


def _attempt(start: int) -> list[str]:
    return [_STORY[start].lstrip(), *_STORY[start + 1 :]]


@given(cut=st.integers(4, len(_STORY) - 1), overlap=st.integers(0, 4))
def test_overlap_is_trimmed_wherever_the_text_was_cut(cut: int, overlap: int) -> None:
    """However many of the last sentences come again, no sentence is told twice and none is lost."""
    written = "".join(_STORY[:cut])
    start = max(cut - overlap, 1)
    joined = _joined(written, _attempt(start), new_paragraph=_STORY[start].startswith("\n"))

    assert "".join(_STORY) == written + joined


@given(cut=st.integers(1, 2))
def test_short_beginning_may_come_again_whole(cut: int) -> None:
    """Of a story that has hardly begun the attempt may repeat all, and goes on behind them."""
    assert "".join(_STORY[cut:]) == _joined("".join(_STORY[:cut]), _attempt(0))


@given(cut=st.integers(6, len(_STORY)), overlap=st.integers(2, 4), came=st.integers(1, 3))
def test_attempt_that_is_cut_within_what_it_repeats_adds_nothing(cut: int, overlap: int, came: int) -> None:
    """The sentences that came stand in the text already, and it did not come to the new ones."""
    joint = ContinuationGuard("".join(_STORY[:cut]))
    start = cut - overlap
    out = [joint.feed(piece) for piece in _STORY[start : start + min(came, overlap - 1)]]

    assert "" == "".join([*out, joint.finish(cut=True)]).strip()


def test_case_and_punctuation_make_no_difference() -> None:
    """The overlap is found by words alone."""
    written = "".join(_STORY[:6])

    assert "\n\nSo she went." == _joined(
        written, ["“SHE wants to show you something” - said the Moon!", "\n\nSo she went."]
    )


def test_end_of_a_sentence_may_come_again() -> None:
    """An attempt that takes up the last words of the last sentence goes on behind them."""
    written = "".join(_STORY[:6])

    assert " So she went out into the long and silver night." == _joined(
        written, ["Said the moon.", " So she went out into the long and silver night."]
    )


def test_same_word_at_the_seam_is_no_overlap() -> None:
    """A sentence that begins with the word that the last one ended with is whole."""
    text = "Morning came, and she told her brother about the light and the owl."

    assert " " + text == _joined("".join(_STORY), [text])


@pytest.mark.parametrize(
    ("new_paragraph", "written", "expected"),
    [
        (False, "It was night.", " Then the wind came and sang a song to all of them."),
        (True, "It was night.", "\n\nThen the wind came and sang a song to all of them."),
        (True, "It was night.\n\n", "Then the wind came and sang a song to all of them."),
    ],
)
def test_white_space_at_the_seam_is_that_of_the_attempt(new_paragraph: bool, written: str, expected: str) -> None:
    """A new paragraph where the attempt began one, one blank otherwise, and nothing where there is some already."""
    text = "Then the wind came and sang a song to all of them."

    assert expected == _joined(written, [text], new_paragraph=new_paragraph)


def test_chinese_is_joined_without_a_blank() -> None:
    """And its sentences are compared as well as any."""
    written = "从前有一只小猫。它住在森林里。它很喜欢唱歌。有一天它迷路了。"

    assert "月亮出来了。" == _joined(written, ["有一天它迷路了。", "月亮出来了。"])


@pytest.mark.parametrize("cut", range(4, len(_STORY)))
def test_attempt_that_starts_over_is_refused_before_anything_leaves(cut: int) -> None:
    """With the same words, or nearly the same."""
    for beginning in (
        _STORY[0],
        "Once upon a time there was a dragon.",
        "Once upon a night a girl named Mia could not sleep.",
    ):
        joint = ContinuationGuard("".join(_STORY[:cut]))
        with pytest.raises(StartedOverError):
            assert "" == joint.feed(beginning) + joint.finish()


def test_passage_from_the_middle_is_refused() -> None:
    """An attempt that tells twenty words of the old text again and then goes another way repeats itself."""
    joint = ContinuationGuard("".join(_STORY))
    with pytest.raises(RepeatedError):
        assert "" == "".join(map(joint.feed, [*_attempt(3)[:4], " A bear came by."]))


def test_sentences_are_held_while_they_may_be_an_overlap() -> None:
    """What stands in the old text waits; the first new sentence lets the rest go."""
    joint = ContinuationGuard("".join(_STORY[:8]))

    assert ["", ""] == [joint.feed(text) for text in (_STORY[6].lstrip(), _STORY[7])]
    assert _STORY[8] == joint.feed(_STORY[8])
    assert _STORY[9] == joint.feed(_STORY[9])


def test_without_an_old_text_nothing_is_held() -> None:
    """A story's first attempt has no seam."""
    assert "Once." == ContinuationGuard("").feed("Once.")


def test_refrain_goes_out_with_what_follows_it() -> None:
    """What was said before is held, and let out when something new comes."""
    guard = RepetitionGuard("Run, run, as fast as you can. You can not catch me.")

    assert [] == guard.feed(" Run, run, as fast as you can.")
    assert [] == guard.feed(" You can not catch me!")
    assert [" Run, run, as fast as you can.", " You can not catch me!", " So he ran."] == guard.feed(" So he ran.")


def test_refrain_at_the_end_goes_out() -> None:
    """The end of the text decides for it."""
    guard = RepetitionGuard("Good night.")

    assert [] == guard.feed(" Good night.")
    assert [" Good night."] == guard.finish()


@pytest.mark.parametrize("times", [1, 2, 3])
def test_circle_is_found_before_it_is_told(times: int) -> None:
    """However many sentences it has, nothing of the second round leaves, and a hundred words decide."""
    circle = [f" The {place} was as quiet as could be." for place in ("wood", "lake", "hill")[:times]]
    guard = RepetitionGuard("")
    out = [sentence for text in circle for sentence in guard.feed(text)]

    assert circle == out
    with pytest.raises(RepeatedError):
        assert [] == [sentence for text in circle * 12 for sentence in guard.feed(text)]


def test_words_are_compared_without_case_and_marks() -> None:
    """Russian and German as well as English; sentences without a word are none."""
    assert ("ёлка", "strasse", "don", "t") == keys("Ёлка, STRAßE – don’t!")
    assert [("she", "slept"), ("he", "said")] == sentences("She slept. … “He said!”")
