"""The parts of OpenRouter's adapter that need no network."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from story_service.chat import ChatRequest, ChatTimers, Message
from story_service.providers.chat.completion import spending_of
from story_service.providers.chat.dialect import chat_server
from story_service.providers.chat.errors import Failures
from story_service.providers.chat.events import EventLines
from story_service.providers.chat.request import Refusals
from story_service.providers.chat.timers import StreamTimers
from story_service.providers.openrouter.dialect import OPENROUTER_URL, check_key_format, openrouter

STREAM: Final = (
    b"\xef\xbb\xbfdata: 0\r"
    b': OPENROUTER PROCESSING\r\n\r\nevent: message\ndata: {"text": "\xf0\x9f\xa6\x8a"}\n\ndata:{"x": 1}\r\n\r\n'
    b'data:\n\ndata: {\r\ndata: "y":\r\ndata: 2}\r\n\r\nevent: error\ndata: too many\n\nerror: {"z": 3}\n'
    b'data: {"n": 1}\ndata: {"n": 2}\n{"bare": 4}\n\nid: 3\ndata: [DONE]'
)
FAILURES: Final = Failures(chat_server("http://127.0.0.1/v1"))
PAYLOADS: Final = [
    b"0",
    b'{"text": "\xf0\x9f\xa6\x8a"}',
    b'{"x": 1}',
    b'{\n"y":\n2}',
    b'{"error": "too many"}',
    b'{"error": {"z": 3}}',
    b'{"n": 1}',
    b'{"n": 2}',
    b'{"bare": 4}',
    b"[DONE]",
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_do_not_depend_on_where_the_stream_is_cut(cuts: list[int]) -> None:
    """Every way of chopping the same bytes gives the same events."""
    lines, payloads, start = EventLines(FAILURES), list[bytes](), 0
    for cut in (*sorted(cuts), len(STREAM)):
        payloads += lines.feed(STREAM[start:cut])
        start = cut
    payloads += lines.end()

    assert payloads == PAYLOADS


def test_line_has_a_bound() -> None:
    """TRANSPORT, however slowly it grows."""
    lines = EventLines(FAILURES)
    for _ in range(262):
        lines.feed(b"x" * 1_000)

    with pytest.raises(ProviderError) as caught:
        lines.feed(b"x" * 1_000)

    assert ProviderErrorKind.TRANSPORT == caught.value.kind


@pytest.mark.parametrize("key", ["sk-or-v1-0123456789abcdef", "sk-or-x"])
def test_keys_of_openrouter(key: str) -> None:
    """Are taken as they are."""
    assert key == check_key_format(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        " ",
        "sk-or",
        "sk-proj-abc",
        '"sk-or-v1-a"',
        "sk-or-v1 a",
        "sk-or-v1-a\n",
        "sk-or-ключ",
        "sk-or-\x00",
        "k" * 2_000,
    ],
)
def test_malformed_keys_are_refused_untold(key: str) -> None:
    """With a remedy that does not hold them."""
    with pytest.raises(ValueError, match="must") as caught:
        check_key_format(key)

    assert len(key) < 7 or key not in str(caught.value)


def test_beginning_alone_is_no_key() -> None:
    """It is what stands in examples."""
    with pytest.raises(ValueError, match="begin"):
        check_key_format("sk-or-")


def test_keys_of_other_servers_may_look_otherwise() -> None:
    """Only OpenRouter's own hosts give keys that begin alike."""
    assert "local" == check_key_format("local", base_url="http://127.0.0.1:8080/v1")
    for host in ("openrouter.ai", "eu.openrouter.ai"):
        with pytest.raises(ValueError, match="sk-or-"):
            check_key_format("local", base_url=f"https://{host}/api/v1")


def _body(request: ChatRequest) -> dict[str, Any]:
    return Refusals(openrouter()).plan(request).body


def test_prefill_ends_without_white_space() -> None:
    """Models that take one refuse it else; no other message is touched."""
    messages = (Message("user", "Go on. "), Message("assistant", "Once there was \n"))

    told = _body(ChatRequest(model="a/b", messages=messages, prefill=True))
    kept = _body(ChatRequest(model="a/b", messages=messages))

    assert ["Go on. ", "Once there was"] == [message["content"] for message in told["messages"]]
    assert ["Go on. ", "Once there was \n"] == [message["content"] for message in kept["messages"]]


