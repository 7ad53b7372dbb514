"""What the caller is told when nothing is left to try, and what is asked of a model."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from servicekit.errors import DomainError
from servicekit.metrics import Metrics
from servicekit.reasons import Reason
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind
from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog
from story_service.assignment import Assignment, Listener
from story_service.chat import ChatEvent, ChatStarted
from story_service.errors import Tried, UnfitError, all_failed, language_unsupported
from story_service.generation.attempt_request import RequestBuilder, RequestDefaults, prompt_tokens
from story_service.generation.chat_writer import ChatWriter
from story_service.generation.cost_ledger import Generations
from story_service.metrics import StoryMetrics
from story_service.models.catalogue import Catalogue
from story_service.models.states import Paces
from story_service.prompting.builder import PromptBuilder

_KIND = ProviderErrorKind
_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


def _tried(*errors: ProviderError | DomainError) -> list[Tried]:
    return [Tried(f"a/m{number}", error, number) for number, error in enumerate(errors, start=1)]


def _error(kind: ProviderErrorKind, retry_after: float | None = None) -> ProviderError:
    return ProviderError(kind, "it failed", provider="fake", retry_after=retry_after)


def _spent() -> DomainError:
    """A refusal for good under a code that other reasons share with passing ones."""
    stated = Reason("RESOURCE_EXHAUSTED", "Send a smaller message.")
    return DomainError("RESOURCE_EXHAUSTED", "It is too large.", stated=stated)


_OPEN = CircuitOpenError("fake:a/m", provider="fake", retry_after=42)


@pytest.mark.parametrize(
    ("errors", "code", "reason", "retry_after"),
    [
        ([_error(_KIND.AUTH)], _PRECONDITION, "UPSTREAM_AUTH", None),
        ([_error(_KIND.RATE, 9)], grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", 9),
        ([_error(_KIND.UNSUPPORTED)], grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", None),
        ([_error(_KIND.CONTENT_POLICY)] * 2, _PRECONDITION, "CONTENT_REFUSED", None),
        ([_OPEN], _UNAVAILABLE, "CIRCUIT_OPEN", 42),
        ([_OPEN, _OPEN], _UNAVAILABLE, "CIRCUIT_OPEN", 42),
        ([_error(_KIND.TIMEOUT), _error(_KIND.TRANSPORT)], _UNAVAILABLE, "NETWORK_ERROR", 5),
        ([_error(_KIND.TIMEOUT), _error(_KIND.OVERLOAD, 2)], _UNAVAILABLE, "NETWORK_ERROR", 2),
        ([_error(_KIND.INVALID_INPUT), _error(_KIND.OVERLOAD)], _PRECONDITION, "UPSTREAM_REFUSED", None),
        ([_error(_KIND.CONFIGURATION), _OPEN], _PRECONDITION, "INVALID_CONFIGURATION", None),
        ([_OPEN, _error(_KIND.OVERLOAD)], _UNAVAILABLE, "UPSTREAM_UNAVAILABLE", 5),
        ([_error(_KIND.CONTENT_POLICY), _error(_KIND.UNSUPPORTED)], _PRECONDITION, "CONTENT_REFUSED", None),
        ([_error(_KIND.OVERLOAD), _error(_KIND.QUOTA)], grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", None),
        ([_error(_KIND.QUOTA, 60)], grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", 60),
        ([_error(_KIND.CONTENT_POLICY), _spent()], _PRECONDITION, "CONTENT_REFUSED", None),
        ([_error(_KIND.AUTH), language_unsupported(["en"])], _PRECONDITION, "UPSTREAM_AUTH", None),
        ([language_unsupported(["en"])], _PRECONDITION, "LANGUAGE_UNSUPPORTED", None),
        ([], _UNAVAILABLE, "UPSTREAM_UNAVAILABLE", 1),
    ],
)  # fmt: skip
def test_failure_is_the_one_that_has_to_be_mended(
    errors: Sequence[ProviderError | DomainError], code: grpc.StatusCode, reason: str, retry_after: float | None
) -> None:
    """The key's first, then what all failed for, then whether it may pass."""
    failure = all_failed(_tried(*errors))

    assert (code, reason, retry_after) == (failure.code, failure.reason, failure.retry_after)


