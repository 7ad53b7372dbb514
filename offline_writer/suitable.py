"""What is known to be suitable for a child: words, and deeds with the things that they may be done with."""

import re
from collections.abc import Callable, Collection, Iterable
from typing import Final

from offline_writer.stock import Section, by_key

_WORD: Final = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")
_NAMED: Final = frozenset({""})
"""What is no word of the lists, and suits."""
_DEED: Final = "*"
"""Of a thing that is written like a deed: stamps."""


class Vocabulary:
    """Reads texts by the lists of one stock: what they do not have is not suitable.

    Each section lists words and phrases by their lemmas. `plain`, `before` and `clauses` have no meaning of their own:
    `before` stand before a noun, behind `clauses` another sentence begins. `modifiers` may stand directly before any
    noun. What is in `company` may follow one of `beside` whatever is done, what is in `always` any deed, what is in
    `still` none. Other sections are classes of things. `deeds` has lines such as "ride, drive: ~mounts, train": the
    deed is suitable with these things, ~mounts are all of a class, and * all of every class.
    """

    def __init__(
        self,
        sections: Iterable[Section],
        *,
        lemmas: Callable[[str], Iterable[str]],
        is_name: Callable[[str], bool],
        is_verb: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`lemmas` returns the dictionary forms of a word; a thing that `is_verb` may be a deed that is not listed."""
        self._lemmas, self._is_name, self._is_verb = lemmas, is_name, is_verb
        listed = by_key(sections)
        rows = [line.text.partition(":") for line in listed.pop("deeds").lines()]
        classes = {key: _entries(line.text for line in one.lines()) for key, one in listed.items()}
        self._plain, self._before, self._clauses, self._modifiers, self._beside, still = (
            classes.pop(key) for key in ("plain", "before", "clauses", "modifiers", "beside", "still")
        )
        self._company, self._always, self._beings = (classes[key] for key in ("company", "always", "beings"))
        things = [(_entries([deeds]), _entries([named])) for deeds, _, named in rows]
        done = frozenset(name for _, names in things for name in names if name[0] not in "~*").union(*classes.values())
        self._things = done | still
        self._deeds: dict[str, frozenset[str]] = {}
        for deeds, names in things:
            of_class = (classes[name[1:]] for name in names if name.startswith("~"))
            suited = (done if "*" in names else names).union(self._always, *of_class)
            self._deeds |= {deed: suited | self._deeds.get(deed, frozenset()) for deed in deeds}
        self._by_first: dict[str, list[tuple[str, ...]]] = {}
        for entry in self._things.union(self._plain, self._before, self._clauses, self._modifiers, self._deeds):
            first, *rest = entry.split()
            self._by_first.setdefault(first, []).append((first, *rest))

    def suits(self, text: str, *, name: str = "") -> bool:
        """Returns whether every word is listed or a name, and each thing suits the deed before it."""
        units = self._units(text, name)
        suited, before = self._things, _NAMED
        for unit, following in zip(units, [*units[1:], frozenset[str]()], strict=False):
            things, deeds = unit & self._things, unit & self._deeds.keys()
            named = not before.isdisjoint(self._before)
            told = named or not before.isdisjoint(self._deeds.keys() | self._modifiers)
            if not unit or (_DEED in unit and not told and not following.isdisjoint(self._before | self._things)):
                return False
            deeds = deeds if not things or not named else frozenset()
            if not unit.isdisjoint(self._clauses):
                suited = self._things
            elif deeds:
                suited = frozenset().union(*map(self._deeds.__getitem__, deeds))
            elif things and unit.isdisjoint(self._plain | self._before):
                together = not self._beside.isdisjoint(before) and not things.isdisjoint(self._company)
                part = not unit.isdisjoint(self._modifiers) and not following.isdisjoint(self._things)
                if things.isdisjoint(suited) and not together and not part:
                    return False
            # An adjective does not part a preposition from its noun.
            before = before | unit if unit <= self._before else unit
        return True

    def _units(self, text: str, name: str) -> list[frozenset[str]]:
        """Returns the longest entries that the words are, one after another; an empty one for an unknown word."""
        words = _WORD.findall(text.replace("\u2019", "'"))
        forms = [frozenset((word.casefold(), *self._lemmas(word.casefold()))) for word in words]
        own = frozenset(name.casefold().split())
        units: list[frozenset[str]] = []
        at = 0
        while at < len(words):
            found = [entry for form in forms[at] for entry in self._by_first.get(form, ()) if _is(entry, forms[at:])]
            length = max(map(len, found), default=1)
            unit = frozenset(" ".join(entry) for entry in found if len(entry) == length)
            if (
                unit
                and length == 1
                and unit <= self._things - self._deeds.keys()
                and self._is_verb(words[at].casefold())
            ):
                unit |= {_DEED}
            if not unit and (own & forms[at] or words[at].isdigit() or self._names(words[at], units[-1:])):
                unit = _NAMED
            units.append(unit)
            at += length
        return units

    def _names(self, word: str, before: Collection[frozenset[str]]) -> bool:
        """Returns whether the word names the being before it: "my dog Rex"."""
        return self._is_name(word) and any(not one.isdisjoint(self._beings | self._company) for one in before)


def _is(entry: tuple[str, ...], forms: list[frozenset[str]]) -> bool:
    return len(entry) <= len(forms) and all(one in form for one, form in zip(entry, forms, strict=False))


def _entries(texts: Iterable[str]) -> frozenset[str]:
    listed = ",".join(texts).replace("\u2019", "'").replace("\u0451", "\u0435")
    return frozenset(entry.strip() for entry in listed.split(",") if entry.strip())
