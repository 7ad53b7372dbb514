"""Every log call of the services against the scheme of docs/logs.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CODE: Final = ("gateway", "servicekit", "storage_service", "story_service", "voice_service")
LEVELS: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})
LOGGERS: Final = frozenset({"log", "_log"})
PHRASE: Final = re.compile(r"[a-z][a-z0-9]*([ -][a-z0-9]+)*")
LONGEST: Final = 50
ROW: Final = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


def log_calls() -> Iterator[tuple[str, ast.Call, ast.expr]]:
    """Yields place, call and event of each log call; the audit logs have formats of their own."""
    for path in sorted(file for folder in CODE for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
                continue
            if isinstance(node.func.value, ast.Name) and node.func.value.id in LOGGERS:
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                yield place, node, node.args[1 if node.func.attr == "log" else 0]


def documented() -> set[str]:
    return set(ROW.findall((ROOT / "docs" / "logs.md").read_text()))


def test_event_of_a_log_call_is_a_constant_phrase() -> None:
    """Lower case, no punctuation, short: it can be searched, and counted, as it stands in the code."""
    found = {place: event.value if isinstance(event, ast.Constant) else None for place, _, event in log_calls()}

    assert len(found) > 50
    assert {} == {
        place: event
        for place, event in found.items()
        if event is None or PHRASE.fullmatch(str(event)) is None or len(str(event)) > LONGEST
    }


def test_log_call_has_no_arguments_but_fields() -> None:
    """Nothing is formatted into an event."""
    most = {"log": 2}

    assert [] == [place for place, call, _ in log_calls() if len(call.args) > most.get(ast.unparse(call.func)[-3:], 1)]


def test_fields_of_log_calls_are_those_of_the_documentation() -> None:
    """One name for one thing in all services; the table in docs/logs.md is the list."""
    used: dict[str, str] = {}
    for place, call, _ in log_calls():
        used |= {keyword.arg: place for keyword in call.keywords if keyword.arg is not None}

    assert {} == {field: place for field, place in used.items() if field not in documented()}
