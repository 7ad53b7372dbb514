"""Free text from people, made safe to use."""

import unicodedata
from typing import Final

_KEPT_FORMATS: Final = "\u200c\u200d"
"""Zero-width joiners, which some scripts and emoji need."""


def clean(text: str) -> str:
    """Returns `text` in NFC on one line, without control characters, invisible marks and extra blanks."""
    return " ".join("".join(map(_cleaned, unicodedata.normalize("NFC", text))).split())


def _cleaned(character: str) -> str:
    category = unicodedata.category(character)
    if category in {"Cc", "Zl", "Zp"}:
        return " "
    if category in {"Cf", "Cs", "Co", "Cn"} and character not in _KEPT_FORMATS:
        return ""
    return character
