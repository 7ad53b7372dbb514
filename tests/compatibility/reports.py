"""What public bug reports about servers with OpenAI's API say, beside what the other parts show."""

import gzip
import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from support.openrouter_fake import (
    DONE,
    Answer,
    Call,
    Event,
    Finish,
    OpenRouterFake,
    Pause,
    Raw,
    Text,
    error,
    pieces,
    story,
    stream,
)
from support.story_models import TEXT, TITLE, WHOLE, Telling, goes_on, joined

from compatibility.harness import Case, Server

_CHAT: Final = (Server.CHAT,)
_GITHUB: Final = "https://github.com"


def _report(where: str) -> str:
    """Returns a link to an issue or pull request, "owner/name#number"."""
    repository, _, number = where.partition("#")
    return f" ([{where}]({_GITHUB}/{repository}/issues/{number}))"


def _delta(text: str | None, finish: object = None, **more: Any) -> Event:
    return Event({"choices": [{"index": 0, "delta": {"content": text, **more}, "finish_reason": finish}]})


def _deltas(size: int = 60) -> list[str]:
    return [WHOLE[start : start + size] for start in range(0, len(WHOLE), size)]


def _lines(*payloads: object, start: str = "data: ", end: str = "\n\n") -> Raw:
    """Returns events written by hand."""
    return Raw(
        "".join(
            f"{start}{each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)}{end}"
            for each in payloads
        ).encode()
    )


def _chunk(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def _written(start: str = "data: ", end: str = "\n\n") -> Answer:
    """The whole story in events of another form."""
    return stream(_lines(*map(_chunk, _deltas()), _chunk("", "stop"), "[DONE]", start=start, end=end))


def _body(body: object, *, status: int = 200, content_type: str = "application/json") -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, body=data, content_type=content_type, header_id=False)


