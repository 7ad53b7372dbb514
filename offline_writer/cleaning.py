"""User text as data: bounded, on one line, without markup."""

import re
import unicodedata

_MARKUP = re.compile(r"<[^<>]*>|[{}\[\]<>|*_#`~^\\=\"\u201c\u201d\u201e\u00ab\u00bb\u2028\u2029]")
_DROPPED = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs", "So", "Sk"})
_SPACES = re.compile(r"\s+")
_BEFORE_STOP = re.compile(r"\s+([,.;:!?\u2026])")
_DOTS = re.compile(r"\.{2,}")
_APOSTROPHES = str.maketrans({"'": "\u2019", "\u2018": "\u2019", "\u201b": "\u2019", "\u02bc": "\u2019"})
_TRAILING = " ,.;:!?\u2026-/&+"


def clean(text: str, *, limit: int) -> str:
    """Returns one line of at most `limit` characters, cut at a word, without final punctuation. May be empty."""
    text = unicodedata.normalize("NFC", text[: limit * 8])
    text = "".join(" " if unicodedata.category(char) in _DROPPED else char for char in text)
    text = _MARKUP.sub(" ", text).translate(_APOSTROPHES)
    text = _DOTS.sub("\u2026", _BEFORE_STOP.sub(r"\1", _SPACES.sub(" ", text))).strip().lstrip(_TRAILING)
    if len(text) > limit:
        head = text[: limit + 1]
        text = head[: head.rfind(" ")] if " " in head else text[:limit]
    return text.rstrip(_TRAILING)


def closed(text: str, *, limit: int) -> str:
    """Returns the text like `clean`, but ended as a sentence: with its own ! or ?, else with a full stop."""
    body = clean(text, limit=limit)
    last = text.rstrip()[-1:]
    return body + (last if last in {"!", "?"} else ".") if body else ""


def clean_name(text: str, *, limit: int = 40) -> str:
    """Returns a name with letters, marks, digits, inner hyphens and apostrophes, and a capital first letter."""
    kept = "".join(
        char if unicodedata.category(char)[0] in "LMN" or char in " -\u2019" else " "
        for char in clean(text, limit=limit)
    )
    name = _SPACES.sub(" ", kept).strip(" -\u2019")
    capital = name[:1].upper()
    return (capital if len(capital) == 1 else name[:1]) + name[1:]
