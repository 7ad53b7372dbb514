"""Every case gives what it says, with each of its servers, and its row in the document says the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from compatibility.cases import CASES, VOICE_CASES
from compatibility.harness import Case, Server, run
from compatibility.page import cell, page, row, voice_row
from compatibility.voice_harness import READY, VoiceCase
from compatibility.voice_harness import run as run_voice

DOCUMENT: Final = (Path(__file__).resolve().parents[2] / "docs" / "compatibility.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("case", "server"),
    [
        pytest.param(case, server, id=f"{case.kind}: {case.sends} ({server.value})")
        for case in CASES
        for server in case.servers
    ],
)
@pytest.mark.sampled(3)
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


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.kind}: {case.sends}") for case in VOICE_CASES])
@pytest.mark.sampled(2)
def test_voice_case(case: VoiceCase) -> None:
    """Calls, outcome, voices and sound of one row."""
    result = run_voice(case)

    problems = [(story.problem.message, story.problem.remedy) for story in result.stories]
    calls = result.upstreams.calls
    assert case.outcome == result.outcome, problems
    assert case.calls == (calls if isinstance(case.calls, Mapping) else sum(calls.values())), result.upstreams.texts
    assert list(case.speakers) in ([], result.speakers)
    assert case.seconds is None or result.seconds == pytest.approx(case.seconds, rel=0.05)
    assert case.says in f"{result.message} {result.remedy}"
    for number, story in enumerate(result.stories):
        if story.outcome.startswith(READY):
            # Every text is spoken, and there is as much sound in the file as its manifest says.
            assert len(case.texts[number]) == story.segments[-1].text.end
            assert story.seconds == pytest.approx(len(result.samples(number)) / 44_100, abs=0.06)
    case.check(result)
    assert voice_row(case, result) in DOCUMENT.splitlines(), "run `make docs`"


def test_document_has_these_rows_and_no_others() -> None:
    """Its frame is that of the cases; what the rows say is for their own tests."""
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith("| the server")]
    sends = [case.sends for case in (*CASES, *VOICE_CASES)]
    assert len(sends) == len(rows), "run `make docs`"
    assert DOCUMENT == page(rows), "run `make docs`"
    assert [line.split(" | ")[0] for line in rows] == [f"| {cell(each)}" for each in sends], "run `make docs`"
