"""OpenRouter doing everything wrong: what the caller of its adapter sees, and how many calls were made."""

import asyncio
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from pydantic import SecretStr
from support.openrouter_fake import (
    DONE,
    KEY,
    Answer,
    Cut,
    Event,
    Finish,
    OpenRouterFake,
    Pause,
    Raw,
    Step,
    Text,
    Usage,
    Wait,
    broken_off,
    error,
    openrouter_fake,
    story,
    stream,
)

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.secrets import SecretSource
from standins.processes import free_ports
from story_service.chat import (
    ChatDelta,
    ChatEnded,
    ChatEvent,
    ChatRequest,
    ChatStarted,
    ChatTimers,
    EndMark,
    Message,
)
from story_service.providers.chat.model import ServerChatModel
from story_service.providers.openrouter.dialect import ProviderRouting, openrouter

MODEL: Final = "openai/gpt-4o-mini"
SECRET: Final = "Mia's secret story"  # noqa: S105 - what must not get out
LONG: Final = ChatTimers(total=30, first_token=20, idle=20)
UNBEGUN: Final = ChatTimers(total=600, first_token=0.5, idle=20)
BROKEN_OFF: Final = ChatTimers(total=600, first_token=20, idle=0.5)
BEGUN: Final = "Once there was a fox. "
NEVER: Final = asyncio.Event()
K: Final = ProviderErrorKind


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[OpenRouterFake]:
    """OpenRouter, by our own hand."""
    async with openrouter_fake() as running:
        yield running


@pytest.fixture(scope="module")
async def model(server: OpenRouterFake) -> AsyncIterator[ServerChatModel]:
    """The adapter, at the fake."""
    made = _model(server)
    yield made
    await made.aclose()


@pytest.fixture
def upstream(server: OpenRouterFake) -> Iterator[OpenRouterFake]:
    """The fake, with nothing in it; what is scripted has to be asked for."""
    server.reset()
    yield server
    server.verify()


def _model(
    upstream: OpenRouterFake,
    key: SecretSource | None = None,
    *,
    clock: Callable[[], float] | None = None,
    **more: Any,
) -> ServerChatModel:
    return ServerChatModel(
        openrouter(upstream.base_url, **more),
        key or SecretSource(SecretStr(KEY), name="OPENROUTER_API_KEY"),
        sleep=lambda _: asyncio.sleep(0),
        clock=clock,
    )


