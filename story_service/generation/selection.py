"""Which models write, in which order, and what the caller has to be told about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from story_service.assignment import Assignment
from story_service.errors import model_not_configured, model_not_found
from story_service.models.catalogue import resolve
from story_service.ports import OFFLINE

_FALLBACK: Final = "MODEL_FALLBACK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that the caller should know but that stops nothing. The remedy follows from `reason`."""

    reason: str
    message: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selection:
    """The models to write with, one after the other until one has brought the story to its end; at least one.

    `notices` belong to the choice.
    """

    models: tuple[str, ...]
    notices: tuple[Notice, ...] = ()


class ModelSelector:
    """Chooses among what was asked for, what is configured and what can be called.

    With a key: the request's model (or the configured one), the request's fallbacks, the configured ones, each once.
    The embedded writer comes last, and only where it is named: in the request's fallbacks, or in the configured ones
    where the request has none. Where it is asked first, only what is named with it is tried behind it. Without a key it
    stands in for the default model, or for another where it is named.
    """

    def __init__(self, *, default_model: str, fallback_models: Sequence[str], key_set: bool) -> None:
        self._default_model = default_model
        self._fallback_models = tuple(fallback_models)
        self._key_set = key_set

    def select(self, assignment: Assignment) -> Selection:
        """Choose the models. Raises MODEL_NOT_FOUND or INVALID_CONFIGURATION."""
        model = _resolved(assignment.model or self._default_model)
        asked = tuple(map(_resolved, assignment.fallback_models))
        offline = OFFLINE in (asked or self._fallback_models)
        if model == OFFLINE:
            # Who asks for what costs nothing pays for nothing else but what is named beside it.
            named = asked or (() if assignment.model else self._fallback_models)
            return Selection(tuple(dict.fromkeys((OFFLINE, *(named if self._key_set else ())))))
        if self._key_set:
            paid = [name for name in (model, *asked, *self._fallback_models) if name != OFFLINE]
            return Selection(tuple(dict.fromkeys((*paid, *((OFFLINE,) if offline else ())))))
        if not assignment.model or offline:
            return Selection((OFFLINE,), (embedded_for_want_of_a_key(model),))
        raise model_not_configured(model)


def embedded_for_want_of_a_key(model: str) -> Notice:
    """The embedded writer writes instead of `model`, which needs a key."""
    return Notice(
        reason="EMBEDDED_WRITER",
        message="The embedded writer writes this story: no language model can be called without a key.",
        metadata={"model": model, "environment_variable": "OPENROUTER_API_KEY"},
    )


def gone_on_with(model: str, *, failed: str, reason: str) -> Notice:
    """`model` writes, or goes on, since `failed` failed for `reason`: one of the kit's kinds, or of our own reasons."""
    metadata = {"model": model, "failed_model": failed, "why": reason}
    if model == OFFLINE:
        return Notice(
            reason=_FALLBACK,
            message=f"The embedded writer writes in place of {failed}, which failed.",
            metadata=metadata,
        )
    return Notice(
        reason=_FALLBACK,
        message=f"{model} writes in place of {failed}, which failed.",
        metadata=metadata,
    )


def _resolved(name: str) -> str:
    try:
        return resolve(name)
    except ValueError:
        raise model_not_found(name) from None