def test_what_is_not_set_is_not_said() -> None:
    """OpenRouter decides then; but nobody may keep what is asked."""
    body = _body(ChatRequest(model="a/b", messages=()))

    assert {"model", "messages", "stream", "stream_options", "usage", "provider"} == set(body)
    assert {"data_collection": "deny"} == body["provider"]


@pytest.mark.parametrize(
    ("usage", "cost", "known"),
    [
        ({"cost": 0.5}, 0.5, True),
        ({"cost": 0}, 0.0, True),
        ({}, 0.0, False),
        ({"cost": -1}, 0.0, False),
        ({"cost": "0.5"}, 0.0, False),
        ({"cost": True}, 0.0, False),
        ({"cost": float("inf")}, 0.0, False),
        ({"cost": 0.5, "cost_details": {"upstream_inference_cost": 2}}, 0.5, True),
        ({"cost": 0.5, "is_byok": True, "cost_details": {"upstream_inference_cost": 2}}, 2.5, True),
    ],
)
def test_costs_are_known_or_not(usage: dict[str, object], cost: float, *, known: bool) -> None:
    """What is no amount of money is not taken for one."""
    spending = spending_of(usage)

    assert (cost, known) == (spending.cost_usd, spending.cost_known)


def test_tokens_that_are_none_are_not_counted() -> None:
    """Nor do they pass what a message can hold."""
    spending = spending_of({"prompt_tokens": -3, "completion_tokens": 10**12})

    assert (0, 2**31 - 1) == (spending.prompt_tokens, spending.completion_tokens)


class Clock:
    """Time that goes on by hand."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def _watch() -> tuple[StreamTimers, Clock]:
    clock = Clock()
    return StreamTimers(ChatTimers(total=100, first_token=30, idle=10), FAILURES, clock=clock), clock


def test_first_text_has_a_time_of_its_own() -> None:
    """From the call on."""
    watch, _ = _watch()

    assert 1_030 == watch.deadline


def test_text_starts_the_idle_time_anew() -> None:
    """When the reader comes back, and the total with it."""
    watch, clock = _watch()
    clock.now += 5
    watch.pause()
    clock.now += 1_000
    watch.resume(heard=True)

    assert clock.now + 10 == watch.deadline
    for _ in range(11):
        clock.now += 8
        watch.pause()
        watch.resume(heard=True)
    assert 2_100 == watch.deadline


def test_what_is_no_text_starts_nothing_anew() -> None:
    """The time for the first text runs on behind it."""
    watch, clock = _watch()
    clock.now += 20
    watch.pause()
    clock.now += 100
    watch.resume(heard=False)

    assert 1_130 == watch.deadline


def test_cost_is_not_waited_for_longer_than_the_text() -> None:
    """Five seconds, counted once."""
    watch, clock = _watch()
    watch.finishing()
    clock.now += 3
    watch.finishing()
    watch.pause()
    watch.resume(heard=False)

    assert 1_005 == watch.deadline


def test_text_after_a_reason_starts_the_idle_time_anew() -> None:
    """The reason came too early."""
    watch, clock = _watch()
    watch.finishing()
    watch.pause()
    watch.resume(heard=True)

    assert clock.now + 10 == watch.deadline


@pytest.mark.parametrize(("url", "left_out"), [(OPENROUTER_URL, False), ("https://proxy.example/v1", True)])
def test_routing_of_openrouter_is_never_left_out(url: str, *, left_out: bool) -> None:
    """A company that stores what is written about a child is not asked because a field was refused."""
    plan = Refusals(openrouter(url)).plan(ChatRequest(model="a/b", messages=(Message("user", "Tell."),)))
    refusal = {"error": {"message": "Unrecognized field: 'provider'", "param": "provider"}}

    assert left_out == plan.adapt(FAILURES.of_body(json.dumps(refusal).encode(), {}, status=400))
    assert left_out == ("provider" not in plan.body)
