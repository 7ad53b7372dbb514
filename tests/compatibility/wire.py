"""The wire: events, bodies, errors and ends of streams."""

import json
from collections.abc import Mapping
from typing import Any, Final

from support.openrouter_fake import (
    DONE,
    Answer,
    Event,
    Finish,
    Pause,
    Raw,
    Step,
    Usage,
    error,
    pieces,
    story,
    stream,
)
from support.story_models import WHOLE, Telling

from compatibility.harness import Case, Server

_ENDS: Final = "Ends of an answer"
_THOUGHTS: Final = "Thinking and loading"
_REFUSED: Final = "Refused fields"
_SHAPES: Final = "Events"
_ERRORS: Final = "Errors in every form"


def _said(text: str, reason: Any = None, **more: Any) -> Event:
    return Event({"choices": [{"index": 0, "delta": {"content": text, **more}, "finish_reason": reason}]})


def _parts(text: str) -> Event:
    return Event({"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": text}]}}]})


def _events(reason: Any = None) -> list[Event]:
    """The whole story, with a reason in each event."""
    return [_said(piece.text, reason) for piece in pieces(WHOLE)]


def _ended(reason: Any) -> Answer:
    return stream(*pieces(WHOLE), _said("", reason), Usage(), DONE)


def _body(body: object, status: int = 200, **more: Any) -> Answer:
    return Answer(status=status, body=json.dumps(body).encode(), header_id=False, **more)