def _request(**more: Any) -> ChatRequest:
    return ChatRequest(model=MODEL, messages=(Message("user", f"Tell {SECRET}"),), **more)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the caller of the port saw."""

    events: tuple[ChatEvent, ...]
    error: ProviderError | None

    @property
    def said(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, ChatDelta))

    @property
    def ended(self) -> ChatEnded:
        last = self.events[-1]
        assert isinstance(last, ChatEnded), self.error
        return last

    @property
    def failure(self) -> ProviderError:
        assert self.error is not None
        assert not any(isinstance(event, ChatEnded) for event in self.events)
        return self.error


async def _ask(model: ServerChatModel, timers: ChatTimers = LONG) -> Outcome:
    events: list[ChatEvent] = []
    failure = None
    try:
        async with aclosing(model.stream(_request(), timers)) as answer:
            async for event in answer:
                events.append(event)  # noqa: PERF401 - what came before a failure counts
    except ProviderError as error:
        failure = error
    return Outcome(tuple(events), failure)


MODERATED: Final = {"reasons": ["violence"], "flagged_input": SECRET}
LIMITED: Final = {"headers": {"X-RateLimit-Limit": "20", "Retry-After": "11"}}
BUSY: Final = {"limit_source": "openrouter_in_flight_budget", "reason": "in_flight_budget_exhausted"}

REFUSALS: Final = {
    "400": (error(400), K.INVALID_INPUT, None),
    "400 of a model that is none": (error(400, message="x/y is not a valid model ID"), K.UNSUPPORTED, None),
    "400 of a content filter": (error(400, code="content_filter"), K.CONTENT_POLICY, None),
    "401": (error(401), K.AUTH, None),
    "402": (error(402), K.QUOTA, None),
    "402 with the limits of a rate": (
        Answer(status=402, headers={"X-RateLimit-Reset": "60"}, body=b"{}", header_id=False),
        K.QUOTA,
        None,
    ),
    "402 with Retry-After": (error(402, retry_after="20"), K.RATE, 20.0),
    "402 of calls in flight": (error(402, metadata=BUSY), K.CONCURRENCY, None),
    "403": (error(403), K.AUTH, None),
    "403 of moderation": (error(403, metadata=MODERATED), K.CONTENT_POLICY, None),
    "403 of a guardrail": (error(403, metadata={"patterns": ["secret"]}), K.CONTENT_POLICY, None),
    "404": (error(404), K.UNSUPPORTED, None),
    "408": (error(408), K.TIMEOUT, None),
    "413": (error(413), K.INVALID_INPUT, None),
    "422": (error(422), K.INVALID_INPUT, None),
    "429": (error(429), K.RATE, None),
    "429 with Retry-After": (error(429, retry_after="7"), K.RATE, 7.0),
    "429 with a date that has passed": (error(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), K.RATE, 0.0),
    "429 with headers of whoever ran the model": (error(429, metadata=LIMITED), K.RATE, 11.0),
    "429 of calls in flight": (error(429, retry_after="7", metadata=BUSY), K.CONCURRENCY, 7.0),
    "429 of too many calls at once": (error(429, message="Concurrency limit reached"), K.CONCURRENCY, None),
    "429 of a company with too many calls at once": (
        error(429, metadata={"raw": '{"error": "Too many concurrent requests"}'}),
        K.CONCURRENCY,
        None,
    ),
    "429 of used up credits": (error(429, code="insufficient_quota"), K.QUOTA, None),
    "500": (error(500), K.OVERLOAD, None),
    "502": (error(502), K.OVERLOAD, None),
    "503 with Retry-After": (error(503, retry_after="30"), K.OVERLOAD, 30.0),
    "504": (error(504), K.TIMEOUT, None),
    "529": (error(529), K.OVERLOAD, None),
    "500 without JSON": (Answer(status=500, body=b"<html>" + SECRET.encode(), header_id=False), K.OVERLOAD, None),
    "500 without an end": (
        Answer(status=500, steps=(*[Raw(b"x" * 30_000)] * 3, Wait(NEVER)), header_id=False),
        K.OVERLOAD,
        None,
    ),
    "307": (Answer(status=307, headers={"Location": "/api/v1/elsewhere"}, body=b""), K.CONFIGURATION, None),
    "no answer": (Answer(cut=True), K.TRANSPORT, None),
    "an error behind 200": (error(429, http_status=200, metadata=LIMITED), K.RATE, 11.0),
    "an error behind 200 that has no code": (
        Answer(body=json.dumps({"error": {"message": SECRET}}).encode()),
        K.OVERLOAD,
        None,
    ),
    "no JSON behind 200": (Answer(body=b"{malformed json: <<<chaos>>>"), K.TRANSPORT, None),
    "a page behind 200": (Answer(body=b"<html>Welcome</html>", content_type="text/html"), K.CONFIGURATION, None),
    "nothing behind 200": (Answer(body=b""), K.TRANSPORT, None),
    "a flood behind 200": (Answer(body=b"[" * 2_000_000), K.TRANSPORT, None),
    "a deep hole behind 200": (Answer(body=b"[" * 200_000), K.TRANSPORT, None),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_call_that_is_not_answered(upstream: OpenRouterFake, model: ServerChatModel, name: str) -> None:
    """A typed error with the wait that was asked for, no text, and one call."""
    answer, kind, retry_after = REFUSALS[name]
    upstream.answer(answer)

    outcome = await _ask(model)

    assert (kind, retry_after, "openrouter") == (
        outcome.failure.kind,
        outcome.failure.retry_after,
        outcome.failure.provider,
    )
    assert (answer.status if answer.status >= 400 else outcome.failure.status) == outcome.failure.status
    assert "" == outcome.said
    assert 1 == len(upstream.calls)


BREAKS: Final = {
    "cut": (stream(Text(BEGUN), Cut()), K.TRANSPORT),
    "error as a reason": (stream(Text(BEGUN), Finish("error"), DONE), K.OVERLOAD),
    "an error object": (broken_off(BEGUN, "server_error"), K.OVERLOAD),
    "an error object of a rate": (broken_off(BEGUN, 429, metadata=LIMITED), K.RATE),
    "an error object with a text for a code": (broken_off(BEGUN, "502"), K.OVERLOAD),
    "an error object of a filter": (broken_off(BEGUN, 403, metadata=MODERATED), K.CONTENT_POLICY),
    "an error object of a late model": (broken_off(BEGUN, 408), K.TIMEOUT),
    "an error object of nothing known": (stream(Text(BEGUN), Event({"error": SECRET})), K.OVERLOAD),
    "an error in the choice": (
        stream(Text(BEGUN), Event({"choices": [{"index": 0, "delta": {}, "error": {"code": 503}}]})),
        K.OVERLOAD,
    ),
    "no JSON": (stream(Text(BEGUN), Raw(b"data: {malformed\n\n")), K.TRANSPORT),
    "no object": (stream(Text(BEGUN), Raw(b"data: [1]\n\n")), K.TRANSPORT),
    "no number": (stream(Text(BEGUN), Raw(b'data: {"usage": {"cost": NaN}}\n\n')), K.TRANSPORT),
    "no UTF-8": (stream(Text(BEGUN), Raw(b'data: {"x": "\xff"}\n\n')), K.TRANSPORT),
    "no choice": (stream(Text(BEGUN), Event({"choices": "x"})), K.TRANSPORT),
    "no delta": (stream(Text(BEGUN), Event({"choices": [{"delta": "x"}]})), K.TRANSPORT),
    "no text": (stream(Text(BEGUN), Event({"choices": [{"delta": {"content": 7}}]})), K.TRANSPORT),
    "half a character": (stream(Text(BEGUN), Text("\ud83e"), Finish(), DONE), K.TRANSPORT),
    "the wrong half of a character": (stream(Text(BEGUN), Text("\udd8a."), Finish(), DONE), K.TRANSPORT),
    "a line without an end": (stream(Text(BEGUN), *[Raw(b"data: " + b"x" * 100_000)] * 3, Wait(NEVER)), K.TRANSPORT),
    "silence": (stream(Text(BEGUN), Wait(NEVER)), K.TIMEOUT),
    "nothing but comments": (stream(Text(BEGUN), Wait(NEVER, keep_alive=0.02)), K.TIMEOUT),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_answer_that_breaks_off(upstream: OpenRouterFake, model: ServerChatModel, name: str) -> None:
    """The text before the break, then a typed error with the generation's id, and one call."""
    answer, kind = BREAKS[name]
    upstream.answer(answer)

    outcome = await _ask(model, BROKEN_OFF if kind is K.TIMEOUT else LONG)

    assert (kind, "gen-1") == (outcome.failure.kind, outcome.failure.request_id)
    assert BEGUN == outcome.said
    assert ChatStarted(generation_id="gen-1", model=MODEL) == outcome.events[0]
    assert 1 == len(upstream.calls)


