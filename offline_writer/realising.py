"""From lines of the stock to sentences: choices made, slots filled, for the reader's age."""

import random
import re
from collections.abc import Mapping
from typing import Literal

from offline_writer.arc import Paragraphs, Unit
from offline_writer.stock import Body, Line

AgeBand = Literal["youngest", "middle", "oldest"]

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_CONDITION = re.compile(r"@(\w+)\|")
_SLOT = re.compile(r"\{(\w+)\}")
_AFTER_STOP = re.compile(r"(?<=[^.]\. )([\u201c\u00ab]?)([a-z\u0430-\u044f\u0451])")
_FIRST = re.compile(r"^((?:\u2014 )?[\u201c\u00ab]?)([a-z\u0430-\u044f\u0451])")
_SEMICOLON = re.compile(r"; (\w)")
_TWO_STOPS = re.compile(r"([!?\u2026])\.(?!\w)")
_NOT_FOR: Mapping[AgeBand, str] = {"youngest": "=>", "middle": "<>", "oldest": "<"}


def age_band(age: int | None) -> AgeBand:
    """Returns the band of an age: up to four, five to seven, eight and over; the middle one for None."""
    if age is None:
        return "middle"
    if age <= 4:
        return "youngest"
    return "middle" if age <= 7 else "oldest"


def _upper_second(match: re.Match[str]) -> str:
    return match[1] + match[2].upper()


class Realiser:
    """Turns stock into prose for one story. Not shared between stories: choices consume its randomness."""

    def __init__(
        self, slots: Mapping[str, str], rng: random.Random, band: AgeBand, *, simpler: Mapping[str, str]
    ) -> None:
        self._slots = slots
        self._rng = rng
        self._band = band
        self._simpler = (
            re.compile(r"\b(" + "|".join(sorted(map(re.escape, simpler), key=len, reverse=True)) + r")\b")
            if simpler and band == "youngest"
            else None
        )
        self._simple_words = simpler

    def text(self, source: str, extra: Mapping[str, str] | None = None) -> str:
        """Returns one line of stock as finished prose."""
        text = _CHOICE.sub(lambda match: self._choose(match, extra), source)
        if self._simpler is not None:
            text = self._simpler.sub(self._simplified, text)
            text = _SEMICOLON.sub(lambda match: ". " + match[1].upper(), text)
        # Divided before it is filled: what a caller wrote divides nothing.
        return "\n\n".join(self._paragraph(part, extra) for part in text.split(" // "))

    def _paragraph(self, source: str, extra: Mapping[str, str] | None) -> str:
        text = _SLOT.sub(lambda match: self._filled(match[1], extra), source)
        text = _TWO_STOPS.sub(r"\1", text.strip())
        return _AFTER_STOP.sub(_upper_second, _FIRST.sub(_upper_second, text))

    def suits(self, line: Line) -> bool:
        """Returns whether the line is meant for readers of this age."""
        return not line.readers or line.readers not in _NOT_FOR[self._band]

    def unit(self, line: Line, extra: Mapping[str, str] | None = None) -> Unit:
        """Returns one line as a unit."""
        return Unit(self.text(line.text, extra), line.level)

    def paragraphs(self, body: Body, extra: Mapping[str, str] | None = None) -> Paragraphs:
        """Returns a body, without the lines that are not for this age or that are empty."""
        told = (
            tuple(unit for line in paragraph if self.suits(line) and (unit := self.unit(line, extra)).text)
            for paragraph in body
        )
        return tuple(paragraph for paragraph in told if paragraph)

    def _simplified(self, match: re.Match[str]) -> str:
        return self._simple_words[str(match[1])]

    def _filled(self, slot: str, extra: Mapping[str, str] | None) -> str:
        return extra[slot] if extra is not None and slot in extra else self._slots[slot]

    def _choose(self, match: re.Match[str], extra: Mapping[str, str] | None) -> str:
        if condition := _CONDITION.match(match[1]):
            given, _, otherwise = str(match[1])[condition.end() :].partition("|")
            return given if self._filled(condition[1], extra) else otherwise
        youngest, tilde, others = str(match[1]).partition("~")
        if tilde:
            return youngest if self._band == "youngest" else others
        options: list[str] = str(match[1]).split("|")
        return self._rng.choice(options)
