"""Which model writes, and what the caller has to be told about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from story_service.assignment import Assignment
from story_service.catalogue import OFFLINE, is_model_id
from story_service.errors import model_not_configured, model_not_found


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that the caller should know but that stops nothing. `reason` is for programs, `mend` for people."""

    reason: str
    message: str
    mend: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selection:
    """The model to write with, and the notices that belong to the choice."""

    model: str
    notices: tuple[Notice, ...] = ()


class ModelSelector:
    """Chooses among what was asked for, what is configured and what can be called.

    The embedded writer stands in for a paid model only where the caller named none, or where `offline` is in the
    list of fallbacks; never silently.
    """

    def __init__(self, *, default_model: str, fallback_models: Sequence[str], key_set: bool) -> None:
        self._default_model = default_model
        self._fallback_models = tuple(fallback_models)
        self._key_set = key_set

    def select(self, assignment: Assignment) -> Selection:
        """Choose the model. Raises MODEL_NOT_FOUND or INVALID_CONFIGURATION."""
        for name in (assignment.model or self._default_model, *assignment.fallback_models):
            if not is_model_id(name):
                raise model_not_found(name)
        if (assignment.model or self._default_model) == OFFLINE:
            return Selection(OFFLINE)
        if not assignment.model:
            return Selection(OFFLINE, (self._notice(self._default_model),))
        if OFFLINE in (assignment.fallback_models or self._fallback_models):
            return Selection(OFFLINE, (self._notice(assignment.model),))
        raise model_not_configured(assignment.model, key_set=self._key_set)

    def _notice(self, model: str) -> Notice:
        if self._key_set:
            return Notice(
                reason="EMBEDDED_WRITER",
                message="The embedded writer writes this story: this version has no other.",
                mend='Ask for the model "offline" if that is what you want.',
                metadata={"model": model},
            )
        return Notice(
            reason="EMBEDDED_WRITER",
            message="The embedded writer writes this story: this version has no other.",
            mend="A later version writes with a language model when OPENROUTER_API_KEY is set.",
            metadata={"model": model, "environment_variable": "OPENROUTER_API_KEY"},
        )
