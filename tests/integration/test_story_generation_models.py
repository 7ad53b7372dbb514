"""Every way in which a model fails: what the caller sees, and how many calls were paid for."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from support.openrouter_fake import (
    DONE,
    PROMPT_TOKENS,
    Answer,
    Cut,
    Event,
    Finish,
    Raw,
    Text,
    Usage,
    Wait,
    broken_off,
    error,
    error_object,
    pieces,
    story,
    stream,
)
from support.story_models import SENTENCES, TEXT, TITLE, WHOLE, StoryServer, Telling, goes_on, joined, story_server

from tale.common.v1 import common_pb2, status_pb2, status_pb2_grpc

_NUMBERS: Final = count()
_HALF: Final = WHOLE[: len(WHOLE) // 2]
_SHORT: Final = f"{TITLE}\n\nOnce there was an owl. She slept."
_WAITING: Final = asyncio.Event()


@pytest.fixture(scope="module")
async def writing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StoryServer]:
    """One story service for all; each test asks for models of its own, whose circuits are closed."""
    async with story_server(tmp_path_factory.mktemp("data"), generation_info_wait=20) as running:
        yield running


@pytest.fixture(scope="module")
async def hasty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StoryServer]:
    """One that waits for no text longer than a second, and asks again once."""
    timers: dict[str, Any] = {"first_token_timeout_seconds": 1, "idle_timeout_seconds": 1}
    async with story_server(tmp_path_factory.mktemp("data"), max_retries=1, **timers) as running:
        yield running


@pytest.fixture(autouse=True)
def _journal(writing: StoryServer) -> Iterator[None]:
    """A journal of its own for each test, and no answer that nobody asked for."""
    upstream = writing.upstream
    upstream.calls.clear()
    upstream.looks.clear()
    upstream.default = None
    yield
    unused = upstream.unused
    upstream._scripted.clear()
    assert 0 == unused


@pytest.fixture
def model() -> str:
    """A model that nobody asked for yet."""
    return f"test/m{next(_NUMBERS)}"


_REFUSED: Final = [
    (error(400), "UPSTREAM_REFUSED", grpc.StatusCode.FAILED_PRECONDITION),
    (error(400, message="x is not a valid model ID"), "MODEL_NOT_FOUND", grpc.StatusCode.NOT_FOUND),
    (error(401), "UPSTREAM_AUTH", grpc.StatusCode.FAILED_PRECONDITION),
    (error(402), "QUOTA_EXCEEDED", grpc.StatusCode.RESOURCE_EXHAUSTED),
    (error(403), "UPSTREAM_AUTH", grpc.StatusCode.FAILED_PRECONDITION),
    (error(403, metadata={"reasons": ["violence"]}), "CONTENT_REFUSED", grpc.StatusCode.FAILED_PRECONDITION),
    (error(404), "MODEL_NOT_FOUND", grpc.StatusCode.NOT_FOUND),
    (
        Answer(body=b"<html>Bad gateway</html>", content_type="text/html"),
        "INVALID_CONFIGURATION",
        grpc.StatusCode.FAILED_PRECONDITION,
    ),
    (error(429, retry_after="3600"), "RATE_LIMITED", grpc.StatusCode.RESOURCE_EXHAUSTED),
    (error(401, http_status=200), "UPSTREAM_AUTH", grpc.StatusCode.FAILED_PRECONDITION),
    (stream(Finish("content_filter"), DONE), "CONTENT_REFUSED", grpc.StatusCode.FAILED_PRECONDITION),
    (
        story("I am sorry, but I can not write that."),
        "CONTENT_REFUSED",
        grpc.StatusCode.FAILED_PRECONDITION,
    ),
]
_PASSING: Final = [
    (error(408), "NETWORK_ERROR"),
    (error(429), "RATE_LIMITED"),
    (error(500), "UPSTREAM_UNAVAILABLE"),
    (error(502), "UPSTREAM_UNAVAILABLE"),
    (error(503), "UPSTREAM_UNAVAILABLE"),
    (error(504), "NETWORK_ERROR"),
    (error(502, http_status=200), "UPSTREAM_UNAVAILABLE"),
    (Answer(cut=True), "NETWORK_ERROR"),
    (stream(Cut()), "NETWORK_ERROR"),
    (stream(Raw(b"data: {not json\n\n")), "NETWORK_ERROR"),
    (stream(), "UPSTREAM_UNAVAILABLE"),
    (stream(Event({"error": error_object(502, "no")})), "UPSTREAM_UNAVAILABLE"),
]
_UNFIT: Final = [
    stream(DONE),
    stream(Finish(), Usage(), DONE),
    stream(Text("  \n"), Finish(), Usage(), DONE),
    stream(Text("x"), Finish("length"), Usage(), DONE),
    story(_SHORT),
    story(f"{TITLE}\n\n" + "The owl was very quiet. " * 40),
]


@pytest.mark.parametrize(("answer", "reason", "code"), _REFUSED)
async def test_what_asking_again_can_not_mend_is_asked_once(
    writing: StoryServer, model: str, answer: Answer, reason: str, code: grpc.StatusCode
) -> None:
    """One call, a typed failure, and nothing of what the upstream said."""
    writing.upstream.answer(answer)
    telling = await writing.tell(model=model)

    assert (reason, code) == (telling.failure.reason, telling.failure.code)
    assert 1 == len(writing.upstream.calls) == len(telling.attempts)
    assert telling.failure.metadata["tried"].startswith(f"{model}: ")
    assert "Mia" not in f"{telling.failure.message}{telling.failure.metadata}"
    assert "" == telling.title == telling.text


@pytest.mark.parametrize(("answer", "reason"), _PASSING)
async def test_what_may_pass_is_asked_again_and_then_told(
    writing: StoryServer, model: str, answer: Answer, reason: str
) -> None:
    """Four calls in all, each of them in the books, and a typed failure that says when to try again."""
    writing.upstream.answer(*[answer] * 4)
    telling = await writing.tell(model=model)
    failure = telling.failure

    assert reason == failure.reason
    assert failure.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert failure.retry_after is not None
    assert "after 4 calls" in failure.metadata["tried"]
    assert 4 == len(writing.upstream.calls) == len(telling.attempts)
    assert {common_pb2.ATTEMPT_OUTCOME_FAILED} == {attempt.outcome for attempt in telling.attempts.values()}
    assert "" == telling.text or TEXT.startswith(telling.text) or "quiet" in telling.text
    assert "Mia" not in f"{failure.message}{failure.metadata}"


@pytest.mark.parametrize("answer", _UNFIT)
async def test_whole_answers_that_are_no_story_are_paid_for_twice_at_most(
    writing: StoryServer, model: str, answer: Answer
) -> None:
    """They say nothing against the provider, so that the circuit of the model counts no failure for them."""
    writing.upstream.answer(*[answer] * 2)
    telling = await writing.tell(model=model)
    status = status_pb2_grpc.StatusServiceStub(writing.service.channel)
    circuits = (await status.GetStatus(status_pb2.GetStatusRequest(), timeout=10)).status.circuits

    assert "UPSTREAM_UNAVAILABLE" == telling.failure.reason
    assert [(model, "TRUNCATED")] * 2 == telling.outcomes
    assert [(2, 0)] == [
        (each.total_calls, each.failed_calls) for each in circuits if each.name == f"openrouter:{model}"
    ]


@pytest.mark.parametrize("answer", [*[each for each, _ in _PASSING], *_UNFIT])
async def test_what_passes_is_not_seen(writing: StoryServer, model: str, answer: Answer) -> None:
    """The second call succeeds: the caller has the story, and the books have both calls."""
    writing.upstream.answer(answer)
    writing.upstream.default = goes_on
    telling = await writing.tell(model=model)

    assert telling.title
    assert telling.whole.content_length == len(telling.text)
    assert TEXT in telling.text or "quiet" in telling.text
    assert 2 == len(writing.upstream.calls)
    first, second = telling.attempts.values()
    assert (common_pb2.ATTEMPT_OUTCOME_FAILED, common_pb2.ATTEMPT_OUTCOME_SUCCEEDED) == (first.outcome, second.outcome)
    assert "" != first.reason
    assert not telling.warnings


@pytest.mark.parametrize(
    "answer", [each for each, reason, _ in _REFUSED if reason not in {"UPSTREAM_AUTH", "QUOTA_EXCEEDED"}]
)
async def test_another_model_writes_what_one_refuses(writing: StoryServer, model: str, answer: Answer) -> None:
    """At once, with one call each, and the caller is told."""
    writing.upstream.answer(answer, story(WHOLE))
    telling = await writing.tell(model=model, fallback_models=[f"{model}-other"])

    assert (TITLE, TEXT) == (telling.title, telling.text)
    assert [model, f"{model}-other"] == [call.model for call in writing.upstream.calls] == telling.started
    assert f"{model}-other" == telling.whole.model
    assert [(model, f"{model}-other")] == [
        (warning.metadata["failed_model"], warning.metadata["model"]) for warning in telling.warnings
    ]


@pytest.mark.parametrize("answer", [error(401), error(402), error(403)])
async def test_key_that_is_refused_asks_nobody_else(writing: StoryServer, model: str, answer: Answer) -> None:
    """Another model behind the same key would say the same: one call, even where there are fallbacks."""
    writing.upstream.answer(answer)
    telling = await writing.tell(model=model, fallback_models=[f"{model}-2", f"{model}-3"])

    assert telling.failure.reason in {"UPSTREAM_AUTH", "QUOTA_EXCEEDED"}
    assert 1 == len(writing.upstream.calls)


async def test_embedded_writer_stands_in_for_a_refused_key_where_it_is_named(writing: StoryServer, model: str) -> None:
    """One paid call, then the story comes from inside, and the caller knows it."""
    writing.upstream.answer(error(401))
    telling = await writing.tell(model=model, fallback_models=[f"{model}-2", "offline"])

    assert [model, "offline"] == telling.started
    assert (True, "offline") == (telling.whole.embedded, telling.whole.model)
    assert [("MODEL_FALLBACK", "offline", "AUTH")] == [
        (warning.reason, warning.metadata["model"], warning.metadata["why"]) for warning in telling.warnings
    ]
    assert 1 == len(writing.upstream.calls)


async def test_too_many_calls_go_to_the_next_model_at_once(writing: StoryServer, model: str) -> None:
    """A 429 is not waited for where another model is there."""
    writing.upstream.answer(error(429, retry_after="20"), story(WHOLE))
    telling = await writing.tell(model=model, fallback_models=[f"{model}-other"])

    assert TEXT == telling.text
    assert [(model, "RATE"), (f"{model}-other", "")] == telling.outcomes


async def test_short_wait_that_is_asked_for_is_kept(writing: StoryServer, model: str) -> None:
    """Without another model a 429 with a bearable Retry-After is waited for, and the circuit with it."""
    writing.upstream.answer(error(429, retry_after="1"), story(WHOLE))
    telling = await writing.tell(model=model)

    assert TEXT == telling.text
    first, second = telling.attempts.values()
    assert second.start_time.ToNanoseconds() - first.end_time.ToNanoseconds() >= 0.99e9


async def test_pause_is_waited_for_and_reported_where_the_caller_allows_it(writing: StoryServer, model: str) -> None:
    """A pause too long for a retry is waited for; one that is longer than what is allowed is reported at once."""
    writing.upstream.answer(error(429, retry_after="10.1"), story(WHOLE))
    told = await writing.tell(model=model, provider_wait=30)
    writing.upstream.answer(error(429, retry_after="60"))
    refused = await writing.tell(model=model, provider_wait=30)

    assert TEXT == told.text
    assert {"WAITING_FOR_PROVIDER"} == {warning.reason for warning in told.warnings}
    assert {model} == {warning.metadata["model"] for warning in told.warnings}
    assert all(warning.remedy for warning in told.warnings)
    assert "RATE_LIMITED" == refused.failure.reason
    assert [] == refused.warnings
    assert 3 == len(writing.upstream.calls)


async def test_story_that_takes_long_holds_up_no_other(writing: StoryServer, model: str) -> None:
    """The first call after a rest streams on while others are written by the same model."""
    on = asyncio.Event()
    slow = stream(*pieces(WHOLE[:300]), Wait(on), *pieces(WHOLE[300:]), Finish(), Usage(), DONE)
    first, told = Telling(), aiter(writing.begin(model=model))
    writing.upstream.answer(error(429, retry_after="1"), slow, story(WHOLE))
    while not first.title:
        first.take(await anext(told))
    second = await writing.tell(model=model)
    on.set()
    async for response in told:
        first.take(response)

    assert (TEXT, TEXT) == (first.text, second.text)


async def test_no_wait_goes_past_the_callers_deadline(writing: StoryServer, model: str) -> None:
    """What cannot be waited for is told at once."""
    writing.upstream.answer(error(429, retry_after="20"))
    telling = await writing.tell(model=model, timeout=10)

    assert "RATE_LIMITED" == telling.failure.reason
    assert 1 == len(writing.upstream.calls)


@pytest.mark.parametrize(
    "answer",
    [
        broken_off(_HALF, 502),
        stream(*pieces(_HALF)),
        stream(*pieces(_HALF), Cut()),
        stream(*pieces(_HALF), Finish("error"), DONE),
        stream(*pieces(_HALF), Finish("content_filter"), Usage(), DONE),
        stream(*pieces(_HALF), Raw(b"data: {broken\n\n")),
    ],
)
async def test_what_breaks_in_the_middle_is_fallback_notice(writing: StoryServer, model: str, answer: Answer) -> None:
    """By the next model, at once: two calls, both billed and both in the completions, and nothing said twice."""
    writing.upstream.answer(answer)
    writing.upstream.default = goes_on
    telling = await writing.tell(model=model, fallback_models=[f"{model}-other"])
    whole = telling.whole

    assert (TITLE, TEXT) == (telling.title, telling.text)
    assert [model, f"{model}-other"] == [call.model for call in writing.upstream.calls]
    cut, good = telling.completions
    assert ("gen-1", "gen-2") == (cut["id"], good["id"])
    assert cut["choices"][0]["finish_reason"] in {None, "content_filter"}
    assert "stop" == good["choices"][0]["finish_reason"]
    assert WHOLE.startswith(cut["choices"][0]["message"]["content"])
    assert whole.usage.cost_known
    assert pytest.approx(writing.upstream.total_cost) == whole.usage.cost_usd == telling.cost
    assert ["gen-1", "gen-2"] == sorted(set(writing.upstream.looks))
    assert ["gen-1", "gen-2"] == [info["id"] for info in telling.generation_infos]
    assert ["Fake", "Fake"] == [attempt.metadata["provider_name"] for attempt in telling.attempts.values()]


async def test_model_that_never_begins_is_given_up(hasty: StoryServer, model: str) -> None:
    """Comments that keep the line open are no text: twice asked, twice given up, and typed."""
    before = len(hasty.upstream.calls)
    hasty.upstream.answer(*[stream(Wait(_WAITING, keep_alive=0.05))] * 2)
    telling = await hasty.tell(model=model)

    assert (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR") == (telling.failure.code, telling.failure.reason)
    assert [(model, "TIMEOUT")] * 2 == telling.outcomes
    calls = hasty.upstream.calls[before:]
    assert [True, True] == [call.left for call in calls]
    assert [call.generation_id for call in calls] == [
        attempt.metadata["generation_id"] for attempt in telling.attempts.values()
    ]


@pytest.mark.parametrize("keep_alive", [None, 0.05])
async def test_model_that_falls_silent_is_gone_on_from(
    hasty: StoryServer, model: str, keep_alive: float | None
) -> None:
    """With or without comments in between: the next model says the rest."""
    hasty.upstream.answer(stream(*pieces(_HALF), Wait(_WAITING, keep_alive)))
    hasty.upstream.default = goes_on
    telling = await hasty.tell(model=model, fallback_models=[f"{model}-other"])
    hasty.upstream.default = None

    assert TEXT == telling.text
    assert (model, "TIMEOUT") == telling.outcomes[0]
    assert telling.whole.usage.cost_known


async def test_model_whose_answer_is_full_goes_on_itself(writing: StoryServer, model: str) -> None:
    """It is well, so its circuit counts no failure, and no other model is asked."""
    writing.upstream.answer(stream(*pieces(_HALF), Finish("length"), Usage(), DONE))
    writing.upstream.default = goes_on
    telling = await writing.tell(model=model, fallback_models=[f"{model}-other"])
    status = status_pb2_grpc.StatusServiceStub(writing.service.channel)
    circuits = (await status.GetStatus(status_pb2.GetStatusRequest(), timeout=10)).status.circuits

    assert TEXT == telling.text
    assert [model] == telling.started
    assert [(model, "TRUNCATED"), (model, "")] == telling.outcomes
    assert pytest.approx(writing.upstream.total_cost) == telling.whole.usage.cost_usd
    assert [(1, 0)] == [
        (each.successful_calls, each.failed_calls) for each in circuits if each.name == f"openrouter:{model}"
    ]


async def test_only_model_goes_on_with_its_own_text(writing: StoryServer, model: str) -> None:
    """Without another model the same one is called again, from where it stopped."""
    writing.upstream.answer(broken_off(_HALF, 502))
    writing.upstream.default = goes_on
    telling = await writing.tell(model=model)

    assert TEXT == telling.text
    assert [model] == telling.started
    assert 2 == len(writing.upstream.calls)


@pytest.mark.parametrize(
    "answer",
    [
        story(WHOLE),
        story(TEXT),
        story("Once upon a time a small bear lived in a cave. He was fond of honey."),
        story(" ".join(SENTENCES[2:5]) + " Then a bear came by. He sat down."),
    ],
)
async def test_attempt_that_starts_over_is_never_heard(writing: StoryServer, model: str, answer: Answer) -> None:
    """Its text stays inside, its call is in the books, and the next model goes on."""
    writing.upstream.answer(stream(*pieces(WHOLE[:600])), answer)
    writing.upstream.default = goes_on
    telling = await writing.tell(model=model, fallback_models=[f"{model}-2", f"{model}-3"])

    assert TEXT == telling.text
    assert [(model, "TRUNCATED"), (f"{model}-2", "TRUNCATED"), (f"{model}-3", "")] == telling.outcomes
    assert pytest.approx(writing.upstream.total_cost) == telling.cost


async def test_story_that_is_too_short_is_not_begun(writing: StoryServer, model: str) -> None:
    """Its title may be out, its few words are not, and the story is written under that title."""
    writing.upstream.answer(story(_SHORT))
    writing.upstream.default = goes_on
    telling = await writing.tell(model=model)

    assert (TITLE, TEXT) == (telling.title, telling.text)
    assert ["started", "title", "delta"] == [each for each in telling.events if each not in {"attempt", "outline"}][:3]


async def test_model_that_fails_always_is_left_alone(writing: StoryServer, model: str) -> None:
    """After five failures in a row its circuit is open: no call is made, other models write, and it is shown."""
    writing.upstream.answer(*[error(500)] * 5)
    await writing.tell(model=model)
    await writing.tell(model=model)
    calls = len(writing.upstream.calls)
    refused = await writing.tell(model=model)
    writing.upstream.answer(story(WHOLE))
    served = await writing.tell(model=model, fallback_models=[f"{model}-other"])

    assert 5 == calls
    assert (grpc.StatusCode.UNAVAILABLE, "CIRCUIT_OPEN") == (refused.failure.code, refused.failure.reason)
    assert not refused.attempts
    assert 0 < (refused.failure.retry_after or 0) <= 66
    assert TEXT == served.text
    assert ["CIRCUIT_OPEN"] == [warning.metadata["why"] for warning in served.warnings]
    assert [f"{model}-other"] == served.started


async def test_first_cause_is_reported_with_all_that_was_tried(writing: StoryServer, model: str) -> None:
    """Why each failed, in the order of the attempts."""
    writing.upstream.answer(error(400), *[error(503)] * 4)
    telling = await writing.tell(model=model, fallback_models=[f"{model}-2"])

    assert "UPSTREAM_REFUSED" == telling.failure.reason
    tried = f"{model}: INVALID_INPUT after 1 call; {model}-2: OVERLOAD after 4 calls"
    assert tried == telling.failure.metadata["tried"]


async def test_story_that_is_cut_for_good_keeps_what_it_has(writing: StoryServer, model: str) -> None:
    """The caller has a beginning it can go on from, the cost of all calls, and a failure that may pass."""
    writing.upstream.answer(broken_off(_HALF, 502), *[error(503)] * 3)
    telling = await writing.tell(model=model)

    assert TEXT.startswith(telling.text)
    assert telling.text
    assert "UPSTREAM_UNAVAILABLE" == telling.failure.reason
    assert pytest.approx(writing.upstream.total_cost) == telling.cost
    assert all(attempt.cost_known for attempt in telling.attempts.values())


async def test_caller_who_leaves_ends_the_call(writing: StoryServer, model: str) -> None:
    """The upstream's stream is closed, and what it cost is asked for all the same."""
    writing.upstream.answer(stream(*pieces(_HALF), Wait(asyncio.Event())))
    call = writing.begin(model=model)
    responses = aiter(call)
    seen = [(await anext(responses)).WhichOneof("event") for _ in range(7)]
    call.cancel()
    (upstream_call,) = writing.upstream.calls
    async with asyncio.timeout(10):
        await upstream_call.ended.wait()
        while not writing.upstream.looks:  # noqa: ASYNC110 - the journal is a list
            await asyncio.sleep(0.01)

    assert ["started", "attempt", "outline", "attempt", "title", "outline", "delta"] == seen
    assert upstream_call.left
    assert ["gen-1"] == writing.upstream.looks


