"""Tells the languages of texts apart."""

from __future__ import annotations

import asyncio
import re
import tomllib
import unicodedata
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import Any, Final

DEFAULT_LANGUAGE: Final = "en"
_SURE: Final = 0.3
"""Share of the probability below which the letters decide: two words of a title get less, a sentence 0.4 to 1."""
_NO_LANGUAGE: Final = frozenset({"zxx", "und"})

_KNOWN: Final[dict[str, Any]] = tomllib.loads(files(__package__).joinpath("languages.toml").read_text("utf-8"))
_LETTERS: Final = [(code, re.compile(letters)) for code, letters in _KNOWN["letters_of"].items()]
_RIGHT_TO_LEFT: Final = frozenset({"ARABIC", "HEBREW", "SYRIAC", "THAANA", "NKO"})
_WRITTEN_IN: Final = {script: languages.split() for script, languages in _KNOWN["written_in"].items()}
SCRIPTS: Final = frozenset(_WRITTEN_IN)
"""Names of scripts, as Unicode begins the names of their letters."""
_RELATIVES: Final[dict[str, list[str]]] = _KNOWN["relatives"]
_FAMILIES: Final = [frozenset(family.split()) for family in _KNOWN["families"]]
_LETTERS_SHARE: Final = 0.015
_OTHER_SCRIPT: Final = 0.8
_LEAST_LETTERS: Final = 20
_ENOUGH_LETTERS: Final = 90
_TITLE_LETTERS: Final = 12
_CERTAIN: Final = 0.8
_IMPOSSIBLE: Final = 0.02
_UNLIKELY: Final = 0.1


class LanguageDetector:
    """Tells languages apart with py3langid. Its model takes 0.8 s and 80 MB, so it is loaded when first needed."""

    def __init__(self) -> None:
        self._identifier: Any = None
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """Loads the model in a thread, unless it is loaded."""
        if self._identifier is not None:
            return
        async with self._loading:
            self._identifier = await asyncio.to_thread(_load)

    async def detect(self, sample: str) -> str:
        """Returns the BCP-47 code of the language that `sample` is most likely in; "en" without any letter."""
        if not any(map(str.isalpha, sample)):
            return DEFAULT_LANGUAGE
        await self.load()
        language, confidence = self._identifier.classify(sample)
        if confidence < _SURE or language in _NO_LANGUAGE:
            return language_of(sample)
        return str(language)

    def other_language(self, language_code: str, text: str) -> str:
        """Returns the code of the language of `text` where that is certainly another than `language_code`, else "".

        The script decides first. Where it is that of the language, there must be enough text, and relatives such as
        Spanish and Portuguese count as the same. The model must be loaded.
        """
        language = language_code.partition("-")[0].lower()
        found = self._of_another_script(language_code, text) or _relative(language, text)
        if found or sum(map(str.isalpha, text)) < _ENOUGH_LETTERS or language not in self._identifier.labels:
            return found
        family, ranks = _family(language), dict(self._identifier.rank(text))
        best = max(ranks, key=ranks.__getitem__)
        if ranks[best] < _CERTAIN or _share(ranks, family) > _IMPOSSIBLE or best in _NO_LANGUAGE:
            return ""
        words = text.split()
        for half in (words[: len(words) // 2], words[len(words) // 2 :]):
            if _share(dict(self._identifier.rank(" ".join(half))), family) > _UNLIKELY:
                return ""
        return str(best)

    def may_be(self, language_code: str, text: str) -> bool:
        """Returns whether a short text, such as a title, may be in the language. The model must be loaded."""
        language, expected = language_code.partition("-")[0].lower(), scripts_of(language_code)
        if not any(script_of(character) in expected for character in text if character.isalpha()):
            return False
        known = language in self._identifier.labels and sum(map(str.isalpha, text)) >= _TITLE_LETTERS
        return not known or _share(dict(self._identifier.rank(text)), _family(language)) > _UNLIKELY

    def _of_another_script(self, language_code: str, text: str) -> str:
        counts = Counter(script_of(character) for character in text if character.isalpha())
        expected, total = scripts_of(language_code), counts.total()
        if not expected or total < _LEAST_LETTERS:
            return ""
        kana = counts["HIRAGANA"] + counts["KATAKANA"]
        if "HIRAGANA" in expected and counts["CJK"] > _OTHER_SCRIPT * total and not kana:
            return "zh"
        if expected == {"CJK"} and kana > total // 3:
            return "ja"
        if total - sum(counts[script] for script in expected) < _OTHER_SCRIPT * total:
            return ""
        found, _ = self._identifier.classify(text)
        return str(found) if found not in _NO_LANGUAGE else language_of(text)


def _family(language: str) -> frozenset[str]:
    return frozenset({language}).union(*(family for family in _FAMILIES if language in family))


def _share(ranks: dict[str, float], languages: frozenset[str]) -> float:
    return sum(ranks.get(language, 0.0) for language in languages)


def script_of(character: str) -> str:
    """Returns the script of a letter as the tables of this module name it, or the first word of its name."""
    return unicodedata.name(character, "").partition(" ")[0]


def scripts_of(language_code: str) -> set[str]:
    """Returns the scripts that a language is written in: LATIN where no table names another."""
    language, *subtags = language_code.lower().split("-")
    named = [_KNOWN["subtags"][subtag] for subtag in subtags if subtag in _KNOWN["subtags"]]
    if named:
        return set(named[0].split())
    return {script for script, languages in _WRITTEN_IN.items() if language in languages} or {"LATIN"}


def is_right_to_left(language_code: str) -> bool:
    """Returns whether every script of a language runs from right to left."""
    return scripts_of(language_code) <= _RIGHT_TO_LEFT


def quotation_marks(language_code: str) -> str:
    """Returns the marks of direct speech around an ellipsis; "" where no table names any."""
    language, *subtags = language_code.lower().split("-")
    marks: dict[str, str] = _KNOWN["quotation"]
    return next((marks[key] for tag in subtags if (key := f"{language}-{tag}") in marks), marks.get(language, ""))


def _relative(language: str, text: str) -> str:
    """Returns which of its relatives `text` is written in, by letters that one of the two lacks; "" if in none."""
    own, foreign = _RELATIVES.get(language, ("", ""))
    lowered = text.lower()
    strange = sum(lowered.count(letter) for letter in foreign)
    letters = sum(map(str.isalpha, lowered))
    if letters < _ENOUGH_LETTERS or any(letter in lowered for letter in own) or strange < _LETTERS_SHARE * letters:
        return ""
    shares = {other: sum(lowered.count(letter) for letter in have) for other, (have, _) in _RELATIVES.items()}
    return max(shares, key=shares.__getitem__)


@cache
def _load() -> Any:
    """Returns the model, which is the same for the whole process."""
    from py3langid.langid import (  # type: ignore[import-untyped] # noqa: PLC0415 - most narrations never need it
        MODEL_FILE,
        LanguageIdentifier,
    )

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def language_of(sample: str) -> str:
    """Returns the code of a language whose letters `sample` has; "en" if letters do not decide."""
    scripts = (script_of(character) for character in sample if character.isalpha())
    by_script = (_WRITTEN_IN[script][0] for script in scripts if script in SCRIPTS and script != "LATIN")
    return next((code for code, letters in _LETTERS if letters.search(sample)), next(by_script, DEFAULT_LANGUAGE))
