"""What a server said in words, cleaned so that it can be logged and shown."""

import html
import re
import unicodedata
from collections.abc import Iterable
from importlib.resources import files
from typing import Final
from urllib.parse import unquote

MAX_SAID: Final = 200
"""Most characters of what is passed on."""
_MOST_READ: Final = 2_000

_GAP: Final = "…"
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_URL: Final = re.compile(
    r"\b([a-z][a-z0-9+.-]*://)(?:[^\s/?#\"'<>@]*@)?([^\s?#\"'<>]*)(?:[?#][^\s\"'<>]*)?", re.IGNORECASE
)
_EMAIL: Final = re.compile(r"[^\s\"'<>@]{1,64}@[^\s\"'<>]+")
_BEARER: Final = re.compile(r"\b(?:bearer|basic|token)\s+(?=\S*[\d*.])\S{6,}", re.IGNORECASE)
_KEY: Final = re.compile(
    r"\b(?:sk|pk|rk|gsk|hf|xai|nvapi|org|user|proj|acct|key|api)[-_][\w*.…-]*(?:\d|\*|…)[\w*.…-]*", re.IGNORECASE
)
_LONG: Final = re.compile(r"(?<![\w/])(?=[\w+/=.~-]*(?:\d|[a-z][A-Z]))[\w+/=.~-]{20,}")
_ENCODED: Final = re.compile(
    r"(?<![\w/])(?:(?=\w*\d)(?=\w*[a-z])(?=\w*[A-Z])[A-Za-z0-9+/]{8,}={0,2}|[A-Za-z0-9+/]{6,}={1,2}|"
    r"(?=\w*\d)(?:[0-9a-fA-F]{2}){4,})(?![\w=])"
)
"""Looks like base64 or hexadecimal digits, which may hold a name."""
_SPELLED: Final = re.compile(r"(?<![^\W_])[^\W\d_](?:[\W_]{1,3}[^\W\d_](?![^\W_])){3,}")
_QUOTES: Final = (("“", "”"), ("„", "“"), ("«", "»"), ("‘", "’"), ("「", "」"), ("`", "`"), ('"', '"'), ("'", "'"))
_QUOTED: Final = re.compile("|".join(rf"(?<!\w){start}[^{start}{end}]*(?:{end}|$)" for start, end in _QUOTES))
_LONGEST_QUOTE: Final = 40
_MOST_QUOTED_WORDS: Final = 3
_FIELD: Final = re.compile(r"[a-z]+(?:_[a-z]+)+")
# Combining marks are no \w in Python, and belong to the letter before them.
_WORD: Final = re.compile(r"(?:[^\W\d_][\u0300-\u036f\u0900-\u0903\u093a-\u094f]*)+|\d+")
# Scripts without blanks between words, in which a name stands within a longer run of letters.
_UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_NO_NAMES: Final = frozenset({"the", "this", "that", "your", "you", "it", "is", "for", "if", "no", "please"})
_WITHIN: Final = re.compile(r"(?<=[^\s.!?…] )[^\W\d_a-z]\w*")
_LEAST_LETTERS: Final = 3
_QUOTED_WORDS: Final = 4
"""So many words in a row that stand in the request are a quotation, whatever they are."""

_ORDINARY: Final = frozenset(files(__package__).joinpath("ordinary_words.txt").read_text("utf-8").split())
"""Words of error messages that may stand in a prompt too, and say nothing about a child there."""


