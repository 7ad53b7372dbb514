"""The story service with a key, as operators, other services and a whole cluster see it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from support.aimock import aimock
from support.house import house
from support.openrouter_fake import KEY, Answer, Call, Wait, broken_off, error, openrouter_fake, pieces, story, stream
from support.story_languages import IN_OTHER_LANGUAGES
from support.story_models import TEXT, TITLE, WHOLE, StoryServer, goes_on, story_server

from servicekit.ids import new_id
from standins.watcher import spec
from story_service.bootstrap import build
from story_service.settings import StorySettings
from tale.common.v1 import common_pb2, status_pb2, status_pb2_grpc
from tale.story.v1 import story_pb2

_HALF: Final = WHOLE[: len(WHOLE) // 2]


@pytest.fixture(scope="module")
async def writing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StoryServer]:
    """A story service with a fallback model."""
    async with story_server(tmp_path_factory.mktemp("data"), fallback_models=("a/second",)) as running:
        yield running


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what goes on in the background."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - it is asked for over the wire
            await asyncio.sleep(0.01)


async def _models(writing: StoryServer) -> tuple[dict[str, story_pb2.Model], bool]:
    response = await writing.stub.ListModels(story_pb2.ListModelsRequest(), timeout=10)
    return {model.id: model for model in response.models}, response.stale


async def _status(writing: StoryServer) -> status_pb2.ServiceStatus:
    stub = status_pb2_grpc.StatusServiceStub(writing.service.channel)
    response: status_pb2.GetStatusResponse = await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=10)
    return response.status


async def _get(writing: StoryServer, path: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{writing.service.server.ops_address}{path}") as response,
    ):
        assert 200 == response.status
        return await response.text()


@pytest.mark.parametrize("language_code", ["en", "ru", "de"])
@pytest.mark.parametrize(
    "kind", [common_pb2.STORY_KIND_CHILD, common_pb2.STORY_KIND_HERO, common_pb2.STORY_KIND_COMBINED]
)
async def test_model_is_told_all_that_was_asked(
    writing: StoryServer, kind: "common_pb2.StoryKind.ValueType", language_code: str
) -> None:
    """Child, age, interests, wish, moral, theme, the story before, and the hero where there is one: in the prompt."""
    writing.upstream.answer(story(IN_OTHER_LANGUAGES.get(language_code, WHOLE)))
    request = story_pb2.GenerateStoryRequest(
        story_id=new_id(),
        child=common_pb2.Child(name="Livia", age=7, gender=common_pb2.GENDER_FEMALE, interests=["submarines"]),
        hero=common_pb2.Hero(name="Captain Zorba", appearance="purple boots", strengths=["whistling"]),
        spec=common_pb2.StorySpec(
            child_id=new_id(),
            hero_id=new_id(),
            kind=kind,
            wish="a whale that can not swim",
            moral="sharing the last biscuit",
            theme="under the ice",
            language_code=language_code,
            length_minutes=1,
        ),
        parent_title="The Blue Door",
        parent_text="Livia found a door in the sea.",
    )
    async for _ in writing.stub.GenerateStory(request, timeout=10):
        pass
    prompt = "\n".join(message["content"] for message in writing.upstream.calls[-1].body["messages"])

    expected = ["Livia", "7", "a whale that can not swim", "sharing the last biscuit", "under the ice"]
    expected += ["The Blue Door", "Livia found a door in the sea."]
    expected += ["submarines"] if kind != common_pb2.STORY_KIND_HERO else []
    expected += ["Captain Zorba", "purple boots", "whistling"] if kind != common_pb2.STORY_KIND_CHILD else []
    assert [] == [part for part in expected if part not in prompt]


async def test_models_are_listed_as_they_stand(tmp_path: Path) -> None:
    """Those that are tried first, in their order and with their prices now, and a circuit that is open."""
    async with story_server(tmp_path, fallback_models=("GPT_4O", "offline")) as writing:
        writing.upstream.models = [
            {"id": "openai/gpt-4o", "name": "GPT", "pricing": {"prompt": "0.000001", "completion": "0.000002"}},
            {"id": "a/first", "name": "First", "pricing": {"prompt": "0.000003", "completion": "0.000004"}},
        ]

        async def told() -> bool:
            models, _ = await _models(writing)
            return models["a/first"].completion_usd_per_million_tokens == pytest.approx(4)

        await _until(told)
        writing.upstream.answer(*[error(500)] * 5)
        for _ in range(2):
            await writing.tell(model="openai/gpt-4o")
        models, stale = await _models(writing)

    first, gpt, offline = models["a/first"], models["openai/gpt-4o"], models["offline"]
    assert ["a/first", "openai/gpt-4o", "offline"] == list(models)[:3]
    assert (True, False, False) == (first.is_default, gpt.is_default, offline.is_default)
    assert (0, 1, 2) == (first.fallback_position, gpt.fallback_position, offline.fallback_position)
    assert ("closed", "open") == (first.circuit_state, gpt.circuit_state)
    assert (True, False) == (first.available, gpt.available)
    assert "Next call in" in gpt.unavailable_reason
    assert ["GPT_4O"] == list(gpt.aliases)
    assert not stale


async def test_list_that_can_not_be_had_is_stale(tmp_path: Path) -> None:
    """The known models are there all the same, and the answer says that they may be out of date."""
    async with openrouter_fake() as upstream:
        upstream.gets.append(web.json_response({"data": {}}))
        upstream.gets.extend(web.json_response({}, status=400) for _ in range(5))
        settings = _settings(tmp_path, upstream.base_url)
        async with story_server(tmp_path, openrouter_base_url=settings.openrouter_base_url) as running:

            async def stale() -> bool:
                return (await _models(running))[1]

            await _until(stale)
            models, _ = await _models(running)
            upstream.gets.clear()
    assert "openai/gpt-4o-mini" in models


async def test_refused_key_is_told_to_the_operator(tmp_path: Path) -> None:
    """In the status and for every model; the service serves, and nothing of the key is shown."""
    async with openrouter_fake() as upstream:
        upstream.gets.append(web.json_response({"error": {"code": 401, "message": KEY}}, status=401))
        async with story_server(tmp_path, openrouter_base_url=upstream.base_url) as running:

            async def refused() -> bool:
                return any("refuses the key" in warning for warning in (await _status(running)).warnings)

            await _until(refused)
            status = await _status(running)
            models, _ = await _models(running)
    provider = next(each for each in status.providers if each.name == "openrouter")
    assert (True, False) == (provider.configured, provider.available)
    assert not models["openai/gpt-4o-mini"].available
    assert models["offline"].available
    assert KEY not in f"{status}{models}"


async def test_status_tells_of_circuits_and_resets_them(tmp_path: Path) -> None:
    """An open circuit is seen, in the status and on the operators' port; closed by hand it lets calls through."""
    async with story_server(tmp_path) as running:
        running.upstream.answer(*[error(500)] * 5)
        for _ in range(2):
            await running.tell()
        (circuit,) = [each for each in (await _status(running)).circuits if each.name == "openrouter:a/first"]
        shown = json.loads(await _get(running, "/metrics/circuit-breakers"))
        assert (status_pb2.CIRCUIT_STATE_OPEN, 5) == (circuit.state, circuit.failed_calls)
        assert (["openrouter:a/first"], False) == (shown["open_circuits"], shown["healthy"])

        stub = status_pb2_grpc.StatusServiceStub(running.service.channel)
        await stub.ResetCircuit(status_pb2.ResetCircuitRequest(name="openrouter:a/first"), timeout=10)
        running.upstream.answer(story(WHOLE))
        assert TEXT == (await running.tell()).text


