"""Which model writes."""

import grpc
import pytest

from servicekit.errors import DomainError
from servicekit.reasons import reason_of
from story_service.assignment import Assignment, Listener
from story_service.generation.selection import ModelSelector


def _selector(
    *, default: str = "openai/gpt-4o-mini", fallbacks: tuple[str, ...] = (), key: bool = False
) -> ModelSelector:
    return ModelSelector(default_model=default, fallback_models=fallbacks, key_set=key)


def _asking(model: str = "", *fallbacks: str) -> Assignment:
    return Assignment(story_id="id", child=Listener(name="Mia"), model=model, fallback_models=fallbacks)


def _failure(selector: ModelSelector, assignment: Assignment) -> DomainError:
    with pytest.raises(DomainError) as caught:
        selector.select(assignment)
    return caught.value


def test_without_a_key_the_default_is_embedded_and_says_so() -> None:
    """Nobody asked for a paid model: the embedded writer writes, with a notice that names the variable."""
    selection = _selector().select(_asking())

    assert selection.models == ("offline",)
    assert [notice.reason for notice in selection.notices] == ["EMBEDDED_WRITER"]
    assert "OPENROUTER_API_KEY" in reason_of(selection.notices[0].reason).remedy


@pytest.mark.parametrize("default", ["offline", "openai/gpt-4o-mini"])
def test_asking_for_offline_needs_no_notice(default: str) -> None:
    """Who asks for the embedded writer gets it and needs no telling."""
    selection = _selector(default=default).select(_asking("offline"))

    assert (selection.models, selection.notices) == (("offline",), ())


def test_offline_as_the_configured_default_needs_no_notice() -> None:
    """An operator who set STORY_MODEL=offline meant it."""
    assert _selector(default="offline").select(_asking()).notices == ()


def test_paid_model_that_can_not_be_called_is_refused() -> None:
    """An explicit request is never silently served by the embedded writer."""
    failure = _failure(_selector(), _asking("openai/gpt-4o", "anthropic/claude-3-haiku"))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_CONFIGURATION")
    assert "OPENROUTER_API_KEY" in failure.message


@pytest.mark.parametrize(
    ("configured", "asked"),
    [((), ("offline",)), (("offline",), ()), ((), ("meta-llama/llama-3.1-8b-instruct", "offline"))],
)
def test_offline_in_the_fallbacks_stands_in_with_a_notice(configured: tuple[str, ...], asked: tuple[str, ...]) -> None:
    """The request's fallbacks count, or else the server's; the caller is told."""
    selection = _selector(fallbacks=configured).select(_asking("openai/gpt-4o", *asked))

    assert selection.models == ("offline",)
    assert [notice.metadata["model"] for notice in selection.notices] == ["openai/gpt-4o"]


def test_fallbacks_of_the_request_replace_those_of_the_server() -> None:
    """A caller who names fallbacks without `offline` does not get it."""
    failure = _failure(_selector(fallbacks=("offline",)), _asking("openai/gpt-4o", "openai/gpt-4o-mini"))

    assert failure.reason == "INVALID_CONFIGURATION"


@pytest.mark.parametrize("model", ["gpt", "openai/", "/gpt", "open ai/gpt", "a/b/c", "OFF-LINE", "a/" + "b" * 200])
def test_name_of_no_known_form_is_not_found(model: str) -> None:
    """Neither in the catalogue nor `vendor/name`: MODEL_NOT_FOUND, first or as a fallback."""
    asked_first = _failure(_selector(), _asking(model))
    asked_as_fallback = _failure(_selector(), _asking("", "offline", model))

    assert (asked_first.code, asked_first.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert asked_as_fallback.reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize("model", ["x-ai/grok-4.1-fast:free", "google/gemma-2-27b-it", "~openrouter/auto"])
def test_any_id_of_openrouters_form_passes(model: str) -> None:
    """Ids that nobody listed pass through; here they fail for want of a key, not of a name."""
    assert _failure(_selector(), _asking(model)).reason == "INVALID_CONFIGURATION"


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
def test_with_a_key_models_are_tried_in_order(
    default: str, configured: tuple[str, ...], asked: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """The request's, then the configured ones, each once; the embedded writer last, and only where it is named."""
    selection = _selector(default=default, fallbacks=configured, key=True).select(_asking(*asked))

    assert (expected, ()) == (selection.models, selection.notices)
