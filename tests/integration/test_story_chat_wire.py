"""A server with OpenAI's API and nothing else: what is sent to it, and what it may send."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

import pytest
import trustme
from pydantic import SecretStr
from structlog.testing import capture_logs
from support.openrouter_fake import (
    DONE,
    Answer,
    Event,
    Finish,
    OpenRouterFake,
    Pause,
    Raw,
    Step,
    Text,
    error,
    openrouter_fake,
    story,
    stream,
)

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import OutgoingCalls
from servicekit.resilience.retry import RetryPolicy
from servicekit.secrets import SecretSource
from standins.processes import free_ports
from story_service.chat import (
    ChatDelta,
    ChatEnded,
    ChatEvent,
    ChatRequest,
    ChatTimers,
    ChatWorking,
    EndMark,
    Message,
)
from story_service.providers.chat.dialect import chat_server
from story_service.providers.chat.model import ServerChatModel

TIMERS: Final = ChatTimers(total=30, first_token=20, idle=20)
TEXT: Final = "Once there was a fox. It slept."


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[OpenRouterFake]:
    """A server."""
    async with openrouter_fake() as running:
        yield running


@pytest.fixture
def upstream(server: OpenRouterFake) -> Iterator[OpenRouterFake]:
    """The server, with nothing scripted; what is scripted has to be asked for."""
    server.reset()
    yield server
    server.verify()


@pytest.fixture
async def model(upstream: OpenRouterFake) -> AsyncIterator[ServerChatModel]:
    """The adapter without a key."""
    made = _model(upstream)
    yield made
    await made.aclose()


def _model(upstream: OpenRouterFake, key: str = "") -> ServerChatModel:
    source = SecretSource(SecretStr(key) if key else None, name="CHAT_API_KEY")
    return ServerChatModel(chat_server(upstream.base_url), source)


async def _told(model: ServerChatModel) -> str:
    request = ChatRequest(model="llama3.2:3b", messages=(Message("system", "Be kind."), Message("user", "Tell.")))
    async with aclosing(model.stream(request, TIMERS)) as events:
        return "".join([event.text async for event in events if isinstance(event, ChatDelta)])


@pytest.mark.parametrize("key", ["", "local"])
async def test_server_is_sent_openais_fields_alone(
    upstream: OpenRouterFake, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a key only where one is set; never one of another server from the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    model = _model(upstream, key)
    upstream.answer(story(TEXT))

    assert TEXT == await _told(model)
    await model.check_key(timeout=20)
    await model.models(timeout=20)
    await model.aclose()

    (call,) = upstream.calls
    assert {"model", "messages", "stream", "stream_options"} == set(call.body)
    assert [key] * 3 == upstream.keys
    assert bool(key) == ("Authorization" in call.headers)


async def test_generations_are_not_asked_for(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """The server has no such path."""
    assert not model.reports_generations
    with pytest.raises(ProviderError) as caught:
        await model.generation_info("gen-1", timeout=20)

    assert ProviderErrorKind.UNSUPPORTED == caught.value.kind
    assert [] == upstream.looks


async def test_refused_key_names_its_own_variable(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """The variable is the one of this server."""
    upstream.answer(error(401))

    with pytest.raises(ProviderError, match="CHAT_API_KEY") as caught:
        await _told(model)

    assert ("chat", ProviderErrorKind.AUTH) == (caught.value.provider, caught.value.kind)


FIELDS: Final[dict[str, Any]] = {"temperature": 0.7, "seed": 7, "max_tokens": 900, "schema": {"type": "object"}}


async def _asked(model: ServerChatModel, *, prefill: bool = False, name: str = "llama3.2:3b") -> list[ChatEvent]:
    messages = (Message("system", "Be kind."), Message("user", "Tell."))
    request = ChatRequest(
        model=name,
        messages=(*messages, Message("assistant", "Once ")) if prefill else messages,
        prefill=prefill,
        **FIELDS,
    )
    return await _read(model, request, TIMERS)


async def _read(model: ServerChatModel, request: ChatRequest, timers: ChatTimers) -> list[ChatEvent]:
    async with aclosing(model.stream(request, timers)) as events:
        return [event async for event in events]


def _text(events: Sequence[ChatEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ChatDelta))


def _refusal(body: object, status: int = 400) -> Answer:
    return Answer(status=status, body=json.dumps(body).encode())


def _openai(message: str, param: str | None = None) -> Answer:
    return _refusal({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}})


REFUSED: Final = {
    "OpenAI, temperature": (
        _openai("Unsupported value: 'temperature' does not support 0.7 with this model. Only 1 is.", "temperature"),
        {"temperature"},
    ),
    "OpenAI, max_tokens": (
        _openai("Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."),
        {"max_tokens"},
    ),
    "pydantic, an extra field": (
        _refusal({"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "input": "Tell."}]}, 422),
        {"stream_options"},
    ),
    "Mistral, an extra field": (
        _refusal(
            {
                "object": "error",
                "message": {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
            },
            422,
        ),
        {"seed"},
    ),
    "words alone": (_refusal({"error": "Unrecognized request argument supplied: stream_options"}), {"stream_options"}),
    "plain text": (Answer(status=400, body=b"unknown field `seed`, expected one of `model`"), {"seed"}),
    "two fields": (_openai("temperature and seed are not supported by this model"), {"temperature", "seed"}),
    "behind 200": (_refusal({"error": "unknown field: seed is not supported"}, 200), {"seed"}),
    "LM Studio, structured output": (
        _refusal({"error": "'response_format.type' must be 'text'"}),
        {"response_format"},
    ),
    "DeepSeek, structured output": (_openai("This response_format type is unavailable now"), {"response_format"}),
    "Groq, structured output": (
        _openai("This model does not support response format `json_schema`. See supported models.", "response_format"),
        {"response_format"},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_field_is_left_out_once_and_for_all(
    upstream: OpenRouterFake, model: ServerChatModel, name: str
) -> None:
    """The call is made again without it, and the next call of that model is made without it at once."""
    answer, fields = REFUSED[name]
    upstream.answer(answer, story(TEXT), story(TEXT), story(TEXT))

    assert TEXT == _text(await _asked(model))
    assert TEXT == _text(await _asked(model))
    assert TEXT == _text(await _asked(model, name="another"))

    first, *again, other = (set(call.body) for call in upstream.calls)
    for body in again:
        assert fields == first - body
        assert ("max_completion_tokens" in body) == (fields == {"max_tokens"})
    assert first == other


@pytest.mark.parametrize(
    "answer",
    [
        _openai("System role not supported"),
        _refusal({"error": "Conversation roles must alternate user/assistant/user/assistant/..."}, 500),
        _openai("Developer instruction is not enabled for models/gemma-3-27b-it"),
        _refusal({"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "Input should be 'user'"}]}, 422),
    ],
    ids=["system", "alternate", "developer", "pydantic"],
)
async def test_refused_system_role_is_merged_into_the_users_message(
    upstream: OpenRouterFake, model: ServerChatModel, answer: Answer
) -> None:
    """Its text comes first."""
    upstream.answer(answer, story(TEXT))

    assert TEXT == _text(await _asked(model))
    assert [{"role": "user", "content": "Be kind.\n\nTell."}] == upstream.calls[1].body["messages"]


async def test_refused_prefill_becomes_a_message_and_a_wish_to_continue(
    upstream: OpenRouterFake, model: ServerChatModel
) -> None:
    """The last message is the user's."""
    upstream.answer(_openai("This model does not support assistant message prefill."), story(TEXT))

    await _asked(model, prefill=True)

    assert ["system", "user", "assistant", "user"] == [each["role"] for each in upstream.calls[1].body["messages"]]