async def test_with_a_key_nothing_is_embedded(writing: StoryServer) -> None:
    """OpenRouter is the default provider, and there is nothing to warn of."""
    status = await _status(writing)

    assert [] == list(status.embedded_parts) == list(status.warnings)
    assert [("openrouter", True, True), ("chat", False, False), ("offline", True, False)] == [
        (each.name, each.available, each.is_default) for each in status.providers
    ]


async def test_what_is_counted_is_shown_to_prometheus(tmp_path: Path) -> None:
    """Calls, tokens, money, times, retries and fallbacks; a model that is not listed is "other"."""
    async with story_server(tmp_path, fallback_models=("a/second",)) as running:
        running.upstream.answer(error(500), broken_off(_HALF, 502))
        running.upstream.default = goes_on
        await running.tell()
        await running.tell(model="never/listed")
        shown = await _get(running, "/metrics")

    for line in (
        'openai_api_calls_total{endpoint="chat/completions",status="200"} 2.0',
        'openai_api_calls_total{endpoint="chat/completions",status="500"} 1.0',
        'openai_api_calls_total{endpoint="chat/completions",status="502"} 1.0',
        'openai_api_duration_seconds_count{endpoint="chat/completions"} 4.0',
        'openai_tokens_used_total{model="a/second",type="prompt"} 100.0',
        'openai_tokens_used_total{model="other",type="prompt"} 100.0',
        'story_generation_duration_seconds_count{model="a/second"} 1.0',
        'story_time_to_first_token_seconds_count{model="a/first"} 1.0',
        "story_retries_per_request_sum 1.0",
        "story_retries_per_request_count 2.0",
        'story_fallbacks_total{model="a/first",reason="OVERLOAD"} 1.0',
        'circuit_breaker_state{circuit="openrouter:a/first",state="closed"} 1.0',
    ):
        assert line in shown
    assert 'story_cost_usd_total{model="a/first"}' in shown
    assert 'circuit_breaker_calls_total{circuit="other",outcome="success"} 1.0' in shown
    assert "never/listed" not in shown


