"""The story service as it is put together with no key: the embedded writer behind the wire."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from pydantic import SecretStr
from support.servers import running

from servicekit.settings import ConfigurationError, load
from servicekit.status import from_rpc_error
from story_service.bootstrap import build
from story_service.settings import StorySettings
from tale.common.v1 import common_pb2, status_pb2, status_pb2_grpc
from tale.story.v1 import story_pb2, story_pb2_grpc

_STORY_ID = "01890000-0000-7000-8000-000000000000"

Stub: TypeAlias = "story_pb2_grpc.StoryServiceAsyncStub"


@pytest.fixture(scope="module")
async def stub() -> AsyncIterator[Stub]:
    """A story service without any key."""
    settings = StorySettings(openrouter_api_key=None)
    async with running(build(settings), service="story") as service:
        yield story_pb2_grpc.StoryServiceStub(service.channel)


def _request(title_so_far: str = "", written_so_far: str = "", **spec: Any) -> story_pb2.GenerateStoryRequest:
    usual: dict[str, Any] = {"child_id": _STORY_ID, "moral": "kindness", "length_minutes": 2}
    return story_pb2.GenerateStoryRequest(
        story_id=_STORY_ID,
        child=common_pb2.Child(name="Mia", age=6, gender=common_pb2.GENDER_FEMALE, interests=["dragons", "the sea"]),
        spec=common_pb2.StorySpec(**usual | spec),
        title_so_far=title_so_far,
        written_so_far=written_so_far,
    )


async def _story(stub: Stub, request: story_pb2.GenerateStoryRequest) -> Sequence[story_pb2.GenerateStoryResponse]:
    return [response async for response in stub.GenerateStory(request, timeout=30)]


def _title(story: Sequence[story_pb2.GenerateStoryResponse]) -> str:
    return "".join(response.title.title for response in story)


def _text(story: Sequence[story_pb2.GenerateStoryResponse]) -> str:
    return "".join(response.delta.text for response in story)


async def test_story_comes_in_whole_sentences_and_is_verified(stub: Stub) -> None:
    """The deltas add up to what `complete` says of the content, and say who wrote it."""
    story = await _story(stub, _request())
    deltas = [response.delta for response in story if response.HasField("delta")]
    complete = story[-1].complete
    text = _text(story)

    assert deltas
    assert all(delta.text.rstrip()[-1] in ".!?…\"'\N{RIGHT DOUBLE QUOTATION MARK}" for delta in deltas)
    assert [sum(len(before.text) for before in deltas[:n]) for n in range(len(deltas))] == [d.offset for d in deltas]
    assert (len(text), hashlib.sha256(text.encode()).digest()) == (complete.content_length, complete.content_sha256)
    assert "Mia" in text
    assert 255 <= len(text.split()) <= 345
    assert (True, "offline", "offline") == (complete.embedded, complete.model, complete.provider)
    assert complete.usage == common_pb2.Usage(cost_known=True)
    begun, call = [response.attempt for response in story if response.HasField("attempt")]
    assert common_pb2.ATTEMPT_OUTCOME_STARTED == begun.outcome
    assert begun.attempt_id == call.attempt_id
    raw = MessageToDict(call.response)
    assert f"{_title(story)}\n\n{text}" == raw["choices"][0]["message"]["content"]
    assert {"id", "seed", "words", "engine_version"} == set(call.generation_info)


async def test_default_model_warns_and_offline_does_not(stub: Stub) -> None:
    """Without a key the caller is told who writes, unless that is what was asked for."""
    default = await _story(stub, _request())
    offline = await _story(stub, _request(model="offline"))

    assert ["EMBEDDED_WRITER"] == [response.warning.reason for response in default if response.HasField("warning")]
    assert not [response for response in offline if response.HasField("warning")]
    assert _text(default) == _text(offline)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 1.0])
async def test_cut_story_goes_on_to_the_same_text(stub: Stub, fraction: float) -> None:
    """From any delta on, the next attempt ends in the text that an undisturbed one gives, without another title."""
    whole = await _story(stub, _request())
    deltas = [response.delta.text for response in whole if response.HasField("delta")]
    written = "".join(deltas[: round(len(deltas) * fraction)])
    rest = await _story(stub, _request(_title(whole), written))

    assert written + _text(rest) == _text(whole)
    assert _title(rest) == ""
    assert whole[-1].complete.content_sha256 == rest[-1].complete.content_sha256
    assert whole[-1].complete.content_length == rest[-1].complete.content_length


@pytest.mark.parametrize("kind", [common_pb2.STORY_KIND_HERO, common_pb2.STORY_KIND_COMBINED])
async def test_hero_and_an_earlier_story_are_told_of(stub: Stub, kind: "common_pb2.StoryKind.ValueType") -> None:
    """What the caller said of both is in the text, and a cut one goes on to the same text."""
    request = _request(kind=kind, hero_id=_STORY_ID, length_minutes=3)
    request.hero.CopyFrom(common_pb2.Hero(name="Robin", appearance="red cape", strengths=["flying"]))
    request.parent_title, request.parent_text = "The Owl", "Mia found a blue feather."
    whole = await _story(stub, request)
    text = _text(whole)

    for part in ("Mia", "Robin", "red cape", "flying", "The Owl", "Mia found a blue feather"):
        assert part in text
    assert "Robin" in _title(whole)

    request.title_so_far, request.written_so_far = _title(whole), text[: len(text) // 2]
    assert text == request.written_so_far + _text(await _story(stub, request))


async def test_seed_decides_and_the_story_id_where_there_is_none(stub: Stub) -> None:
    """The same request is the same story; another seed is another one."""
    requests = (_request(), _request(), _request(seed=99))
    first, again, other = [_text(await _story(stub, request)) for request in requests]

    assert first == again
    assert first != other


async def test_another_language_is_refused_with_what_it_can_write(stub: Stub) -> None:
    """LANGUAGE_UNSUPPORTED names the languages that there are, and no attempt begins."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _story(stub, _request(language_code="tlh"))

    error = from_rpc_error(caught.value)
    assert (grpc.StatusCode.FAILED_PRECONDITION, "LANGUAGE_UNSUPPORTED") == (error.code, error.reason)
    assert "en" in error.metadata["supported_languages"].split(", ")


