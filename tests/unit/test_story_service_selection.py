"""Which model writes."""

import grpc
import pytest

from servicekit.errors import DomainError
from story_service.assignment import Assignment, Listener
from story_service.selection import ModelSelector


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

    assert selection.model == "offline"
    assert [notice.reason for notice in selection.notices] == ["EMBEDDED_WRITER"]
    assert "OPENROUTER_API_KEY" in selection.notices[0].mend


@pytest.mark.parametrize("default", ["offline", "openai/gpt-4o-mini"])
def test_asking_for_offline_needs_no_notice(default: str) -> None:
    """Who asks for the embedded writer gets it and needs no telling."""
    selection = _selector(default=default).select(_asking("offline"))

    assert (selection.model, selection.notices) == ("offline", ())


def test_offline_as_the_configured_default_needs_no_notice() -> None:
    """An operator who set STORY_MODEL=offline meant it."""
    assert _selector(default="offline").select(_asking()).notices == ()


@pytest.mark.parametrize("key", [False, True])
def test_a_paid_model_that_can_not_be_called_is_refused(key: bool) -> None:
    """An explicit request is never silently served by the embedded writer."""
    failure = _failure(_selector(key=key), _asking("openai/gpt-4o", "anthropic/claude-3-haiku"))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_CONFIGURATION")
    assert "OPENROUTER_API_KEY" in failure.message
    assert ("this version" in failure.message) == key


@pytest.mark.parametrize(
    ("configured", "asked"),
    [((), ("offline",)), (("offline",), ()), ((), ("meta-llama/llama-3.1-8b-instruct", "offline"))],
)
def test_offline_in_the_fallbacks_stands_in_with_a_notice(configured: tuple[str, ...], asked: tuple[str, ...]) -> None:
    """The request's fallbacks count, or else the server's; the caller is told."""
    selection = _selector(fallbacks=configured).select(_asking("openai/gpt-4o", *asked))

    assert selection.model == "offline"
    assert [notice.metadata["model"] for notice in selection.notices] == ["openai/gpt-4o"]


def test_the_fallbacks_of_the_request_replace_those_of_the_server() -> None:
    """A caller who names fallbacks without `offline` does not get it."""
    failure = _failure(_selector(fallbacks=("offline",)), _asking("openai/gpt-4o", "openai/gpt-4o-mini"))

    assert failure.reason == "INVALID_CONFIGURATION"


@pytest.mark.parametrize("model", ["gpt", "openai/", "/gpt", "open ai/gpt", "a/b/c", "OFFLINE", "a/" + "b" * 200])
def test_a_name_of_no_known_form_is_not_found(model: str) -> None:
    """Neither in the catalogue nor `vendor/name`: MODEL_NOT_FOUND, first or as a fallback."""
    asked_first = _failure(_selector(), _asking(model))
    asked_as_fallback = _failure(_selector(), _asking("", "offline", model))

    assert (asked_first.code, asked_first.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert asked_as_fallback.reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize("model", ["x-ai/grok-4.1-fast:free", "google/gemma-2-27b-it", "~openrouter/auto"])
def test_any_id_of_openrouters_form_passes(model: str) -> None:
    """Ids that nobody listed pass through; here they fail for want of a key, not of a name."""
    assert _failure(_selector(), _asking(model)).reason == "INVALID_CONFIGURATION"


def test_with_a_key_the_default_is_still_embedded_and_says_why() -> None:
    """This version can call no model: the notice says so rather than ask for a key that is there."""
    selection = _selector(key=True).select(_asking())

    assert selection.model == "offline"
    assert "this version" in selection.notices[0].message
    assert "Set OPENROUTER_API_KEY" not in selection.notices[0].mend
