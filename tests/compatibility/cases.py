"""All cases, in the order of the document."""

from typing import Final

from compatibility import answer, budget, endings, reports, servers, wire
from compatibility.harness import Case

_ALL: Final = (*servers.CASES, *wire.CASES, *answer.CASES, *endings.CASES, *budget.CASES, *reports.CASES)
_KINDS: Final = list(dict.fromkeys(case.kind for case in _ALL))
CASES: Final[tuple[Case, ...]] = tuple(sorted(_ALL, key=lambda case: _KINDS.index(case.kind)))
