"""Who writes when somebody fails: the order of the models, retries, and what is not tried."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.story_writers import CALL, attempt

from servicekit.errors import DomainError
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind
from servicekit.resilience.retry import RetryPolicy
from story_service.answer.titles import fallback_ending
from story_service.assignment import Assignment, Listener
from story_service.errors import BrokenOffError, OutOfTokensError, UnfitError, WrongLanguageError, cost_unknown
from story_service.generation.content import Delta, Title
from story_service.generation.cost_ledger import completed
from story_service.generation.generation import Completed, StoryGenerator, StoryItem
from story_service.generation.selection import ModelSelector
from story_service.ports import (
    AttemptEnded,
    AttemptItem,
    AttemptStarted,
    AttemptText,
    AttemptTitle,
    ModelCall,
    Notice,
)
from story_service.wire.requests import read_call
from tale.common.v1 import common_pb2
from tale.common.v1.common_pb2 import ATTEMPT_OUTCOME_FAILED, ATTEMPT_OUTCOME_SUCCEEDED

_KIND = ProviderErrorKind


class _Writer:
    """Plays one script after the other: items, and perhaps an error behind them."""

    def __init__(self, *scripts: tuple[Sequence[AttemptItem], Exception | None]) -> None:
        self._scripts = list(scripts)
        self.asked: list[tuple[str, Assignment]] = []

    async def write(self, assignment: Assignment, *, model: str) -> AsyncGenerator[AttemptItem, None]:
        self.asked.append((model, assignment))
        items, failure = self._scripts.pop(0)
        for item in items:
            yield item
        if failure is not None:
            raise failure

    @property
    def models(self) -> list[str]:
        return [model for model, _ in self.asked]


def _error(kind: ProviderErrorKind, retry_after: float | None = None) -> ProviderError:
    return ProviderError(kind, "it failed", provider="fake", retry_after=retry_after)


def _started(model: str, *, embedded: bool = False) -> AttemptStarted:
    return AttemptStarted(model=model, provider="fake", embedded=embedded)


def _call(call_id: str, *, failed: bool = True) -> ModelCall:
    return replace(CALL, call_id=call_id, outcome=ATTEMPT_OUTCOME_FAILED if failed else ATTEMPT_OUTCOME_SUCCEEDED)


def _failing(
    model: str, error: Exception, *said: AttemptItem, call_id: str = "f"
) -> tuple[Sequence[AttemptItem], Exception]:
    return [_started(model), *said, _call(f"{call_id}{model}")], error


def _good(model: str, *sentences: str, titled: bool = True) -> tuple[Sequence[AttemptItem], None]:
    _, *rest = attempt("Mia" if titled else "", *sentences)
    return [_started(model, embedded=model == "offline"), *rest], None


def _generator(writer: _Writer, *models: str, retries: int = 3) -> StoryGenerator:
    return StoryGenerator(
        selector=ModelSelector(default_model=models[0], fallback_models=models[1:], providers=["openrouter", "chat"]),
        writers={"offline": writer, "openrouter": writer, "chat": writer},
        policy=RetryPolicy(retries=retries, delay=0.001),
    )


_ASSIGNMENT = Assignment(story_id="id", child=Listener(name="Mia"), spent_usd=1.0)


async def _told(writer: _Writer, *models: str, **how: Any) -> list[StoryItem]:
    return [item async for item in _generator(writer, *models, **how).generate(_ASSIGNMENT)]


async def _failure(writer: _Writer, *models: str, retries: int = 3) -> DomainError:
    with pytest.raises(DomainError) as caught:
        await _told(writer, *models, retries=retries)
    return caught.value


def _notices(items: Sequence[StoryItem]) -> list[Notice]:
    """Those of what happened; that two words are no story of five minutes is another matter."""
    return [item for item in items if isinstance(item, Notice) and item.reason != "SHORTER_THAN_ASKED"]


def _completed(items: Sequence[StoryItem]) -> Completed:
    assert isinstance(items[-1], Completed)
    return items[-1]


async def test_next_attempt_gets_what_is_out_and_what_was_spent() -> None:
    """Title, text and cost of the first are the second's beginning; both calls come with their completions."""
    cut = replace(_call("cut"), completion={"id": "cut"})
    failure = _error(_KIND.TRANSPORT)
    writer = _Writer(
        ([_started("a/one"), AttemptTitle("Mia"), AttemptText("Once."), cut], failure),
        _good("a/two", " Twice.", titled=False),
    )
    told = await _told(writer, "a/one", "a/two")
    first, second = (assignment for _, assignment in writer.asked)

    assert ("", "", 1.0) == (first.title_so_far, first.written_so_far, first.spent_usd)
    assert ("Mia", "Once.", 1.25) == (second.title_so_far, second.written_so_far, second.spent_usd)
    assert [Title("Mia"), Delta(0, "Once."), Delta(5, " Twice.")] == [
        item for item in told if isinstance(item, Title | Delta)
    ]
    completed = _completed(told)
    assert [{"id": "cut"}, {"id": "1"}] == [
        item.completion for item in told if isinstance(item, ModelCall) and item.completion
    ]
    assert "a/two" == completed.model
    assert 12 == completed.content_length
    assert 0.5 == completed.spending.cost_usd