class Cleaner:
    """Cleans what a server says about one call.

    Keys, queries of URLs, e-mail addresses and longer quotations go, and every word of the call's own texts that is no
    ordinary word of an error message and no part of the model's id: privacy comes before the clarity of a log.
    """

    def __init__(self, texts: Iterable[str], *, model: str) -> None:
        """`texts` are the messages of the request, and what came as an answer."""
        prompt = _folded(" ".join(texts))
        plain = prompt.casefold()
        self._model = frozenset(word.casefold() for word in _WORD.findall(model))
        lower = {word for word in _WORD.findall(prompt) if word.islower()}
        within = {word.casefold() for word in _WITHIN.findall(prompt)}
        self._names = (within | ({word.casefold() for word in _WORD.findall(prompt)} - lower)) - _NO_NAMES
        self._private = frozenset(_WORD.findall(plain)) - _ORDINARY - self._model
        words = [word.casefold() for word in _WORD.findall(prompt)]
        self._phrases = frozenset(zip(*(words[at:] for at in range(_QUOTED_WORDS)), strict=False))
        self._pairs = frozenset(
            plain[at : at + 2] for at in range(len(plain) - 1) if _UNSPACED.match(plain, at) is not None
        )

    def clean(self, said: str) -> str:
        """Returns at most `MAX_SAID` characters of `said`, "" where no words are left."""
        text = _folded(said[:_MOST_READ])
        for pattern, kept in ((_URL, r"\1\2"), (_EMAIL, _GAP), (_BEARER, _GAP), (_KEY, _GAP)):
            text = pattern.sub(kept, text)
        for pattern in (_LONG, _ENCODED):
            text = pattern.sub(lambda found: found.group() if self._is_model(found.group()) else _GAP, text)
        text = _SPELLED.sub(_GAP, text)
        text = self._unquoted(_QUOTED.sub(_short_quote, text))
        parts, start = list[str](), 0
        for field in (*_FIELD.finditer(text), None):
            end = field.start() if field is not None else len(text)
            parts.append(_WORD.sub(self._public, text[start:end]))
            if field is not None:
                known = all(word in _ORDINARY for word in field.group().split("_"))
                parts.append(field.group() if known else _WORD.sub(self._public, field.group()))
                start = field.end()
        text = re.sub(rf"{_GAP}(?:[\s\W_]*{_GAP})+", _GAP, " ".join("".join(parts).split()))
        if sum(map(str.isalpha, text)) < _LEAST_LETTERS:
            return ""
        return text if len(text) <= MAX_SAID else text[: MAX_SAID - 1].rpartition(" ")[0] + _GAP

    def _unquoted(self, text: str) -> str:
        """Returns `text` without what it quotes of the request."""
        words = list(_WORD.finditer(text))
        keys = [word.group().casefold() for word in words]
        kept, start = list[str](), 0
        for at, word in enumerate(words):
            if word.start() >= start and tuple(keys[at : at + _QUOTED_WORDS]) in self._phrases:
                kept += text[start : word.start()], _GAP
                start = words[at + _QUOTED_WORDS - 1].end()
        return "".join((*kept, text[start:]))

    def _is_model(self, word: str) -> bool:
        return all(part.casefold() in self._model for part in _WORD.findall(word))

    def _public(self, found: re.Match[str]) -> str:
        """Returns a word, or a gap for one that stands in the request."""
        word = found.group()
        key = word.casefold()
        if key in self._model:
            return word
        if key in _ORDINARY:
            # "Will" may be a name, "will" is none, and neither is the first word of a sentence.
            return _GAP if not word.islower() and key in self._names else word
        if key.isdigit():
            return _GAP if key in self._private else word
        if _UNSPACED.search(key) is not None:
            pairs = {key[at : at + 2] for at in range(max(1, len(key) - 1))}
            return _GAP if len(key) == 1 or pairs & self._pairs else word
        return _GAP if any(_akin(key, private) for private in self._private) else word


def _akin(word: str, private: str) -> bool:
    """Returns whether `word` is `private`, holds it, or is its beginning, cut off."""
    return (
        (len(private) >= _LEAST_LETTERS and private in word)
        or (len(word) > 1 and private.startswith(word))
        or (word == private)
    )


def _short_quote(found: re.Match[str]) -> str:
    quoted = found.group()
    return quoted if len(quoted) <= _LONGEST_QUOTE and len(quoted.split()) <= _MOST_QUOTED_WORDS else _GAP


def _folded(text: str) -> str:
    """Returns `text` without escapes, in one normal form, without what is not printed."""
    text = html.unescape(unquote(_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)))
    text = unicodedata.normalize("NFKC", text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    text = " ".join(text.split())
    if text.isprintable():
        return text
    # What is not seen may stand within a name.
    return "".join(each if each.isprintable() else "" if unicodedata.category(each) == "Cf" else " " for each in text)
