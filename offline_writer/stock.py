"""Reads a language's stock of prose: plain text files that an editor can work on without knowing Python.

A file is a row of sections. `# key` opens one, `@field: value` lines describe it, and `== name` opens a
further body beside the main one. In a body every line is a unit (whole sentences that stand or fall
together) and a blank line ends a paragraph. A unit may be marked at its start:

    +  ++      enriches the story and may be left out, ++ first
    <  =  >    for the youngest only, not for the youngest, for the oldest only

and within it `a // b` starts a new paragraph, `[a|b]` is a choice, `[a~b]` is for the youngest or for
the others, `[@slot|a|b]` is a where the slot has text and b where it is empty, and `{slot}` is filled
in. Quotes and apostrophes are typed straight and set here. A Realiser makes the choices and fills the slots.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from types import MappingProxyType

from offline_writer.bands import Band, Readers
from offline_writer.fitting import Paragraphs, Unit

_MARKS = re.compile(r"^(\+{0,2})([<=>]?) (?=\S)")
_OPENING_QUOTE = re.compile(r"(^|(?<=[\s(\[|~]))\"")


@dataclass(frozen=True, slots=True)
class Line:
    """One unit as it stands in the stock."""

    text: str
    level: int = 0
    readers: str = ""
    """"<", "=", ">" or "" for everybody."""


Body = tuple[tuple[Line, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A named entry of the stock."""

    key: str
    fields: Mapping[str, str]
    bodies: Mapping[str, Body]
    file: str = ""

    @property
    def id(self) -> str:
        """Its key among all sections of the stock."""
        return f"{self.file}/{self.key}"

    def body(self, name: str = "") -> Body:
        """The paragraphs of a body; none where the section has no such body."""
        return self.bodies.get(name, ())

    def lines(self, name: str = "") -> tuple[Line, ...]:
        """The same without regard to paragraphs: for lists of things to choose from."""
        return tuple(line for paragraph in self.body(name) for line in paragraph)

    def listed(self, field: str, separator: str = ",") -> tuple[str, ...]:
        """A field that holds a list."""
        return tuple(part.strip() for part in self.fields.get(field, "").split(separator) if part.strip())

    def allows(self, field: str, value: str) -> bool:
        """Returns whether a field that lists values has this one; a section without the field allows every value."""
        return field not in self.fields or value in self.listed(field)


def typeset(text: str) -> str:
    """Straight quotes and apostrophes as typographic ones."""
    return _OPENING_QUOTE.sub("\u201c", text).replace('"', "\u201d").replace("'", "\u2019")


def _line(raw: str) -> Line:
    marks = _MARKS.match(raw)
    if marks is None:
        return Line(typeset(raw))
    return Line(typeset(raw[marks.end() :]), len(marks[1]), marks[2])


def _section(text: str, file: str) -> Section:
    head, *rows = text.splitlines()
    fields: dict[str, str] = {}
    bodies: dict[str, list[list[Line]]] = {"": [[]]}
    body = bodies[""]
    for row in rows:
        if row.startswith("@"):
            name, _, value = row[1:].partition(":")
            fields[name] = typeset(value.strip())
        elif row.startswith("== "):
            body = bodies.setdefault(row[3:].strip(), [[]])
        elif not row.strip():
            body.append([])
        else:
            body[-1].append(_line(row))
    kept = {name: tuple(tuple(lines) for lines in paragraphs if lines) for name, paragraphs in bodies.items()}
    return Section(head.strip(), MappingProxyType(fields), MappingProxyType(kept), file)


def parse(text: str, file: str = "") -> tuple[Section, ...]:
    """The sections of one file, in their order."""
    return tuple(_section(part, file) for part in re.split(r"(?m)^# ", text) if part.strip())


def by_key(sections: Iterable[Section]) -> dict[str, Section]:
    """Returns the sections by their keys, which differ within a file."""
    return {section.key: section for section in sections}


def capitalised(text: str) -> str:
    """Returns the text with a capital first letter, and the rest as it is."""
    return text[:1].upper() + text[1:]


