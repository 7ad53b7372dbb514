"""Language codes (BCP-47): how they are written, and which of them stand for the same language."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


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