_NOW = datetime(2026, 1, 2, 23, 59, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (_error(_KIND.RATE, 30), "fake: it failed. It may be called again in 30 s."),
        (_error(_KIND.QUOTA, 3600), "fake: it failed. It may be called again from 2026-01-03 01:00 UTC on."),
        (
            ProviderError(_KIND.INVALID_INPUT, "it failed", provider="fake", said="max_tokens is too large"),
            'fake: it failed. The provider says: "max_tokens is too large".',
        ),
        (
            ProviderError(_KIND.UNSUPPORTED, "it failed", provider="fake", said="no such model"),
            'fake does not offer a/m1 now. Use a model that `tale models` lists. The provider says: "no such model".',
        ),
    ],
)
def test_failure_says_what_the_provider_said_and_until_when(error: ProviderError, message: str) -> None:
    """A pause of hours ends at a time of day, up to the next minute."""
    assert message == all_failed(_tried(error), now=_NOW).message


def test_what_a_provider_says_is_shortened() -> None:
    """It may be a page."""
    error = ProviderError(_KIND.INVALID_INPUT, "it failed", provider="fake", said="x" * 5_000)
    assert 300 > len(all_failed(_tried(error)).message)


def test_answer_that_is_no_story_is_not_to_be_had_again() -> None:
    """Another model is what helps."""
    failure = all_failed(_tried(UnfitError("it was too short", provider="fake", request_id="")))

    assert ("UPSTREAM_UNAVAILABLE", "Choose another model.") == (failure.reason, failure.remedy)


def test_story_whose_calls_are_used_up_says_so() -> None:
    """Those of earlier attempts, of which only the number is known."""
    assert "CALLS_USED_UP" == all_failed([]).metadata["kind"]


def test_all_that_was_tried_is_told() -> None:
    """Each model, why it failed, and after how many calls."""
    failure = all_failed(_tried(_error(_KIND.TIMEOUT), _OPEN))

    assert "a/m1: TIMEOUT after 1 call; a/m2: CIRCUIT_OPEN after 2 calls" == failure.metadata["tried"]


def test_what_was_tried_is_told_within_bounds() -> None:
    """A status travels in headers of a few kilobytes."""
    failure = all_failed([Tried("a/" + "m" * 190, _error(_KIND.TIMEOUT), 4)] * 20)

    assert 1_001 >= len(failure.metadata["tried"])


def _asking(**settings: float) -> RequestBuilder:
    return RequestBuilder(prompts=PromptBuilder(), catalogue=Catalogue(), settings=RequestDefaults(**settings))  # type: ignore[arg-type]


def _assignment(**changes: float | str) -> Assignment:
    return Assignment(**{"story_id": "id", "child": Listener(name="Mia"), **changes})  # type: ignore[arg-type]


def test_price_of_a_attempt_is_estimated_from_the_catalogue() -> None:
    """What it may cost at most is prompt and most tokens; just that may be paid, and a little less may not."""
    asking = _asking(max_tokens=1000)
    request = asking.request(_assignment(), "openai/gpt-4o")
    price = Catalogue().price_of("openai/gpt-4o")
    assert price is not None
    most = (price.prompt * prompt_tokens(request) + price.completion * 1000) / 1e6

    assert request == asking.request(_assignment(max_cost_usd=most * 1.001), "openai/gpt-4o")
    with pytest.raises(DomainError) as caught:
        asking.request(_assignment(max_cost_usd=most * 1.001, spent_usd=most * 0.01), "openai/gpt-4o")
    assert (_PRECONDITION, "COST_LIMIT") == (caught.value.code, caught.value.reason)


