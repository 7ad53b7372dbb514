"""What the headers of a refusal are taken for, and what they cannot do."""

from collections.abc import Callable
from typing import Any

import pytest

from servicekit.errors import provider_failed
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.status import to_grpc_status
from voice_service.narration.errors import speech_failed
from voice_service.providers.elevenlabs.answers import call_facts
from voice_service.providers.elevenlabs.api import error_of_answer
from voice_service.providers.openai_api import from_status

Refusal = Callable[[int, dict[str, str]], ProviderError]


def _of_elevenlabs(status: int, headers: dict[str, str]) -> ProviderError:
    return error_of_answer(status, headers, {})


def _of_speech(status: int, headers: dict[str, str]) -> ProviderError:
    return from_status(status, {}, headers, provider="speech")


refusals = pytest.mark.parametrize("refusal", [_of_elevenlabs, _of_speech])


@refusals
@pytest.mark.parametrize(("status", "wait"), [(429, 9.0), (401, None), (500, None), (503, None)])
def test_the_end_of_a_rate_limit_is_a_wait_where_the_limit_refused(
    refusal: Refusal, status: int, wait: float | None
) -> None:
    """Some send X-RateLimit-Reset with every answer; a fault of theirs is over sooner."""
    assert wait == refusal(status, {"x-ratelimit-reset": "9"}).retry_after


@refusals
@pytest.mark.parametrize("header", ["retry-after", "x-ratelimit-reset"])
@pytest.mark.parametrize("value", ["1e300", "251607054426000", "9" * 400, "-1", "nan", "١٢", "Fri, 31 Dec 9999"])
def test_an_absurd_wait_is_no_exception(refusal: Refusal, header: str, value: str) -> None:
    """Whatever is said, the caller is told of the refusal, with a wait of a day at most."""
    error = refusal(429, {header: value})

    assert 0 <= (error.retry_after or 0) <= 86_400
    assert to_grpc_status(provider_failed(error)).details


@pytest.mark.parametrize(
    ("said", "billed"),
    [("120", 120), ("0", 0), ("", None), ("-3", None), ("1.5", None), ("9" * 13, None), ("9" * 5_000, None)],
)
def test_a_cost_that_nobody_can_mean_counts_as_not_told(said: str, billed: Any) -> None:
    """It goes into a field of 64 bits, and Python reads 4,300 digits at most."""
    assert billed == call_facts({"character-cost": said}).characters_billed


@pytest.mark.parametrize(
    ("kinds", "reason", "retryable", "wait"),
    [
        (["quota", "invalid_input"], "QUOTA_EXCEEDED", False, None),
        (["invalid_input", "quota"], "UPSTREAM_REFUSED", False, None),
        (["quota", "rate"], "QUOTA_EXCEEDED", False, None),
        (["invalid_input", "overload"], "UPSTREAM_REFUSED", False, None),
        (["overload", "invalid_input"], "FALLBACK_FAILURE", True, 5.0),
        (["rate", "content_policy"], "CONTENT_REFUSED", False, None),
        (["content_policy", "overload"], "CONTENT_REFUSED", False, None),
        (["quota"], "QUOTA_EXCEEDED", False, None),
        (["rate"], "RATE_LIMITED", True, 5.0),
    ],
)
def test_segment_is_worth_another_attempt_where_its_first_provider_may_succeed(
    kinds: list[str], reason: str, retryable: bool, wait: float | None
) -> None:
    """Refused text is not sent again, and nothing hints at a time that no provider named."""
    failure = speech_failed([ProviderError(ProviderErrorKind(kind), "no", provider=kind) for kind in kinds], 3)
    assert (reason, retryable, wait) == (failure.reason, failure.retryable, failure.retry_after)