def _message(text: str) -> Mapping[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


def _refusal(message: str, param: str | None = None) -> Answer:
    return _body({"error": {"message": message, "type": "invalid_request_error", "param": param}}, 400)


def _thoughts(seconds: float, count: int) -> list[Step]:
    return [step for _ in range(count) for step in (_said("", reasoning_content="Hm."), Pause(seconds))]


def _nothing_of_the_request(telling: Telling, _upstream: object) -> None:
    assert telling.error is not None
    assert "Mia" not in telling.error.message


_LOADING: Final = _body({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, 503)
_LINES: Final = b"".join(
    b"data: %b\n" % line
    for line in json.dumps({"choices": [{"delta": {"content": WHOLE}, "finish_reason": "stop"}]}, indent=1)
    .encode()
    .split(b"\n")
)

CASES: Final[tuple[Case, ...]] = (
    *(
        Case(
            kind=_ENDS,
            sends=f"the whole story, then `finish_reason` {shown} and `[DONE]`",
            answers=[_ended(reason)],
            calls=1,
        )
        for shown, reason in (
            ('"stop"', "stop"),
            ('"STOP"', "STOP"),
            ('"eos_token"', "eos_token"),
            ('`{"type": "stop"}`', {"type": "stop"}),
            ('"null", a text', "null"),
        )
    ),
    Case(
        kind=_ENDS,
        sends="the whole story, then `[DONE]` without a reason",
        answers=[stream(*pieces(WHOLE), DONE)],
        calls=1,
    ),
    Case(
        kind=_ENDS,
        sends='the whole story with `finish_reason` "stop" in every event, then `[DONE]`',
        answers=[stream(*_events("stop"), DONE)],
        calls=1,
    ),
    Case(
        kind=_ENDS,
        sends='a first thought with `finish_reason` "stop", then the whole story and `[DONE]`',
        answers=[stream(_said("", "stop", reasoning="Hm."), *pieces(WHOLE), DONE)],
        calls=1,
    ),
    Case(
        kind=_ENDS,
        sends='the whole story, "stop", and no `[DONE]`',
        answers=[stream(*pieces(WHOLE), Finish())],
        calls=1,
    ),
    Case(
        kind=_THOUGHTS,
        sends="thoughts in `reasoning_content` for 60 s, one each 10 s, then the whole story",
        answers=[stream(*_thoughts(10, 6), *pieces(WHOLE), Finish(), DONE)],
        calls=1,
    ),
    Case(
        kind=_THOUGHTS,
        sends='status 503 "Loading model" five times, then the whole story',
        answers=[*[_LOADING] * 5, story(WHOLE)],
        calls=6,
        outcome="READY, WAITING_FOR_PROVIDER",
    ),
    Case(
        kind=_THOUGHTS,
        sends="status 503 with `estimated_time` 20, twice, then the whole story",
        answers=[*[_body({"error": "Model x is currently loading", "estimated_time": 20}, 503)] * 2, story(WHOLE)],
        calls=3,
        outcome="READY, WAITING_FOR_PROVIDER",
    ),
    *(
        Case(kind=_REFUSED, sends=sends, answers=[answer, story(WHOLE)], calls=2)
        for sends, answer in (
            (
                "status 400 about `temperature`",
                _refusal("Unsupported value: 'temperature' does not support 0.7 with this model.", "temperature"),
            ),
            (
                "status 400: use `max_completion_tokens` instead of `max_tokens`",
                _refusal("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"),
            ),
            (
                "status 422 with the `loc` of `stream_options`",
                _body({"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}, 422),
            ),
            ("status 400: the system role is not supported", _refusal("System role not supported")),
            (
                "status 500: roles must alternate",
                _body({"error": "Conversation roles must alternate user/assistant/user/assistant/..."}, 500),
            ),
        )
    ),
    Case(
        kind=_REFUSED,
        sends="status 400 to a stream, then the whole story in one body",
        answers=[_refusal("Streaming is not supported"), _body(_message(WHOLE))],
        calls=2,
    ),
    *(
        Case(kind=_SHAPES, sends=sends, answers=[answer], calls=1)
        for sends, answer in (
            ("one body instead of events", _body(_message(WHOLE))),
            (
                "content in parts of type `text`",
                stream(*(_parts(piece.text) for piece in pieces(WHOLE)), Finish(), DONE),
            ),
            ("one event in many `data:` lines", stream(Raw(_LINES + b"\n"), DONE)),
            (
                "all the text so far in each event",
                stream(*(_said(WHOLE[: end + 20]) for end in range(0, len(WHOLE), 20)), Finish(), DONE),
            ),
            ("the whole text once more in a last event", stream(*pieces(WHOLE), _said(WHOLE, "stop"), DONE)),
            (
                "`message` instead of `delta`",
                stream(*(Event({"choices": [{"message": {"content": each.text}}]}) for each in pieces(WHOLE)), DONE),
            ),
            (
                "`text` instead of `delta`",
                stream(*(Event({"choices": [{"text": each.text}]}) for each in pieces(WHOLE)), Finish(), DONE),
            ),
        )
    ),
    *(
        Case(
            kind=_ERRORS,
            sends=sends,
            answers=[answer],
            calls=1,
            outcome=outcome,
            says=says,
            check=_nothing_of_the_request,
        )
        for sends, answer, outcome, says in (
            (
                "a page of HTML with status 200",
                Answer(body=b"<html>Welcome</html>", content_type="text/html", header_id=False),
                "INVALID_CONFIGURATION",
                "_BASE_URL",
            ),
            (
                "a page of HTML with status 404",
                Answer(status=404, body=b"<html>nginx</html>", content_type="text/html", header_id=False),
                "INVALID_CONFIGURATION",
                "_BASE_URL",
            ),
            (
                'status 404 `{"detail": "Not Found"}`',
                _body({"detail": "Not Found"}, 404),
                "INVALID_CONFIGURATION",
                "_BASE_URL",
            ),
            (
                'status 200 `{"object": "error", "code": 404, …}`: no such model',
                _body({"object": "error", "message": "The model `x` does not exist.", "code": 404}),
                "MODEL_NOT_FOUND",
                "",
            ),
            (
                'status 200 `[{"error": {"code": 401, …}}]`',
                _body([{"error": {"code": 401, "message": "Invalid API key"}}]),
                "UPSTREAM_AUTH",
                "_API_KEY",
            ),
            (
                "status 429: the limit of requests per day",
                error(429, message="Rate limit exceeded: free-models-per-day"),
                "QUOTA_EXCEEDED",
                "",
            ),
            (
                "status 429: insufficient quota",
                error(429, code="insufficient_quota", message="You exceeded your current quota"),
                "QUOTA_EXCEEDED",
                "",
            ),
        )
    ),
    Case(
        kind=_ERRORS,
        sends="status 404: no endpoints match the data policy",
        answers=[error(404, message="No endpoints found matching your data policy")],
        calls=1,
        outcome="INVALID_CONFIGURATION",
        says="OPENROUTER_DATA_COLLECTION",
        servers=[Server.OPENROUTER],
    ),
    Case(
        kind=_ERRORS,
        sends="status 400 that repeats the prompt",
        answers=lambda call: _refusal(f"Invalid prompt: {call.body['messages'][-1]['content']}"),
        calls=1,
        outcome="UPSTREAM_REFUSED",
        says="Invalid prompt",
        check=_nothing_of_the_request,
    ),
)