async def test_each_fallback_is_told_behind_the_start_of_the_next() -> None:
    """Who failed, why, and who goes on."""
    writer = _Writer(
        _failing("a/one", _error(_KIND.INVALID_INPUT)),
        _failing("a/two", _error(_KIND.CONTENT_POLICY)),
        _good("a/three", "Once."),
    )
    told = await _told(writer, "a/one", "a/two", "a/three")
    notices = _notices(told)

    assert [("a/one", "a/two", "INVALID_INPUT"), ("a/two", "a/three", "CONTENT_POLICY")] == [
        (notice.metadata["failed_model"], notice.metadata["model"], notice.metadata["why"]) for notice in notices
    ]
    assert [_started("a/two"), notices[0]] == told[told.index(_started("a/two")) :][:2]


async def test_model_is_asked_again_before_the_next_one() -> None:
    """While nothing of its attempt is out: as often as is set, and announced once."""
    writer = _Writer(*[_failing("a/one", _error(_KIND.OVERLOAD))] * 3, _good("a/two", "Once."))
    told = await _told(writer, "a/one", "a/two", retries=2)

    assert ["a/one"] * 3 + ["a/two"] == writer.models
    assert [_started("a/one"), _started("a/two")] == [item for item in told if isinstance(item, AttemptStarted)]


@pytest.mark.parametrize("kind", [_KIND.RATE, _KIND.CONCURRENCY])
async def test_who_has_too_much_to_do_is_left_for_the_next(kind: ProviderErrorKind) -> None:
    """At once, be it the embedded writer; who is alone is waited for."""
    writer = _Writer(_failing("a/one", _error(kind)), _good("offline", "Once."))
    await _told(writer, "a/one", "offline")
    alone = _Writer(_failing("a/one", _error(kind)), _good("a/one", "Once."))
    await _told(alone, "a/one")

    assert ["a/one", "offline"] == writer.models
    assert ["a/one", "a/one"] == alone.models


async def test_model_that_spoke_goes_on_itself_before_the_embedded_writer_does() -> None:
    """Another paid model would be next at once; the embedded one is the last resort."""
    said = (AttemptTitle("Mia"), AttemptText("Once."))
    writer = _Writer(
        _failing("a/one", _error(_KIND.TRUNCATED), *said),
        *[_failing("a/one", _error(_KIND.TRUNCATED))] * 2,
        _good("offline", " Twice.", titled=False),
    )
    told = await _told(writer, "a/one", "offline", retries=1)

    assert ["a/one", "a/one", "a/one", "offline"] == writer.models
    assert (True, "offline") == (_completed(told).embedded, _completed(told).model)
    assert ["MODEL_FALLBACK"] == [item.reason for item in _notices(told)]


@pytest.mark.parametrize("kind", [_KIND.AUTH, _KIND.QUOTA])
async def test_key_fails_once_for_all_models(kind: ProviderErrorKind) -> None:
    """One call, and then the embedded writer where it is named, or nobody."""
    alone = _Writer(_failing("a/one", _error(kind)))
    await _failure(alone, "a/one", "a/two")
    writer = _Writer(_failing("a/one", _error(kind)), _good("offline", "Once."))
    await _told(writer, "a/one", "a/two", "offline")

    assert ["a/one"] == alone.models
    assert ["a/one", "offline"] == writer.models


async def test_key_of_one_provider_says_nothing_of_another() -> None:
    """A model of the chat server follows; one behind the same key does not."""
    writer = _Writer(_failing("a/one", _error(_KIND.QUOTA)), _good("chat:llama3.2:3b", "Once."))
    await _told(writer, "a/one", "a/two", "chat:llama3.2:3b")

    assert ["a/one", "llama3.2:3b"] == writer.models


async def test_what_is_given_up_is_given_up() -> None:
    """A call that our own side ended is no reason to ask another model."""
    writer = _Writer(_failing("a/one", _error(_KIND.CANCELLED)))

    assert "CANCELLED" == (await _failure(writer, "a/one", "a/two")).reason


async def test_what_may_not_be_paid_for_goes_to_the_next() -> None:
    """An attempt that does not start is no call; a cheaper model may write."""
    writer = _Writer(([], cost_unknown("a/one")), _good("a/two", "Once."))
    told = await _told(writer, "a/one", "a/two")

    assert "Once." == "".join(item.text for item in told if isinstance(item, Delta))
    assert ["COST_LIMIT"] == [item.metadata["why"] for item in _notices(told)]


async def test_call_for_which_there_was_no_room_is_not_waited_for_twice() -> None:
    """It was waited for already when it failed without having been made."""
    writer = _Writer(([], _error(_KIND.CONCURRENCY)))

    assert "RATE_LIMITED" == (await _failure(writer, "a/one")).reason
    assert 1 == len(writer.asked)


