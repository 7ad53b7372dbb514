"""The generator: what goes out, and what is checked before the text is called whole."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace

import grpc
import pytest
from support.story_writers import CALL, ScriptedWriter, attempt

from servicekit.errors import DomainError
from story_service.assignment import MAX_CONTENT_LENGTH, Assignment, Listener
from story_service.generation.content import Delta, Title
from story_service.generation.generation import Completed, StoryGenerator, StoryItem
from story_service.generation.selection import ModelSelector, shorter_notice
from story_service.ports import AttemptItem, AttemptStarted, AttemptText, AttemptTitle, Notice

_STARTED = AttemptStarted(model="offline", provider="scripted", embedded=True)


def _generator(writer: ScriptedWriter) -> StoryGenerator:
    selector = ModelSelector(default_model="openai/gpt-4o-mini", fallback_models=(), providers=())
    return StoryGenerator(selector=selector, writers={"offline": writer})


def _assignment(title_so_far: str = "", written_so_far: str = "", model: str = "offline") -> Assignment:
    return Assignment(
        story_id="id",
        child=Listener(name="Mia"),
        model=model,
        title_so_far=title_so_far,
        written_so_far=written_so_far,
    )


async def _all(items: Sequence[AttemptItem], assignment: Assignment | None = None) -> list[StoryItem]:
    generator = _generator(ScriptedWriter(items))
    return [item async for item in generator.generate(assignment or _assignment())]


async def _collect(items: AsyncIterator[StoryItem], told: list[StoryItem]) -> None:
    async for item in items:
        told.append(item)  # noqa: PERF401 - what came before a failure counts


async def _failure(writer: ScriptedWriter, assignment: Assignment | None = None) -> tuple[DomainError, list[StoryItem]]:
    told: list[StoryItem] = []
    with pytest.raises(DomainError) as caught:
        await _collect(_generator(writer).generate(assignment or _assignment()), told)
    return caught.value, told


async def test_story_goes_out_in_order_and_is_summed_up() -> None:
    """Started, title, deltas with offsets, the call, and the whole text's length, digest and cost."""
    content = "Ünce.\n\nTwice."

    assert [
        _STARTED,
        Title("Mia"),
        Delta(0, "Ünce."),
        Delta(5, "\n\nTwice."),
        replace(CALL, characters=13),
        shorter_notice("offline", asked=750, written=2),
        Completed(
            model="offline",
            provider="scripted",
            embedded=True,
            content_length=13,
            content_sha256=hashlib.sha256(content.encode()).digest(),
            spending=CALL.spending,
        ),
    ] == await _all(attempt("# Mia", "Ünce.", "\n\nTwice."))


async def test_going_on_counts_from_what_is_out() -> None:
    """Offsets, length and digest are those of the whole content; the title does not come again."""
    *told, completed = await _all(attempt("Other", " Twice."), _assignment("Mia", "Ünce."))

    assert [_STARTED, Delta(5, " Twice."), replace(CALL, characters=7)] == told[:3]
    assert isinstance(completed, Completed)
    assert (12, hashlib.sha256("Ünce. Twice.".encode()).digest()) == (
        completed.content_length,
        completed.content_sha256,
    )


async def test_text_that_was_whole_already_stays_whole() -> None:
    """An attempt may find that nothing is left to write."""
    completed = (await _all(attempt(""), _assignment("Mia", "Once.")))[-1]

    assert isinstance(completed, Completed)
    assert completed.content_length == 5


async def test_story_with_an_avoided_word_says_so() -> None:
    """At its end, by the place of the entry and not by its words; a word of the title counts too."""
    assignment = replace(_assignment(), avoid=("ghosts", "a storm", "owls"))
    *_, notice, completed = await _all(attempt("# The Owl", "There were storms."), assignment)

    assert isinstance(notice, Notice)
    assert notice.reason == "AVOID_NOT_MET"
    assert "avoid[1], avoid[2]" in notice.message
    assert "storm" not in notice.message
    assert isinstance(completed, Completed)


