"""The failures of the service, as its callers see them."""

from collections.abc import Collection, Sequence

import grpc

from servicekit.errors import DomainError, not_found, unavailable
from story_service.assignment import MAX_CONTENT_LENGTH


def model_not_found(model: str) -> DomainError:
    """NOT_FOUND / MODEL_NOT_FOUND: neither in the catalogue nor of the form `vendor/name`."""
    return not_found(
        "MODEL_NOT_FOUND",
        "There is no such model: ask for one that ListModels gives, or for an OpenRouter id of the form vendor/name.",
        model=model,
    )


def model_not_configured(model: str, *, key_set: bool) -> DomainError:
    """FAILED_PRECONDITION / INVALID_CONFIGURATION: a paid model was asked for that this server can not call."""
    why = (
        "this version of the story service has only the embedded writer, although OPENROUTER_API_KEY is set"
        if key_set
        else "OPENROUTER_API_KEY is not set on the story service"
    )
    return DomainError(
        grpc.StatusCode.FAILED_PRECONDITION,
        "INVALID_CONFIGURATION",
        f"The model that was asked for can not be called: {why}. "
        'Ask for the model "offline", or name "offline" in fallback_models.',
        metadata={"model": model, "environment_variable": "OPENROUTER_API_KEY"},
    )


def language_unsupported(supported: Sequence[str]) -> DomainError:
    """FAILED_PRECONDITION / LANGUAGE_UNSUPPORTED, with the BCP-47 codes that the writer can write."""
    codes = ", ".join(supported)
    return DomainError(
        grpc.StatusCode.FAILED_PRECONDITION,
        "LANGUAGE_UNSUPPORTED",
        f"The embedded writer can not write this language. It can write: {codes}.",
        metadata={"supported_languages": codes},
    )


def story_unsupported(language: str, missing: Collection[str], supported: Collection[str]) -> DomainError:
    """FAILED_PRECONDITION / LANGUAGE_UNSUPPORTED: the language can be written, but not `missing` in it.

    Both are of "hero", "combined" and "sequel".
    """
    told = ", ".join(["child", *sorted(supported)])
    return DomainError(
        grpc.StatusCode.FAILED_PRECONDITION,
        "LANGUAGE_UNSUPPORTED",
        f"The embedded writer can not write stories of the kind {', '.join(sorted(missing))} in this language. "
        f"In it, it can write: {told}.",
        metadata={"language": language, "supported_kinds": told},
    )


def text_too_long() -> DomainError:
    """FAILED_PRECONDITION / TEXT_TOO_LONG: the story would pass 65,536 code points."""
    return DomainError(
        grpc.StatusCode.FAILED_PRECONDITION,
        "TEXT_TOO_LONG",
        f"The story became longer than {MAX_CONTENT_LENGTH} characters. Ask for fewer minutes.",
        metadata={"max_characters": str(MAX_CONTENT_LENGTH)},
    )


def generation_failed(kind: str, message: str) -> DomainError:
    """UNAVAILABLE / UPSTREAM_UNAVAILABLE: the model's answer can not be used. `kind` says why, for programs."""
    error = unavailable("UPSTREAM_UNAVAILABLE", message)
    return DomainError(error.code, error.reason, error.message, metadata={"kind": kind}, retry_after=error.retry_after)
