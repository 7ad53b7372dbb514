"""Stories of many shapes in answers of many shapes: the whole story is read, and nothing else."""

import itertools
import re
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.answers import CITATIONS, POSTAMBLES, PREAMBLES, STORIES, THOUGHTS, TOKENS, WRAPPERS, Story, Wrapper
from support.offline_briefs import briefs

from offline_writer import OfflineBrief, OfflineWriter
from story_service.answer.reader import AnswerItem, AnswerReader
from story_service.answer.titles import normalise_title
from story_service.ports import AttemptText, AttemptTitle

_RULE = re.compile(r"[*\u2014\s-]+")
_AMBIGUOUS = {
    # A speaker of the play is called as those of a conversation are.
    ("tokens-second_turn", "play_from_the_start"),
    ("tokens-second_turn_bold", "play"),
    # Without a full stop there is no citation.
    ("citations-list_unmarked", "russian_letter"),
}
_ALL = [*WRAPPERS.items(), ("plain", "{}\n\n{}".format)]
_quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def _read(
    answer: str, *, language_code: str = "en", cuts: Sequence[int] = (), words_asked: int | None = None
) -> tuple[str | None, str, list[AnswerItem]]:
    """Title, text and items of an answer that comes in pieces, cut at `cuts`."""
    reader = AnswerReader(title_wanted=True, language_code=language_code, words_asked=words_asked)
    bounds = [0, *sorted(cut % (len(answer) + 1) for cut in cuts), len(answer)]
    items = [item for start, end in itertools.pairwise(bounds) for item in reader.feed(answer[start:end])]
    end = reader.finish()
    items += end.items
    titles = [normalise_title(item.title) for item in items if isinstance(item, AttemptTitle)]
    return (titles[0] if titles else None), end.text, items


def _words(text: str) -> list[str]:
    """The words of a text, without the marks between scenes, which are not read aloud."""
    return " ".join(line for line in text.split("\n") if not _RULE.fullmatch(line)).split()


@pytest.mark.parametrize("words_asked", [None, 5, 60, 1_000])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_story_of_any_shape_arrives_whole(story: Story, words_asked: int | None) -> None:
    """Every word, in order, and the paragraphs as they are."""
    title, text, _ = _read(
        f"{story.title}\n\n{story.text}\n", language_code=story.language_code, words_asked=words_asked
    )

    assert story.title == title
    assert _words(story.text) == _words(text)


