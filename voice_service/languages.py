"""Language codes (BCP-47): how they are written, which of them stand for the same language, and what reads a text."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from servicekit.languages import SCRIPTS, script_of, scripts_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_MOST_UNREAD: Final = 1 / 3
_MOST_UNREAD_OF_OWN: Final = 0.05
"""Shares of the letters of a text that a voice need not read: names in other scripts, and of the language's own."""


def canonical(code: str) -> str:
    """Returns a code as RFC 5646 section 2.1.1 recommends: `zh-Hant-TW`, `en-GB-x-rp`."""
    first, *rest = code.replace("_", "-").split("-")
    parts = [first.lower()]
    private = False
    for part in rest:
        private = private or len(part) == 1
        if private or len(part) not in {2, 4}:
            parts.append(part)
        else:
            parts.append(part.upper() if len(part) == 2 else part.title())
    return "-".join(parts)


def covers(languages: Iterable[str], language_code: str) -> bool:
    """Returns whether one of `languages` is `language_code`, a region of it, or the bare language of it.

    "ja-Hrkt", Japanese in kana alone, is no "ja": one that names a script has to have those of the language.
    """
    wanted = language_code.lower()
    bare = wanted.partition("-")[0]
    for language in languages:
        offered = language.lower()
        part = wanted == bare and offered.partition("-")[0] == bare
        if offered in {wanted, bare} or (part and scripts_of(offered) >= scripts_of(wanted)):
            return True
    return False


def can_read(scripts: Collection[str], language_code: str, text: str | None) -> bool:
    """Returns whether a voice of these scripts reads `text`; if None, whatever is in that language.

    A few letters of other scripts are no hindrance: a name, a word. Without any letter, it may.
    """
    own = scripts_of(language_code)
    scripts_there = (script_of(character) for character in text or "" if character.isalpha())
    letters = Counter(script for script in scripts_there if script in SCRIPTS)
    if not letters:
        # Japanese is a mixture of its scripts; other languages have one or another.
        return bool(own.intersection(scripts)) and (text is not None or "CJK" not in own or "CJK" in scripts)
    unread = letters.total() - sum(letters[script] for script in scripts)
    unread_of_own = sum(letters[script] for script in own.difference(scripts))
    return unread <= _MOST_UNREAD * letters.total() and unread_of_own <= _MOST_UNREAD_OF_OWN * letters.total()
