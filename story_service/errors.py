"""The errors of the service, as its callers see them."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from servicekit.errors import DomainError, not_found, provider_failed, unavailable
from servicekit.reasons import Reason
from servicekit.resilience.errors import TREATMENTS, CircuitOpenError, ProviderError, ProviderErrorKind
from story_service.assignment import MAX_CONTENT_LENGTH
from story_service.models.names import id_at_provider

_OF_THE_KEY: Final = frozenset({"UPSTREAM_AUTH", "QUOTA_EXCEEDED"})
_OPEN: Final = "CIRCUIT_OPEN"
_CONTENT: Final = "CONTENT_REFUSED"
_MAX_SHOWN: Final = 1_000
_MODELS_SHOWN: Final = 5
_MAX_SAID: Final = 200
_SOON_SECONDS: Final = 90.0


@dataclass(frozen=True, slots=True)
class Tried:
    """A model that failed for good: with what, and after how many calls."""

    model: str
    error: ProviderError | DomainError
    calls: int


_UNFIT: Final = replace(TREATMENTS[ProviderErrorKind.TRUNCATED], break_circuit=False)


class UnfitError(ProviderError):
    """The answer repeated itself, started over or was too short, which says nothing of the provider's health."""

    def __init__(self, message: str, *, provider: str, request_id: str) -> None:
        kind = ProviderErrorKind.TRUNCATED
        super().__init__(kind, message, provider=provider, request_id=request_id, treatment=_UNFIT)


class BrokenOffError(UnfitError):
    """The answer ended without an ending; what is released of the story can end it.

    It is continued once. After that, and where no call is left, the story is complete with what is released, and a
    notice ENDING_MISSING.
    """

    def __init__(self, *, provider: str, request_id: str) -> None:
        super().__init__("the answer broke off", provider=provider, request_id=request_id)


class OutOfTokensError(UnfitError):
    """The answer was cut at its maximum of tokens."""

    def __init__(self, *, provider: str, request_id: str) -> None:
        super().__init__("the answer was cut at its maximum of tokens", provider=provider, request_id=request_id)


class WrongLanguageError(UnfitError):
    """The answer was written in another language than `requested`. Both are BCP-47 codes; `found` may be a script's."""

    def __init__(self, requested: str, found: str, *, provider: str, request_id: str) -> None:
        super().__init__("the answer was in another language", provider=provider, request_id=request_id)
        self.requested, self.found = requested, found


class PassageRefusedError(ProviderError):
    """The safety check refuses what was written, for `category`. It may be rewritten once."""

    def __init__(self, category: str, *, provider: str) -> None:
        kind = ProviderErrorKind.CONTENT_POLICY
        super().__init__(
            kind,
            "the safety check refuses what it wrote",
            provider=provider,
            treatment=replace(_UNFIT, reason=_CONTENT),
        )
        self.category = category


class StoryStoppedError(DomainError):
    """What no other attempt and no other model can change: the story stands with its released text."""


def _refused(reason: str, message: str, **metadata: str) -> DomainError:
    return DomainError(reason, message, metadata=metadata)


def model_not_found(model: str) -> DomainError:
    """NOT_FOUND / MODEL_NOT_FOUND: no model of any provider can have this name."""
    return not_found(
        "MODEL_NOT_FOUND",
        "No such model. Use one that `tale models` lists, or an OpenRouter id of the form vendor/name; "
        "other ids need CHAT_BASE_URL on the story service.",
        model=model,
    )


def model_not_configured(model: str, variable: str) -> DomainError:
    """FAILED_PRECONDITION / INVALID_CONFIGURATION: the requested model needs `variable`, which is not set."""
    others = "" if variable == "CHAT_BASE_URL" else ", set CHAT_BASE_URL for a server of your own"
    return _refused(
        "INVALID_CONFIGURATION",
        f"The requested model cannot be called: {variable} is not set on the story service. "
        f'Set it{others}, use the model "offline", or add "offline" to fallback_models.',
        model=model,
        environment_variable=variable,
    )


def default_model_unclear(offered: Sequence[str]) -> DomainError:
    """FAILED_PRECONDITION / INVALID_CONFIGURATION: no default model is set, and the chat server has none or several."""
    shown = f"{', '.join(offered[:_MODELS_SHOWN])}{', …' if len(offered) > _MODELS_SHOWN else ''}"
    said = f"has {len(offered)} models that write ({shown})" if offered else "lists no model that writes"
    remedy = "Set STORY_MODEL to one of them." if offered else "Load one there, or set STORY_MODEL."
    return _refused(
        "INVALID_CONFIGURATION",
        f"STORY_MODEL is not set, and the server at CHAT_BASE_URL {said}. {remedy}",
        environment_variable="STORY_MODEL",
    )