def _completion(**more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": WHOLE}
    return {
        "id": "c",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", **more}],
    }


def _refuses(words: str, *fields: str, status: int = 400, **more: object) -> Any:
    """Returns an answerer that refuses requests with any of the fields, and tells the story else."""

    def answer(call: Call) -> Answer:
        if any(field in call.body for field in fields):
            return _body({"error": {"message": words, "type": "invalid_request_error", **more}}, status=status)
        return story(WHOLE)

    return answer


def _refuses_system(status: int, words: str) -> Any:
    def answer(call: Call) -> Answer:
        if call.body["messages"][0]["role"] == "system":
            return _body({"error": {"message": words, "code": status, "type": "server_error"}}, status=status)
        return story(WHOLE)

    return answer


def _unstreamed(call: Call) -> Answer:
    if call.body.get("stream"):
        words = "Your organization must be verified to stream this model."
        return _body({"error": {"message": words, "param": "stream", "code": "unsupported_value"}}, status=400)
    return _body(_completion())


def _then_the_rest(first: Answer) -> Any:
    """Returns an answerer whose first answer breaks off, and that continues rightly."""
    return lambda call: first if call.generation_id == "gen-1" else goes_on(call)


def _ended(finish: object) -> Answer:
    return stream(*pieces(WHOLE), _delta("", finish), DONE)


_EVENTS: Final[Sequence[Case]] = (
    Case(
        kind="Events",
        sends='`finish_reason` "" in every event until "stop"' + _report("ollama/ollama#4357"),
        answers=[stream(*(_delta(text, "") for text in _deltas()), Finish(), DONE)],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="`data:` without a space" + _report("openai/openai-python#498"),
        answers=[_written("data:")],
        calls=1,
    ),
    Case(kind="Events", sends="lines that end with CR LF", answers=[_written(end="\r\n\r\n")], calls=1),
    Case(kind="Events", sends="lines that end with CR", answers=[_written(end="\r\r")], calls=1),
    Case(
        kind="Events",
        sends="JSON over several `data:` lines" + _report("SamSaffron/term-llm#454"),
        answers=[
            stream(
                *(
                    Raw(
                        (
                            "".join(f"data: {line}\n" for line in json.dumps(chunk, indent=1).splitlines()) + "\n"
                        ).encode()
                    )
                    for chunk in (*map(_chunk, _deltas()), _chunk("", "stop"))
                ),
                DONE,
            )
        ],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="`event:`, `id:` and `retry:` lines and `: ping` comments" + _report("betalgo/openai#472"),
        answers=[
            stream(
                Raw(b": ping - 2026-11-29 12:00:00\n\nretry: 3000\n\n"),
                *(_lines(_chunk(text), start="event: message\nid: 7\ndata: ") for text in _deltas()),
                Raw(b": ping\n\n"),
                Finish(),
                DONE,
            )
        ],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="a first event with `choices` [], as Azure sends it" + _report("langchain-ai/langchain#6462"),
        answers=[
            stream(
                Event({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}), *pieces(WHOLE), Finish(), DONE
            )
        ],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="`choices` null beside the usage, `delta` null at the end",
        answers=[
            stream(
                *pieces(WHOLE),
                Event({"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]}),
                Event({"choices": None, "usage": {"prompt_tokens": 9, "completion_tokens": 200}}),
                DONE,
            )
        ],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="`message` in place of `delta`" + _report("Amm1rr/WebAI-to-API#55"),
        answers=[
            stream(
                *(Event({"choices": [{"index": 0, "message": {"content": text}}]}) for text in _deltas()),
                Finish(),
                DONE,
            )
        ],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="`text` in place of `delta`, as a server of plain completions does",
        answers=[stream(*(Event({"choices": [{"index": 0, "text": text}]}) for text in _deltas()), Finish(), DONE)],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="choices with `index` 1" + _report("BerriAI/litellm#376"),
        answers=[
            stream(
                *(Event({"choices": [{"index": 1, "delta": {"content": text}}]}) for text in _deltas()),
                Event({"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}),
                DONE,
            )
        ],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="`usage` in every event" + _report("memex-lab/dart_agent_core#23"),
        answers=[
            stream(
                *(
                    Event({**_chunk(text), "usage": {"prompt_tokens": 9, "completion_tokens": number}})
                    for number, text in enumerate(_deltas())
                ),
                Finish(),
                DONE,
            )
        ],
        calls=1,
    ),
    Case(
        kind="Events",
        sends='`id`, `model` and `object` null, `created` a fraction, `role` ""',
        answers=[
            stream(
                *(
                    Event({**_chunk(text), "id": None, "model": None, "object": None, "created": 1.5})
                    for text in _deltas()
                ),
                _delta(None, "stop", role=""),
                DONE,
            )
        ],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="a byte order mark first, and characters cut in two by packets",
        answers=[
            stream(
                Raw(b"\xef\xbb\xbf"),
                *(
                    Raw(part)
                    for text in (*_deltas(), " 🦊")
                    for data in [_lines(_chunk(text)).data]
                    for part in (data[: len(data) // 2 + 1], data[len(data) // 2 + 1 :])
                ),
                Finish(),
                DONE,
            )
        ],
        text=TEXT + " 🦊",
        calls=1,
    ),
    Case(
        kind="Events",
        sends="`data: {}`, `data: null` and empty `data:` between the others",
        answers=[
            stream(
                *(step for text in _deltas() for step in (_lines("{}", "null", ""), Raw(b"data\n\n"), _delta(text))),
                Finish(),
                DONE,
            )
        ],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="more text after `[DONE]`",
        answers=[stream(*pieces(WHOLE), Finish(), DONE, Text(" And then it began again."), DONE)],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="the whole text so far in every event",
        answers=[stream(*(_delta(text) for text in accumulate(_deltas())), Finish(), DONE)],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="a last event that repeats the whole text as `message`",
        answers=[
            stream(
                *pieces(WHOLE),
                Event({"choices": [{"index": 0, "delta": {}, "message": {"content": WHOLE}, "finish_reason": "stop"}]}),
                DONE,
            )
        ],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="content as a list of parts",
        answers=[
            stream(
                *(
                    Event({"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": text}]}}]})
                    for text in _deltas()
                ),
                Finish(),
                DONE,
            )
        ],
        calls=1,
    ),
    Case(
        kind="Events",
        sends="content as a list of parts of which the first are thoughts, as Mistral sends it",
        answers=[
            stream(
                Event(
                    {
                        "choices": [
                            {
                                "index": 0,
                                "delta": {
                                    "content": [
                                        {"type": "thinking", "thinking": [{"type": "text", "text": "An owl, then."}]}
                                    ]
                                },
                            }
                        ]
                    }
                ),
                *(
                    Event({"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": text}]}}]})
                    for text in _deltas()
                ),
                Finish(),
                DONE,
            )
        ],
        calls=1,
    ),
)

