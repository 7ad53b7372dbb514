"""How an answer ended, and what follows from it."""

from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.offline_briefs import brief
from support.story_models import SENTENCES, TITLE, joined
from support.story_storm import FakeChat, Storm
from support.virtual_runs import VirtualRuns

from offline_writer import OfflineWriter, Outline
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from standins.virtual_time import run_virtually
from story_service.answer.sentences import count_words
from story_service.answer.titles import fallback_ending
from story_service.assignment import Assignment, Listener
from story_service.chat import ChatDelta, ChatEnded, ChatEvent, ChatRequest, ChatTimers, EndMark
from story_service.errors import BrokenOffError, OutOfTokensError, UnfitError
from story_service.generation.endings import Verdict, is_whole, judge
from story_service.generation.guards import RepeatedError, RepetitionGuard
from story_service.generation.model_answer import CallFacts
from story_service.generation.writing_attempt import WritingAttempt
from story_service.models.catalogue import ModelList
from story_service.ports import AttemptText, AttemptTitle, Missing, Spending
from story_service.wire.servicer import StoryServicer
from tale.common.v1 import common_pb2

_NONE, _LIMIT, _FILTERED = EndMark.NONE, EndMark.OUT_OF_TOKENS, EndMark.FILTERED
_ASSIGNMENT = Assignment(story_id="id", child=Listener(name="Mia"), length_minutes=1)


@pytest.mark.parametrize(
    ("marks", "whole", "share", "verdict"),
    [
        ((EndMark.PROPER, EndMark.UNKNOWN), True, 1.0, Verdict.COMPLETE),
        ((EndMark.PROPER, EndMark.UNKNOWN), True, 0.5, Verdict.COMPLETE),
        ((EndMark.PROPER, EndMark.UNKNOWN), True, 0.1, Verdict.TOO_SHORT),
        ((EndMark.PROPER, EndMark.UNKNOWN), False, 1.0, Verdict.BROKE_OFF),
        ((EndMark.PROPER, EndMark.UNKNOWN), False, 0.5, Verdict.BROKE_OFF),
        ((EndMark.PROPER, EndMark.UNKNOWN), False, 0.1, Verdict.TOO_SHORT),
        ((_LIMIT,), True, 0.9, Verdict.COMPLETE),
        ((_LIMIT,), True, 0.5, Verdict.OUT_OF_TOKENS),
        ((_LIMIT,), False, 0.9, Verdict.OUT_OF_TOKENS),
        ((_LIMIT,), False, 0.1, Verdict.OUT_OF_TOKENS),
        ((_FILTERED,), True, 0.9, Verdict.COMPLETE),
        ((_FILTERED,), True, 0.5, Verdict.FILTERED),
        ((_FILTERED,), False, 0.9, Verdict.FILTERED),
        ((_NONE,), True, 0.9, Verdict.BROKE_OFF),
        ((_NONE,), False, 0.9, Verdict.BROKE_OFF),
        ((_NONE,), True, 0.5, Verdict.CUT),
        ((_NONE,), False, 0.1, Verdict.CUT),
    ],
)
def test_text_and_mark_decide_together(marks: tuple[EndMark, ...], whole: bool, share: float, verdict: Verdict) -> None:
    """A whole story is never lost for its mark, and one that breaks off is none for a good mark."""
    assert {verdict} == {judge(mark, whole=whole, share=share) for mark in marks}


def test_answer_that_adds_nothing_completes_only_a_whole_story() -> None:
    """A model that has nothing to add to half a story has not continued it."""
    assert Verdict.COMPLETE is judge(EndMark.PROPER, whole=True, share=0.9, added=False)
    assert Verdict.TOO_SHORT is judge(EndMark.PROPER, whole=True, share=0.8, added=False)
    assert Verdict.CUT is judge(EndMark.NONE, whole=True, share=1.0, added=False)


_PROSE = "Once there was a fox. The fox was tired.\n\nThe moon came up.\n\n"


