"""Finds in a story what must not appear in it."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

import snowballstemmer  # type: ignore[import-untyped]

from servicekit.languages import scripts_of

_STEMMERS: Final = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish", "fr": "french", "ga": "irish",
    "hi": "hindi", "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian",
    "nb": "norwegian", "ne": "nepali", "nl": "dutch", "no": "norwegian", "pl": "polish", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
    "yi": "yiddish",
}  # fmt: skip
"""By language; the others are compared word by word, or where words have no blanks around them, by their letters."""
_ARTICLE: Final = re.compile(
    r"^(?:an?|the|de[rnms]?|die|das|eine?n?|el|l[aeo]s?|unas?|unos?|une|il|i|gli|[oa]s?|uma?|het|een) (?=.)"
)


def avoided_in(text: str, avoid: Sequence[str], language_code: str) -> tuple[int, ...]:
    """Returns the places in `avoid` of the words and phrases that `text` has, in any form that has the same stem."""
    language = language_code.partition("-")[0].lower()
    if language not in _STEMMERS and scripts_of(language_code) != {"LATIN"}:
        said = text.casefold()
        wanted = [phrase.casefold() for phrase in avoid]
    else:
        stemmer = snowballstemmer.stemmer(_STEMMERS[language]) if language in _STEMMERS else None

        def stems(words: list[str]) -> str:
            return " ".join(["", *(words if stemmer is None else stemmer.stemWords(words)), ""])

        said = stems(_words(text))
        wanted = [stems(_ARTICLE.sub("", " ".join(_words(phrase)), count=1).split()) for phrase in avoid]
    return tuple(place for place, phrase in enumerate(wanted) if phrase.strip() and phrase in said)


def _words(text: str) -> list[str]:
    letters = (character if unicodedata.category(character)[0] in "LMN" else " " for character in text.casefold())
    return "".join(letters).split()