def load(folder: Traversable) -> dict[str, tuple[Section, ...]]:
    """Every file of the folder by its stem; what lies in a subfolder counts as one file of the folder's name."""
    stock: dict[str, tuple[Section, ...]] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            parts = load(entry)
            sections = (replace(section, file=entry.name) for part in parts.values() for section in part)
            stock[entry.name] = tuple(sections)
        elif entry.name.endswith(".txt"):
            file = entry.name.removesuffix(".txt")
            stock[file] = parse(entry.read_text(encoding="utf-8"), file)
    return stock


_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_CONDITION = re.compile(r"@(\w+)\|")
_SLOT = re.compile(r"\{(\w+)\}")
_AFTER_STOP = re.compile(r"(?<=[^.]\. )([\u201c\u00ab]?)([a-z\u0430-\u044f\u0451])")
_FIRST = re.compile(r"^((?:\u2014 )?[\u201c\u00ab]?)([a-z\u0430-\u044f\u0451])")
_SENTENCES = re.compile(r"(?<=[.!?\u2026])(\u201d? (?:// )?)")
_TWO_STOPS = re.compile(r"([!?\u2026])\.(?!\w)")
_NOT_FOR: Mapping[Readers, str] = {"youngest": "=>", "middle": "<>", "oldest": "<"}


def suits(marked: str, readers: Readers) -> bool:
    """Returns whether what is marked with "<", "=", ">" or "" is meant for these readers."""
    return not marked or marked not in _NOT_FOR[readers]


def _upper_second(match: re.Match[str]) -> str:
    return match[1] + match[2].upper()


class Realiser:
    """Turns stock into prose for one story. A choice depends on the story and its words, not on what else is told."""

    def __init__(
        self, slots: Mapping[str, str], rng: random.Random, band: Band, *, simpler: Mapping[str, str],
        joints: re.Pattern[str] | None = None, avoided: Callable[[str], bool] = lambda _: False,
    ) -> None:  # fmt: skip
        """Sentences too long for the band are divided at `joints`; what is `avoided` is left out of every paragraph."""
        self._slots = slots
        self._salt = rng.random()
        self._readers = readers = band.readers
        self._joints = joints if readers != "youngest" else None
        self._usual_words = band.least_words if readers == "middle" else band.most_words * 4 // 3
        self._simpler = (
            re.compile(r"\b(" + "|".join(sorted(map(re.escape, simpler), key=len, reverse=True)) + r")\b")
            if simpler and readers == "youngest"
            else None
        )
        self._simple_words = simpler
        self._avoided = avoided

    def text(self, source: str, extra: Mapping[str, str] | None = None) -> str:
        """Returns one line of stock as finished prose."""
        text = _CHOICE.sub(lambda match: self._choose(match, extra), source)
        if self._simpler is not None:
            text = self._simpler.sub(self._simplified, text)
        if self._readers != "oldest":
            text = text.replace("; ", ". ")
        if self._joints is not None:
            text = "".join(map(self._divided, _SENTENCES.split(text)))
        # Divided before it is filled: what a caller wrote divides nothing.
        return "\n\n".join(self._paragraph(part, extra) for part in text.split(" // "))

    def _divided(self, sentence: str) -> str:
        """Returns a long sentence as several, which are short where it has joints."""
        if self._joints is None or len(sentence.split()) <= self._usual_words:
            return sentence
        for joint in self._joints.finditer(sentence):
            before, after = sentence[: joint.start()], sentence[joint.end() :]
            if min(len(before.split()), len(after.split())) >= self._usual_words * 2 // 5:
                return f"{before}. {self._divided(after)}"
        return sentence

    def _paragraph(self, source: str, extra: Mapping[str, str] | None) -> str:
        text = _SLOT.sub(lambda match: self._filled(match[1], extra), source)
        # A slot may be empty.
        text = _TWO_STOPS.sub(r"\1", text.replace("  ", " ").strip())
        return _AFTER_STOP.sub(_upper_second, _FIRST.sub(_upper_second, text))

    def suits(self, line: Line) -> bool:
        """Returns whether the line is meant for readers of this age."""
        return suits(line.readers, self._readers)

    def unit(self, line: Line, extra: Mapping[str, str] | None = None) -> Unit:
        """Returns one line as a unit, empty where it has what is avoided."""
        text = self.text(line.text, extra)
        return Unit("" if self._avoided(text) else text, line.level)

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
            return youngest if self._readers == "youngest" else others
        options: list[str] = str(match[1]).split("|")
        return random.Random(f"{self._salt} {match[1]}").choice(options)