@pytest.mark.parametrize(
    "end",
    [
        "And they slept.",
        "And they slept!",
        "“Good night,” said the moon. “Sleep well.”",
        "„Gute Nacht.“",
        "»Gute Nacht!«",
        "« Bonne nuit. »",
        "And they slept…",
        "And they slept. 🌙",
        "And they slept 🌙✨",
        "And they slept ♥",
        "And they slept ❤️",
        "And they slept ~",
        "(And they slept.)",
        "みんなねむりました。",
        "「おやすみなさい」",
        "おやすみなさい〜",
        "वे सो गए।",
        "ពួកគេគេងលក់។",
        "แล้วทุกคนก็หลับไป",
        "Good night, little Mia",
        "Спокойной ночи, малыш",
        "Sleep, little one, sleep,\nthe stars are in the deep,\nthe moon is in the tree\nand watches you and me",
        "The stars are bright\nand so good night",
        "With love,\nGrandma",
        "With all my love,\n\nYour Moon",
        "Three things were in the box:\n1. a red button\n2. a blue feather\n3. a silver key",
    ],
)
def test_whole_texts_of_many_shapes(end: str) -> None:
    """Prose with closing marks and emoji, verse, letters, lists, and scripts without stops."""
    assert is_whole(_PROSE + end)


def test_letter_may_be_signed_by_a_name_alone() -> None:
    """Where it began with a greeting."""
    assert is_whole("Liebe Mia,\n\nhier scheint der Mond. Schlaf schön.\n\nDeine Oma")
    assert not is_whole("Once there was an owl.\n\nHer name was long.\n\nOne night Mia")


@pytest.mark.parametrize(
    "end",
    [
        "And then the little",
        "And then the little fox,",
        "And then the little fox —",
        "And then she said:",
        "“Good night,” said",
        "“Good night",
        "She read the book “Stars”",
        "Sleep, little one, sleep,\nthe stars are in the deep,\nthe moon is in the tree\nand",
        "With all my heart I wish you, my dear child,\nthat",
        "Тогда лисичка пошла к",
        "それからきつねは",
        "然后小狐狸走到",
        "그래서 여우는",
        "ثم ذهب الثعلب إلى",
    ],
)
def test_sentence_that_breaks_off_is_not_whole(end: str) -> None:
    """In the middle of a paragraph, a quotation or a verse."""
    assert not is_whole(_PROSE + end)


def _stories() -> Iterator[str]:
    writer = OfflineWriter()
    for language in ("en", "ru"):
        for seed in range(6):
            requested = brief(language_code=language, length_minutes=2, seed=seed)
            yield "".join(piece.text for piece in writer.write(requested) if piece.kind != "title")


_STORIES = tuple(_stories())


@given(story=st.sampled_from(_STORIES), position=st.floats(0.2, 0.999))
@settings(deadline=None)
def test_real_stories_are_whole_and_cut_ones_are_not(story: str, position: float) -> None:
    """Wherever a word is the last, and no sentence ends there."""
    assert is_whole(story)
    words = story[: int(len(story) * position)].rsplit(None, 1)[0]
    if words[-1].isalnum() and words[words.rfind("\n") + 1 :].count(" ") > 8:
        assert not is_whole(words)


def _attempt(
    answer: str, mark: EndMark, *, assignment: Assignment = _ASSIGNMENT, step: int = 7
) -> tuple[WritingAttempt, Iterator[AttemptTitle | AttemptText | Outline]]:
    attempt = WritingAttempt(CallFacts(model="m", provider="fake", start_time=datetime.now(UTC)), assignment)
    ended = ChatEnded(
        generation_id="g", model="m", provider_name="", finish_reason="", spending=Spending(), created=0, mark=mark
    )
    pieces = [ChatDelta(answer[start : start + step]) for start in range(0, len(answer), step)]
    events: list[ChatEvent] = [*pieces, ended]

    def items() -> Iterator[AttemptTitle | AttemptText | Outline]:
        for event in events:
            yield from attempt.take(event)
            if attempt.complete:
                return

    return attempt, items()