def _said(text: str, reason: Any = None) -> Event:
    """A piece of text with a finish reason in any form."""
    return Event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]})


def _ends(reason: Any) -> Answer:
    return stream(Text(BEGUN), _said("", reason), Usage(), DONE)


M: Final = EndMark
_REASONS_THAT_SAY_NOTHING: Final[tuple[Any, ...]] = ("null", None, "", "tool_calls", True, 7, {}, "x" * 300)
ENDS: Final = {
    **{str(reason): (_ends(reason), M.PROPER) for reason in ("stop", "STOP", "end_turn", "eos_token", "COMPLETE")},
    "a dict": (_ends({"type": "stop", "stop_sequence": None}), M.PROPER),
    "a list": (_ends(["stop"]), M.PROPER),
    **{
        reason: (_ends(reason), M.OUT_OF_TOKENS)
        for reason in ("length", "max_tokens", "MAX_TOKENS", "model_length", "token_limit", "maxTokens")
    },
    **{
        reason: (_ends(reason), M.FILTERED)
        for reason in ("content_filter", "SAFETY", "PROHIBITED_CONTENT", "ERROR_TOXIC", "refusal")
    },
    **{str(reason): (_ends(reason), M.UNKNOWN) for reason in _REASONS_THAT_SAY_NOTHING},
    "[DONE] without a reason": (stream(Text(BEGUN), DONE), M.UNKNOWN),
    "end of file": (stream(Text(BEGUN)), M.NONE),
    "end of file, and the text null": (stream(_said(BEGUN, "null")), M.NONE),
    "abort": (_ends("abort"), M.NONE),
    "stop without [DONE]": (stream(Text(BEGUN), Finish()), M.PROPER),
    "stop with the last text": (stream(_said(BEGUN[:5]), _said(BEGUN[5:], "stop"), DONE), M.PROPER),
    "stop with all the text": (stream(_said(BEGUN, "stop"), DONE), M.PROPER),
    "stop with every text": (stream(*[_said(each, "stop") for each in BEGUN], _said("", "stop"), DONE), M.UNKNOWN),
    "stop with every text, and no [DONE]": (stream(*[_said(each, "stop") for each in BEGUN]), M.NONE),
    "stop before the text": (stream(Finish(), Text(BEGUN), DONE), M.UNKNOWN),
    "stop before the text, and no [DONE]": (stream(Finish(), Text(BEGUN)), M.NONE),
    "stop before the text and behind it": (stream(Finish(), Text(BEGUN), Finish(), DONE), M.PROPER),
    "length behind a stop that was none": (stream(Finish(), Text(BEGUN), Finish("length"), DONE), M.OUT_OF_TOKENS),
    "stop within the text": (stream(Text(BEGUN[:5]), Finish(), Text(BEGUN[5:]), DONE), M.UNKNOWN),
}


