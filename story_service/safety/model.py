"""A SafetyCheck over a chat model, whose answer is read by its shape."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from story_service.assignment import MAX_CONTENT_LENGTH
from story_service.prompting.variables import Data
from story_service.safety.judge import PROMPTS, objects
from story_service.safety.ports import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servicekit.resilience.circuit_queue import Circuit
    from story_service.safety.judge import Judge
    from story_service.safety.ports import Note

PURPOSE: Final = "safety"
CATEGORIES: Final[tuple[str, ...]] = tuple(PROMPTS[PURPOSE]["named"])
_REFUSES: Final[str] = PROMPTS[PURPOSE]["refuses"]
_PASSES: Final[str] = PROMPTS[PURPOSE]["passes"]
_LABEL: Final = r"(?:(?:\w+ )?(?:verdict|answer|safety|result|judge?ment)\W+)?"
_REFUSAL: Final = re.compile(rf"\W*{_LABEL}(?:{_REFUSES})\b(.*)", re.IGNORECASE | re.DOTALL)
_PASS: Final = re.compile(rf"\W*{_LABEL}(?:{_PASSES})\W*(?:categor\w+\W+(?:none|n/a)\W*)?", re.IGNORECASE)
_BRACES: Final = str.maketrans("{}", "()")
"""A verdict that stands in the text, and that a model repeats, is none."""
_OF_A_GUARD: Final = re.compile(r"\bS\d{1,2}\b")
"""A category of the Llama Guard models."""


class ModelCheck:
    """Asks a model whether a text is unsuitable."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    @property
    def circuit(self) -> Circuit:
        """The circuit breaker of the model."""
        return self._judge.circuit

    async def check(self, text: str, *, note: Note) -> Verdict:
        """Checks `text`; see SafetyCheck."""
        data = Data.of_lines(text.translate(_BRACES), first=MAX_CONTENT_LENGTH, last=0)
        return await self._judge.ask(str(data), read_verdict, note=note)

    def most_usd(self, *, checks: int, words: int) -> float | None:
        """Returns about what the calls cost; see SafetyCheck."""
        return self._judge.most_usd(checks=checks, words=words)


def read_verdict(answer: str) -> Verdict | None:
    """Returns the verdict in an answer: of JSON, of the one word that was asked for, or as guard models write it.

    None where it has none. Where it has several, a refusal counts.
    """
    verdicts = [verdict for each in objects(answer) if (verdict := _of_object(each)) is not None]
    if "{" in answer:
        return max(verdicts, key=lambda verdict: bool(verdict.category), default=None)
    refusal = _REFUSAL.fullmatch(answer)
    if refusal is not None:
        return Verdict(_category(refusal[1]))
    return Verdict() if _PASS.fullmatch(answer) else None


_OTHER: Final = "other"


def _of_object(answer: Mapping[str, Any]) -> Verdict | None:
    for key, value in answer.items():
        said = str(value).strip().casefold() if isinstance(value, str | bool) else ""
        if re.fullmatch(_REFUSES, key):
            unfit = {"true": True, "yes": True, "false": False, "no": False}.get(said)
        elif re.fullmatch(_PASSES, key):
            unfit = {"true": False, "yes": False, "false": True, "no": True}.get(said)
        elif re.fullmatch(r"verdict|answer|safety|result|judge?ment", key):
            unfit = True if re.fullmatch(_REFUSES, said) else False if re.fullmatch(_PASSES, said) else None
        else:
            continue
        if unfit is None:
            return None
        category = str(answer.get("category", answer.get("categories", "")))
        # A verdict that passes a text and names what is wrong with it is no pass.
        return Verdict(_category(category)) if unfit or _category(category) != _OTHER else Verdict()
    return None


def _category(said: str) -> str:
    """Returns the first known category in what a model says, and nothing that the model made up."""
    code = _OF_A_GUARD.search(said)
    known = re.sub(r"[\s_]+", "-", said.casefold())
    return next((name for name in CATEGORIES if name in known), code[0] if code is not None else _OTHER)
