"""Every case gives what it says, with each of its servers, and its row in the document says the same."""

from pathlib import Path
from typing import Final

import pytest

from compatibility.cases import CASES
from compatibility.harness import Case, Server, run
from compatibility.page import cell, page, row

DOCUMENT: Final = (Path(__file__).resolve().parents[2] / "docs" / "compatibility.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("case", "server"),
    [
        pytest.param(case, server, id=f"{case.kind}: {case.sends} ({server.value})")
        for case in CASES
        for server in case.servers
    ],
)
def test_case(case: Case, server: Server) -> None:
    """Calls, outcome, title and text of one row."""
    result = run(case, server)

    assert (case.calls, case.outcome) == (result.calls, result.outcome), result.telling.error
    assert case.expected_text == result.telling.text
    if result.telling.complete is not None and not case.request.get("written"):
        assert case.title == result.telling.title
    assert case.says in result.message
    assert [] == result.upstream.strangers
    case.check(result.telling, result.upstream)
    if server is case.servers[0]:
        assert row(case, result) in DOCUMENT.splitlines(), "run `make docs`"


def test_document_has_these_rows_and_no_others() -> None:
    """Its frame is that of the cases; what the rows say is for their own tests."""
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith("| the server")]
    assert len(CASES) == len(rows), "run `make docs`"
    assert DOCUMENT == page(rows), "run `make docs`"
    assert [line.split(" | ")[0] for line in rows] == [f"| {cell(case.sends)}" for case in CASES], "run `make docs`"
