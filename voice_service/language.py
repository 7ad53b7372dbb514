"""Which language a text is in, as far as its letters tell."""

from __future__ import annotations

import re
from typing import Final

DEFAULT_LANGUAGE: Final = "en"
SAMPLE: Final = 80
"""Code points that are enough to tell from."""

_SCRIPTS: Final = (
    ("uk", re.compile("[іїєґІЇЄҐ]")),
    ("ru", re.compile("[а-яёА-ЯЁ]")),  # noqa: RUF001 - these letters are the point
    ("el", re.compile("[α-ωΑ-Ω]")),  # noqa: RUF001 - likewise
    ("ja", re.compile("[぀-ヿ]")),
    ("ko", re.compile("[가-힯]")),
    ("zh", re.compile("[一-鿿]")),
    ("ar", re.compile("[؀-ۿ]")),
    ("he", re.compile("[א-ת]")),
    ("hi", re.compile("[ऀ-ॿ]")),
    ("th", re.compile("[ก-๛]")),
    ("ka", re.compile("[ა-ჰ]")),
    ("hy", re.compile("[ա-ֆԱ-Ֆ]")),  # noqa: RUF001 - likewise
)


def language_of(sample: str) -> str:
    """BCP-47 code of the language whose letters `sample` has; "en" where letters do not tell."""
    return next((code for code, letters in _SCRIPTS if letters.search(sample)), DEFAULT_LANGUAGE)


def speaks(languages: tuple[str, ...], language_code: str) -> bool:
    """Whether one of `languages` is `language_code`; a bare language stands for its regions and the other way round."""
    wanted = language_code.lower()
    bare = wanted.partition("-")[0]
    for language in languages:
        offered = language.lower()
        if offered in {wanted, bare} or (wanted == bare and offered.partition("-")[0] == bare):
            return True
    return False