@pytest.mark.parametrize("name", ENDS)
async def test_answer_that_ends(upstream: OpenRouterFake, model: ServerChatModel, name: str) -> None:
    """Every piece of text, and a mark of how it ended, after one call."""
    answer, mark = ENDS[name]
    upstream.answer(answer)

    outcome = await _ask(model)

    assert BEGUN == outcome.said
    assert mark is outcome.ended.mark
    assert 1 == len(upstream.calls)


VOIDS: Final = {
    "nothing said": (stream(Finish(), Usage(), DONE), M.PROPER),
    "blanks": (stream(Text(" \n"), Finish(), Usage(), DONE), M.PROPER),
    "end of file": (stream(), M.NONE),
    "comments alone": (stream(Raw(b": OPENROUTER PROCESSING\n\n" * 3)), M.NONE),
    "thoughts up to the limit": (
        stream(Event({"choices": [{"delta": {"reasoning": "Hm."}}]}), Finish("length"), DONE),
        M.OUT_OF_TOKENS,
    ),
    "refusal": (
        stream(Event({"choices": [{"delta": {"refusal": "I will not."}}]}), Finish(), DONE),
        M.FILTERED,
    ),
}


@pytest.mark.parametrize("name", VOIDS)
async def test_answer_without_text(upstream: OpenRouterFake, model: ServerChatModel, name: str) -> None:
    """No delta, a mark, and the id by which its cost can be asked for."""
    answer, mark = VOIDS[name]
    upstream.answer(answer)

    outcome = await _ask(model)

    assert (mark, "gen-1") == (outcome.ended.mark, outcome.ended.generation_id)
    assert "" == outcome.said.strip()
    assert ChatStarted(generation_id="gen-1", model=MODEL) == outcome.events[0]
    assert 1 == len(upstream.calls)


SILENT: Final = {
    "silence": stream(Wait(NEVER)),
    "comments without an end": stream(Wait(NEVER, keep_alive=0.02)),
    "thoughts alone": stream(Event({"choices": [{"delta": {"content": "", "reasoning": "Hm."}}]}), Wait(NEVER)),
    "a reason before the text": stream(Finish(), Wait(NEVER)),
}