_BODIES: Final[Sequence[Case]] = (
    Case(kind="Bodies", sends="one JSON body in place of a stream", answers=[_body(_completion())], calls=1),
    Case(
        kind="Bodies",
        sends="one JSON body that is called `text/event-stream`",
        answers=[_body(_completion(), content_type="text/event-stream")],
        calls=1,
    ),
    Case(
        kind="Bodies",
        sends="one JSON body with `data: [DONE]` behind it" + _report("decolua/9router#3492"),
        answers=[_body(json.dumps(_completion()).encode() + b"\n\ndata: [DONE]\n\n", content_type="text/event-stream")],
        calls=1,
    ),
    Case(
        kind="Bodies",
        sends="events that are called `text/plain`",
        answers=[
            _body(
                b"".join(_lines(_chunk(text)).data for text in _deltas()) + _lines(_chunk("", "stop"), "[DONE]").data,
                content_type="text/plain",
            )
        ],
        calls=1,
    ),
    Case(
        kind="Bodies",
        sends="events that are compressed without a request for it",
        answers=[
            Answer(
                headers={"Content-Encoding": "gzip"},
                body=gzip.compress(_lines(*map(_chunk, _deltas()), _chunk("", "stop"), "[DONE]").data, mtime=0),
                content_type="text/event-stream",
            )
        ],
        calls=1,
    ),
    Case(
        kind="Bodies",
        sends="a JSON body whose content is a list of parts",
        answers=[
            _body(_completion(message={"role": "assistant", "content": [{"type": "text", "text": WHOLE}]})),
        ],
        calls=1,
    ),
    Case(
        kind="Bodies",
        sends="a JSON body with thoughts beside the content",
        answers=[
            _body(_completion(message={"content": WHOLE, "reasoning_content": "The child is six. An owl, then."})),
        ],
        calls=1,
    ),
)

_REASONS: Final[Sequence[Case]] = (
    *(
        Case(
            kind="Ends of an answer",
            sends=f"the whole story, `finish_reason` {shown}",
            answers=[_ended(value)],
            calls=1,
        )
        for shown, value in {
            '"STOP"': "STOP",
            '"end_turn"': "end_turn",
            '"eos_token"': "eos_token",
            '"FINISH_REASON_STOP"': "FINISH_REASON_STOP",
            '"COMPLETE"': "COMPLETE",
            '"stop_sequence"': "stop_sequence",
            '"tool_calls"': "tool_calls",
            '"other"': "other",
            '"unknown"': "unknown",
            '"null", the text': "null",
            "a dict": {"type": "stop"},
            "1": 1,
            "true": True,
            '"length"': "length",
            '"MAX_TOKENS"': "MAX_TOKENS",
        }.items()
    ),
    Case(
        kind="Ends of an answer",
        sends="the whole story, no `finish_reason`, `[DONE]`" + _report("anomalyco/opencode#43882"),
        answers=[stream(*pieces(WHOLE), DONE)],
        calls=1,
    ),
    Case(
        kind="Ends of an answer",
        sends='the whole story, `finish_reason` "insufficient_system_resource" of DeepSeek, then "The End"',
        answers=_then_the_rest(_ended("insufficient_system_resource")),
        calls=2,
    ),
    Case(
        kind="Ends of an answer",
        sends='`finish_reason` "stop" in every event',
        answers=[stream(*(_delta(text, "stop") for text in _deltas()), DONE)],
        calls=1,
    ),
    Case(
        kind="Ends of an answer",
        sends='`finish_reason` "stop" with the first thought, then the whole story',
        answers=[stream(_delta("", "stop", reasoning="An owl, then."), *pieces(WHOLE), DONE)],
        calls=1,
    ),
)

_THOUGHTS: Final[Sequence[Case]] = (
    *(
        Case(
            kind="Thinking and loading",
            sends=f"thoughts for two minutes in `{name}`, then the story" + where,
            answers=[
                stream(
                    *(step for _ in range(24) for step in (_delta(None, **{name: value}), Pause(5))),
                    *pieces(WHOLE),
                    Finish(),
                    DONE,
                )
            ],
            calls=1,
        )
        for name, value, where in (
            ("reasoning_content", "Hm.", _report("strands-agents/harness-sdk#2191")),
            ("reasoning", "Hm.", _report("BerriAI/litellm#26501")),
            ("thinking", "Hm.", ""),
            ("reasoning_details", [{"type": "reasoning.text", "text": "Hm."}], ""),
        )
    ),
    Case(
        kind="Thinking and loading",
        sends="the story in `reasoning`, `content` empty" + _report("vllm-project/vllm#40816"),
        answers=[stream(*(_delta(None, reasoning=text) for text in _deltas()), Finish(), DONE)],
        calls=2,
        outcome="UPSTREAM_UNAVAILABLE",
    ),
)

