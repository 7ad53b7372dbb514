"""Language codes (BCP-47): their form, and which of them stand for the same language."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LANGUAGE_CODE: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,5}")
"""What a server or an operator may write as a language code."""


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
    """Returns whether one of `languages` is `language_code`, a region of it, or the bare language of it."""
    wanted = language_code.lower()
    bare = wanted.partition("-")[0]
    for language in languages:
        offered = language.lower()
        if offered in {wanted, bare} or (wanted == bare and offered.partition("-")[0] == bare):
            return True
    return False