async def test_server_that_refuses_to_stream_is_asked_for_one_body(
    upstream: OpenRouterFake, model: ServerChatModel
) -> None:
    """The body is an answer like any other."""
    completion = {"choices": [{"message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}]}
    upstream.answer(_openai("Streaming is not supported by this server"), Answer(body=json.dumps(completion).encode()))

    *_, ended = events = await _asked(model)

    assert TEXT == _text(events)
    assert isinstance(ended, ChatEnded)
    assert EndMark.PROPER is ended.mark
    assert upstream.calls[1].body["stream"] is False
    assert "stream_options" not in upstream.calls[1].body


async def test_second_refusal_leaves_out_all_that_is_optional(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """And the third is the error of the call."""
    upstream.answer(_openai("unknown parameter: seed"), _openai("bad request"), _openai("bad request"))

    with pytest.raises(ProviderError) as caught:
        await _asked(model)

    assert ProviderErrorKind.INVALID_INPUT == caught.value.kind
    assert {"model", "messages", "stream"} == set(upstream.calls[2].body)
    assert ["user"] == [message["role"] for message in upstream.calls[2].body["messages"]]


@pytest.mark.parametrize("message", ["The prompt is bad.", "Provider returned error", "the usage policy forbids it"])
async def test_refusal_that_names_no_field_is_not_asked_again(
    upstream: OpenRouterFake, model: ServerChatModel, message: str
) -> None:
    """Unless an answer with a schema was requested: that is left out, since many servers say no more."""
    request = ChatRequest(model="llama3.2:3b", messages=(Message("user", "Tell."),))
    upstream.answer(_openai(message))

    with pytest.raises(ProviderError) as caught:
        await _read(model, request, TIMERS)

    assert ProviderErrorKind.INVALID_INPUT == caught.value.kind
    upstream.answer(*[_openai(message)] * 3)
    with pytest.raises(ProviderError):
        await _read(model, replace(request, schema={"type": "object"}), TIMERS)
    assert [False, True, False, False] == ["response_format" in call.body for call in upstream.calls]


LOADING: Final = {
    "llama.cpp": _refusal({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, 503),
    "Hugging Face": _refusal({"error": "Model x/y is currently loading", "estimated_time": 40.0}, 503),
    "words": Answer(status=503, body=b"The model is warming up, please wait"),
    "behind 200": _refusal({"error": {"message": "model is loading"}}, 200),
}


@pytest.mark.parametrize("name", LOADING)
async def test_server_that_loads_its_model_is_waited_for(upstream: OpenRouterFake, name: str) -> None:
    """The same call asks again every few seconds, and the timer of the first text starts again each time."""
    waits, passed = list[float](), 0.0

    async def sleep(seconds: float) -> None:
        nonlocal passed
        waits.append(seconds)
        passed += seconds

    clock = asyncio.get_running_loop().time
    source = SecretSource(None, name="CHAT_API_KEY")
    model = ServerChatModel(chat_server(upstream.base_url), source, sleep=sleep, clock=lambda: clock() + passed)
    upstream.answer(*[LOADING[name]] * 9, story(TEXT))
    request = ChatRequest(model="x", messages=(Message("user", "Tell."),))

    events = await _read(model, request, ChatTimers(total=200, first_token=20))
    await model.aclose()

    assert TEXT == _text(events)
    assert [ChatWorking(loading=True)] * 9 == [event for event in events if isinstance(event, ChatWorking)]
    assert len(waits) == 9
    assert all(1 <= wait <= 10 for wait in waits)


async def test_server_that_loads_for_too_long_is_given_up(upstream: OpenRouterFake) -> None:
    """At the end of the total, with the server's own words; it cost nothing."""
    passed = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    clock = asyncio.get_running_loop().time
    source = SecretSource(None, name="CHAT_API_KEY")
    model = ServerChatModel(chat_server(upstream.base_url), source, sleep=sleep, clock=lambda: clock() + passed)
    upstream.default = lambda _: LOADING["llama.cpp"]
    request = ChatRequest(model="x", messages=(Message("user", "Tell."),))

    with pytest.raises(ProviderError) as caught:
        await _read(model, request, ChatTimers(total=30, first_token=20))
    await model.aclose()

    assert ProviderErrorKind.CONFIGURATION == caught.value.kind
    assert "still loads the model" in caught.value.message
    assert "Loading model" == caught.value.said
    assert not caught.value.billed
    assert 10 == len(upstream.calls)


def _event(delta: Any, **more: Any) -> Event:
    return Event({"choices": [{"index": 0, "delta": delta, **more}]})


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "Hm."},
        {"reasoning_content": "Hm.", "content": ""},
        {"thinking": "Hm."},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}], "content": None},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]},
    ],
    ids=["reasoning", "reasoning_content", "thinking", "reasoning_details", "parts"],
)
async def test_thoughts_are_work_and_no_text(upstream: OpenRouterFake, model: ServerChatModel, delta: Any) -> None:
    """Each is an event of its own."""
    upstream.answer(stream(_event(delta), _event(delta), Text(TEXT), Finish(), DONE))

    events = await _asked(model)

    assert TEXT == _text(events)
    assert [ChatWorking()] * 2 == [event for event in events if isinstance(event, ChatWorking)]