async def _told(answer: str, mark: EndMark = EndMark.PROPER, **how: Any) -> tuple[str, bool, ProviderError | None]:
    """Returns the released text, whether an ending is missing, and the error."""
    attempt, items = _attempt(answer, mark, **how)
    text = ""
    try:
        for item in items:
            text += item.text if isinstance(item, AttemptText) else ""
    except ProviderError as error:
        return text, False, error
    ended = attempt.ended()
    assert text == ended.text
    return text, ended.ending_missing, None


_TEXT = joined(len(SENTENCES))
_LONG = replace(_ASSIGNMENT, length_minutes=2)


@pytest.mark.parametrize("mark", [EndMark.PROPER, EndMark.UNKNOWN, _LIMIT, _FILTERED])
async def test_whole_story_is_complete_by_any_mark(mark: EndMark) -> None:
    """Whatever the reason, nothing of it is lost."""
    assert (_TEXT, False, None) == await _told(f"{TITLE}\n\n{_TEXT}", mark)


@pytest.mark.parametrize("mark", [EndMark.PROPER, EndMark.UNKNOWN, _NONE])
async def test_unfinished_sentence_is_not_released(mark: EndMark) -> None:
    """The story is continued behind the last whole one."""
    text, _, error = await _told(f"{TITLE}\n\n{_TEXT} And then the little", mark)

    assert _TEXT == text
    assert isinstance(error, BrokenOffError)


async def test_whole_text_whose_stream_just_ended_is_released_and_continued() -> None:
    """It may have been cut."""
    text, _, error = await _told(f"{TITLE}\n\n{_TEXT}", _NONE)

    assert _TEXT == text
    assert isinstance(error, BrokenOffError)


async def test_unfinished_sentence_before_an_empty_line_waits_for_the_end() -> None:
    """Its paragraph has ended, and it has not."""
    text, _, error = await _told(f"{TITLE}\n\n{_TEXT}\n\nAnd then the little\n\n", EndMark.PROPER)

    assert _TEXT == text
    assert isinstance(error, BrokenOffError)


@pytest.mark.parametrize("mark", [EndMark.PROPER, _LIMIT, _NONE])
async def test_second_answer_without_an_ending_ends_the_story(mark: EndMark) -> None:
    """With its last whole sentence."""
    assignment = replace(_ASSIGNMENT, title_so_far=TITLE, written_so_far=joined(10), broke_off=True)
    more = "The moon went behind a cloud and all was very still. And then the"
    text, missing, error = await _told(more, mark, assignment=assignment)

    assert (" " + more.removesuffix(" And then the"), True, None) == (text, missing, error)


@pytest.mark.parametrize("again", [f"{TITLE}\n\n{_TEXT}", "", "I'm sorry, but I can't continue this story."])
async def test_second_answer_of_no_use_ends_the_story(again: str) -> None:
    """One that starts over, is empty, or refuses."""
    assignment = replace(_ASSIGNMENT, title_so_far=TITLE, written_so_far=joined(10), broke_off=True)

    assert ("", True, None) == await _told(again, assignment=assignment)


async def test_second_answer_with_an_ending_completes_the_story() -> None:
    """Nothing is missing then."""
    assignment = replace(_ASSIGNMENT, title_so_far=TITLE, written_so_far=joined(10), broke_off=True)
    more = "The moon went behind a cloud, and all of them slept until the morning came."

    assert (" " + more, False, None) == await _told(more, assignment=assignment)


async def test_second_answer_of_nothing_but_a_closing_word_ends_the_story() -> None:
    """Whose stream just ends, as that of a server that never ends one otherwise."""
    assignment = replace(_ASSIGNMENT, title_so_far=TITLE, written_so_far=_TEXT, broke_off=True)

    assert ("", False, None) == await _told("The End.", EndMark.PROPER, assignment=assignment)
    assert ("", True, None) == await _told("The End.", _NONE, assignment=assignment)


async def test_connection_that_ends_before_any_text_ends_no_story() -> None:
    """It is called again."""
    assignment = replace(_ASSIGNMENT, title_so_far=TITLE, written_so_far=joined(10), broke_off=True)
    _, _, error = await _told("", _NONE, assignment=assignment)

    assert error is not None
    assert ProviderErrorKind.TRUNCATED is error.kind


