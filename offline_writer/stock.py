"""Reads a language's stock of prose: plain text files that an editor can work on without knowing Python.

A file is a row of sections. `# key` opens one, `@field: value` lines describe it, and `== name` opens a
further body beside the main one. In a body every line is a unit (whole sentences that stand or fall
together) and a blank line ends a paragraph. A unit may be marked at its start:

    +  ++      enriches the story and may be left out, ++ first
    <  =  >    for the youngest only, not for the youngest, for the oldest only

and within it `a // b` starts a new paragraph, `[a|b]` is a choice, `[a~b]` is for the youngest or for
the others, `[@slot|a|b]` is a where the slot has text and b where it is empty, and `{slot}` is filled
in. Quotes and apostrophes are typed straight and set here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from types import MappingProxyType

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

    def body(self, name: str = "") -> Body:
        """The paragraphs of a body; none where the section has no such body."""
        return self.bodies.get(name, ())

    def lines(self, name: str = "") -> tuple[Line, ...]:
        """The same without regard to paragraphs: for lists of things to choose from."""
        return tuple(line for paragraph in self.body(name) for line in paragraph)

    def listed(self, field: str, separator: str = ",") -> tuple[str, ...]:
        """A field that holds a list."""
        return tuple(part.strip() for part in self.fields.get(field, "").split(separator) if part.strip())


def typeset(text: str) -> str:
    """Straight quotes and apostrophes as typographic ones."""
    return _OPENING_QUOTE.sub("\u201c", text).replace('"', "\u201d").replace("'", "\u2019")


def _line(raw: str) -> Line:
    marks = _MARKS.match(raw)
    if marks is None:
        return Line(typeset(raw))
    return Line(typeset(raw[marks.end() :]), len(marks[1]), marks[2])


def _section(text: str) -> Section:
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
    return Section(head.strip(), MappingProxyType(fields), MappingProxyType(kept))


def parse(text: str) -> tuple[Section, ...]:
    """The sections of one file, in their order."""
    return tuple(_section(part) for part in re.split(r"(?m)^# ", text) if part.strip())


def load(folder: Traversable) -> dict[str, tuple[Section, ...]]:
    """Every file of the folder by its stem; what lies in a subfolder counts as one file of the folder's name."""
    stock: dict[str, tuple[Section, ...]] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            parts = load(entry)
            stock[entry.name] = tuple(section for sections in parts.values() for section in sections)
        elif entry.name.endswith(".txt"):
            stock[entry.name.removesuffix(".txt")] = parse(entry.read_text(encoding="utf-8"))
    return stock
