"""Selects the models of a story and their order, with notices for the caller."""

import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from story_service.assignment import Assignment
from story_service.errors import model_not_configured, model_not_found
from story_service.models.names import VARIABLES, ModelNames, provider_of
from story_service.ports import CHAT, OFFLINE, Notice

FALLBACK: Final = "MODEL_FALLBACK"
"""Reason of the notice of a model fallback."""
_LIST_SECONDS: Final = 20.0
"""Seconds for which a story waits at least for the list from which its model is taken."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The models to write with, in order; at least one. `notices` explain the selection."""

    models: tuple[str, ...]
    notices: tuple[Notice, ...] = ()


class ModelSelector:
    """Selects among the requested, the configured and the callable models.

    With a provider: the request's model (or the default one), the request's fallbacks, the configured ones, each once.
    The embedded writer is last, and only where it is named: in the request's fallbacks, or in the configured ones if
    the request has none. Where it is first, only what is named with it follows. Without a provider it replaces the
    default model, or another model if it is named.
    """

    def __init__(
        self,
        *,
        default_model: str | Callable[[float], Awaitable[str]],
        fallback_models: Sequence[str],
        providers: Collection[str],
        trouble: Callable[[], str] = lambda: "",
    ) -> None:
        """`default_model` is its name, or finds it within some seconds. `providers` are those that are configured.

        `trouble` says why the models of the default one cannot be listed now.
        """
        self._trouble = trouble
        self._default_model = default_model
        self._fallback_models = tuple(fallback_models)
        self._providers = frozenset(providers)
        self._names = ModelNames(providers)

    async def select(self, assignment: Assignment) -> Selection:
        """Returns the models. Raises MODEL_NOT_FOUND or INVALID_CONFIGURATION, and what finds the default model."""
        asked = tuple(map(self._resolved, assignment.fallback_models))
        model = self._resolved(assignment.model) if assignment.model else await self._default(assignment)
        offline = OFFLINE in (asked or self._fallback_models)
        if model == OFFLINE:
            # A request for the free writer pays only for models that it names.
            named = asked or (() if assignment.model else self._fallback_models)
            return Selection(tuple(dict.fromkeys((OFFLINE, *filter(self._can_be_called, named)))))
        if not self._providers and (not assignment.model or offline):
            return Selection((OFFLINE,), (no_provider_notice(model),))
        for name in (model, *asked):
            if name != OFFLINE and not self._can_be_called(name):
                raise model_not_configured(name, VARIABLES[provider_of(name)])
        paid = [name for name in (model, *asked, *self._fallback_models) if name != OFFLINE]
        return Selection(tuple(dict.fromkeys((*paid, *((OFFLINE,) if offline else ())))))

    def waiting_notice(self) -> Notice:
        """Returns what is shown while `select` waits for the list of models; it is over with the text."""
        why = self._trouble() or "The list of models is not there yet."
        return _waiting(f"The story waits for a model, since STORY_MODEL is not set. {why}", provider=CHAT)

    def _can_be_called(self, model: str) -> bool:
        return provider_of(model) in self._providers

    async def _default(self, assignment: Assignment) -> str:
        if isinstance(self._default_model, str):
            return self._default_model
        return await self._default_model(max(_LIST_SECONDS, assignment.provider_wait))

    def _resolved(self, name: str) -> str:
        try:
            return self._names.resolve(name)
        except ValueError:
            raise model_not_found(name) from None


def no_provider_notice(model: str) -> Notice:
    """The embedded writer replaces `model`, which needs a provider."""
    return Notice(
        reason="EMBEDDED_WRITER",
        message=(
            "The embedded writer writes this story, because no language model can be called: "
            "neither OPENROUTER_API_KEY nor CHAT_BASE_URL is set."
        ),
        metadata={"model": model, "environment_variable": "OPENROUTER_API_KEY"},
    )


def fallback_notice(model: str, *, failed: str, reason: str) -> Notice:
    """`model` writes or continues after `failed` failed for `reason` (see `story_service.errors.why`)."""
    replacement = "The embedded writer" if model == OFFLINE else model
    return Notice(
        reason=FALLBACK,
        message=f"{replacement} replaces {failed}, which failed.",
        metadata={"model": model, "failed_model": failed, "why": reason},
    )


def waiting_notice(model: str, *, provider: str, seconds: float, why: str) -> Notice:
    """The story waits for `model`, which failed for `why` and is called again in `seconds`; over with the text."""
    soon = f"in {math.ceil(seconds)} s" if seconds else "as soon as there is a place"
    message = f"The story waits for {provider}: {why}. {model} is called again {soon}."
    return _waiting(message, provider=provider, model=model, retry_after=str(math.ceil(seconds)))


def loading_notice(model: str, *, provider: str) -> Notice:
    """The server of `model` is up and loads it; the notice is over with the text."""
    return _waiting(f"The server loads the model {model}.", provider=provider, model=model)


def _waiting(message: str, **named: str) -> Notice:
    return Notice(reason="WAITING_FOR_PROVIDER", message=message, metadata={**named, "ended": "text"})


def avoid_notice(places: Sequence[int]) -> Notice:
    """The story has what the entries of `avoid` at these places name."""
    named = ", ".join(f"avoid[{place}]" for place in places)
    return Notice(reason="AVOID_NOT_MET", message=f"The story has words that it was to avoid: see {named} of its spec.")


def shorter_notice(model: str, *, asked: int, written: int) -> Notice:
    """The story is complete with fewer words than requested: `model` wrote no more."""
    return Notice(
        reason="SHORTER_THAN_ASKED",
        message=f"The story has {written} of the {asked} words that were asked for: {model} wrote no more.",
        metadata={"model": model, "words_asked": str(asked), "words_written": str(written)},
    )


def ending_notice(model: str) -> Notice:
    """The story is complete without an ending of its own: `model` wrote none, or too much before it."""
    return Notice(
        reason="ENDING_MISSING",
        message=f"The story breaks off with a whole sentence and a good night: {model} wrote no ending.",
        metadata={"model": model},
    )
