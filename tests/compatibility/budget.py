"""Budgets: how many calls a failing server gets, and which cause is reported."""

from typing import Final

from support.openrouter_fake import error

from compatibility.harness import Case

CASES: Final[tuple[Case, ...]] = (
    Case(
        kind="Calls that fail",
        sends="status 401 to every call",
        answers=[error(401, message="No auth credentials found")],
        calls=1,
        outcome="UPSTREAM_AUTH",
    ),
)