_FIELDS: Final[Sequence[Case]] = (
    Case(
        kind="Refused fields",
        sends="400 for `max_tokens`: use `max_completion_tokens`" + _report("koosoli/ESPHomeDesigner#379"),
        answers=_refuses(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
            "max_tokens",
            param="max_tokens",
            code="unsupported_parameter",
        ),
        calls=2,
    ),
    Case(
        kind="Refused fields",
        sends="400 for `temperature`: only the default" + _report("decolua/9router#560"),
        answers=_refuses(
            "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) is supported.",
            "temperature",
            param="temperature",
            code="unsupported_value",
        ),
        calls=2,
    ),
    Case(
        kind="Refused fields",
        sends="400 for `stream_options`",
        answers=_refuses("Unrecognized request argument supplied: stream_options", "stream_options"),
        servers=_CHAT,
        calls=2,
    ),
    Case(
        kind="Refused fields",
        sends="400 for `stream`: the organization is not verified to stream",
        answers=_unstreamed,
        calls=2,
    ),
    Case(
        kind="Refused fields",
        sends="500 of a template that takes no system role" + _report("EricLBuehler/mistral.rs#506"),
        answers=_refuses_system(500, "Jinja Exception: System role not supported"),
        servers=_CHAT,
        calls=2,
    ),
    Case(
        kind="Refused fields",
        sends="500: conversation roles must alternate user/assistant" + _report("ggml-org/llama.cpp#21879"),
        answers=_refuses_system(
            500, "Error: Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/..."
        ),
        servers=_CHAT,
        calls=2,
    ),
    Case(
        kind="Refused fields",
        sends="422 of FastAPI: extra inputs are not permitted, `stream_options`",
        answers=lambda call: (
            _body(
                {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]},
                status=422,
            )
            if "stream_options" in call.body
            else story(WHOLE)
        ),
        servers=_CHAT,
        calls=2,
    ),
    Case(
        kind="Refused fields",
        sends="400 for `seed`",
        answers=_refuses("Unknown parameter: 'seed'.", "seed", param="seed", code="unknown_parameter"),
        request={"seed": 7},
        calls=2,
    ),
)

_ERRORS: Final[Sequence[Case]] = (
    Case(
        kind="Errors in every form",
        sends="an error event in a stream of 200" + _report("ggml-org/llama.cpp#14566"),
        answers=[stream(_lines({"error": {"code": 400, "message": "the request exceeds the available context size"}}))],
        calls=1,
        outcome="UPSTREAM_REFUSED",
        says="context size",
    ),
    Case(
        kind="Errors in every form",
        sends="`event: error` with a message of LM Studio",
        answers=[
            stream(
                _lines(
                    {"error": {"message": "No models loaded. Please load a model in the developer page."}},
                    start="event: error\ndata: ",
                )
            )
        ],
        calls=1,
        outcome="MODEL_NOT_FOUND",
        says="No models loaded",
    ),
    Case(
        kind="Errors in every form",
        sends='`{"error": "Unexpected endpoint or method."}` of LM Studio' + _report("lmstudio-ai/lms#169"),
        answers=[_body({"error": "Unexpected endpoint or method. (POST /chat/completions)"})],
        calls=1,
        outcome="INVALID_CONFIGURATION",
        says="BASE_URL",
    ),
    Case(
        kind="Errors in every form",
        sends='`{"object": "error", "code": 400}` of vLLM' + _report("ogx-ai/ogx#4534"),
        answers=[
            _body(
                {
                    "object": "error",
                    "message": "This model's maximum context length is 6048 tokens.",
                    "type": "BadRequestError",
                    "code": 400,
                }
            )
        ],
        calls=1,
        outcome="UPSTREAM_REFUSED",
        says="maximum context length",
    ),
    Case(
        kind="Errors in every form",
        sends="an array with an error, as Gemini sends it" + _report("aallam/openai-kotlin#416"),
        answers=[_body([{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}])],
        calls=1,
        outcome="UPSTREAM_AUTH",
        says="API key not valid",
    ),
    Case(
        kind="Errors in every form",
        sends="a page in HTML",
        answers=[_body(b"<!doctype html><html><title>Open WebUI</title></html>", content_type="text/html")],
        calls=1,
        outcome="INVALID_CONFIGURATION",
        says="BASE_URL",
    ),
    Case(
        kind="Errors in every form",
        sends='the text "Ollama is running"',
        answers=[_body(b"Ollama is running", content_type="text/plain")],
        calls=1,
        outcome="INVALID_CONFIGURATION",
        says="BASE_URL",
    ),
    Case(
        kind="Errors in every form",
        sends="an empty body",
        answers=[_body(b"")],
        calls=4,
        outcome="NETWORK_ERROR",
    ),
)

