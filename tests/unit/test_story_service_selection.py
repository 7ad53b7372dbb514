"""Which model writes."""

import grpc
import pytest

from servicekit.errors import DomainError
from servicekit.reasons import reason_of
from story_service.assignment import Assignment, Listener
from story_service.errors import default_model_unclear
from story_service.generation.selection import ModelSelector
from story_service.ports import CHAT, OPENROUTER


def _selector(*providers: str, default: str = "openai/gpt-4o-mini", fallbacks: tuple[str, ...] = ()) -> ModelSelector:
    return ModelSelector(default_model=default, fallback_models=fallbacks, providers=providers)


def _asking(model: str = "", *fallbacks: str) -> Assignment:
    return Assignment(story_id="id", child=Listener(name="Mia"), model=model, fallback_models=fallbacks)


async def _failure(selector: ModelSelector, assignment: Assignment) -> DomainError:
    with pytest.raises(DomainError) as caught:
        await selector.select(assignment)
    return caught.value


async def test_without_a_key_the_default_is_embedded_and_says_so() -> None:
    """Nobody asked for a paid model: the embedded writer writes, with a notice that names the variable."""
    selection = await _selector().select(_asking())

    assert selection.models == ("offline",)
    assert [notice.reason for notice in selection.notices] == ["EMBEDDED_WRITER"]
    assert "OPENROUTER_API_KEY" in reason_of(selection.notices[0].reason).remedy


@pytest.mark.parametrize("default", ["offline", "openai/gpt-4o-mini"])
async def test_asking_for_offline_needs_no_notice(default: str) -> None:
    """Who asks for the embedded writer gets it and needs no telling."""
    selection = await _selector(default=default).select(_asking("offline"))

    assert (selection.models, selection.notices) == (("offline",), ())


async def test_offline_as_the_configured_default_needs_no_notice() -> None:
    """An operator who set STORY_MODEL=offline meant it."""
    assert (await _selector(default="offline").select(_asking())).notices == ()


async def test_paid_model_that_can_not_be_called_is_refused() -> None:
    """An explicit request is never silently served by the embedded writer."""
    failure = await _failure(_selector(), _asking("openai/gpt-4o", "anthropic/claude-3-haiku"))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_CONFIGURATION")
    assert "OPENROUTER_API_KEY" in failure.message
    assert "CHAT_BASE_URL" in failure.message


@pytest.mark.parametrize(
    ("configured", "asked"),
    [((), ("offline",)), (("offline",), ()), ((), ("meta-llama/llama-3.1-8b-instruct", "offline"))],
)
async def test_offline_in_the_fallbacks_stands_in_with_a_notice(
    configured: tuple[str, ...], asked: tuple[str, ...]
) -> None:
    """The request's fallbacks count, or else the server's; the caller is told."""
    selection = await _selector(fallbacks=configured).select(_asking("openai/gpt-4o", *asked))

    assert selection.models == ("offline",)
    assert [notice.metadata["model"] for notice in selection.notices] == ["openai/gpt-4o"]


async def test_fallbacks_of_the_request_replace_those_of_the_server() -> None:
    """A caller who names fallbacks without `offline` does not get it."""
    failure = await _failure(_selector(fallbacks=("offline",)), _asking("openai/gpt-4o", "openai/gpt-4o-mini"))

    assert failure.reason == "INVALID_CONFIGURATION"


@pytest.mark.parametrize("model", ["gpt", "openai/", "/gpt", "open ai/gpt", "a/b/c/d", "OFF-LINE", "a/" + "b" * 200])
async def test_name_of_no_known_form_is_not_found(model: str) -> None:
    """Neither in the catalogue nor `vendor/name`: MODEL_NOT_FOUND, first or as a fallback."""
    asked_first = await _failure(_selector(), _asking(model))
    asked_as_fallback = await _failure(_selector(), _asking("", "offline", model))

    assert (asked_first.code, asked_first.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert asked_as_fallback.reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    "model", ["x-ai/grok-4.1-fast:free", "google/gemma-2-27b-it", "~openrouter/auto", "a/b/c", "@preset/x"]
)
async def test_any_id_of_openrouters_form_passes(model: str) -> None:
    """Ids that nobody listed pass through; here they fail for want of a key, not of a name."""
    assert (await _failure(_selector(), _asking(model))).reason == "INVALID_CONFIGURATION"