@pytest.mark.parametrize(("name", "wrapper"), _ALL, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_around_a_story_is_left_out(name: str, wrapper: Wrapper) -> None:
    """Thoughts, tokens, labels, words to the person who asked, escapes, JSON and citations: all of it goes."""
    for story in STORIES:
        if (name, story.name) in _AMBIGUOUS:
            continue
        title, text, _ = _read(wrapper(story.title, story.text), language_code=story.language_code)

        assert (story.name, story.title) == (story.name, title)
        assert (story.name, _words(story.text)) == (story.name, _words(text))


_STORIES = st.sampled_from(STORIES)
_CUTS = st.lists(st.integers(0, 6_000), max_size=40)
_FRONT = {"think", "think_attributes", "mistral", "kimi", "seed", "ant_thinking", "harmony_stripped", "fence"}
_HARMLESS = {"im_end", "deep_seek", "glm", "granite", "phi", "llama_4", "end_of_text", "cut_token"}


@_quick
@given(
    story=_STORIES, wrapper=st.sampled_from(sorted(WRAPPERS)), cuts=_CUTS, words_asked=st.sampled_from([None, 9, 90])
)
def test_pieces_of_an_answer_of_any_shape_do_not_matter(
    story: Story, wrapper: str, cuts: list[int], words_asked: int | None
) -> None:
    """Cut anywhere, or at every code point, it gives the same items."""
    answer = WRAPPERS[wrapper](story.title, story.text)
    whole = _read(answer, language_code=story.language_code, words_asked=words_asked)

    assert whole == _read(answer, language_code=story.language_code, words_asked=words_asked, cuts=cuts)
    assert whole == _read(
        answer, language_code=story.language_code, words_asked=words_asked, cuts=range(len(answer) + 1)
    )


@_quick
@given(
    story=_STORIES,
    thoughts=st.sampled_from([None, *sorted(_FRONT)]),
    tokens=st.sampled_from([None, *sorted(_HARMLESS)]),
    preamble=st.sampled_from([None, *sorted(PREAMBLES)]),
    postamble=st.sampled_from([None, *sorted(POSTAMBLES)]),
    citations=st.sampled_from([None, *sorted(set(CITATIONS) - {"list", "list_unmarked"})]),
)
def test_several_things_around_a_story_are_left_out(
    story: Story,
    thoughts: str | None,
    tokens: str | None,
    preamble: str | None,
    postamble: str | None,
    citations: str | None,
) -> None:
    """Thoughts, a preamble, citations, a postamble and the tokens of a template, together."""
    title, text = story.title, story.text
    if citations is not None:
        text = CITATIONS[citations](title, text).partition("\n\n")[2]
    if postamble is not None:
        text = POSTAMBLES[postamble](title, text).partition("\n\n")[2]
    answer = f"{title}\n\n{text}" if preamble is None else PREAMBLES[preamble](title, text)
    for wrappers, name in ((THOUGHTS, thoughts), (TOKENS, tokens)):
        if name is not None:
            answer = wrappers[name]("\ue000", "\ue001").replace("\ue000\n\n\ue001", answer)
    found, read, _ = _read(answer, language_code=story.language_code)

    assert story.title == found
    assert _words(story.text) == _words(read)


@settings(parent=_quick, max_examples=25)
@given(brief=briefs, wrapper=st.sampled_from(sorted(set(WRAPPERS) - {"citations-list_unmarked"})))
def test_stories_of_the_embedded_writer_arrive_whole(brief: OfflineBrief, wrapper: str) -> None:
    """Whatever it writes, and whatever is around it."""
    pieces = [*OfflineWriter().write(brief)]
    title, text = ("".join(piece.text for piece in pieces if piece.kind == kind) for kind in ("title", "text"))

    for answer in (f"{title}\n\n{text}", WRAPPERS[wrapper](title, text)):
        found, read, _ = _read(answer, language_code=brief.language_code)
        assert title == found
        assert _words(text) == _words(read)


@pytest.mark.parametrize("name", sorted(THOUGHTS))
def test_answer_that_is_all_thought_has_neither_title_nor_text(name: str) -> None:
    """Thoughts that end, or that the answer ends within, are no story."""
    answer = THOUGHTS[name]("\ue000", "\ue001")
    thoughts = answer[: answer.index("\ue000")]

    assert (None, "", []) == _read(thoughts)
    for cut in range(len(thoughts) // 2, len(thoughts), 7):
        if name != "think_never_opened":
            assert (cut, "") == (cut, _read(thoughts[:cut])[1])


_NO_CONTINUATION = {
    # Without a heading of its own, what is around a continuation may be a part of it.
    "preamble-idea",
    "preamble-title_label",
    "preamble-direction",
    "preamble-plan",
}


@pytest.mark.parametrize(("name", "wrapper"), _ALL, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_around_a_continuation_is_left_out(name: str, wrapper: Wrapper) -> None:
    """The title that is said again too."""
    for story in () if name in _NO_CONTINUATION else STORIES:
        reader = AnswerReader(title_wanted=False, title=story.title, language_code=story.language_code)
        items = [*reader.feed(wrapper(story.title, story.text)), *reader.finish().items]
        text = "".join(item.text for item in items if isinstance(item, AttemptText))

        assert all(isinstance(item, AttemptText) for item in items)
        assert (name, story.name) in _AMBIGUOUS or (story.name, _words(story.text)) == (story.name, _words(text))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
@pytest.mark.parametrize("before", ["", "<think>It is late.</think>\n\n", "Here is the rest of the story:\n\n"])
def test_continuation_of_any_shape_arrives_whole(story: Story, before: str) -> None:
    """Without the title, every word of it is text."""
    reader = AnswerReader(title_wanted=False, title="Another", language_code=story.language_code)
    reader.feed(before + story.text)

    assert _words(story.text) == _words(reader.finish().text)