@pytest.mark.parametrize("name", SILENT)
async def test_answer_that_never_says_anything(upstream: OpenRouterFake, model: ServerChatModel, name: str) -> None:
    """TIMEOUT, with the id by which its cost can be asked for."""
    upstream.answer(SILENT[name])

    outcome = await _ask(model, UNBEGUN)

    assert (K.TIMEOUT, "gen-1") == (outcome.failure.kind, outcome.failure.request_id)
    assert "" == outcome.said
    assert ChatStarted(generation_id="gen-1", model=MODEL) == outcome.events[0]
    assert 1 == len(upstream.calls)


async def test_answer_that_never_begins(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """No header within the time of the first text is TIMEOUT, and the call upstream is ended."""
    upstream.answer(Answer(hold=NEVER))

    outcome = await _ask(model, UNBEGUN)

    assert (K.TIMEOUT, ()) == (outcome.failure.kind, outcome.events)
    await upstream.calls[0].ended.wait()
    assert upstream.calls[0].left


async def test_nobody_listens() -> None:
    """TRANSPORT."""
    key = SecretSource(SecretStr(KEY), name="OPENROUTER_API_KEY")
    model = ServerChatModel(openrouter(f"http://127.0.0.1:{free_ports(1)[0]}/v1"), key)

    outcome = await _ask(model)
    await model.aclose()

    assert (K.TRANSPORT, ()) == (outcome.failure.kind, outcome.events)


async def test_answer_that_takes_too_long(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """Text that does not end is TIMEOUT when the total is over, however lively it is."""
    lively: list[Step] = [Text("on "), Pause(0.02)]
    upstream.answer(stream(*lively * 1_000, Finish()))

    outcome = await _ask(model, ChatTimers(total=1))

    assert K.TIMEOUT == outcome.failure.kind
    assert outcome.said.startswith("on on ")
    await upstream.calls[0].ended.wait()
    assert upstream.calls[0].left


async def test_answer_that_is_too_long(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """Beyond any story, it is no success, and is not read on."""
    upstream.answer(stream(*[Text("word " * 2_000)] * 8, Wait(NEVER)))

    outcome = await _ask(model)

    assert K.TRUNCATED == outcome.failure.kind
    assert len(outcome.said) <= 65_536 + 8_192


async def test_comments_and_other_fields_are_no_text(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """What an event stream may hold besides data changes nothing."""
    noise = Raw(b": OPENROUTER PROCESSING\r\n\r\nevent: message\nid: 7\nretry: 3\n\ndata:\n\n")
    upstream.answer(stream(noise, Text(BEGUN), noise, Text("It slept."), noise, Finish(), Usage(0.5), noise, DONE))

    outcome = await _ask(model)

    assert BEGUN + "It slept." == outcome.said
    assert 0.5 == outcome.ended.spending.cost_usd


async def test_server_that_does_not_stream(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """A whole completion in one body is an answer too."""
    completion = {
        "id": "gen-7",
        "model": MODEL,
        "created": 5,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": BEGUN}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    }
    upstream.answer(Answer(body=json.dumps(completion).encode(), header_id=False))

    outcome = await _ask(model)

    assert (BEGUN, "gen-7", 5, False) == (
        outcome.said,
        outcome.ended.generation_id,
        outcome.ended.created,
        outcome.ended.spending.cost_known,
    )


def _raw(*lines: bytes, **how: Any) -> Answer:
    """The usual answer, with what stands between its lines as given."""
    chunk = {"id": "gen-7", "model": MODEL, "choices": [{"index": 0, "delta": {"content": BEGUN}}]}
    last = {"id": "gen-7", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"cost": 0.5}}
    said = [b"data: " + json.dumps(each).encode() for each in (chunk, last)]
    return Answer(body=lines[0] + lines[1].join([*said, b"data: [DONE]", b""]), header_id=False, **how)


@pytest.mark.parametrize(
    "answer",
    [
        _raw(b"", b"\n\n", content_type="text/plain"),
        _raw(b": hello\n\n", b"\n\n", content_type="application/octet-stream"),
        _raw(b"\r\nevent: x\r\n", b"\r\n\r\n", content_type="text/html"),
        _raw(b"", b"\r\r", content_type="text/event-stream"),
        _raw(b"\xef\xbb\xbf", b"\n\n", content_type="text/event-stream"),
        _raw(b"\xef\xbb\xbf", b"\r\r", content_type="text/plain"),
    ],
    ids=["plain", "comment", "event", "CR", "BOM", "all"],
)
async def test_stream_is_known_by_its_looks(upstream: OpenRouterFake, model: ServerChatModel, answer: Answer) -> None:
    """Whatever its content type says, its lines end with, and its first bytes are."""
    upstream.answer(answer)

    outcome = await _ask(model)

    assert (BEGUN, 0.5) == (outcome.said, outcome.ended.spending.cost_usd)


async def test_character_of_two_halves_in_two_events(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """Is put together."""
    upstream.answer(stream(Text("A \ud83e"), Text("\udd8a slept \ud83c"), Text("\udf19"), Finish(), Usage(), DONE))

    assert "A 🦊 slept 🌙" == (await _ask(model)).said


@pytest.mark.parametrize("rest", [(), (DONE,), (Cut(),), (Wait(NEVER),)], ids=["end", "done", "cut", "silence"])
async def test_whole_text_whose_cost_does_not_come(
    upstream: OpenRouterFake, model: ServerChatModel, rest: tuple[Any, ...]
) -> None:
    """What was paid for is stored; only its cost is not known."""
    upstream.answer(stream(Text(BEGUN), Finish(), *rest))

    outcome = await _ask(model, BROKEN_OFF)

    assert (BEGUN, False, "gen-1") == (
        outcome.said,
        outcome.ended.spending.cost_known,
        outcome.ended.generation_id,
    )


async def test_key_of_ones_own_is_counted(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """OpenRouter's fee and the price of the company that ran the model."""
    own = {"is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}
    upstream.answer(stream(Text(BEGUN), Finish(), Usage(0.001, own), DONE))

    assert 0.021 == pytest.approx((await _ask(model)).ended.spending.cost_usd)


async def test_readers_time_is_not_counted(upstream: OpenRouterFake) -> None:
    """Who takes longer over a piece of text than any timer still gets the rest, which has to be waited for."""
    read, passed = asyncio.Event(), 0.0
    upstream.answer(stream(Text(BEGUN), Wait(read), Text("It slept."), Finish(), Usage(), DONE))
    clock = asyncio.get_running_loop().time
    model = _model(upstream, clock=lambda: clock() + passed)
    said = ""

    async with aclosing(model.stream(_request(), LONG)) as answer:
        async for event in answer:
            if isinstance(event, ChatDelta):
                said += event.text
                passed += 1_000
                read.set()
    await model.aclose()

    assert BEGUN + "It slept." == said


@pytest.mark.parametrize("cancelled", [False, True], ids=["closed", "cancelled"])
async def test_who_leaves_early_ends_the_call(
    upstream: OpenRouterFake, model: ServerChatModel, *, cancelled: bool
) -> None:
    """The connection is closed, so that nothing more is written, or billed."""
    upstream.answer(stream(Text(BEGUN), Wait(NEVER, keep_alive=0.02)))
    begun = asyncio.Event()

    async def read() -> None:
        async with aclosing(model.stream(_request(), LONG)) as answer:
            async for event in answer:
                if isinstance(event, ChatDelta):
                    begun.set()
                    if not cancelled:
                        break

    task = asyncio.create_task(read())
    await begun.wait()
    if cancelled:
        task.cancel()
    await asyncio.wait({task})

    assert cancelled == task.cancelled()
    await upstream.calls[0].ended.wait()
    assert upstream.calls[0].left


async def test_key_rotates_without_a_restart(upstream: OpenRouterFake, tmp_path: Path) -> None:
    """Each call is made with the key that the file holds then."""
    file = tmp_path / "key"
    file.write_text("sk-or-v1-first\n")
    model = _model(upstream, SecretSource(None, file, name="OPENROUTER_API_KEY", clock=_leaping()))
    upstream.answer(story(BEGUN), story(BEGUN))
    await _ask(model)
    file.write_text("sk-or-v1-second-key")
    await _ask(model)
    await model.check_key(timeout=20)
    await model.aclose()

    assert ["sk-or-v1-first", "sk-or-v1-second-key", "sk-or-v1-second-key"] == upstream.keys


def _leaping() -> Callable[[], float]:
    """A clock of which every look is ten seconds later."""
    return map(float, range(0, 10_000, 10)).__next__


async def test_key_that_can_not_be_sent_makes_no_call(upstream: OpenRouterFake, tmp_path: Path) -> None:
    """AUTH, for every method."""
    file = tmp_path / "key"
    file.write_text("sk-or-v1-two words")
    model = _model(upstream, SecretSource(None, file, name="OPENROUTER_API_KEY"))

    failures = [(await _ask(model)).failure]
    for call in (
        model.models(timeout=20),
        model.check_key(timeout=20),
        model.generation_info("gen-1", timeout=20),
    ):
        with pytest.raises(ProviderError) as caught:
            await call
        failures.append(caught.value)

    assert [K.AUTH] * 4 == [failure.kind for failure in failures]
    assert [] == upstream.keys


async def test_what_is_set_is_sent(upstream: OpenRouterFake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Routing; nothing of another upstream that the environment holds."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-other")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-other")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    routing = ProviderRouting(
        order=("azure", "openai"),
        only=("azure", "openai", "x"),
        zdr=True,
    )
    model = _model(upstream, routing=routing)
    upstream.answer(story(BEGUN))

    await _ask(model)
    await model.aclose()

    call = upstream.calls[0]
    assert {
        "data_collection": "deny",
        "order": ["azure", "openai"],
        "only": ["azure", "openai", "x"],
        "zdr": True,
    } == call.body["provider"]
    headers = {name.lower(): value for name, value in call.headers.items()}
    assert f"Bearer {KEY}" == headers["authorization"]
    assert not {"openai-organization", "openai-project"} & set(headers)
    assert {"include": True} == call.body["usage"]


async def test_nothing_secret_is_told(
    upstream: OpenRouterFake, model: ServerChatModel, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither log nor error holds the prompt, the key, the address, or what the upstream said in words."""
    caplog.set_level(logging.DEBUG)
    upstream.answer(error(401), error(500), broken_off(BEGUN, 502), Answer(cut=True), error(403, metadata=MODERATED))

    failures = [(await _ask(model)).failure for _ in range(5)]

    told = caplog.text + "".join(
        f"{failure!r} {failure.message} {failure.request_id} {''.join(traceback.format_exception(failure))}"
        for failure in failures
    )
    for secret in (SECRET, BEGUN, KEY, "disconnected"):
        assert secret not in told
    assert not any(upstream.base_url in f"{failure} {failure.message}" for failure in failures)


async def test_generation_is_asked_for_until_it_is_known(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """Two looks in vain, then what it cost and who ran the model."""
    upstream.answer(story(BEGUN, cost=0.25))
    await _ask(model)
    upstream.unknown_looks = 2

    info = await model.generation_info("gen-1", timeout=20)

    assert (0.25, "Fake") == (info["total_cost"], info["provider_name"])
    assert ["gen-1"] * 3 == upstream.looks


async def test_generation_that_never_gets_known() -> None:
    """TIMEOUT, after more than one look."""
    # A look may still be under way when the time is over, so nobody else shares this server.
    async with openrouter_fake() as upstream:
        model = _model(upstream)
        with pytest.raises(ProviderError) as caught:
            await model.generation_info("gen-1", timeout=1)
        await model.aclose()

        assert K.TIMEOUT == caught.value.kind
        assert len(upstream.looks) > 1


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (web.Response(status=401), K.AUTH),
        (web.Response(status=500), K.OVERLOAD),
        (web.Response(body=b"<html>"), K.CONFIGURATION),
        (web.Response(body=b"[" * 2_000_000), K.TRANSPORT),
        (web.json_response({"error": {"code": 429, "message": SECRET}}), K.RATE),
    ],
    ids=["401", "500", "no JSON", "flood", "error behind 200"],
)
async def test_generation_that_is_not_told(
    upstream: OpenRouterFake, model: ServerChatModel, response: web.Response, kind: ProviderErrorKind
) -> None:
    """A typed error after one look."""
    upstream.gets.append(response)

    with pytest.raises(ProviderError) as caught:
        await model.generation_info("gen-1", timeout=20)

    assert kind == caught.value.kind
    assert ["gen-1"] == upstream.looks


@pytest.mark.parametrize("generation_id", ["", "../models", "a b"])
async def test_id_that_is_none_is_not_asked_for(
    upstream: OpenRouterFake, model: ServerChatModel, generation_id: str
) -> None:
    """UNSUPPORTED, without a look."""
    with pytest.raises(ProviderError) as caught:
        await model.generation_info(generation_id, timeout=20)

    assert K.UNSUPPORTED == caught.value.kind
    assert [] == upstream.looks


async def test_models_are_read_with_their_prices(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """In US dollars for a million tokens; what cannot be read is left out, what varies is unknown."""
    upstream.models = [
        {
            "id": MODEL,
            "name": "OpenAI: GPT-4o-mini",
            "context_length": 128_000,
            "pricing": {"prompt": "0.00000015", "completion": "0.0000006"},
            "top_provider": {"max_completion_tokens": 16_384},
        },
        {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}, "context_length": None},
        {"id": "free/model:free", "pricing": {"prompt": "0", "completion": "zero"}, "top_provider": None},
        {"label": "nameless"},
        {"id": 7},
    ]

    first, auto, free = await model.models(timeout=20)

    assert (MODEL, "OpenAI: GPT-4o-mini", 0.15, 0.6, 128_000, 16_384) == (
        first.id,
        first.name,
        first.prompt_usd_per_million_tokens,
        first.completion_usd_per_million_tokens,
        first.context_length,
        first.max_completion_tokens,
    )
    assert ("openrouter/auto", "openrouter/auto", None, None, None) == (
        auto.id,
        auto.name,
        auto.prompt_usd_per_million_tokens,
        auto.completion_usd_per_million_tokens,
        auto.context_length,
    )
    assert (0.0, None) == (free.prompt_usd_per_million_tokens, free.completion_usd_per_million_tokens)


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (web.json_response({"items": []}), K.TRANSPORT),
        (web.Response(status=503), K.OVERLOAD),
        (web.json_response({"error": {"code": 401}}, status=401), K.AUTH),
    ],
    ids=["no list", "503", "401"],
)
async def test_models_that_are_not_told(
    upstream: OpenRouterFake, model: ServerChatModel, response: web.Response, kind: ProviderErrorKind
) -> None:
    """A typed error after one call."""
    upstream.gets.append(response)

    with pytest.raises(ProviderError) as caught:
        await model.models(timeout=20)

    assert (kind, 1) == (caught.value.kind, len(upstream.keys))


async def test_wrong_key_is_told(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """AUTH after one call, and no model was asked."""
    upstream.gets.append(web.json_response({"error": {"code": 401, "message": "No auth"}}, status=401))

    with pytest.raises(ProviderError) as caught:
        await model.check_key(timeout=20)

    assert (K.AUTH, 401, 1, 0) == (caught.value.kind, caught.value.status, len(upstream.keys), len(upstream.calls))


async def test_sdk_is_loaded_once_and_late() -> None:
    """Importing the adapter imports no SDK: that takes longer than a service may take to start."""
    program = "import sys, story_service.providers.openrouter; sys.exit(bool({'openai', 'httpx2'} & {*sys.modules}))"

    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], check=False)

    assert 0 == done.returncode


async def test_warming_up_calls_nobody(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """It only loads; the first call then works, and so does closing what was never used."""
    await asyncio.gather(model.warm_up(), model.warm_up())
    assert [] == upstream.keys
    upstream.answer(story(BEGUN))

    assert BEGUN == (await _ask(model)).said
    await _model(upstream).aclose()