async def test_tokens_and_cost_are_those_of_the_model(writing: StoryServer, model: str) -> None:
    """Usage from the stream's last event, OpenRouter's provider by name."""
    writing.upstream.answer(story(WHOLE, cost=0.0125))
    telling = await writing.tell(model=model)
    whole = telling.whole

    assert (
        common_pb2.Usage(
            prompt_tokens=PROMPT_TOKENS, completion_tokens=len(WHOLE.split()), cost_usd=0.0125, cost_known=True
        )
        == whole.usage
    )
    (completion,) = telling.completions
    assert ("gen-1", "Fake", model) == (completion["id"], completion["provider"], completion["model"])
    assert WHOLE == completion["choices"][0]["message"]["content"]
    assert 0.0125 == completion["usage"]["cost"]
    (info,) = telling.generation_infos
    assert info["streamed"]
    assert not whole.embedded


async def test_summary_behind_the_story_is_dropped(writing: StoryServer, model: str) -> None:
    """The caller gets the story alone, and the completion as it was."""
    writing.upstream.answer(story(f"{WHOLE}\n\n===\n**Summary:** The lantern goes out."))
    telling = await writing.tell(model=model)

    assert TEXT == telling.text
    assert "The lantern goes out" in telling.completions[0]["choices"][0]["message"]["content"]


