"""A morphological dictionary: pymorphy3 with the words of OpenCorpora."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Case = Literal["nom", "gen", "dat", "acc", "ins", "loc"]
Gender = Literal["m", "f", "n", "pl"]
"""What agrees with a noun asks for one of these: in the plural Russian knows no genders."""

CASES: tuple[Case, ...] = ("nom", "gen", "dat", "acc", "ins", "loc")
GRAMMEMES: Mapping[Case, str] = {
    "nom": "nomn", "gen": "gent", "dat": "datv", "acc": "accs", "ins": "ablt", "loc": "loct",
}  # fmt: skip
_GENDERS: Mapping[str | None, Gender] = {"masc": "m", "femn": "f", "neut": "n", "ms-f": "m"}

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


class Morphology:
    """Readings of words. The dictionary (about 30 MB, a tenth of a second) is loaded at first use."""

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._analyzer: Any = None

    def words(self, text: str, *grammemes: str) -> Iterable[Word]:
        """Readings that the dictionary knows, the likeliest first, with all of these grammemes."""
        analyzer = self._loaded()
        if not analyzer.word_is_known(text):
            return []
        return [Word(parse) for parse in analyzer.parse(text) if all(one in parse.tag for one in grammemes)]

    def word(self, text: str, *grammemes: str) -> Word | None:
        """The likeliest of them."""
        return next(iter(self.words(text, *grammemes)), None)

    def knows(self, text: str) -> bool:
        """Whether the dictionary has the word."""
        return bool(self._loaded().word_is_known(text))

    def _loaded(self) -> Any:
        with self._loading:
            if self._analyzer is None:
                # Reading the dictionary takes memory that a service which writes no Russian does not need.
                from pymorphy3 import MorphAnalyzer  # noqa: PLC0415 - loaded when first asked

                self._analyzer = MorphAnalyzer()
        return self._analyzer


def like(model: str, word: str) -> str:
    """The word with a capital where the model has one."""
    return word[:1].upper() + word[1:] if model[:1].isupper() else word
