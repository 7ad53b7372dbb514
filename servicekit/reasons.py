"""Every reason that an error or a story's problem can have: its gRPC code, whether to repeat the call, the remedy.

`reasons.toml` is the one table of them. `docs/errors.md` is rendered from it, and `Problem` and `ErrorInfo` carry it on
the wire.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Reason:
    """What follows from a reason."""

    code: str
    """Name of the gRPC code; OK for a reason that only stands in the `problems` of a story or in its ledger."""
    remedy: str
    """What the user does about it: one sentence in the imperative."""
    retryable: bool = False
    """True where the same call may succeed later without any change."""
    breaks_circuit: bool = False
    """True where a failure of a provider for this reason counts for its circuit breaker."""


def _reasons() -> Iterator[tuple[str, Reason]]:
    table = tomllib.loads(files(__package__).joinpath("reasons.toml").read_text("utf-8"))
    for code, remedies in table["remedies"].items():
        for name, remedy in remedies.items():
            retryable, breaks_circuit = name in table["retryable"], name in table["breaks_circuit"]
            yield name, Reason(code, remedy, retryable=retryable, breaks_circuit=breaks_circuit)


REASONS: Final[Mapping[str, Reason]] = dict(_reasons())
LATER: Final = REASONS["RATE_LIMITED"].remedy

WAITS: Final = frozenset({"WAITING_FOR_PROVIDER", "WAITING_FOR_PLACE"})
"""Reasons of a problem that is over as soon as the story continues."""


class _Problem(Protocol):
    reason: str
    remedy: str
    retryable: bool


ProblemT = TypeVar("ProblemT", bound=_Problem)


def explained(problem: ProblemT) -> ProblemT:
    """Returns the message `problem` with the remedy of its reason and whether the call is retryable."""
    known = reason_of(problem.reason)
    problem.remedy, problem.retryable = known.remedy, known.retryable
    return problem


def reason_of(name: str) -> Reason:
    """Returns what follows from a reason; LookupError for one that is not in the table, which is a defect."""
    try:
        return REASONS[name]
    except KeyError:
        raise LookupError(f"no reason {name!r} in servicekit.reasons") from None