async def test_answer_that_is_cut_in_mid_story_is_continued() -> None:
    """By its maximum of tokens, or by the connection; its last sentences come again."""
    for mark, kind in ((_LIMIT, OutOfTokensError), (_NONE, ProviderError)):
        text, _, error = await _told(f"{TITLE}\n\n{joined(10)}", mark, assignment=_LONG)
        assert joined(10).startswith(text)
        assert isinstance(error, kind)
        assert not isinstance(error, BrokenOffError)


@pytest.mark.parametrize("answer", ["", "   \n", TITLE, f"{TITLE}\n\nOnce there was an owl."])
async def test_answer_that_is_no_story_is_unfit(answer: str) -> None:
    """Empty, only a title, or too short."""
    text, _, error = await _told(answer)

    assert "" == text
    assert isinstance(error, UnfitError)


@pytest.mark.parametrize("length_minutes", [1, 2, 5])
@pytest.mark.parametrize(
    "refusal",
    [
        "I'm sorry, but I can't help with that request.",
        "A Story for Mia\n\nI’m sorry, but I can’t write a story about this topic. It is not fit for children.",
        "К сожалению, я не могу написать такую сказку. Могу предложить другую тему.",
        "很抱歉，我无法完成这个请求。",
        "I can't help with that. I'd be happy to write a different story instead!",
        "Mia\n\nI'd be happy to write a different story instead! What would you like to hear about, and who is in it?",
    ],
)
async def test_refusal_is_one_whatever_was_requested(refusal: str, length_minutes: int) -> None:
    """Nothing of its text is released."""
    text, _, error = await _told(refusal, assignment=replace(_ASSIGNMENT, length_minutes=length_minutes))

    assert "" == text
    assert error is not None
    assert ProviderErrorKind.CONTENT_POLICY is error.kind


@pytest.mark.parametrize(
    "opening",
    [
        "I cannot sleep. The moon is too bright, and the owl is singing her song.",
        "I can't write yet, so my big sister writes this story down for me every night.",
        "“I'm sorry, but I can't help you with that,” said the owl. “I can't write a story at all.”",
        "I can not tell you another story, said my grandmother, and then she told one all the same.",
    ],
)
async def test_story_that_begins_like_a_refusal_is_told(opening: str) -> None:
    """The story that follows shows that it is one."""
    told = f"{opening} {joined(12)}"

    assert (told, False, None) == await _told(f"{TITLE}\n\n{told}")


@pytest.mark.parametrize("step", [1, 5_000])
async def test_answer_without_end_is_given_one_by_another_call(step: int) -> None:
    """However the answer comes; what exceeds the requested words is not released, and leaves room for an ending."""
    sentences = [f"Then number {number} came and brought a friend along." for number in range(1_000)]
    attempt, items = _attempt(f"{TITLE}\n\n" + " ".join(sentences), EndMark.PROPER, step=step)
    text = "".join(item.text for item in items if isinstance(item, AttemptText))

    assert Missing.ENDING is attempt.ended().missing
    assert text == attempt.ended().text
    assert 142 <= count_words(text) <= 150
    assert text.endswith("along.")


_ENDINGS = [f"Then number {number} came and brought a friend along." for number in range(1_000)]
_TUCKED = "All of them lay down under the tree.\n\nThe moon rose, and they slept until the morning."


@pytest.mark.parametrize("sentences", [20, 100])
async def test_end_of_an_ending_that_is_too_long_is_the_ending(sentences: int) -> None:
    """Its last paragraphs that the story has room for."""
    begun = joined(14)
    assignment = replace(_ASSIGNMENT, title_so_far=TITLE, written_so_far=begun)

    for before, last in (("\n\n", f"\n\n{_TUCKED}"), (" ", "\n\n" + _TUCKED.rpartition("\n\n")[2])):
        answer = " ".join(_ENDINGS[:sentences]) + before + _TUCKED
        assert (last, False, None) == await _told(answer, assignment=assignment)