def default_model_unknown(error: ProviderError) -> DomainError:
    """Returns the error of a chat server whose models cannot be listed while no default model is set."""
    if error.kind in {ProviderErrorKind.UNSUPPORTED, ProviderErrorKind.INVALID_INPUT}:
        return _refused(
            "INVALID_CONFIGURATION",
            "STORY_MODEL is not set, and the server at CHAT_BASE_URL does not list its models. Set STORY_MODEL.",
            environment_variable="STORY_MODEL",
        )
    known = provider_failed(error)
    return DomainError(
        known.reason,
        f"{known.message} STORY_MODEL is not set, so the models of CHAT_BASE_URL have to be listed.",
        metadata={**known.metadata, "environment_variable": "CHAT_BASE_URL"},
        retry_after=known.retry_after,
    )


def language_unsupported(supported: Sequence[str]) -> DomainError:
    """FAILED_PRECONDITION / LANGUAGE_UNSUPPORTED, with the BCP-47 codes that the writer can write."""
    codes = ", ".join(supported)
    return _refused(
        "LANGUAGE_UNSUPPORTED",
        f"The embedded writer cannot write this language. It can write: {codes}.",
        supported_languages=codes,
    )


def story_unsupported(language: str, missing: Collection[str], supported: Collection[str]) -> DomainError:
    """FAILED_PRECONDITION / LANGUAGE_UNSUPPORTED: the language is supported, but not `missing` ("hero", "sequel" …)."""
    kinds = ", ".join(["child", *sorted(supported)])
    return _refused(
        "LANGUAGE_UNSUPPORTED",
        f"The embedded writer cannot write stories of the kind {', '.join(sorted(missing))} in this language. "
        f"Kinds that it can write: {kinds}.",
        language=language,
        supported_kinds=kinds,
    )


def text_too_long() -> StoryStoppedError:
    """FAILED_PRECONDITION / TEXT_TOO_LONG: the story would be longer than `MAX_CONTENT_LENGTH`."""
    return StoryStoppedError(
        "TEXT_TOO_LONG",
        f"The story became longer than {MAX_CONTENT_LENGTH} characters. Request fewer minutes.",
        metadata={"max_characters": str(MAX_CONTENT_LENGTH)},
    )


def request_refused(category: str) -> StoryStoppedError:
    """FAILED_PRECONDITION / CONTENT_REFUSED: the safety check refuses what is asked for; nothing was written."""
    return StoryStoppedError(
        _CONTENT,
        f"The safety check refuses what the story was asked to hold ({category}). Nothing was written.",
        metadata={"category": category, "refused": "request"},
    )


def passage_refused(category: str) -> StoryStoppedError:
    """FAILED_PRECONDITION / CONTENT_REFUSED: the safety check refuses what was written, and what replaced it."""
    return StoryStoppedError(
        _CONTENT,
        f"The safety check refuses what was written, and its second version too ({category}). "
        "The text before it is stored.",
        metadata={"category": category, "refused": "text"},
    )


def check_failed(error: ProviderError) -> StoryStoppedError:
    """Returns the error of a story whose text cannot be checked; what could not be is not released."""
    known = provider_failed(error)
    return StoryStoppedError(
        known.reason,
        f"The safety check (STORY_SAFETY) failed, and nothing is released without it. {known.message} "
        "RetryStory continues from the text that is stored.",
        metadata={**known.metadata, "check": "safety"},
        retry_after=known.retry_after,
    )


def generation_failed(kind: str, message: str) -> DomainError:
    """UNAVAILABLE / UPSTREAM_UNAVAILABLE: the model's answer cannot be used. `kind` says why, for programs."""
    error = unavailable("UPSTREAM_UNAVAILABLE", message)
    return DomainError(error.reason, error.message, metadata={"kind": kind}, retry_after=error.retry_after)


def cost_limit_reached(model: str, *, limit: float, spent: float, most: float) -> DomainError:
    """FAILED_PRECONDITION / COST_LIMIT: the call may exceed `max_cost_usd`. In US dollars."""
    return _refused(
        "COST_LIMIT",
        f"The story may cost {limit:.6g} US dollars; {spent:.6g} are spent, and the next call may cost {most:.6g}. "
        "Raise max_cost_usd, request fewer minutes, or use a cheaper model.",
        model=model,
        max_cost_usd=f"{limit:.6g}",
        spent_usd=f"{spent:.6g}",
        call_usd=f"{most:.6g}",
    )