async def test_thoughts_restart_the_idle_timer_up_to_the_total(upstream: OpenRouterFake) -> None:
    """A model may think for longer than the timers of the first text and of silence, and not longer than the total."""
    source = SecretSource(None, name="CHAT_API_KEY")
    model = ServerChatModel(chat_server(upstream.base_url), source)
    thinks: list[Step] = [_event({"reasoning": "Hm."}), Pause(0.1)]
    upstream.answer(stream(*thinks * 12, Text(TEXT), Finish(), DONE), stream(*thinks * 200))
    request = ChatRequest(model="x", messages=(Message("user", "Tell."),))

    events = await _read(model, request, ChatTimers(total=600, first_token=1, idle=1))
    with pytest.raises(ProviderError) as caught:
        await _read(model, request, ChatTimers(total=1, first_token=1, idle=1))
    await model.aclose()

    assert TEXT == _text(events)
    assert ProviderErrorKind.TIMEOUT == caught.value.kind


SHAPES: Final[dict[str, list[Step]]] = {
    "parts": [_event({"content": [{"type": "text", "text": TEXT[:9]}, {"type": "text", "text": TEXT[9:]}]})],
    "strings": [_event({"content": [TEXT[:9], TEXT[9:]]})],
    "message": [Event({"choices": [{"message": {"content": TEXT[:9]}}]}), _event({"content": TEXT[9:]})],
    "text": [Event({"choices": [{"text": TEXT[:9]}]}), Event({"choices": [{"text": TEXT[9:]}]})],
    "indexes": [
        Event({"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": TEXT}}]})
    ],
    "empty": [Event({"choices": []}), Event({"choices": None}), Text(TEXT), Event({"usage": {"prompt_tokens": 3}})],
    "nulls": [
        Event({"choices": [{"index": None, "delta": None, "finish_reason": None}], "usage": None, "error": None}),
        _event({"content": TEXT, "role": None}),
    ],
    "lines": [
        Raw(
            b"".join(
                b"data: %b\n" % line
                for line in json.dumps({"choices": [{"delta": {"content": TEXT}}]}, indent=2).encode().splitlines()
            )
            + b"\n"
        )
    ],
    "no empty lines": [
        Raw(b'data: {"choices": [{"delta": {"content": "Once "}}]}\n'),
        Raw(b'data: {"choices": [{"delta": {"content": "there was a fox. It slept."}}]}\n'),
    ],
    "all the text so far": [_event({"content": TEXT[: at + 1]}) for at in range(len(TEXT))],
    "all the text at the end": [Text(TEXT[:9]), Text(TEXT[9:]), Event({"choices": [{"message": {"content": TEXT}}]})],
}


