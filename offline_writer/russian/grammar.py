"""Russian grammar: the dictionary of OpenCorpora, agreement, cases, numbers and prepositions."""

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from offline_writer.stock import Section, capitalised

Case = Literal["nom", "gen", "dat", "acc", "ins", "loc"]
Gender = Literal["m", "f", "n", "pl"]
"""What agrees with a noun asks for one of these: in the plural Russian knows no genders."""

CASES: tuple[Case, ...] = ("nom", "gen", "dat", "acc", "ins", "loc")
GRAMMEMES: Mapping[Case, str] = {
    "nom": "nomn", "gen": "gent", "dat": "datv", "acc": "accs", "ins": "ablt", "loc": "loct",
}  # fmt: skip
_GENDERS: Mapping[str | None, Gender] = {"masc": "m", "femn": "f", "neut": "n", "ms-f": "m"}

_LIKELY = 0.2
"""Least share of the uses of a word that a reading counts for: кому is hardly ever a coma."""

_REMEMBERED = 4096
"""Most words of which the readings are stored."""

Forms = Mapping[Case, str]


@dataclass(frozen=True, slots=True)
class Word:
    """One reading of a word."""

    parse: Any

    def __contains__(self, grammeme: str) -> bool:
        return grammeme in self.parse.tag

    @property
    def lemma(self) -> str:
        """The dictionary form."""
        return str(self.parse.normal_form)

    @property
    def gender(self) -> Gender:
        """Of this form; words of common gender count as masculine."""
        return "pl" if "plur" in self.parse.tag else _GENDERS.get(self.parse.tag.gender, "m")

    def inflected(self, *grammemes: str) -> str | None:
        """The form with these grammemes, in lower case."""
        found = self.parse.inflect(set(grammemes))
        return None if found is None else str(found.word)

    def forms(self, number: str) -> Forms | None:
        """All six cases in "sing" or "plur", in lower case; None where one is missing."""
        found = {case: self.inflected(GRAMMEMES[case], number) for case in CASES}
        return None if None in found.values() else {case: str(form) for case, form in found.items()}


_YOUNG: Final = re.compile(r"\w{3}(?:ик|[её]но?к|[шчж]оно?к|ят|[шчж]ат)(?:ами|ах|ам|ов|ом|ем|а|у|и|е)?$")
_CYRILLIC: Final = re.compile(r"[а-яё]", re.IGNORECASE)


class Morphology:
    """Readings of words. The dictionary (about 30 MB, a tenth of a second) is loaded at first use."""

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._analyzer: Any = None
        self._parsed = lru_cache(_REMEMBERED)(self._readings)

    def words(self, text: str, *grammemes: str) -> Iterable[Word]:
        """Readings that the dictionary knows, the likeliest first, with all of these grammemes."""
        if not self.knows(text):
            return []
        return [Word(parse) for parse in self._parsed(text) if all(one in parse.tag for one in grammemes)]

    def word(self, text: str, *grammemes: str) -> Word | None:
        """The likeliest of them."""
        return next(iter(self.words(text, *grammemes)), None)

    def guess(self, text: str, *grammemes: str) -> Word | None:
        """The likeliest reading of a word with these grammemes, even of one that the dictionary does not have."""
        readings = (Word(parse) for parse in self._parsed(text))
        return next((word for word in readings if all(one in word for one in grammemes)), None)

    def lemmas(self, text: str) -> set[str]:
        """Dictionary forms of the likely readings, with е for ё."""
        readings = self._parsed(text)
        likely = [one for at, one in enumerate(readings) if at == 0 or one.score >= _LIKELY]
        return {text.replace("ё", "е"), *(str(one.normal_form).replace("ё", "е") for one in likely)}

    def knows(self, text: str) -> bool:
        """Whether the dictionary has the word; дракончик and зебрёнок are declined as it declines what ends so."""
        return all(self._loaded().word_is_known(part) or _YOUNG.search(part) for part in text.split("-"))

    def is_pet_name(self, text: str) -> bool:
        """Whether the word is only known by its ending."""
        return self.knows(text) and not self._loaded().word_is_known(text)

    def is_name(self, text: str) -> bool:
        """Whether it is written as a name, and is one or no other word."""
        known = self.word(text)
        return text[:1].isupper() and (known is None or "Name" in known or "Geox" in known or self.is_pet_name(text))

    def _readings(self, text: str) -> Any:
        # pymorphy3 raises ValueError for letters without a name in Unicode, such as Tangut.
        return self._loaded().parse(text) if _CYRILLIC.search(text) else []

    def _loaded(self) -> Any:
        with self._loading:
            if self._analyzer is None:
                # Reading the dictionary takes memory that a service which writes no Russian does not need.
                from pymorphy3 import MorphAnalyzer  # noqa: PLC0415 - loaded when first asked

                self._analyzer = MorphAnalyzer()
        return self._analyzer


def like(model: str, word: str) -> str:
    """The word with a capital where the model has one."""
    return capitalised(word) if model[:1].isupper() else word


_ORDER: tuple[Gender, ...] = ("m", "f", "n", "pl")
_CLUSTER = re.compile(r"(?:[сзшжльв][бвгджзклмнпрстфхцчшщ]|льв|мн)", re.IGNORECASE)
_VOWEL = re.compile(r"[аиоуэы]", re.IGNORECASE)


class Agreement:
    """Endings and pronouns by gender, as the stock lists them: one a line, "ending: m | f | n | pl"."""

    def __init__(self, sections: Iterable[Section]) -> None:
        (endings,) = (section for section in sections if section.key == "endings")
        rows = [line.text.partition(":") for line in endings.lines()]
        self._rows = {name.strip(): [form.strip() for form in forms.split("|")] for name, _, forms in rows}

    def slots(self, gender: Gender, suffix: str = "") -> dict[str, str]:
        """Returns the slots: {а} of the stock is "" after a boy and "а" after a girl; `suffix` names the person."""
        at = _ORDER.index(gender)
        return {name + suffix: forms[at] for name, forms in self._rows.items()}


def case_slots(prefix: str, forms: Mapping[str, str] | Forms) -> dict[str, str]:
    """{c}, {c_gen} and so on, and the same with a capital: {C}, {C_gen}."""
    slots: dict[str, str] = {}
    for case in CASES:
        tail = "" if case == "nom" else f"_{case}"
        slots[prefix + tail] = forms[case]
        slots[prefix.capitalize() + tail] = forms[case][:1].upper() + forms[case][1:]
    return slots


def listed(forms: str) -> Forms:
    """The six cases of a field of the stock, in the order in which they are taught."""
    return dict(zip(CASES, (form.strip() for form in forms.split(",")), strict=True))


def with_(phrase: str) -> str:
    """С or со: со Львом, с Машей."""
    return "со" if _CLUSTER.match(phrase) else "с"


def to(phrase: str) -> str:
    """К or ко: ко Льву, к Маше."""
    return "ко" if re.match(r"(?:льв|мн)", phrase, re.IGNORECASE) else "к"


def about(phrase: str) -> str:
    """О or об: об Арсении, о Маше."""
    return "об" if _VOWEL.match(phrase) else "о"


def quoted(sentence: str) -> str:
    """A closed sentence in guillemets: «Ура!», but «Делиться весело»., for a full stop stands behind them."""
    return f"«{sentence.removesuffix('.')}»." if sentence.endswith(".") else f"«{sentence}»"


def joined(parts: Sequence[str]) -> str:
    """А, б и в."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " и " + parts[-1]