async def test_story_without_avoided_words_says_nothing() -> None:
    """Nor does one in which nothing is to be avoided."""
    told = await _all(attempt("# Mia", "There was wind."), replace(_assignment(), avoid=("ghosts",)))

    assert ["SHORTER_THAN_ASKED"] == [item.reason for item in told if isinstance(item, Notice)]


async def test_notices_follow_the_start() -> None:
    """The caller first learns who writes, and then what to think of it."""
    told = await _all(attempt("Mia", "Once."), _assignment(model=""))

    assert told[0] == _STARTED
    assert isinstance(told[1], Notice)


async def test_title_line_without_a_title_gets_one() -> None:
    """A title is never empty."""
    assert Title("A Bedtime Story") in await _all(attempt("##", "Once."))
    assert Title("Eine Gutenachtgeschichte") in await _all(
        attempt("##", "Once."),
        Assignment(story_id="id", child=Listener(name="Mia"), language_code="de-AT", model="offline"),
    )


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (attempt("Mia"), "empty"),
        (attempt("Mia", ""), "empty"),
        (attempt("Mia", "Once.")[:-1], "was cut"),
        ([], "was cut"),
        (attempt("Mia", "Once.", text="Once. Twice."), "not what it had streamed"),
        (attempt("Mia", "Once. Twice.", text="Once."), "not what it had streamed"),
        ([_STARTED, AttemptText("Once.")], "before a title"),
    ],
)
async def test_answer_that_is_not_whole_is_no_success(items: Sequence[AttemptItem], words: str) -> None:
    """Empty, cut or different from what was streamed: UNAVAILABLE, and never Completed."""
    failure, told = await _failure(ScriptedWriter(items))

    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
    assert words in failure.message
    assert not any(isinstance(item, Completed) for item in told)


async def test_text_may_have_just_the_greatest_length() -> None:
    """The bound itself is allowed."""
    completed = (await _all(attempt("Mia", "x" * (MAX_CONTENT_LENGTH - 5)), _assignment("Mia", "Once.")))[-1]

    assert isinstance(completed, Completed)
    assert completed.content_length == MAX_CONTENT_LENGTH


async def test_text_beyond_the_bound_is_refused_before_it_goes_out() -> None:
    """The sentence that passes 65,536 code points, those written before included, is not sent."""
    sentences = ("x" * (MAX_CONTENT_LENGTH - 5), "y")
    failure, told = await _failure(ScriptedWriter(attempt("Mia", *sentences)), _assignment("Mia", "Once."))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TEXT_TOO_LONG")
    assert [_STARTED, Delta(5, sentences[0])] == told


async def test_writer_is_closed_when_the_caller_leaves() -> None:
    """Leaving the stream closes the attempt at once."""
    writer = ScriptedWriter([_STARTED, AttemptTitle("Mia"), AttemptText("Once.")], endless=True)
    async with aclosing(_generator(writer).generate(_assignment())) as items:
        async for item in items:
            if isinstance(item, Delta):
                break

    assert writer.closed.is_set()


async def test_what_the_writer_raises_goes_on() -> None:
    """A typed failure of the attempt reaches the caller as it is, behind what was told before."""
    failure = DomainError("CONTENT_REFUSED", "No.")
    caught, told = await _failure(ScriptedWriter(attempt("Mia", "Once.")[:3], failure=failure))

    assert failure is caught
    assert [_STARTED, Title("Mia"), Delta(0, "Once.")] == told


async def test_nothing_is_read_behind_the_end() -> None:
    """AttemptEnded is the last word of an attempt."""
    completed = (await _all([*attempt("Mia", "Once."), AttemptText("More.")]))[-1]

    assert isinstance(completed, Completed)
    assert completed.content_length == 5


async def test_writer_gets_the_assignment_and_the_model() -> None:
    """The attempt is asked for with all that the request held."""
    writer = ScriptedWriter(attempt("", " Twice."))
    assignment = _assignment("Mia", "Once.")
    async for _ in _generator(writer).generate(assignment):
        pass

    assert [(replace(assignment, extendable=True), "offline")] == writer.asked