async def test_no_log_line_holds_what_people_wrote(writing: StoryServer) -> None:
    """Nor the story, nor the key; and each call upstream has its audit line."""
    writing.upstream.answer(error(500), broken_off(_HALF, 502), story("I can not write that."))
    writing.upstream.default = goes_on
    before = len(writing.upstream.calls)
    with capture_logs() as logs:
        await writing.tell(model="log/one", fallback_models=["log/two"], wish="a wombat in a teapot")
    writing.upstream.default = None
    shown = json.dumps(logs, default=str)

    for secret in ("Mia", "Ula", "lantern", "wombat", "teapot", KEY):
        assert secret not in shown
    audited = [entry for entry in logs if entry["event"] == "upstream call" and entry["endpoint"] != "generation"]
    assert len(writing.upstream.calls) - before == len(audited)
    assert {"warning"} == {entry["log_level"] for entry in logs if entry["event"] == "model retried"}
    (written,) = [entry for entry in logs if entry["event"] == "story written"]
    assert {"model", "characters", "seconds", "attempts"} <= set(written)


async def test_no_more_calls_are_made_at_once_than_is_set(tmp_path: Path) -> None:
    """The others wait for their turn, and all get their story."""
    in_flight: list[int] = []
    both = asyncio.Event()
    async with story_server(tmp_path, concurrency=2) as running:

        def answer(call: Call) -> Answer:
            in_flight.append(sum(not other.ended.is_set() for other in running.upstream.calls))
            if len(in_flight) == 2:
                both.set()
            return stream(Wait(both), *goes_on(call).steps)

        running.upstream.default = answer
        told = await asyncio.gather(*(running.tell() for _ in range(8)))

    assert [TEXT] * 8 == [telling.text for telling in told]
    assert (8, 2) == (len(in_flight), max(in_flight))


def _settings(folder: Path, base_url: str, **changes: Any) -> StorySettings:
    return StorySettings(
        **{
            "listen": "127.0.0.1:0",
            "ops_listen": "127.0.0.1:0",
            "data_dir": folder,
            "openrouter_base_url": base_url,
            "openrouter_api_key": KEY,
            "model": "a/first",
            **changes,
        }
    )


