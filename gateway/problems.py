"""What went wrong with a story, in words for the one who asked for it."""

from typing import Final

from gateway.ledger import now
from servicekit.errors import DomainError
from tale.common.v1 import common_pb2

_MENDS: Final = {
    "LANGUAGE_UNSUPPORTED": "Ask for a language that is named here, or give the story service a model that writes it.",
    "INVALID_CONFIGURATION": "Set what is named here and ask again.",
    "UPSTREAM_AUTH": "Check the provider's key and ask again.",
    "MODEL_NOT_FOUND": "Ask for a model that ListModels names.",
    "PROVIDER_NOT_FOUND": "Ask for a provider that ListProviders names.",
    "COST_LIMIT": "Raise max_cost_usd or choose a cheaper model.",
    "CONTENT_REFUSED": "Change the wish and ask for a new story.",
    "TEXT_TOO_LONG": "Ask for a shorter story.",
}


def problem_of(error: DomainError, *, narration: bool) -> common_pb2.Problem:
    """The problem that ended a story's text or narration."""
    again = "NarrateStory tells it again." if narration else "RetryStory goes on from what there is."
    problem = common_pb2.Problem(
        reason=error.reason, message=error.message, mend=_MENDS.get(error.reason, again), time=now()
    )
    problem.metadata.update(error.metadata)
    return problem


def abandoned(why: str, *, narration: bool) -> common_pb2.Problem:
    """The problem of a run that was given up."""
    again = "NarrateStory tells it again." if narration else "RetryStory goes on from what there is."
    return common_pb2.Problem(reason="RUN_ABANDONED", message=why, mend=again, time=now())