@pytest.mark.parametrize(
    ("default", "configured", "asked", "expected"),
    [
        ("a/one", (), ("",), ("a/one",)),
        ("a/one", ("a/two",), ("",), ("a/one", "a/two")),
        ("a/one", ("a/two",), ("a/three",), ("a/three", "a/two")),
        ("a/one", ("a/two", "a/three"), ("a/four", "a/three", "a/five"), ("a/four", "a/three", "a/five", "a/two")),
        ("a/one", ("offline", "a/two"), ("",), ("a/one", "a/two", "offline")),
        ("a/one", ("offline",), ("a/two", "a/three"), ("a/two", "a/three")),
        ("a/one", (), ("a/two", "offline", "a/three"), ("a/two", "a/three", "offline")),
        ("a/one", ("a/two",), ("offline",), ("offline",)),
        ("offline", ("a/two",), ("",), ("offline", "a/two")),
        ("a/one", ("a/two",), ("offline", "a/three"), ("offline", "a/three")),
        ("a/one", ("openai/gpt-4o",), ("GPT_4O", "gpt_4o_mini"), ("openai/gpt-4o", "openai/gpt-4o-mini")),
    ],
)
async def test_with_a_key_models_are_tried_in_order(
    default: str, configured: tuple[str, ...], asked: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """The request's, then the configured ones, each once; the embedded writer last, and only where it is named."""
    selection = await _selector(OPENROUTER, default=default, fallbacks=configured).select(_asking(*asked))

    assert (expected, ()) == (selection.models, selection.notices)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("",), ("chat:llama3.2:3b",)),
        (("gpt-4o",), ("chat:gpt-4o",)),
        (("openai/gpt-4o", "offline"), ("chat:openai/gpt-4o", "offline")),
        (("chat:a", "b"), ("chat:a", "chat:b")),
        (("offline",), ("offline",)),
    ],
)
async def test_with_a_chat_server_alone_all_models_are_its_own(
    asked: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """The embedded writer is no default then."""
    selection = await _selector(CHAT, default="chat:llama3.2:3b").select(_asking(*asked))

    assert (expected, ()) == (selection.models, selection.notices)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("",), ("a/one", "chat:own", "offline")),
        (("llama3.2:3b", "GPT_4O"), ("chat:llama3.2:3b", "openai/gpt-4o", "chat:own")),
        (("chat:a/one", "openrouter:a/one"), ("chat:a/one", "a/one", "chat:own")),
    ],
)
async def test_models_of_both_providers_stand_in_for_each_other(
    asked: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """In the order in which they are named; the prefix decides where an id could be either's."""
    selector = _selector(OPENROUTER, CHAT, default="a/one", fallbacks=("chat:own", "offline"))

    assert expected == (await selector.select(_asking(*asked))).models


@pytest.mark.parametrize(
    ("providers", "asked", "variable"),
    [
        ((), ("chat:llama3.2:3b",), "CHAT_BASE_URL"),
        ((OPENROUTER,), ("chat:llama3.2:3b", "offline"), "CHAT_BASE_URL"),
        ((OPENROUTER,), ("a/b", "chat:llama3.2:3b"), "CHAT_BASE_URL"),
        ((CHAT,), ("openrouter:a/b",), "OPENROUTER_API_KEY"),
    ],
)
async def test_model_of_a_provider_that_is_not_configured_is_refused(
    providers: tuple[str, ...], asked: tuple[str, ...], variable: str
) -> None:
    """The error names the variable."""
    failure = await _failure(_selector(*providers), _asking(*asked))

    assert ("INVALID_CONFIGURATION", variable) == (failure.reason, failure.metadata["environment_variable"])
    assert variable in failure.message


async def test_default_that_is_not_known_is_found_when_it_is_needed() -> None:
    """For as long as the story may wait for providers, and not at all where the request names a model."""
    waits: list[float] = []

    async def default(within: float) -> str:
        waits.append(within)
        return "chat:only"

    async def none(within: float) -> str:
        waits.append(within)
        raise default_model_unclear(["a", "b"])

    selector = ModelSelector(default_model=default, fallback_models=(), providers=(CHAT,))
    assert ("chat:only",) == (await selector.select(_asking())).models
    assert ("chat:other",) == (await selector.select(_asking("other"))).models
    long = Assignment(story_id="id", child=Listener(name="Mia"), provider_wait=600)
    assert ("chat:only",) == (await selector.select(long)).models
    failure = await _failure(ModelSelector(default_model=none, fallback_models=(), providers=(CHAT,)), _asking())

    assert [20, 600, 20] == waits
    assert "INVALID_CONFIGURATION" == failure.reason
    assert "STORY_MODEL" in failure.message
    assert "a, b" in failure.message