_UNFIT = UnfitError("too short", provider="fake", request_id="")
_OUT_OF_TOKENS = OutOfTokensError(provider="fake", request_id="")


@pytest.mark.parametrize("error", [_UNFIT, _OUT_OF_TOKENS], ids=["unfit", "all thought"])
async def test_whole_answer_that_is_no_story_is_not_paid_for_again_and_again(error: ProviderError) -> None:
    """The next model is asked at once; where there is none but the embedded one, the same model once more."""
    writer = _Writer(_failing("a/one", error), _good("a/two", "Once."))
    await _told(writer, "a/one", "a/two")
    last = _Writer(*[_failing("a/one", error)] * 2, _good("offline", "Once."))
    await _told(last, "a/one", "offline")
    alone = _Writer(*[_failing("a/one", error)] * 2)
    await _failure(alone, "a/one")

    assert ["a/one", "a/two"] == writer.models
    assert ["a/one", "a/one", "offline"] == last.models
    assert ["a/one", "a/one"] == alone.models


async def test_model_that_reaches_its_bound_with_text_goes_on_itself() -> None:
    """As often as retries are allowed, also where another model stands by."""
    said = (AttemptTitle("Mia"), AttemptText("Once."))
    writer = _Writer(
        _failing("a/one", _OUT_OF_TOKENS, *said),
        _failing("a/one", _OUT_OF_TOKENS, AttemptText(" Twice."), call_id="g"),
        _good("a/one", " Thrice.", titled=False),
    )
    told = await _told(writer, "a/one", "a/two")

    assert ["a/one"] * 3 == writer.models
    assert "Once. Twice. Thrice." == "".join(item.text for item in told if isinstance(item, Delta))


_BROKEN_OFF = BrokenOffError(provider="fake", request_id="")


async def test_answer_without_an_ending_is_continued() -> None:
    """The next call knows that an answer broke off already."""
    said = (AttemptTitle("Mia"), AttemptText("Once."))
    writer = _Writer(_failing("a/one", _BROKEN_OFF, *said), _good("a/one", " Twice.", titled=False))
    told = await _told(writer, "a/one")

    assert [False, True] == [assignment.broke_off for _, assignment in writer.asked]
    assert [] == _notices(told)


async def test_story_without_an_ending_is_complete_when_no_call_is_left() -> None:
    """What is released is not lost, and a notice says what is missing."""
    said = (AttemptTitle("Mia"), AttemptText("Once."))
    writer = _Writer(_failing("a/one", _BROKEN_OFF, *said), _failing("a/one", _error(_KIND.AUTH), call_id="g"))
    told = await _told(writer, "a/one")

    assert ["ENDING_MISSING"] == [item.reason for item in _notices(told)]
    assert len(f"Once.\n\n{fallback_ending('en')}") == _completed(told).content_length


async def test_attempt_may_end_a_story_without_an_ending() -> None:
    """The notice comes then, too."""
    items, _ = _good("a/one", "Once.")
    told = await _told(_Writer(([*items[:-1], AttemptEnded("Once.", ending_missing=True)], None)), "a/one")

    assert ["ENDING_MISSING"] == [item.reason for item in _notices(told)]


async def test_estimate_of_an_earlier_call_counts_once() -> None:
    """It is part of what was spent, and in the books until what was billed replaces it."""
    line = common_pb2.Attempt(attempt_id="e", cost_usd=0.25, prompt_tokens=3)
    writer = _Writer(_good("a/one", "Once."))
    generator = _generator(writer, "a/one")
    told = [item async for item in generator.generate(_ASSIGNMENT, unsettled=[read_call(line)])]

    assert 1.0 == writer.asked[0][1].spent_usd
    assert 0.5 == _completed(told).spending.cost_usd
    assert 3 == completed(read_call(line), {"id": "e"}).spending.prompt_tokens


async def test_another_language_is_reported_as_what_it_is() -> None:
    """After one more call."""
    error = WrongLanguageError("de", "en", provider="fake", request_id="")
    writer = _Writer(*[_failing("a/one", error)] * 2)
    failure = await _failure(writer, "a/one")

    assert ("WRONG_LANGUAGE", "de", "en") == (
        failure.reason,
        failure.metadata["requested_language"],
        failure.metadata["found_language"],
    )


async def test_circuit_that_is_open_is_no_wait_where_others_write() -> None:
    """The next model begins at once."""
    soon = CircuitOpenError("a/one", provider="fake", retry_after=0.01)
    writer = _Writer(([], soon), _good("a/two", "Once."))
    await _told(writer, "a/one", "a/two")

    assert ["a/one", "a/two"] == writer.models


async def test_defect_is_no_failure_of_a_model() -> None:
    """What is nobody's typed failure goes up as it is, and no other model hides it."""
    writer = _Writer(_failing("a/one", ValueError("a defect")))
    with pytest.raises(ValueError, match="a defect"):
        await _told(writer, "a/one", "a/two")