@pytest.mark.parametrize(("answer", "mark"), [(" ".join(_ENDINGS), EndMark.PROPER), (" ".join(_ENDINGS[:60]), _LIMIT)])
async def test_ending_without_end_leaves_room_for_one(answer: str, mark: EndMark) -> None:
    """No more of it is released than was requested."""
    begun = joined(14)
    assignment = replace(_ASSIGNMENT, title_so_far=TITLE, written_so_far=begun)
    text, missing, error = await _told(answer, mark, assignment=assignment)

    assert (True, None) == (missing, error)
    assert 0 < count_words(text) <= assignment.passage.left
    assert text.endswith("along.")


async def test_call_ends_with_the_sentence_that_is_too_much() -> None:
    """What comes after it is not read."""
    sentences = [f"Then number {number} came and brought a friend along." for number in range(1_000)]
    attempt, items = _attempt(f"{TITLE}\n\n" + " ".join(sentences), EndMark.PROPER)
    list(items)

    assert attempt.complete
    assert len(attempt.raw_text) < 2_000


async def test_story_that_has_its_length_ends_after_the_next_answer() -> None:
    """It was asked for nothing but its ending."""
    written = " ".join(f"Then number {number} came along." for number in range(30))
    assignment = replace(_ASSIGNMENT, title_so_far=TITLE, written_so_far=written)
    more = "And so they all lay down under the tree and slept. And then the"

    assert (" " + more.removesuffix(" And then the"), True, None) == await _told(more, _LIMIT, assignment=assignment)


class _BreaksOff(FakeChat):
    """Ends each answer inside a sentence, and says that it has finished."""

    async def stream(self, request: ChatRequest, timers: ChatTimers) -> AsyncGenerator[ChatEvent, None]:
        async for event in super().stream(request, timers):
            if isinstance(event, ChatEnded):
                yield ChatDelta(" And then the little")
            yield event


def test_story_without_an_ending_is_ready_and_says_so() -> None:
    """At the gateway, after two calls."""

    async def scene() -> tuple[VirtualRuns, FakeChat]:
        chat = _BreaksOff()
        models = ModelList([], default=str, fallback_models=(), language_codes=())
        runs = VirtualRuns(StoryServicer(generator=Storm(chat).generator, catalogue=models))
        await runs.run()
        return runs, chat

    runs, chat = run_virtually(scene())

    whole = f"{_TEXT}\n\n{fallback_ending('en')}"
    assert (common_pb2.STORY_STATE_READY, whole) == (runs.story.state, runs.story.content)
    assert ["ENDING_MISSING"] == [problem.reason for problem in runs.story.problems]
    assert 2 == len(chat.calls)


_HOUSE = (
    "house that Jack built",
    "malt that lay in the",
    "rat that ate the",
    "cat that killed the",
    "dog that worried the",
    "cow with the crumpled horn that tossed the",
    "maiden all forlorn that milked the",
    "man all tattered and torn that kissed the",
    "priest all shaven and shorn that married the",
    "cock that crowed in the morn that woke the",
)
_ANIMALS = ("cow", "pig", "duck", "horse", "sheep", "cat", "dog", "goat", "hen", "owl")
_FARM = "Old MacDonald had a farm, E-I-E-I-O."


def _farm(number: int) -> str:
    noises = " ".join(
        f"With a {animal}-cry here and a {animal}-cry there. Here a {animal}, there a {animal}, everywhere a {animal}."
        for animal in reversed(_ANIMALS[: number + 1])
    )
    return f"{_FARM} And on that farm he had a {_ANIMALS[number]}, E-I-E-I-O. {noises} {_FARM}"


_TALES = {
    "house": [
        "This is the " + " ".join(reversed(_HOUSE[: number + 1])).replace(" the house", " the house") + "."
        for number in range(len(_HOUSE))
    ],
    "farm": [_farm(number) for number in range(len(_ANIMALS))],
    "days": [
        f"On day {number} my true love sent to me these things. "
        + " ".join(f"There were {each} birds that sang in the pear tree." for each in range(number, 0, -1))
        for number in range(1, 11)
    ],
    "refrain": [
        f"The {animal} came by and could not sleep. Run, run, as fast as you can. You cannot catch me."
        for animal in _ANIMALS
    ],
    "lullaby": ["Mia lay down.", *["Sleep, baby, sleep."] * 8, "And Mia slept."],
    "line": ["The wind sang.", *["Hush now, little one, hush now."] * 5, "All was still."],
    "clock": ["The clock went on.", *["Tick. Tock."] * 8, "Then it struck."],
    "chorus": ["Once.", *["Row, row, row your boat.", "Gently down the stream."] * 4, "The end came."],
}