def test_without_a_price_a_limit_can_not_be_held() -> None:
    """It is refused rather than hoped for; without a limit it is asked."""
    asking = _asking()
    with pytest.raises(DomainError) as caught:
        asking.request(_assignment(max_cost_usd=100.0), "nobody/knows")

    assert ("COST_LIMIT", "unknown") == (caught.value.reason, caught.value.metadata["call_usd"])
    assert "nobody/knows" == asking.request(_assignment(), "nobody/knows").model
    assert 0 == asking.estimated_cost(asking.request(_assignment(), "nobody/knows"), "text")


def test_way_of_routing_has_a_price_with_a_margin() -> None:
    """What the cheapest company takes would not do as a bound; the estimate afterwards is without it."""
    asking = _asking(max_tokens=1000)
    plain, routed = (asking.request(_assignment(), f"openai/gpt-4o{variant}") for variant in ("", ":nitro"))
    assert asking.estimated_cost(plain, "text") == asking.estimated_cost(routed, "text") > 0
    price = Catalogue().price_of("openai/gpt-4o")
    assert price is not None
    most = (price.prompt * prompt_tokens(plain) + price.completion * 1000) / 1e6

    assert routed == asking.request(_assignment(max_cost_usd=most * 3.001), "openai/gpt-4o:nitro")
    for limit, model in ((most * 2.999, "openai/gpt-4o:nitro"), (100.0, "openai/gpt-4o:online")):
        with pytest.raises(DomainError) as caught:
            asking.request(_assignment(max_cost_usd=limit), model)
        assert "COST_LIMIT" == caught.value.reason


def test_what_the_request_says_wins_over_what_is_set() -> None:
    """Temperature, even 0, and seed; tokens by the setting, or else by the length."""
    request = _asking(temperature=0.9, max_tokens=50).request(_assignment(temperature=0.0, seed=7), "a/b")
    default = _asking(temperature=0.9).request(_assignment(), "a/b")
    longer = _asking().request(_assignment(length_minutes=5), "a/b")
    shorter = _asking().request(_assignment(length_minutes=1), "a/b")

    assert (0.0, 7, 50) == (request.temperature, request.seed, request.max_tokens)
    assert (0.9, None) == (default.temperature, default.seed)
    assert (longer.max_tokens or 0) > (shorter.max_tokens or 0) > 150


def test_longer_story_gets_more_time() -> None:
    """The whole answer by its length, the first text and the next one not."""
    asking = _asking(first_token_timeout=1, idle_timeout=2, attempt_timeout=3, attempt_timeout_per_minute=10)
    timers = asking.timers(_assignment(length_minutes=30))

    assert (1, 2, 303) == (timers.first_token, timers.idle, timers.total)


@pytest.mark.parametrize(("items", "audited"), [(1, []), (2, []), (3, []), (4, ["CANCELLED"])])
async def test_call_that_was_not_sent_is_not_audited(items: int, audited: list[str]) -> None:
    """The reader may leave before it, at AttemptStarted, at the first line of the ledger or at the outline."""

    class Chat:
        provider = "fake"
        reports_generations = True

        async def stream(self, *_: Any) -> AsyncGenerator[ChatEvent, None]:
            yield ChatStarted(generation_id="", model="a/b")

    chat: Any = Chat()
    metrics = Metrics()
    counted = StoryMetrics(metrics, models=["a/b"])
    writer = ChatWriter(
        chat,
        requests=_asking(),
        breakers=BreakerManager(),
        limits=ProviderLimits(1),
        generations=Generations(chat, breakers=BreakerManager(), audit=AuditLog(), metrics=counted),
        audit=AuditLog(),
        metrics=counted,
        paces=Paces(),
    )
    with capture_logs() as logs:
        attempt = writer.write(_assignment(), model="a/b")
        for _ in range(items):
            await anext(attempt)
        await attempt.aclose()
    assert audited == [line["status"] for line in logs if line["event"] == "upstream call"]


def test_a_story_that_made_calls_fails_for_what_opened_the_circuit() -> None:
    """As when its run was killed: the error of the call itself is not known any more."""
    failure = all_failed(_tried(_OPEN), called=True)

    assert failure.reason == all_failed(_tried(_error(_OPEN.cause))).reason
    assert 42 == failure.retry_after
