"""Which language a text is in, where nobody says it."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

DEFAULT_LANGUAGE: Final = "en"
SAMPLE: Final = 120
"""Code points that are enough to tell from."""
_SURE: Final = 0.3
"""Share of the probability below which the letters tell more: two words of a title get less, a sentence 0.4 to 1."""
_NO_LANGUAGE: Final = frozenset({"zxx", "und"})

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


class LanguageDetector:
    """Tells languages apart with py3langid. Its model takes 0.8 s and 80 MB, so it is loaded when first needed."""

    def __init__(self) -> None:
        self._identifier: Any = None
        self._loading = asyncio.Lock()

    async def detect(self, sample: str) -> str:
        """BCP-47 code of the language that `sample` is most likely in; "en" where there is nothing to tell from."""
        if not any(map(str.isalpha, sample)):
            return DEFAULT_LANGUAGE
        async with self._loading:
            if self._identifier is None:
                self._identifier = await asyncio.to_thread(_load)
        language, confidence = self._identifier.classify(sample)
        if confidence < _SURE or language in _NO_LANGUAGE:
            return language_of(sample)
        return str(language)


def _load() -> Any:
    from py3langid.langid import (  # type: ignore[import-untyped] # noqa: PLC0415 - most narrations never need it
        MODEL_FILE,
        LanguageIdentifier,
    )

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def language_of(sample: str) -> str:
    """BCP-47 code of a language whose letters `sample` has; "en" where letters do not tell."""
    return next((code for code, letters in _SCRIPTS if letters.search(sample)), DEFAULT_LANGUAGE)