async def test_cluster_keeps_a_story_of_two_models_whole(tmp_path: Path) -> None:
    """Through the gateway: text without a seam, both completions, both calls in the ledger, and the warning."""
    async with openrouter_fake() as upstream:
        upstream.answer(broken_off(_HALF, 502))
        upstream.default = goes_on
        app = build(_settings(tmp_path, upstream.base_url, fallback_models=("a/second",)), retry_delay=0.01)
        async with house(tmp_path, story=app) as home:
            watcher = await home.tell(spec(1, narrate=False))
            kept = await home.get(watcher.story_id)

    assert (TITLE, TEXT) == (watcher.title, watcher.text) == (kept.title, kept.content)
    assert common_pb2.STORY_STATE_READY == kept.state
    assert "a/second" == kept.model_used
    assert 2 == len(kept.full_response)
    assert kept.usage.cost_known
    assert pytest.approx(upstream.total_cost) == kept.usage.cost_usd
    calls = [each for each in kept.attempts if each.kind == common_pb2.ATTEMPT_KIND_MODEL_CALL]
    assert [("a/first", "OVERLOAD"), ("a/second", "")] == [(each.model, each.reason) for each in calls]
    assert ["MODEL_FALLBACK"] == [problem.reason for problem in kept.problems]
    assert [] == [part for part in kept.embedded_parts if part == "writer"]


async def test_cluster_goes_on_where_all_models_gave_up(tmp_path: Path) -> None:
    """The gateway asks again with what is durable, and nothing is written twice."""
    async with openrouter_fake() as upstream:
        upstream.answer(broken_off(_HALF, 502), error(503, retry_after="1"))
        upstream.default = goes_on
        app = build(_settings(tmp_path, upstream.base_url, max_retries=1), retry_delay=0.01)
        async with house(tmp_path, story=app) as home:
            watcher = await home.tell(spec(2, narrate=False))
            kept = await home.get(watcher.story_id)

    assert (TITLE, TEXT) == (kept.title, kept.content)
    assert 3 == len(upstream.calls)
    assert pytest.approx(upstream.total_cost) == kept.usage.cost_usd


async def test_stand_in_that_others_keep_true_is_understood(tmp_path: Path) -> None:
    """aimock: a whole story with its cost, a cut one that goes on, and a refused key that is asked once."""
    async with aimock() as upstream:
        base_url = upstream.openrouter_url
        async with story_server(tmp_path, openrouter_base_url=base_url, generation_info_wait=0.2) as running:
            await upstream.add(
                {"match": {"model": "a/whole"}, "response": {"content": WHOLE}},
                {"match": {"model": "a/cut"}, "response": {"content": WHOLE}, "truncateAfterChunks": 20},
                {"match": {"model": "a/refused"}, "response": {"error": {"message": "no", "code": 401}, "status": 401}},
            )
            whole = await running.tell(model="a/whole")
            cut = await running.tell(model="a/cut", fallback_models=["a/whole", "offline"])
            refused = await running.tell(model="a/refused", fallback_models=["a/whole"])
            calls = await upstream.calls("/chat/completions")

    assert (TITLE, TEXT) == (whole.title, whole.text)
    assert whole.whole.usage.completion_tokens
    assert TEXT.startswith(cut.text[:100])
    assert cut.whole.content_length == len(cut.text)
    assert "UPSTREAM_AUTH" == refused.failure.reason
    assert 1 == sum(call.body is not None and call.body["model"] == "a/refused" for call in calls)


async def test_story_can_be_streamed_without_a_chunk_boundary_in_sight(writing: StoryServer) -> None:
    """One event or a thousand: the same text, and what is no text in the same order."""
    writing.upstream.answer(story(WHOLE, size=1), story(WHOLE, size=10_000), stream(*pieces(WHOLE, 1)), error(400))
    one, other = await writing.tell(model="chunk/one"), await writing.tell(model="chunk/two")
    cut = await writing.tell(model="chunk/three", fallback_models=["chunk/four"])

    assert TEXT == one.text == other.text
    assert [kind for kind, _ in groupby(one.events)] == [kind for kind, _ in groupby(other.events)]
    # One that is cut behind its last sentence gets a good night.
    assert cut.text.startswith(TEXT)
