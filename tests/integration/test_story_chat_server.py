"""The story service with CHAT_BASE_URL: alone, beside OpenRouter, and while the server is away."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from support.openrouter_fake import KEY, Answer, Pause, broken_off, error, openrouter_fake, story, stream
from support.story_models import TEXT, WHOLE, StoryServer, goes_on, story_server, virtual_service

from standins.virtual_time import run_virtually
from tale.common.v1 import status_pb2, status_pb2_grpc
from tale.story.v1 import story_pb2

_LLAMA: Final = "llama3.2:3b"
_EMBEDDINGS: Final = "nomic-embed-text:latest"
_HALF: Final = WHOLE[: len(WHOLE) // 2]


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what goes on in the background."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - it is asked for over the wire
            await asyncio.sleep(0.01)


async def _status(server: StoryServer) -> status_pb2.ServiceStatus:
    stub = status_pb2_grpc.StatusServiceStub(server.service.channel)
    response: status_pb2.GetStatusResponse = await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=10)
    return response.status


async def _models(server: StoryServer) -> dict[str, story_pb2.Model]:
    response = await server.stub.ListModels(story_pb2.ListModelsRequest(), timeout=10)
    return {model.id: model for model in response.models}


async def _listed(server: StoryServer, model: str) -> dict[str, story_pb2.Model]:
    """The models once `model` is among them."""

    async def there() -> bool:
        return model in await _models(server)

    await _until(there)
    return await _models(server)


@pytest.mark.parametrize(
    "models",
    [
        [_LLAMA],
        [_LLAMA, _EMBEDDINGS, "bge-m3:latest", "mxbai-embed-large", "whisper-1", "tts-1", "text-embedding-3-small"],
        [{"id": "nomic", "type": "embeddings"}, {"id": _LLAMA, "type": "llm"}, {"id": "x", "type": "reranker"}],
        [{"id": "s", "task": "text-to-speech"}, {"id": "w", "task": "automatic-speech-recognition"}, _LLAMA],
    ],
)
async def test_only_model_that_writes_is_used(tmp_path: Path, models: list[str | Mapping[str, Any]]) -> None:
    """Without STORY_MODEL, also for a story that comes before the first list; calls are free and known to be."""
    async with story_server(tmp_path, chat=True, models=models, model="") as server:
        server.upstream.default = goes_on
        telling = await server.tell()
        shown = await _listed(server, _LLAMA)
        status = await _status(server)

    assert TEXT == telling.text
    assert ("chat", _LLAMA) == (telling.whole.provider, telling.whole.model)
    assert (True, 0.0) == (telling.whole.usage.cost_known, telling.whole.usage.cost_usd)
    assert [_LLAMA, "offline"] == list(shown)
    assert (True, True, 0.0) == (
        shown[_LLAMA].is_default,
        shown[_LLAMA].available,
        shown[_LLAMA].prompt_usd_per_million_tokens,
    )
    assert [("openrouter", False, False), ("chat", True, True), ("offline", True, False)] == [
        (each.name, each.available, each.is_default) for each in status.providers
    ]
    assert [] == list(status.embedded_parts) == list(status.warnings)
    assert [f"chat:{_LLAMA}"] == [each.name for each in status.circuits if _LLAMA in each.name]


@pytest.mark.parametrize(
    "body",
    [
        [{"id": _LLAMA, "type": "chat"}, {"id": "x", "type": "image"}, {"id": "y", "type": "moderation"}],
        {"models": [{"name": _LLAMA, "model": _LLAMA}], "object": "list"},
        {"object": "list", "data": [{"id": _LLAMA, "max_model_len": 4096}, None, {"id": ""}, {"id": 7}, "text"]},
    ],
)
async def test_list_is_read_in_any_form(tmp_path: Path, body: Any) -> None:
    """A bare list, another key, entries that are none."""
    async with openrouter_fake() as upstream:
        upstream.gets.extend(web.json_response(body) for _ in range(3))
        upstream.default = goes_on
        changes: dict[str, Any] = {"chat_base_url": upstream.chat_url, "model": "", "openrouter_api_key": None}
        async with story_server(tmp_path, **changes) as server:
            assert _LLAMA == (await server.tell()).whole.model


async def test_nothing_of_openrouter_is_sent_to_another_server(tmp_path: Path) -> None:
    """No key, no field and no path of its own, whatever fails."""
    async with story_server(tmp_path, chat=True, models=[_LLAMA], model="") as server:
        server.upstream.answer(broken_off(_HALF, 500))
        server.upstream.default = goes_on
        telling = await server.tell()
        await _listed(server, _LLAMA)

    assert TEXT == telling.text
    assert [] == server.upstream.strangers == server.upstream.looks
    assert {""} == {*server.upstream.keys}
    assert not {"provider", "usage"} & {name for call in server.upstream.calls for name in call.body}
    assert {"chat"} == {attempt.provider for attempt in telling.attempts.values()}


async def test_audit_lines_and_metrics_name_the_provider(tmp_path: Path) -> None:
    """Each call upstream is of the provider that was called, and a circuit has its name."""
    with capture_logs() as logs:
        async with story_server(tmp_path, chat=True, models=[_LLAMA], model="") as server:
            server.upstream.default = goes_on
            await server.tell()
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{server.service.server.ops_address}/metrics") as answered,
            ):
                shown = await answered.text()
    audited = [line for line in logs if line["event"] == "upstream call"]

    assert f'circuit_breaker_state{{circuit="chat:{_LLAMA}",state="closed"}} 1.0' in shown
    assert f'story_generation_duration_seconds_count{{model="{_LLAMA}"}} 1.0' in shown
    assert {"chat"} == {line["provider"] for line in audited}
    assert {"chat/completions", "models"} == {line["endpoint"] for line in audited}


async def test_several_models_need_story_model(tmp_path: Path) -> None:
    """The error and a warning of the status name it and the ids; a request that names one is written."""
    async with story_server(tmp_path, chat=True, models=[_LLAMA, "qwen2.5:7b"], model="") as server:
        server.upstream.default = goes_on
        failure = (await server.tell()).failure
        named = await server.tell(model="qwen2.5:7b")
        status = await _status(server)
        server.upstream.models = server.upstream.models[:1]

    assert "INVALID_CONFIGURATION" == failure.reason
    for part in ("STORY_MODEL", _LLAMA, "qwen2.5:7b"):
        assert part in failure.message
        assert part in status.warnings[0]
    assert "qwen2.5:7b" == named.whole.model


async def test_server_without_models_says_what_to_do(tmp_path: Path) -> None:
    """A model that is loaded then is used at once."""
    async with story_server(tmp_path, chat=True, models=[_EMBEDDINGS], model="") as server:
        server.upstream.default = goes_on
        failure = (await server.tell()).failure
        server.upstream.models.append({"id": _LLAMA})
        await asyncio.sleep(2.1)
        telling = await server.tell()

    assert "INVALID_CONFIGURATION" == failure.reason
    assert "lists no model that writes" in failure.message
    assert _LLAMA == telling.whole.model


async def test_server_that_does_not_list_needs_story_model(tmp_path: Path) -> None:
    """A 404 says so at once; with STORY_MODEL it writes, and is available."""
    async with openrouter_fake() as upstream:
        upstream.gets.extend(web.json_response({"error": {"message": "no"}}, status=404) for _ in range(9))
        async with story_server(tmp_path, chat_base_url=upstream.chat_url, model="", openrouter_api_key=None) as server:
            failure = (await server.tell()).failure
        upstream.default = goes_on
        changes: dict[str, Any] = {"chat_base_url": upstream.chat_url, "model": "any", "openrouter_api_key": None}
        async with story_server(tmp_path, **changes) as server:
            telling = await server.tell()
            status = await _status(server)

    assert "INVALID_CONFIGURATION" == failure.reason
    assert "Set STORY_MODEL" in failure.message
    assert TEXT == telling.text
    assert status.providers[1].available


async def test_model_that_is_not_listed_is_a_warning(tmp_path: Path) -> None:
    """Servers load models that they do not list; what the server refuses is MODEL_NOT_FOUND."""
    async with story_server(tmp_path, chat=True, models=["other"], model="JustInTime") as server:
        server.upstream.answer(story(WHOLE), error(404, message="model 'gone' not found"))
        telling = await server.tell()
        refused = (await server.tell(model="gone")).failure

        async def warned() -> bool:
            return any("JustInTime" in warning for warning in (await _status(server)).warnings)

        await _until(warned)

    assert TEXT == telling.text
    assert "MODEL_NOT_FOUND" == refused.reason


async def test_cost_limit_holds_on_a_free_server(tmp_path: Path) -> None:
    """A server without a key in the own network bills nothing; with a key its price is not known."""
    async with story_server(tmp_path, chat=True, models=[_LLAMA], model="") as server:
        server.upstream.default = goes_on
        free = await server.tell(max_cost_usd=0.001)
    async with story_server(tmp_path, chat=True, models=[_LLAMA], model="", chat_api_key="key") as server:
        unknown = (await server.tell(max_cost_usd=0.001)).failure
        keys = {*server.upstream.keys}

    assert TEXT == free.text
    assert "COST_LIMIT" == unknown.reason
    assert {"key"} == keys


async def test_both_providers_write_for_each_other(tmp_path: Path) -> None:
    """The story continues at the other one, whichever fails; each call is of its own provider and key."""
    async with story_server(tmp_path, models=["a/first", _LLAMA]) as first:
        changes: dict[str, Any] = {
            "openrouter_base_url": first.upstream.base_url,
            "fallback_models": (f"chat:{_LLAMA}",),
            "openrouter_api_key": KEY,
        }
        async with story_server(tmp_path, chat=True, models=[_LLAMA], **changes) as server:
            first.upstream.answer(broken_off(_HALF, 502))
            server.upstream.default = goes_on
            telling = await server.tell()
            server.upstream.default = None
            server.upstream.answer(broken_off(_HALF, 502))
            first.upstream.default = goes_on
            other = await server.tell(model=_LLAMA, fallback_models=["a/first"])
            shown = await _listed(server, f"chat:{_LLAMA}")
            status = await _status(server)

    assert TEXT == telling.text == other.text
    assert [("a/first", "openrouter"), (_LLAMA, "chat")] == _attempts(telling)
    assert [(_LLAMA, "chat"), ("a/first", "openrouter")] == _attempts(other)
    assert {""} == {*server.upstream.keys}
    assert [] == server.upstream.strangers
    assert 1 == shown[f"chat:{_LLAMA}"].fallback_position
    assert shown["a/first"].is_default
    assert [(True, True), (True, False)] == [(each.available, each.is_default) for each in status.providers[:2]]


def _attempts(telling: Any) -> list[tuple[str, str]]:
    return [(each.model, each.provider) for each in telling.attempts.values()]


async def test_refused_key_of_one_provider_leaves_the_other(tmp_path: Path) -> None:
    """Only models behind the same key are given up."""
    async with story_server(tmp_path, models=["a/first"]) as first:
        changes: dict[str, Any] = {"openrouter_base_url": first.upstream.base_url, "openrouter_api_key": KEY}
        fallbacks: dict[str, Any] = {"fallback_models": ("a/second", f"chat:{_LLAMA}")}
        async with story_server(tmp_path, chat=True, models=[_LLAMA], **changes, **fallbacks) as server:
            first.upstream.answer(error(401))
            server.upstream.default = goes_on
            telling = await server.tell()

    assert [("a/first", "openrouter"), (_LLAMA, "chat")] == _attempts(telling)


async def test_server_that_is_away_is_named(tmp_path: Path) -> None:
    """The status says what does not answer, and no story is written by the embedded writer in its place."""
    changes: dict[str, Any] = {"chat_base_url": "http://127.0.0.1:9/v1", "openrouter_api_key": None, "model": ""}
    async with story_server(tmp_path, **changes) as server:

        async def away() -> bool:
            return any("CHAT_BASE_URL does not answer" in warning for warning in (await _status(server)).warnings)

        await _until(away)
        chat = (await _status(server)).providers[1]

    assert ("chat", True, False, True) == (chat.name, chat.configured, chat.available, chat.is_default)
    assert "http://127.0.0.1:9/v1" == chat.address
    assert chat.address in chat.unavailable_reason


def test_first_story_waits_for_a_server_that_starts_later(tmp_path: Path) -> None:
    """As long as the story may wait for providers; without a wait it fails after some seconds with what to check."""

    async def main() -> None:
        async with virtual_service(tmp_path, chat=True, model="") as service:
            upstream = service.upstream
            upstream.default = goes_on
            upstream.models = [{"id": _LLAMA}]
            upstream.gets.extend(web.json_response({"error": {"message": "loading"}}, status=503) for _ in range(20))
            failure = (await service.tell()).failure
            telling = await service.tell(provider_wait=600)

        assert failure.retryable
        assert "CHAT_BASE_URL" in failure.message
        assert TEXT == telling.text

    run_virtually(main())


def test_calls_to_a_slow_server_queue(tmp_path: Path) -> None:
    """Each takes five minutes to its first word, and the last of eight waits for twenty: no call is given up."""

    async def main() -> None:
        async with virtual_service(tmp_path, chat=True, model=_LLAMA) as service:
            service.upstream.default = lambda call: stream(Pause(300), *goes_on(call).steps)
            told = await asyncio.gather(*(service.tell() for _ in range(8)))
            calls = len(service.upstream.calls)

        assert [TEXT] * 8 == [telling.text for telling in told]
        assert 8 == calls

    run_virtually(main())


async def test_slow_server_gets_few_calls_at_a_time(tmp_path: Path) -> None:
    """The others wait for their turn, however long, and all get their story."""
    async with story_server(tmp_path, chat=True, models=[_LLAMA], model="") as server:
        in_flight: list[int] = []

        def answer(call: Any) -> Answer:
            in_flight.append(sum(not other.ended.is_set() for other in server.upstream.calls))
            return goes_on(call)

        server.upstream.default = answer
        told = await asyncio.gather(*(server.tell() for _ in range(6)))

    assert [TEXT] * 6 == [telling.text for telling in told]
    assert max(in_flight) <= 2