async def test_cost_that_comes_late_is_not_waited_for(tmp_path: Path) -> None:
    """The story ends in time, and says that the cost is not known but about how much it is."""
    async with story_server(tmp_path, generation_info_wait=0.1, model="GPT_4O") as writing:
        writing.upstream.unknown_looks = 10**6
        writing.upstream.answer(stream(*pieces(_HALF)))
        writing.upstream.default = goes_on
        telling = await writing.tell()

    assert TEXT == telling.text
    assert not telling.whole.usage.cost_known
    cut, good = telling.attempts.values()
    assert (False, True) == (cut.cost_known, good.cost_known)
    assert 0 < cut.cost_usd < 0.01


async def test_story_keeps_to_what_it_may_cost(writing: StoryServer) -> None:
    """An attempt that might go over does not start; a cheaper model may; what was spent counts."""
    dear = await writing.tell(model="GPT_4O", max_cost_usd=0.001)
    spent = await writing.tell(model="GPT_4O_MINI", max_cost_usd=0.01, spent_usd=0.0099)
    unknown = await writing.tell(model="nobody/knows", max_cost_usd=1)
    assert ["COST_LIMIT"] * 3 == [telling.failure.reason for telling in (dear, spent, unknown)]
    assert grpc.StatusCode.FAILED_PRECONDITION == dear.failure.code
    assert not writing.upstream.calls

    writing.upstream.answer(story(WHOLE))
    cheap = await writing.tell(model="GPT_4O", fallback_models=["GPT_4O_MINI"], max_cost_usd=0.005)
    assert TEXT == cheap.text
    assert ["openai/gpt-4o-mini"] == [call.model for call in writing.upstream.calls]


