"""What is known to be suitable for a child: words, and deeds with the things that they may be done with."""

import re
from collections.abc import Callable, Collection, Iterable
from typing import Final

from offline_writer.stock import Section, by_key

_WORD: Final = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")
_PLAIN: Final = str.maketrans("\u2019\u2010\u2011", "'--")
"""Apostrophes and hyphens as the lists have them."""
_NAMED: Final = frozenset({""})
"""What is no word of the lists, and suits."""
_AND: Final = "and"
"""Joins to company that was accepted, and to nothing else."""
_TO: Final = "to"
"""Stands before the one that receives."""
_THAT: Final = "that"
"""Begins a clause or points at a thing."""
_DEED: Final = "*"
"""Of a thing that is written like a deed: stamps."""


class Vocabulary:
    """Reads texts by the lists of one stock: what they do not have is not suitable.

    Each section lists words and phrases by their lemmas. `plain`, `before` and `clauses` have no meaning of their own:
    `before` stand before a noun, behind `clauses` another sentence begins. `modifiers` may stand directly before any
    noun. What is in `company` may follow one of `beside` whatever is done, what is in `always` any deed, what is in
    `still` none. Other sections are classes of things. `deeds` has lines such as "ride, drive: ~mounts, train": the
    deed is suitable with these things, ~mounts are all of a class, and * all of every class;
    those after > receive what it is done with: "give: >~company, present".
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
        done = frozenset(name for _, names in things for name in names if name[0] not in "~*>").union(*classes.values())
        self._things = done | still
        self._deeds: dict[str, frozenset[str]] = {}
        self._receivers: dict[str, frozenset[str]] = {}
        for deeds, names in things:
            of_class = (classes[name[1:]] for name in names if name.startswith("~"))
            suited = (done if "*" in names else names).union(self._always, *of_class)
            self._deeds |= {deed: suited | self._deeds.get(deed, frozenset()) for deed in deeds}
            receiving = frozenset[str]().union(*(classes[name[2:]] for name in names if name.startswith(">~")))
            self._receivers |= {deed: receiving | self._receivers.get(deed, frozenset()) for deed in deeds}
        self._by_first: dict[str, list[tuple[str, ...]]] = {}
        for entry in self._things.union(self._plain, self._before, self._clauses, self._modifiers, self._deeds):
            first, *rest = entry.split()
            self._by_first.setdefault(first, []).append((first, *rest))

    def suits(self, text: str, *, name: str = "") -> bool:
        """Returns whether every word is listed or a name, and each thing suits the deed before it."""
        units = self._units(text, name)
        suited, receivers, before, accompanied = self._things, frozenset[str](), _NAMED, False
        for at, (unit, following) in enumerate(zip(units, [*units[1:], frozenset[str]()], strict=False)):
            things, deeds = unit & self._things, unit & self._deeds.keys()
            named = not before.isdisjoint(self._before)
            told = named or not before.isdisjoint(self._deeds.keys() | self._modifiers)
            if not unit or (_DEED in unit and not told and not following.isdisjoint(self._before | self._things)):
                return False
            deeds = deeds if not things or not named else frozenset()
            # To like a sister, and to kick like a sister.
            deeds = deeds if not unit <= self._before or before.isdisjoint(self._deeds.keys()) else frozenset()
            if not unit.isdisjoint(self._clauses):
                # Who does the next deed stands before it; else what stands there is still done something with.
                if _THAT not in unit and self._has_deed(units[at + 1 :]):
                    suited, receivers = self._things, frozenset()
            elif deeds:
                suited = frozenset().union(*map(self._deeds.__getitem__, deeds))
                receivers = frozenset().union(*map(self._receivers.__getitem__, deeds))
            elif things and unit.isdisjoint(self._plain | self._before):
                beside = bool(before & self._beside - {_AND}) or (_AND in before & self._beside and accompanied)
                accompanied = beside and not things.isdisjoint(self._company)
                part = not unit.isdisjoint(self._modifiers) and not following.isdisjoint(self._things)
                received = not things.isdisjoint(receivers) and (
                    _TO in before
                    or self._is_object(units[at + 1 :], suited)
                    or self._is_object(units[:at][::-1], suited, before=True)
                )
                if things.isdisjoint(suited) and not accompanied and not part and not received:
                    return False
            # An adjective does not part a preposition from its noun.
            before = before | unit if unit <= self._before else unit
        return True

    def _has_deed(self, units: list[frozenset[str]]) -> bool:
        """Returns whether a deed follows in the same clause."""
        named = False
        for unit in units:
            if not unit.isdisjoint(self._clauses) or _AND in unit:
                return False
            if not unit.isdisjoint(self._deeds.keys()) and not (named and not unit.isdisjoint(self._things)):
                return True
            named = unit <= self._before
        return False

    def _is_object(self, units: list[frozenset[str]], suited: frozenset[str], *, before: bool = False) -> bool:
        """Returns whether the next noun is one of the suited things; one that lives only after an article."""
        named = joined = False
        for unit in units:
            if _AND in unit or (joined and not unit.isdisjoint(self._company - suited)):
                joined = _AND in unit
            elif unit <= self._before | _NAMED:
                named = named or not (before or unit.isdisjoint(self._before))
            elif unit.isdisjoint(self._modifiers - suited):
                return not unit.isdisjoint(suited) and (named or unit.isdisjoint(self._company))
        return False

    def _units(self, text: str, name: str) -> list[frozenset[str]]:
        """Returns the longest entries that the words are, one after another; an empty one for an unknown word."""
        words = _WORD.findall(text.translate(_PLAIN))
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
