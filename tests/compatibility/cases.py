"""All cases, in the order of the document."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Final, TypeVar

from compatibility import answer, budget, endings, reports, servers, wire
from compatibility.harness import Case
from compatibility.voice_harness import VoiceCase

AnyCase = TypeVar("AnyCase", Case, VoiceCase)


def _by_kind(cases: Iterable[AnyCase]) -> tuple[AnyCase, ...]:
    """Those of a kind stand together, in the order in which the kinds first came."""
    listed = list(cases)
    kinds = list(dict.fromkeys(case.kind for case in listed))
    return tuple(sorted(listed, key=lambda case: kinds.index(case.kind)))


def _voice_parts() -> list[str]:
    files = sorted(Path(__file__).parent.glob("voice_*.py"), key=lambda file: file.stem != "voice_servers")
    return [f"compatibility.{file.stem}" for file in files if file.stem != "voice_harness"]


CASES: Final = _by_kind(
    [*servers.CASES, *wire.CASES, *answer.CASES, *endings.CASES, *budget.CASES, *reports.CASES],
)
VOICE_CASES: Final = _by_kind(case for part in _voice_parts() for case in import_module(part).CASES)