@pytest.mark.parametrize("tale", _TALES.values(), ids=_TALES)
def test_refrains_and_cumulative_tales_are_no_loops(tale: list[str]) -> None:
    """Every sentence of them is released."""
    guard = RepetitionGuard("")
    sentences = [sentence for verse in tale for sentence in verse.replace(". ", ".\0").split("\0")]
    released = [text for sentence in sentences for text in guard.feed(sentence)] + guard.finish()

    assert sentences == released


@given(
    story=st.sampled_from(_STORIES),
    begin=st.integers(0, 30),
    length=st.integers(1, 12),
    before=st.integers(12, 40),
)
@settings(deadline=None)
def test_loops_are_found_within_bounded_text(story: str, begin: int, length: int, before: int) -> None:
    """Whatever passage a model falls into, two hundred words of it are enough."""
    sentences = [f"{sentence}." for sentence in story.replace("\n", " ").split(". ")][:before]
    passage = sentences[begin % len(sentences) :][:length]
    guard = RepetitionGuard("")
    for sentence in sentences:
        guard.feed(sentence)
    with pytest.raises(RepeatedError):
        _repeat(guard, passage, words=200)


def _repeat(guard: RepetitionGuard, passage: list[str], *, words: int) -> None:
    """Feeds `passage` again and again, until `words` are over after its second time."""
    told, size = 0, count_words(" ".join(passage))
    while told < words + 2 * size:
        for sentence in passage:
            guard.feed(sentence)
        told += max(size, 1)


@pytest.mark.parametrize("story", _STORIES)
def test_real_stories_repeat_nothing_too_often(story: str) -> None:
    """The embedded writer's have refrains."""
    guard = RepetitionGuard("")
    sentences = [f"{sentence}." for sentence in story.split(". ")]

    assert sentences == [text for sentence in sentences for text in guard.feed(sentence)] + guard.finish()


_LINES = (
    "Hush, little one, hush.",
    "Run, run, as fast as you can.",
    "Trip, trap, trip, trap.",
    "Sleep.",
    "Good night!",
)


@given(
    story=st.sampled_from(_STORIES),
    refrain=st.lists(st.sampled_from(_LINES), min_size=1, max_size=3, unique=True),
    times=st.lists(st.integers(0, 4), min_size=8, max_size=20),
)
@settings(deadline=None)
def test_refrain_anywhere_in_a_story_is_no_loop(story: str, refrain: list[str], times: list[int]) -> None:
    """Up to four times in a row, after any of its sentences."""
    text: list[str] = []
    for number, sentence in enumerate(story.replace("\n", " ").split(". ")):
        text += [f"{sentence}.", *refrain * times[number % len(times)]]
    guard = RepetitionGuard("")

    assert text == [part for sentence in text for part in guard.feed(sentence)] + guard.finish()


@given(story=st.sampled_from(_STORIES), begin=st.integers(0, 20), data=st.data())
@settings(deadline=None)
def test_loop_is_found_whatever_its_marks_and_case(story: str, begin: int, data: st.DataObject) -> None:
    """A model that falls into a loop seldom repeats each comma."""
    sentences = [f"{sentence}." for sentence in story.replace("\n", " ").split(". ")]
    begin %= len(sentences)
    guard = RepetitionGuard(" ".join(sentences[: begin + 4]))
    change = st.sampled_from([str.upper, str.lower, lambda text: text.replace(",", ";"), lambda text: f"“{text}”"])
    with pytest.raises(RepeatedError):
        _repeat(guard, [data.draw(change)(sentence) for sentence in sentences[begin : begin + 4]], words=200)
