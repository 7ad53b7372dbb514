"""The critic: which scenes are held and judged, what a weak one leads to, and what a critic can never cost."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from support.story_writers import CALL

from offline_writer import Outline, Scene
from servicekit.metrics import Metrics
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from standins.virtual_time import loop_time, run_virtually
from story_service.assignment import ASPECTS, Assignment, Listener
from story_service.errors import cost_unknown
from story_service.metrics import StoryMetrics
from story_service.ports import (
    PURPOSE,
    AttemptEnded,
    AttemptItem,
    AttemptStarted,
    AttemptText,
    ModelCall,
    Spending,
)
from story_service.safety.critic import CRITIC_SECONDS, REWRITE_SECONDS, CriticWriter
from story_service.safety.ports import Note
from tale.common.v1.common_pb2 import ATTEMPT_OUTCOME_FAILED, ATTEMPT_OUTCOME_STARTED

WRITTEN = "Mia walked to the pond. " * 20
SCENES = tuple(Scene(purpose=f"scene {number}", words=100) for number in range(3))
FIRST = Assignment(
    story_id="id", child=Listener(name="Mia", age=5), wish="a pond", length_minutes=6, outline=Outline(scenes=SCENES)
)
SECOND = replace(
    FIRST,
    title_so_far="T",
    written_so_far=WRITTEN,
    outline=Outline(scenes=(replace(SCENES[0], end=len(WRITTEN)), *SCENES[1:])),
)


class _Writer:
    """Writes each version in its turn; a failure ends it behind its text. It takes `pause` seconds a sentence."""

    def __init__(self, *versions: tuple[Sequence[str], Exception | None], pause: float = 1.0) -> None:
        self._versions = list(versions)
        self._pause = pause
        self.asked: list[Assignment] = []

    async def write(self, assignment: Assignment, *, model: str) -> AsyncGenerator[AttemptItem, None]:
        self.asked.append(assignment)
        sentences, failure = self._versions.pop(0)
        call = replace(CALL, call_id=f"call {len(self.asked)}", outcome=ATTEMPT_OUTCOME_STARTED)
        yield AttemptStarted(model=model, provider="fake")
        yield call
        try:
            for sentence in sentences:
                await asyncio.sleep(self._pause)
                yield AttemptText(sentence)
            if failure is not None:
                raise failure
        except ProviderError:
            yield replace(call, outcome=ATTEMPT_OUTCOME_FAILED)
            raise
        yield replace(CALL, call_id=call.call_id)
        yield AttemptEnded("".join(sentences))


class _Judge:
    """Answers each question as it is told, after some seconds."""

    circuit: Any = None

    def __init__(self, *answers: str | ProviderError, seconds: float = 0.5) -> None:
        self._answers = list(answers)
        self._seconds = seconds
        self.read: list[str] = []

    async def ask(self, text: str, read: Callable[[str], Any], *, note: Note) -> Any:
        self.read.append(text)
        call = replace(CALL, call_id="judgement", metadata={PURPOSE: "critic"}, spending=Spending(cost_usd=0.01))
        try:
            await asyncio.sleep(self._seconds)
        finally:
            note(call)
        answer = self._answers.pop(0)
        value = answer if isinstance(answer, ProviderError) else read(answer)
        if isinstance(value, ProviderError) or value is None:
            raise value or ProviderError(ProviderErrorKind.TRUNCATED, "it cannot be read", provider="fake")
        return value

    def most_usd(self, *, checks: int, words: int) -> float | None:
        del checks, words
        return 0.02


def _scored(**scores: int) -> str:
    return json.dumps({aspect: scores.get(aspect, 5) for aspect in ASPECTS})


def _written(
    writer: _Writer, judge: _Judge, assignment: Assignment = SECOND
) -> tuple[list[AttemptItem], dict[str, float], Exception | None]:
    """What came, when each text did, and what it ended with."""

    async def scene() -> tuple[list[AttemptItem], dict[str, float], Exception | None]:
        items: list[AttemptItem] = []
        times: dict[str, float] = {}
        critic = CriticWriter(
            writer,
            judge,  # type: ignore[arg-type] # as much of it as the critic uses
            threshold=3,
            metrics=StoryMetrics(Metrics(), models=()),
        )
        try:
            async with aclosing(critic.write(assignment, model="m")) as written:
                async for item in written:
                    items.append(item)
                    if isinstance(item, AttemptText):
                        times[item.text] = loop_time()
        except (ProviderError, RuntimeError) as error:
            return items, times, error
        return items, times, None

    return run_virtually(scene())


def _text(items: Sequence[AttemptItem]) -> str:
    return "".join(item.text for item in items if isinstance(item, AttemptText))


def _purposes(items: Sequence[AttemptItem]) -> list[tuple[str, str]]:
    return [
        (item.call_id, item.metadata.get(PURPOSE, ""))
        for item in items
        if isinstance(item, ModelCall) and item.outcome != ATTEMPT_OUTCOME_STARTED
    ]


def test_first_scene_is_released_as_it_is_written() -> None:
    """Nothing is asked of the critic."""
    judge = _Judge()
    items, times, _ = _written(_Writer((["One. ", "Two."], None)), judge, FIRST)

    assert {"One. ": 1.0, "Two.": 2.0} == times
    assert [] == judge.read
    assert isinstance(items[-1], AttemptEnded)


def test_rest_of_a_scene_that_broke_off_is_released_as_it_is_written() -> None:
    """What is before it is out already."""
    broken = replace(SECOND, written_so_far=f"{WRITTEN}Then she ")
    judge = _Judge()
    _, times, _ = _written(_Writer((["One. ", "Two."], None)), judge, broken)

    assert {"One. ": 1.0, "Two.": 2.0} == times
    assert [] == judge.read


def test_good_scene_is_released_behind_its_judgement() -> None:
    """The critic reads wish, plan, what came before and the scene; its call is in the ledger."""
    judge = _Judge(_scored(moral=3))
    items, times, _ = _written(_Writer((["One. ", "Two."], None)), judge)

    assert "One. Two." == _text(items)
    assert {2.5} == set(times.values())
    assert [("judgement", "critic"), ("call 1", "")] == _purposes(items)
    for part in ("Age: 5", "a pond", "2. scene 1", "One. Two.", "number 2 of 3"):
        assert part in judge.read[0]


def test_weak_scene_is_written_once_more() -> None:
    """With its weak aspects; the first version is paid for, not released, and no call without text."""
    writer = _Writer((["Bad."], None), (["Good."], None))
    items, _, _ = _written(writer, _Judge(_scored(wish=2, coherence=1)))

    assert "Good." == _text(items)
    assert items[-1] == AttemptEnded("Good.")
    assert [(), ("wish", "coherence")] == [asked.weak for asked in writer.asked]
    assert [("judgement", "critic"), ("call 1", "draft"), ("call 2", "")] == _purposes(items)
    assert pytest.approx(0.26) == writer.asked[1].spent_usd
    assert 1 == len([item for item in items if isinstance(item, AttemptStarted)])


def test_second_version_is_released_unjudged() -> None:
    """One question a scene."""
    judge = _Judge(_scored(arc=1))
    _written(_Writer((["Bad."], None), (["Bad too."], None)), judge)

    assert 1 == len(judge.read)


@pytest.mark.parametrize(
    "answer",
    [
        ProviderError(ProviderErrorKind.OVERLOAD, "it is down", provider="fake"),
        "A fine scene!",
        _scored(wish=9),
        '{"wish": 1}',
        '{"wish": "1", "age": 5, "arc": 5, "moral": 5, "coherence": 5}',
    ],
)
def test_critic_that_is_down_or_wrong_changes_nothing(answer: str | ProviderError) -> None:
    """The scene is released."""
    items, _, error = _written(_Writer((["One."], None)), _Judge(answer))

    assert error is None
    assert "One." == _text(items)


def test_slow_critic_is_not_waited_for() -> None:
    """Twenty seconds behind the last sentence."""
    _, times, error = _written(_Writer((["One."], None)), _Judge(_scored(), seconds=600))

    assert error is None
    assert {"One.": 1.0 + CRITIC_SECONDS} == times


@pytest.mark.parametrize(
    "failure",
    [ProviderError(ProviderErrorKind.OVERLOAD, "it is down", provider="fake"), cost_unknown("m")],
)
def test_first_version_is_released_where_the_second_fails(failure: Exception) -> None:
    """It was paid for and is whole."""
    items, _, error = _written(_Writer((["One."], None), (["Two. "], failure)), _Judge(_scored(age=1)))

    assert error is None
    assert "One." == _text(items)
    assert ("call 1", "") in _purposes(items)
    assert items[-1] == AttemptEnded("One.")


def test_slow_second_version_is_not_waited_for() -> None:
    """A minute, and what its model takes for a sentence more."""
    slow = [f"Sentence {number}. " for number in range(600)]
    items, times, error = _written(_Writer((["One."], None), (slow, None), pause=5.0), _Judge(_scored(age=1)))

    assert error is None
    assert "One." == _text(items)
    assert times["One."] <= 5.5 + REWRITE_SECONDS + 5.0
    assert ("call 2", "draft") in _purposes(items)


def test_scene_that_is_cut_is_released_and_fails_as_without_a_critic() -> None:
    """Text that came before the failure is continued, not thrown away."""
    failure = ProviderError(ProviderErrorKind.TRANSPORT, "the connection broke", provider="fake")
    judge = _Judge()
    items, _, error = _written(_Writer((["One. "], failure)), judge)

    assert failure is error
    assert "One. " == _text(items)
    assert [] == judge.read


def test_critic_is_not_asked_beyond_the_cost_limit() -> None:
    """Its most is above what is left."""
    judge = _Judge()
    items, _, _ = _written(_Writer((["One."], None)), judge, replace(SECOND, max_cost_usd=0.01))

    assert "One." == _text(items)
    assert [] == judge.read