async def test_embedded_writer_is_listed(stub: Stub) -> None:
    """ListModels has it first: embedded, free, available, the default; the others need a key and say so."""
    model, *others = (await stub.ListModels(story_pb2.ListModelsRequest(), timeout=10)).models

    assert ("offline", True, True, True) == (model.id, model.embedded, model.available, model.is_default)
    assert {(False, False)} == {(other.available, other.is_default) for other in others}
    assert all("OPENROUTER_API_KEY" in other.unavailable_reason for other in others)
    assert "en" in model.language_codes
    assert model.HasField("completion_usd_per_million_tokens")


NO_KEY = "OPENROUTER_BASE_URL is set without OPENROUTER_API_KEY"


@pytest.mark.parametrize(
    ("key", "model", "warnings", "variables"),
    [
        (None, "openai/gpt-4o-mini", [NO_KEY, "Set OPENROUTER_API_KEY to"], ["OPENROUTER_API_KEY", "CHAT_BASE_URL"]),
        (None, "offline", [NO_KEY], ["OPENROUTER_API_KEY", "CHAT_BASE_URL"]),
        ("secret-key", "openai/gpt-4o-mini", [], []),
        ("secret-key", "offline", [], ["STORY_MODEL"]),
    ],
)
async def test_status_is_honest_about_the_key(
    key: str | None, model: str, warnings: Sequence[str], variables: Sequence[str]
) -> None:
    """What is embedded, and which variable replaces it; the key itself never shows."""
    settings = StorySettings(
        openrouter_base_url="http://127.0.0.1:9/api/v1",
        openrouter_api_key=None if key is None else SecretStr(key),
        model=model,
    )
    async with running(build(settings), service="story") as service:
        stub = status_pb2_grpc.StatusServiceStub(service.channel)
        status = (await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=10)).status

    assert len(warnings) == len(status.warnings)
    assert all(part in said for part, said in zip(warnings, status.warnings, strict=True))
    assert variables == [variable for part in status.embedded_parts for variable in part.environment_variables]
    assert ["offline" if variables else "openrouter"] == [each.name for each in status.providers if each.is_default]
    assert "secret-key" not in str(status)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("STORY_MODEL", "gpt"), ("STORY_FALLBACK_MODELS", "offline,gpt"), ("STORY_OFFLINE_WORDS_PER_SECOND", "0")],
)
def test_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """The one line that an operator gets names the variable and the remedy."""
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError, match=f"^{variable} must be"):
        load(StorySettings)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The knobs that other programs rely on have their names."""
    for variable, value in {
        "STORY_LISTEN": "127.0.0.1:1",
        "STORY_OPS_LISTEN": "127.0.0.1:2",
        "OPENROUTER_API_KEY": "sk-or-secret-key",
        "STORY_MODEL": "offline",
        "STORY_FALLBACK_MODELS": "openai/gpt-4o, offline",
        "STORY_OFFLINE_WORDS_PER_SECOND": "2.5",
        "DRAIN_SECONDS": "3",
    }.items():
        monkeypatch.setenv(variable, value)
    settings = load(StorySettings)

    assert ("127.0.0.1:1", "127.0.0.1:2") == (settings.listen, settings.ops_listen)
    assert settings.openrouter_api_key == SecretStr("sk-or-secret-key")
    assert ("offline", ("openai/gpt-4o", "offline")) == (settings.model, settings.fallback_models)
    assert (2.5, 3.0) == (settings.offline_words_per_second, settings.drain_seconds)
    assert "secret-key" not in repr(settings)