_STATUSES: Final[Sequence[Case]] = (
    Case(
        kind="Calls that fail",
        sends="404 of Ollama: the model is not there",
        answers=[_body({"error": {"message": 'model "a/first" not found, try pulling it first'}}, status=404)],
        servers=_CHAT,
        calls=1,
        outcome="MODEL_NOT_FOUND",
        says="try pulling it first",
    ),
    Case(
        kind="Calls that fail",
        sends='404 of FastAPI, `{"detail": "Not Found"}`: the path is wrong',
        answers=[_body({"detail": "Not Found"}, status=404)],
        servers=_CHAT,
        calls=1,
        outcome="INVALID_CONFIGURATION",
        says="CHAT_BASE_URL",
    ),
    Case(
        kind="Calls that fail",
        sends="307 to another address" + _report("ogx-ai/ogx#2496"),
        answers=[Answer(status=307, headers={"Location": "https://elsewhere.example/v1"}, body=b"")],
        calls=1,
        outcome="INVALID_CONFIGURATION",
        says="BASE_URL",
    ),
    Case(
        kind="Calls that fail",
        sends="400: the maximum context length" + _report("vllm-project/vllm#20409"),
        answers=[
            _body(
                {
                    "error": {
                        "message": "This model's maximum context length is 2048 tokens. However, you requested 4096.",
                        "code": "context_length_exceeded",
                    }
                },
                status=400,
            )
        ],
        calls=1,
        outcome="UPSTREAM_REFUSED",
        says="maximum context length",
    ),
    Case(
        kind="Calls that fail",
        sends="400 of Azure: its content filter",
        answers=[
            _body(
                {"error": {"message": "The response was filtered.", "code": "content_filter", "status": 400}},
                status=400,
            )
        ],
        calls=1,
        outcome="CONTENT_REFUSED",
    ),
    Case(
        kind="Calls that fail",
        sends="503 while it loads the model for two minutes, then the story" + _report("danny-avila/LibreChat#3330"),
        answers=lambda call: (
            story(WHOLE)
            if int(call.generation_id.removeprefix("gen-")) > 40
            else _body({"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, status=503)
        ),
        servers=_CHAT,
        outcome="READY, WAITING_FOR_PROVIDER",
        calls=41,
    ),
    Case(
        kind="Calls that fail",
        sends="500 of Ollama: unexpected EOF, once" + _report("continuedev/continue#12843"),
        answers=[
            _body(
                {"error": {"message": "an error was encountered while running the model: unexpected EOF"}}, status=500
            ),
            story(WHOLE),
        ],
        calls=2,
    ),
    Case(
        kind="Calls that fail",
        sends="502 with a page of nginx, twice",
        answers=[
            _body(b"<html><h1>502 Bad Gateway</h1></html>", status=502, content_type="text/html"),
            _body(b"<html><h1>502 Bad Gateway</h1></html>", status=502, content_type="text/html"),
            story(WHOLE),
        ],
        calls=3,
    ),
    Case(
        kind="Calls that fail",
        sends="429: free models per day, until midnight" + _report("Gitlawb/openclaude#936"),
        answers=[
            error(
                429,
                message="Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests",
                metadata={"headers": {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0"}},
            )
        ],
        servers=(Server.OPENROUTER,),
        request={"provider_wait": 600},
        calls=1,
        outcome="QUOTA_EXCEEDED",
        says="free-models-per-day",
    ),
    Case(
        kind="Calls that fail",
        sends="403: the region is not supported",
        answers=[
            _body(
                {"error": {"code": "unsupported_country_region_territory", "message": "Country not supported"}},
                status=403,
            )
        ],
        calls=1,
        outcome="UPSTREAM_AUTH",
        says="Country not supported",
    ),
    Case(
        kind="Calls that fail",
        sends="an error event in mid-story, then the rest",
        answers=_then_the_rest(
            stream(*pieces(f"{TITLE}\n\n{joined(9)} "), _lines({"error": {"message": "CUDA failed", "code": 500}}))
        ),
        calls=2,
    ),
    Case(
        kind="Calls that fail",
        sends='`finish_reason` "error" in mid-story, then the rest',
        answers=_then_the_rest(stream(*pieces(f"{TITLE}\n\n{joined(9)} "), Finish("error"), DONE)),
        calls=2,
    ),
)


def _text(sends: str, before: str = "", after: str = "", *, where: str = "", **more: Any) -> Case:
    """Returns a case with something around the story that is no part of it."""
    return Case(
        kind="Around the story",
        sends=sends + (_report(where) if where else ""),
        answers=[story(f"{before}{WHOLE}{after}")],
        calls=1,
        **more,
    )


_FORMS: Final[Sequence[Case]] = (
    _text("`<think>…</think>` in front", "<think>\nThe child is six. An owl, then.\n</think>\n\n"),
    _text("thoughts and `</think>` that was never opened", "The child is six. An owl, then.\n</think>\n\n"),
    _text("`<mm:think>…</mm:think>` in front", "<mm:think>An owl.</mm:think>\n", where="vllm-project/vllm#46042"),
    _text(
        "`<|channel|>analysis…` in front, with its tokens",
        "<|channel|>analysis<|message|>The child is six.<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|return|>",
        where="ggml-org/llama.cpp#15181",
    ),
    _text(
        "`analysis…assistantfinal` in front, without its tokens",
        "analysisWe need to write a story about an owl for Mia. Six years old.assistantfinal",
        where="Augustas11/macprovider#743",
    ),
    _text("`<|im_end|>` behind", after="<|im_end|>"),
    _text(
        "`<end_of_turn>` several times behind",
        after="<end_of_turn>\n<end_of_turn>\n<end_of_turn>",
        where="apple/coreai-models#25",
    ),
    _text("`</s>` behind", after="</s>"),
    _text(
        "`<|eot_id|>` and a second turn behind",
        after="<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nTell me another one.<|eot_id|>",
    ),
    _text(
        "a second turn without its tokens behind",
        after="assistant\n\nHere is another story:\n\nThe Red Kite\n\nOnce.",
        where="togethercomputer/together-python#137",
    ),
    _text("a second turn with labels behind", after="\n\nUser: Tell me another one.\nAssistant: Of course!"),
    _text("`[/INST]` in front and `[INST]` behind", "[/INST] ", " [INST] Tell me another one. [/INST]"),
    _text("`### Response:` in front", "### Response:\n"),
    _text("a preamble", "Absolutely! Here's a cozy bedtime story for Mia:\n\n"),
    _text("a preamble and a rule", "Sure, here is the story you asked for.\n\n---\n\n", "\n\n---"),
    _text("a question behind", after="\n\nI hope Mia enjoys this story! Would you like me to write another one?"),
    _text("a count of words behind", after="\n\n(Word count: 202)"),
    _text("sources behind", after="\n\nSources:\n[1] https://example.com/owls\n[2] https://example.com/frogs"),
    Case(kind="Around the story", sends="a fence of code around", answers=[story(f"```\n{WHOLE}\n```")], calls=1),
    Case(
        kind="Around the story",
        sends="a fence named markdown around",
        answers=[story(f"```markdown\n# {TITLE}\n\n{TEXT}\n```")],
        calls=1,
    ),
    Case(
        kind="Around the story",
        sends="`Title:` and `Story:` as labels",
        answers=[story(f"Title: {TITLE}\n\nStory:\n{TEXT}")],
        calls=1,
    ),
    Case(kind="Around the story", sends="the title in bold", answers=[story(f"**{TITLE}**\n\n{TEXT}")], calls=1),
    Case(kind="Around the story", sends="the title in quotes", answers=[story(f'"{TITLE}"\n\n{TEXT}')], calls=1),
    Case(
        kind="Around the story",
        sends="tags, `<title>` and `<story>`",
        answers=[story(f"<title>{TITLE}</title>\n<story>\n{TEXT}\n</story>")],
        calls=1,
    ),
    Case(
        kind="Around the story",
        sends="JSON, `title` and `story`",
        answers=[story(json.dumps({"title": TITLE, "story": TEXT}))],
        calls=1,
    ),
    Case(
        kind="Around the story",
        sends="JSON in a fence, indented, `title` and `content`",
        answers=[story("```json\n" + json.dumps({"title": TITLE, "content": TEXT}, indent=2) + "\n```")],
        calls=1,
    ),
    Case(
        kind="Around the story",
        sends="JSON with a list of paragraphs",
        answers=[story(json.dumps({"title": TITLE, "paragraphs": TEXT.split("\n\n")}))],
        calls=1,
    ),
    Case(
        kind="Around the story",
        sends="literal `\\n` in place of line breaks",
        answers=[story(WHOLE.replace("\n", "\\n"))],
        calls=1,
    ),
    Case(
        kind="Around the story",
        sends="HTML entities, `&quot;` and `&#39;`",
        answers=[story(WHOLE.replace('"', "&quot;"))],
        calls=1,
    ),
    Case(
        kind="Around the story",
        sends="paragraphs in `<p>`",
        answers=[story(f"<h1>{TITLE}</h1>" + "".join(f"<p>{each}</p>" for each in TEXT.split("\n\n")))],
        calls=1,
    ),
    Case(
        kind="Around the story",
        sends="citations such as `[1][2]` in the sentences",
        answers=[story(WHOLE.replace("the dark.", "the dark[1][2]."))],
        calls=1,
    ),
    Case(
        kind="Around the story",
        sends="lines that end with CR LF",
        answers=[story(WHOLE.replace("\n", "\r\n"))],
        calls=1,
    ),
)


def _asked(model: str) -> Any:
    """Returns a check that this model was called, as the server names it."""

    def check(_: Telling, upstream: OpenRouterFake) -> None:
        assert {model} == {call.model for call in upstream.calls}

    return check


_NAMES: Final[Sequence[Case]] = (
    *(
        Case(
            kind="Names of models",
            sends=f"the whole story for `{name}`",
            answers=[story(WHOLE)],
            models=(name,),
            settings={"model": name},
            check=_asked(name),
            servers=_CHAT,
            calls=1,
        )
        for name in (
            "/models/mistral-7b-instruct-v0.3.Q4_K_M.gguf",
            "meta-llama/Llama-3.1-8B-Instruct",
            "accounts/fireworks/models/llama-v3p1-8b-instruct",
            "mistral@q8_0",
            "Qwen2.5 7B Instruct",
            "offline-writer-7b",
        )
    ),
    *(
        Case(
            kind="Names of models",
            sends=f"the whole story for `{name}`",
            answers=[story(WHOLE)],
            models=(name,),
            settings={"model": name},
            check=_asked(name),
            servers=(Server.OPENROUTER,),
            calls=1,
        )
        for name in (
            "~anthropic/claude-haiku-latest",
            "google/gemma-3-27b-it:free",
            "vendor/family/model",
        )
    ),
)

_REFUSALS: Final[Sequence[Case]] = tuple(
    Case(
        kind="Refusals",
        sends=f"“{' / '.join(words.splitlines())}”".replace(" /  / ", " / ")
        + (", asked for ten minutes" if minutes == 10 else ""),
        answers=[story(words)],
        request={"language_code": language, "length_minutes": minutes},
        calls=1,
        outcome="CONTENT_REFUSED",
    )
    for language, minutes, words in (
        ("en", 1, "I'm sorry, but I can't help with that."),
        (
            "en",
            10,
            "I can’t write this story. It might frighten a young child, and I would rather suggest another idea.",
        ),
        ("en", 1, "I'm not able to write a story about that topic for a child."),
        ("en", 1, "As an AI language model, I cannot create content of this kind."),
        ("en", 1, "Sorry, this request goes against the guidelines that I follow."),
        ("en", 10, "The Lantern\n\nI'm sorry, but I'm unable to write this story as requested."),
        ("de", 1, "Es tut mir leid, aber dabei kann ich dir nicht helfen."),
        ("fr", 10, "Je suis désolé, mais je ne peux pas répondre à cette demande."),
        ("es", 1, "Lo siento, pero no puedo ayudar con eso."),
        ("it", 1, "Mi dispiace, ma non posso scrivere questa storia."),
        ("pt", 1, "Desculpe, mas não posso escrever essa história."),
        ("ru", 1, "К сожалению, я не могу помочь с этим запросом."),  # noqa: RUF001 - Russian
        ("pl", 1, "Przykro mi, ale nie mogę napisać takiej historii."),
        ("zh", 1, "抱歉，我无法满足这个请求。"),  # noqa: RUF001 - Chinese
        ("ja", 10, "申し訳ありませんが、そのご要望にはお応えできません。"),
        ("ko", 1, "죄송하지만 그 요청은 도와드릴 수 없습니다."),
        ("ar", 1, "عذرًا، لا يمكنني المساعدة في هذا الطلب."),
        ("hi", 1, "क्षमा करें, मैं इस अनुरोध में मदद नहीं कर सकता।"),
        ("tr", 1, "Üzgünüm, bu konuda yardımcı olamam."),  # noqa: RUF001 - Turkish
    )
)


def _tale(sends: str, title: str, text: str, **more: Any) -> Case:
    """Returns a case with another story, all of which is story."""
    return Case(
        kind="Stories of other shapes",
        sends=sends,
        answers=[story(f"{title}\n\n{text}")],
        title=title,
        text=text,
        **{"calls": 1, **more},
    )


_SHORT: Final[Mapping[str, Any]] = {"calls": 2, "outcome": "READY, SHORTER_THAN_ASKED"}
_SLEEP: Final = "Sleep, little star, the night is deep."
_LULLABY: Final = "\n\n".join(
    f"{first} lay down in the {place} and closed both eyes.\n{_SLEEP}\n{second}\n{_SLEEP}"
    for first, place, second in (
        ("The hare", "clover", "The wind went softly through the leaves and wished it well."),
        ("The mouse", "straw", "The old barn creaked, and then it was quiet again."),
        ("The duck", "reeds", "The pond held the moon as one holds a cup of milk."),
        ("The lamb", "wool", "Its mother hummed until the hill was dark."),
        ("The child", "bed", "The lamp burned low, and somebody pulled the blanket up."),
    )
)
_THINGS: Final = (
    "the lantern that Ula lit",
    "the moth that flew round",
    "the bat that followed",
    "the breeze that lifted",
    "the leaf that sailed behind",
    "the frog that jumped upon",
    "the fish that looked up at",
    "the moon that shone down on",
    "the cloud that drifted over",
    "the child that dreamed of",
)
_CUMULATIVE: Final = "\n\n".join(
    f"This is {' '.join(reversed(_THINGS[:count]))}." for count in range(1, len(_THINGS) + 1)
)
_BROTHERS: Final = (
    "Es war einmal ein kleiner Igel, der hieß Anton und wohnte unter einer Hecke.",
    "„Heute gehe ich in die Welt“, sagte er am Morgen.",
    "»Nimm einen Apfel mit«, rief die Mutter ihm nach.",
    "Also nahm er einen Apfel mit und ging den Weg hinunter bis zum Bach.",
    "„Wer bist du?“, fragte der Frosch.",
    "„Ich bin Anton, und ich gehe in die Welt.“",
    "Der Frosch lachte so laut, dass die Libellen aufflogen.",
    "„Die Welt ist groß, kleiner Igel, aber hinter der Brücke fängt sie an.“",
    "Da ging Anton über die Brücke, und dahinter lag eine Wiese voller Klee.",
    "Er aß den halben Apfel und schenkte die andere Hälfte einer müden Schnecke.",
    "Als es dunkel wurde, sah er in der Ferne das Licht unter seiner Hecke.",
    "„Da bist du ja“, sagte die Mutter, und sie deckte ihn mit Blättern zu.",
    "Und Anton schlief ein und träumte von der Wiese hinter der Brücke.",
)
_LETTERS: Final = """\
Dear Sea,

I have never seen you, but Grandfather says that you sing at night.
Do you sing for everyone, or for ships alone?

Yours,
Mia

Dear Mia,

I sing for everyone who listens.
Put a shell to your ear tonight, and you will hear me as far as your bed.

Yours,
the Sea

Dear Sea,

I heard you! It was like the wind in the oak, only older.
I fell asleep before the end of the song.

Yours,
Mia

Dear Mia,

There has never been an end of the song, for it has none.
Sleep well, and come to see me when you are seven.

Yours,
the Sea"""
_DOORS: Final = """\
1. The Red Door

Behind the red door a fire was burning, and a cat lay before it. The cat looked up and yawned.
"You may warm your hands," it said, "but the bed is not here."

2. The Green Door

Behind the green door grew a wood with a path of moss. A hedgehog walked along it with a lantern.
"You may walk a while with me," it said, "but the bed is not here."

3. The Blue Door

Behind the blue door it was night, and there stood the bed with the stars on its blanket.
Mia lay down, and the stars came up one by one until she slept."""
_STORIES: Final[Sequence[Case]] = (
    _tale("a lullaby whose refrain comes ten times", "The Night Is Deep", _LULLABY),
    _tale("a cumulative tale of ten verses", "This Is the Lantern", _CUMULATIVE, request={"length_minutes": 2}),
    _tale(
        "German, with quotes of two kinds at the ends",
        "Der kleine Igel",
        " ".join(_BROTHERS),
        request={"language_code": "de"},
    ),
    _tale(
        "a first sentence in which the moon is sorry",
        "The Moon Who Could Not Play",
        "\"I'm sorry, but I can't come out to play tonight,\" said the moon. " + TEXT,
    ),
    _tale("a story in letters, each with a greeting and a signature", "Letters to the Sea", _LETTERS, **_SHORT),
    _tale("numbered parts with headings of their own", "Three Doors", _DOORS, **_SHORT),
)

CASES: Final[tuple[Case, ...]] = (
    *_EVENTS,
    *_BODIES,
    *_REASONS,
    *_THOUGHTS,
    *_FIELDS,
    *_ERRORS,
    *_STATUSES,
    *_NAMES,
    *_REFUSALS,
    *_STORIES,
    *_FORMS,
)