@pytest.mark.parametrize("name", SHAPES)
async def test_text_comes_in_many_shapes(upstream: OpenRouterFake, model: ServerChatModel, name: str) -> None:
    """It is read whole, and once."""
    upstream.answer(stream(*SHAPES[name], Finish(), DONE))

    *_, ended = events = await _asked(model)

    assert TEXT == _text(events)
    assert isinstance(ended, ChatEnded)
    assert EndMark.PROPER is ended.mark


K: Final = ProviderErrorKind
ERRORS: Final = {
    "vLLM": (
        _refusal({"object": "error", "message": "The model `x` does not exist.", "code": 404}, 200),
        K.UNSUPPORTED,
    ),
    "a code": (_refusal({"code": 429, "message": "slow down"}, 200), K.RATE),
    "a code in a text": (_refusal({"code": "503", "msg": "busy"}, 200), K.OVERLOAD),
    "detail": (_refusal({"detail": "Invalid API key"}, 200), K.AUTH),
    "an array": (_refusal([{"error": {"code": 401, "message": "no"}}], 200), K.AUTH),
    "an array of nothing": (_refusal([], 200), K.TRANSPORT),
    "a text as JSON": (_refusal("rate limit reached", 200), K.RATE),
    "plain text": (Answer(body=b"upstream connect error", content_type="text/plain"), K.OVERLOAD),
    "plain text as a stream": (stream(Raw(b"Too many requests\n")), K.RATE),
    "JSON as a stream": (stream(Raw(b'{"error": {"code": 402, "message": "no credits"}}')), K.QUOTA),
    "problem+json": (_refusal({"title": "Too Many Requests", "status": 429}, 200), K.RATE),
    "status": (_refusal({"status": "error", "message": "model is overloaded"}, 200), K.OVERLOAD),
    "no choices": (_refusal({"choices": None, "code": 429, "message": "slow down"}, 200), K.RATE),
    "another API": (_refusal({"ok": True, "version": 3}, 200), K.CONFIGURATION),
    "a page": (Answer(body=b"<!DOCTYPE html><html></html>", content_type="text/html"), K.CONFIGURATION),
    "a page as a stream": (stream(Raw(b"\n<html>\n<body>Log in</body></html>")), K.CONFIGURATION),
    "a page at 404": (Answer(status=404, body=b"<html>nginx</html>", content_type="text/html"), K.CONFIGURATION),
    "a page at 502": (Answer(status=502, body=b"<html>nginx</html>", content_type="text/html"), K.OVERLOAD),
    "no such path": (Answer(status=404, body=b"404 page not found", content_type="text/plain"), K.CONFIGURATION),
    "no such path in JSON": (_refusal({"detail": "Not Found"}, 404), K.CONFIGURATION),
    "no such path behind 200": (
        _refusal({"error": "Unexpected endpoint or method. (POST /chat/completions)"}, 200),
        K.CONFIGURATION,
    ),
    "Ollama, no such model": (
        _refusal({"error": {"message": 'model "x" not found, try pulling it first', "type": "api_error"}}, 404),
        K.UNSUPPORTED,
    ),
    "Ollama, no memory": (
        _refusal({"error": "model requires more system memory (5.6 GiB) than is available (3.1 GiB)"}, 500),
        K.UNSUPPORTED,
    ),
    "event: error": (stream(Raw(b'event: error\ndata: {"message": "overloaded"}\n\n')), K.OVERLOAD),
    "event: error in text": (stream(Raw(b"event: error\ndata: rate limit exceeded\n\n")), K.RATE),
    "Anthropic": (
        stream(Raw(b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error"}}\n\n')),
        K.OVERLOAD,
    ),
    "error:": (stream(Raw(b'error: {"code": 400, "message": "the context size is exceeded"}\n\n')), K.INVALID_INPUT),
    "context": (_openai("This model's maximum context length is 4096 tokens."), K.INVALID_INPUT),
    "Google, a key": (_refusal([{"error": {"code": 400, "message": "API key not valid."}}], 400), K.AUTH),
    "used up": (_refusal({"error": {"message": "You exceeded your current quota", "code": "x"}}, 429), K.QUOTA),
    "filter": (_openai("The response was filtered by our content management policy"), K.CONTENT_POLICY),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_error_in_any_shape_is_typed_after_one_call(
    upstream: OpenRouterFake, model: ServerChatModel, name: str
) -> None:
    """No text, and what refuses a request has cost nothing."""
    answer, kind = ERRORS[name]
    upstream.answer(answer)

    with pytest.raises(ProviderError) as caught:
        await _told(model)

    assert kind == caught.value.kind
    assert kind not in {K.AUTH, K.QUOTA, K.UNSUPPORTED, K.RATE, K.CONFIGURATION} or not caught.value.billed


async def test_page_names_the_variable_of_the_address(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """The remedy is there."""
    upstream.answer(Answer(body=b"<html>", content_type="text/html"))

    with pytest.raises(ProviderError, match="CHAT_BASE_URL"):
        await _told(model)


@pytest.mark.parametrize(
    ("answer", "kind", "least", "most"),
    [
        (error(429, message="Rate limit exceeded: free-models-per-day"), K.QUOTA, 0, 86_400),
        (error(429, message="Limit on tokens per day (TPD). Please try again in 1h7m12.5s."), K.QUOTA, 4_032, 4_033),
        (Answer(status=429, headers={"X-RateLimit-Reset": "7200"}, body=b"{}"), K.QUOTA, 7_200, 7_200),
        (Answer(status=429, headers={"X-RateLimit-Reset": "20"}, body=b"{}"), K.RATE, 20, 20),
        (error(429, message="Rate limit reached for requests. Please try again in 340ms."), K.RATE, None, None),
        (error(429, message="Please retry in 34.5s."), K.RATE, 34, 35),
    ],
    ids=["per day", "try again", "reset far away", "reset", "ms", "retry in"],
)
async def test_cap_of_a_day_is_no_rate(
    upstream: OpenRouterFake,
    model: ServerChatModel,
    answer: Answer,
    kind: ProviderErrorKind,
    least: float | None,
    most: float | None,
) -> None:
    """With the wait that is asked for, or until midnight (UTC)."""
    upstream.answer(answer)

    with pytest.raises(ProviderError) as caught:
        await _told(model)

    assert kind == caught.value.kind
    if least is None or most is None:
        assert caught.value.retry_after is None
    else:
        assert caught.value.retry_after is not None
        assert least <= caught.value.retry_after <= most


async def test_server_that_is_not_there_names_its_variable_and_costs_nothing() -> None:
    """TRANSPORT."""
    model = ServerChatModel(
        chat_server(f"http://127.0.0.1:{free_ports(1)[0]}/v1"), SecretSource(None, name="CHAT_API_KEY")
    )
    with pytest.raises(ProviderError, match="CHAT_BASE_URL") as caught:
        await _told(model)
    await model.aclose()

    assert K.TRANSPORT == caught.value.kind
    assert not caught.value.billed


async def test_error_behind_text_is_billed(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """Whatever its code."""
    upstream.answer(stream(Text(TEXT), Event({"error": {"code": 429, "message": "slow down"}})))

    with pytest.raises(ProviderError) as caught:
        await _told(model)

    assert K.RATE == caught.value.kind
    assert caught.value.billed


async def test_servers_words_are_logged_cleaned(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """In the audit line of the call, without what the request says."""
    calls = OutgoingCalls("chat", breakers=BreakerManager(), policy=RetryPolicy(retries=0))
    request = ChatRequest(model="x", messages=(Message("user", "Tell a story for Мия."),))
    upstream.answer(_openai("The length of 'Tell a story for Мия.' exceeds 4096 tokens, Мия; key sk-abc123"))

    with capture_logs() as logs, pytest.raises(ProviderError) as caught:
        async with calls.attempt("chat/completions"):
            await _read(model, request, TIMERS)

    assert "The length of … exceeds 4096 tokens, …; key …" == caught.value.said
    (line,) = [line for line in logs if line["event"] == "upstream call"]
    assert caught.value.said == line["said"]


async def _failure(base_url: str) -> ProviderError:
    model = ServerChatModel(chat_server(base_url), SecretSource(None, name="CHAT_API_KEY"))
    with pytest.raises(ProviderError) as caught:
        await _told(model)
    await model.aclose()
    return caught.value


async def test_proxy_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the server that cannot be reached."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    failure = await _failure("http://chat.example.com/v1")

    assert K.TRANSPORT == failure.kind
    assert "HTTP_PROXY" in failure.message
    assert not failure.billed


async def test_certificate_that_is_not_trusted_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable; nothing is tried again for it."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)

    async with await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context
    ) as server:
        failure = await _failure(f"https://localhost:{server.sockets[0].getsockname()[1]}/v1")

    assert K.CONFIGURATION == failure.kind
    assert "SSL_CERT_FILE" in failure.message
    assert not failure.billed


async def test_text_of_the_answer_is_not_passed_on(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """An error may repeat what the model wrote."""
    upstream.answer(
        stream(Text("Zora flew home."), Event({"error": {"code": 502, "message": "bad output: Zora flew"}}))
    )

    with pytest.raises(ProviderError) as caught:
        await _told(model)

    assert "bad output: …" == caught.value.said


async def test_body_that_is_not_streamed_has_the_whole_time(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """No text can come before its end."""
    body = json.dumps({"choices": [{"message": {"content": TEXT}}]}).encode()
    refusal = _openai("Streaming is not supported by this server")
    upstream.answer(refusal, stream(Pause(1.5), Raw(body)))
    request = ChatRequest(model="x", messages=(Message("user", "Tell."),))

    assert TEXT == _text(await _read(model, request, ChatTimers(total=30, first_token=0.5, idle=0.5)))


async def test_model_that_cannot_be_loaded_is_not_waited_for(upstream: OpenRouterFake, model: ServerChatModel) -> None:
    """It is there no sooner a few seconds later."""
    upstream.answer(_refusal({"error": "error loading model: invalid magic characters"}, 500))

    with pytest.raises(ProviderError) as caught:
        await _told(model)

    assert K.UNSUPPORTED == caught.value.kind


async def test_server_without_https_is_a_wrong_setting(upstream: OpenRouterFake) -> None:
    """It is not waited for as a server that is away."""
    url = upstream.base_url.replace("http:", "https:")
    model = ServerChatModel(chat_server(url), SecretSource(None, name="CHAT_API_KEY"))
    request = ChatRequest(model="x", messages=(Message("user", "Tell."),))

    with pytest.raises(ProviderError) as caught:
        await _read(model, request, ChatTimers(total=30, first_token=20))
    await model.aclose()

    assert ProviderErrorKind.CONFIGURATION == caught.value.kind
    assert f"CHAT_BASE_URL={url}" in caught.value.message
    assert not caught.value.billed


async def test_id_that_repeats_the_request_is_none(upstream: OpenRouterFake) -> None:
    """Ids are logged, and an upstream may put anything into its own."""
    upstream.default = lambda call: stream(Event({"id": call.model}), Text("Once."), Finish(), DONE, header_id=False)
    model = ServerChatModel(chat_server(upstream.base_url), SecretSource(None, name="CHAT_API_KEY"))
    ended = [
        (await _read(model, ChatRequest(model=name, messages=(Message("user", "For Zora."),)), ChatTimers(total=9)))[-1]
        for name in ("chatcmpl-1", "chat-zora-1")
    ]
    await model.aclose()

    assert ["chatcmpl-1", ""] == [event.generation_id for event in ended if isinstance(event, ChatEnded)]
