"""Free text from people, made safe to hand on."""

import unicodedata
from typing import Final

_KEPT_FORMATS: Final = "\u200c\u200d"
"""Zero-width joiners: letters of some scripts, and emoji, depend on them."""


def clean(text: str) -> str:
    """`text` in NFC on one line: no control characters, no invisible or direction marks, single blanks, no ends."""
    return " ".join("".join(map(_cleaned, unicodedata.normalize("NFC", text))).split())


def _cleaned(character: str) -> str:
    category = unicodedata.category(character)
    if category in {"Cc", "Zl", "Zp"}:
        return " "
    if category in {"Cf", "Cs", "Co", "Cn"} and character not in _KEPT_FORMATS:
        return ""
    return character