def cost_unknown(model: str) -> DomainError:
    """FAILED_PRECONDITION / COST_LIMIT: `max_cost_usd` cannot be enforced, since the model's price is not known."""
    return _refused(
        "COST_LIMIT",
        "The price of the model is not known, so max_cost_usd cannot be enforced. "
        "Use a model with a price in `tale models`, or leave max_cost_usd out.",
        model=model,
        call_usd="unknown",
    )


def wrong_language(model: str, error: WrongLanguageError) -> DomainError:
    """FAILED_PRECONDITION / WRONG_LANGUAGE: the model writes in another language than requested."""
    return _refused(
        "WRONG_LANGUAGE",
        f"The story was requested in the language '{error.requested}', and the model wrote in '{error.found}'. "
        "Use a model that writes this language.",
        model=model,
        requested_language=error.requested,
        found_language=error.found,
    )


def why(error: ProviderError | DomainError) -> str:
    """Returns why a model failed, for programs: a ProviderErrorKind, CIRCUIT_OPEN, or the reason of a DomainError."""
    if isinstance(error, DomainError):
        return error.reason
    if isinstance(error, WrongLanguageError):
        return "WRONG_LANGUAGE"
    return error.treatment.reason if isinstance(error, CircuitOpenError) else error.kind.name


def all_failed(tried: Sequence[Tried], *, called: bool = False, now: datetime | None = None) -> DomainError:
    """Returns the error for the caller when no model is left: the first real cause. Its metadata says what was tried.

    A refused or exhausted key decides, since only the operator can fix it; else the first failure, unless no call was
    made because of failures before it. `called`: the story made calls, perhaps in an earlier attempt, so what opened a
    circuit breaker is its cause too.
    """
    if not tried:
        return generation_failed("CALLS_USED_UP", "The calls for one story (STORY_MAX_CALLS) are used up.")
    if called:
        tried = [replace(each, error=_opened_by(each.error)) for each in tried]
    only = tried[0].error if len(tried) == 1 else None
    if isinstance(only, DomainError):
        return only
    failures = [_domain_error(each, now or datetime.now(UTC)) for each in tried]
    made = [failure for failure in failures if failure.reason != _OPEN] or failures
    chosen = next((failure for failure in made if failure.reason in _OF_THE_KEY), made[0])
    hints = [failure.retry_after for failure in failures if failure.retryable and failure.retry_after is not None]
    story = "; ".join(f"{each.model}: {why(each.error)} after {_calls(each.calls)}" for each in tried)
    shown = story if len(story) <= _MAX_SHOWN else f"{story[:_MAX_SHOWN]}…"
    return DomainError(
        chosen.reason,
        chosen.message if len(tried) == 1 and tried[0].calls <= 1 else f"{chosen.message} Tried: {shown}.",
        metadata={**chosen.metadata, "tried": shown},
        violations=chosen.violations,
        retry_after=min(hints, default=None) if chosen.retryable else chosen.retry_after,
        stated=Reason(chosen.code.name, chosen.remedy, retryable=chosen.retryable),
    )


def _opened_by(error: ProviderError | DomainError) -> ProviderError | DomainError:
    if not isinstance(error, CircuitOpenError):
        return error
    return ProviderError(error.cause, error.message, provider=error.provider, retry_after=error.retry_after)


def _domain_error(tried: Tried, now: datetime) -> DomainError:
    error = tried.error
    if isinstance(error, DomainError):
        return error
    if isinstance(error, WrongLanguageError):
        return wrong_language(tried.model, error)
    if isinstance(error, PassageRefusedError):
        return passage_refused(error.category)
    known, stated = provider_failed(error), None
    message = known.message
    if error.kind is ProviderErrorKind.UNSUPPORTED:
        known = not_found("MODEL_NOT_FOUND", "")
        message = (
            f"{error.provider} does not offer {id_at_provider(tried.model)} now. Use a model that `tale models` lists."
        )
    elif isinstance(error, UnfitError):
        stated = Reason(known.code.name, "Choose another model.", retryable=known.retryable)
    said = f' The provider says: "{error.said[:_MAX_SAID]}".' if error.said else ""
    return DomainError(
        known.reason,
        f"{message}{said}{_again(error.retry_after, now)}",
        metadata={"provider": error.provider, "kind": error.kind.value, "model": tried.model},
        retry_after=known.retry_after,
        stated=stated,
    )


def _again(seconds: float | None, now: datetime) -> str:
    """Returns from when on the provider may be called, "" where that is not known."""
    if not seconds:
        return ""
    if seconds <= _SOON_SECONDS:
        return f" It may be called again in {math.ceil(seconds)} s."
    # Up to the next minute.
    moment = now + timedelta(seconds=seconds + 59)
    return f" It may be called again from {moment:%Y-%m-%d %H:%M} UTC on."


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number} calls"