async def test_attempts_of_a_story_share_what_it_may_cost(writing: StoryServer) -> None:
    """What the first attempt cost is counted before the second starts."""
    writing.upstream.answer(
        stream(*pieces(_HALF), Usage(cost=0.5), Finish("length"), DONE),
    )
    telling = await writing.tell(
        model="anthropic/claude-3-haiku", fallback_models=["GPT_4O_MINI"], max_cost_usd=0.004, timeout=10
    )

    assert telling.text
    assert 1 == len(writing.upstream.calls)
    assert "COST_LIMIT" in telling.failure.metadata["tried"]


async def test_model_that_takes_a_beginning_gets_it(writing: StoryServer) -> None:
    """Where the catalogue says so, the answer is begun for it; every other model is told to go on."""
    written = joined(5)
    for model, role in (("CLAUDE_3_HAIKU", "assistant"), ("GPT_4O", "user")):
        writing.upstream.answer(story(TEXT[len(written) :]))
        telling = await writing.tell(written, model=model)
        last = writing.upstream.calls[-1].body["messages"][-1]

        assert TEXT == telling.text
        assert (role, True) == (last["role"], written in last["content"])
        assert (role == "assistant") == last["content"].endswith(written)


async def test_calls_say_what_was_set(writing: StoryServer, model: str) -> None:
    """Temperature, tokens, seed and privacy arrive; names that are known become ids."""
    writing.upstream.answer(story(WHOLE), story(WHOLE))
    await writing.tell(model=model, temperature=0.25, seed=7)
    await writing.tell(model="gpt_4o_mini")
    one, other = (call.body for call in writing.upstream.calls)

    assert (0.25, 7, "deny") == (one["temperature"], one["seed"], one["provider"]["data_collection"])
    assert (0.7, "openai/gpt-4o-mini") == (other["temperature"], other["model"])
    assert "seed" not in other
    assert 400 < other["max_tokens"] < 2000
