"""English text as the neural voice needs it: what it would misread is replaced, position by position."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Prepared:
    """`text` as the engine gets it; `positions[i]` is where its code point i stands in the text that it came from.

    `phonemes` maps words of `text` (case counts, without what follows an apostrophe) to how the engine says them.
    """

    text: str
    positions: Sequence[int]
    phonemes: Mapping[str, str] = field(default_factory=dict)


def prepare(text: str, known: Callable[[str], bool]) -> Prepared:
    """Returns `text` as the engine reads it best; `known` says whether the engine has a word in its lexicon."""
    draft = _Draft(text)
    for pattern, replacement in _RULES:
        draft.replace(pattern, replacement)
    phonemes: dict[str, str] = {}
    draft.replace(_WORD, lambda word: _word(word, known, phonemes))
    # The engine takes seconds for a run of more than sixty characters without a space, or fails at it.
    draft.replace(re.compile(r"\S{40,}"), lambda run: re.sub(r"\W|_", " ", run[0]))
    draft.replace(re.compile(r"\w{40,}"), lambda run: " ".join(re.findall(r"\w{1,20}", run[0])))
    return Prepared(draft.text, draft.positions, phonemes)


class _Draft:
    """A text in work, and where each of its code points came from."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.positions: Sequence[int] = range(len(text))

    def replace(self, pattern: re.Pattern[str], replacement: Callable[[re.Match[str]], str]) -> None:
        """Replaces what `pattern` finds; what is longer than it was ends where that ended."""
        text: list[str] = []
        positions: list[int] = []
        end = 0
        for match in pattern.finditer(self.text):
            old, new = match[0], replacement(match)
            if new == old:
                continue
            start, last = match.start(), match.end() - 1
            text += [self.text[end:start], new]
            positions += self.positions[end:start]
            positions += [self.positions[min(at, last)] for at in range(start, start + len(new))]
            end = match.end()
        if text:
            self.text = "".join([*text, self.text[end:]])
            self.positions = [*positions, *self.positions[end:]]


_DATA: Final[dict[str, Any]] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
_ALIKE: Final[dict[str, str]] = {each: as_read for as_read, these in _DATA["alike"].items() for each in these}
_NAMES: Final[dict[str, str]] = {name.lower(): phonemes for name, phonemes in _DATA["names"].items()}
_PLAIN: Final = str.maketrans(_DATA["plain"])
_ACRONYMS: Final = frozenset(_DATA["acronyms"])


def _alike(match: re.Match[str]) -> str:
    """Returns the character that the engine reads as this one is meant, a space for what has no sound."""
    name = unicodedata.name(match[0], "")
    stops = (stop for kind, stop in _DATA["stops"].items() if name.endswith(kind) and "INVERTED" not in name)
    character = _ALIKE.get(match[0]) or next(stops, match[0])
    silent = unicodedata.category(character[0])[0] in "SCZ" and character not in _DATA["symbols"]
    return " " if silent and character != "\n" else character


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _digits(match: re.Match[str]) -> str:
    return " ".join(re.sub(r"\D", "", match[0]))


def _counted(number: str, unit: str) -> str:
    return f"{number} {unit}{'' if number == '1' or unit == 'pence' else 's'}"


def _money(match: re.Match[str]) -> str:
    """Writes a sum out: the engine would give its currency to the next number too."""
    unit, part = _DATA["money"][match[1]]
    cents = (match[3] or "").ljust(2, "0").lstrip("0")
    parts = [_counted(match[2], unit)] if match[2] != "0" or not cents else []
    return " and ".join([*parts, *([_counted(cents, part)] if cents else [])])


def _rule(pattern: str, replacement: Callable[[re.Match[str]], str] | str) -> _Rule:
    return re.compile(pattern), replacement if callable(replacement) else lambda match: match.expand(replacement)


if TYPE_CHECKING:
    _Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
_RULES: Final = (
    _rule(r"(\D)\1{7,}", r"\1\1\1\1"),
    # Of full width, in circles, of mathematics, units in one letter.
    _rule(
        r"[\u2100-\u214f\u2160-\u217f\u2460-\u24ff\u3380-\u33df\ufb00-\ufb06\uff01-\uff5e\U0001d400-\U0001d7ff]",
        lambda match: unicodedata.normalize("NFKC", match[0]),
    ),
    # "m²" is read; digits of other kinds end the reading.
    _rule(r"(?<![A-Za-z])[²³]|[¹⁰⁴-⁹₀-₉]", lambda match: f" {unicodedata.normalize('NFKC', match[0])}"),
    _rule(r"[^\W\d_][\u0300-\u036f]+", lambda match: unicodedata.normalize("NFC", match[0])),
    _rule(r"[\u0300-\u036f\u00ad\u200b-\u200f\u2060-\u2064\ufeff]", ""),
    _rule(r"</?[A-Za-z][^<>\n]{0,100}>", _blank),
    _rule(r"(?i)\b(?:https?://)?www\.(?=\w)|\bhttps?://", _blank),
    _rule(r"(\d)['\u2019\u2032] ?(\d{1,2})(?:[\"\u201d\u2033]|'')", r"\1 foot \2"),
    _rule(r"(?<=\d)( ?)\*( ?)(?=\d)", r"\1×\2"),
    # A word after a quotation mark is stressed wrongly, and "[" begins phonemes.
    _rule(r"[^\w .,;:!?()'-]|_", _alike),
    _rule(r"\b(\d{1,2})\.(\d\d)(?= ?[AaPp]\.?[Mm]\b)", r"\1:\2"),
    _rule(r"(?<=\d) ?([½¼¾])", lambda match: f" and {_DATA['fractions'][match[1]]}"),
    _rule(r"([$£€])(\d[\d,]*)(?:\.(\d\d?))?\b(?![.,]?\d| ?(?:hundred|[kKmMbB]\b|\w+illion|thousand))", _money),
    _rule(
        r"(?<![\w.,$£€])(\d[\d.,]*) ?([mglL])(?![\w'/²³])(?!\.\w)",
        lambda match: _counted(match[1], _DATA["units"][match[2]]),
    ),
    _rule(r"(?<=\d)p(?!\w)", " pence"),
    _rule(r"(?<=\d )[xX](?= \d)", "×"),
    _rule(r"(?<=\d)[xX](?=\d)", " by "),
    # "3 - 5" is a range.
    _rule(
        r"(?<![\w.,-])(\d{1,9}) [-—] (\d{1,9})(?![\w.,-]\d)",
        lambda match: match[0] if int(match[1]) <= int(match[2]) else f"{match[1]} minus {match[2]}",
    ),
    _rule(r"(?<=\d )/(?= \d)", "÷"),
    _rule(r"(?<=\d) (?=\d{1,2}/\d{1,2}\b(?!/))", " and "),
    _rule(r"(?<![\d.,:/-])0\d+(?![\d.,:/-]\d)", _digits),
    _rule(r"\d{13,}|\d[\d,]{18,}", _digits),
    _rule(r"(?<![\d/])(1[3-9]|[2-9]\d)/(\d{1,2})\b(?!/)", r"\1 \2"),
    _rule(r"\bp\. ?(?=\d)", "page "),
    # Else the sentence ends there.
    _rule(r"\bNo\. ?(?=\d)", "Number "),
    _rule(r"\b(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|ft|vol|ch|pp)\.(?= \d)", r"\1 "),
    _rule(r"~(?=\d)", "about "),
    _rule(
        rf"\b(?!{'|'.join(_DATA['counted'])})([A-Z][a-z]+) ({'|'.join(_DATA['ordinals'])})\b(?!['.]\w)",
        lambda match: f"{match[1]} the {_DATA['ordinals'][match[2]]}",
    ),
    # Symbols that stand for nothing.
    _rule(r"(?<!\d)/(?![hs]\b)|/(?!\d|[hs]\b)|#(?!\d)|[~^]|(?<!\w)@|@(?!\w)", _blank),
    _rule(r"<3|(?<!\d)(?<!\d )[<>]|[<>](?! ?\d)|={2,}|(?<![\w ])=|=(?![\w ])", _blank),
    # A dash opens a speech or an item at the start of a line; elsewhere it is a pause.
    _rule(r"(?m)^[ \t]*[-—]+(?=\s|[^\W\d])| [-—]+[ \t]*$", _blank),
    _rule(r"(?<=\d)—(?=\d)", "-"),
    _rule(r"-{2,}|(?<!\d) -(?= )", lambda match: match[0].replace("-", "—", 1).replace("-", " ")),
    # "Z-z-z", "B-b-but", "No-o-o", "c-a-t".
    _rule(r"(?i)\b[b-df-hj-np-tv-z]{1,2}(?:-([fhmnrsvz]))(?:-\1)+\b(?!-)", lambda match: match[0].replace("-", "")),
    _rule(r"(?i)\b([bcdfghj-np-tv-z]{1,3})-(?:\1-)*+(?=\1[a-z])", _blank),
    _rule(r"(?i)(?<=([a-z]))(?:-\1){2,}|(?<=([a-z]))-\2(?![\w-])", ""),
    _rule(r"\b[A-Za-z](?:-[A-Za-z]){2,}\b", lambda match: re.sub("[aA]", "Eh", match[0].upper())),
    _rule(r"(?<![\w.&'-])A(?=[.,!?;:]|\s*$|(?: [B-HJ-Z])+\b)(?!\. ?[A-Z])(?!\.\w)", "Eh"),
    _rule(r"(?<!\w)'+(?![^\W\d_])|(?<=\d)'(?!\w)", _blank),
)

_WORD: Final = re.compile(r"'?[^\W\d_]+(?:'[^\W\d_]+)*'?")
_VOWEL: Final = re.compile(r"[aeiouyà-öø-ÿ]")
_STRETCH: Final = re.compile(r"(.)\1{2,}")
_LAUGH: Final = re.compile(r"(?:[bm]wa|mua?|a)?(?:hee|h[aeio]){2,}h?")
_ROMAN: Final = re.compile(r"X{0,3}(?:IX|IV|V?I{0,3})")
_CONSONANTS: Final = re.compile(r"(sh|ch|th|ck|ph|[a-z])(?:(?<=(.))\2*)")


def _word(match: re.Match[str], known: Callable[[str], bool], phonemes: dict[str, str]) -> str:
    """Returns the word as the engine reads it, as long as it was wherever it can be; adds its phonemes."""
    word = match[0].strip("'")
    base = word.partition("'")[0]
    elided = match[0].startswith("'") and _DATA["elisions"].get(word.lower())
    if said := elided or _said(base, match.string[: match.start()].rstrip(" (")):
        phonemes[base] = said
    else:
        word = _spelling(match, word, known)
    return " " * match[0].startswith("'") + word + " " * match[0].endswith("'")


def _said(base: str, before: str) -> str | None:
    """Returns the phonemes of a word or name of the tables, and of "Shhh", "Brrr" and other runs of consonants."""
    lower = re.sub("s{2,}h", "sh", base.lower())
    if said := _DATA["words"].get(lower) or (base != lower and (_name(lower) or _name(_plain(lower)))):
        return str(said)
    if _LAUGH.fullmatch(lower):
        laugh = "".join(_DATA["laughs"][each] for each in re.findall("[bm]wa|mua?|hee|h[aeio]|^a", lower))
        return f"{laugh[:-1]}\u02c8{laugh[-1]}"
    if _VOWEL.search(lower) or not re.search(r"([shzmrfvn])\1", lower) or before[-1:].isdigit():
        return None
    if base.isupper() and not _STRETCH.search(base):
        return None
    sounds = (
        _DATA["consonants"].get(sound[1], sound[1]) * min(1 + len(sound[0]) - len(sound[1]), 4)
        for sound in _CONSONANTS.finditer(lower)
    )
    return re.sub(r"(?<=[^r])r+", "ˈɜɹ", "".join(sounds)).replace("r", "ɹ")


def _name(lower: str) -> str | None:
    """Returns how a name is said, or two of that name."""
    one = _NAMES.get(lower[:-1]) if lower.endswith("s") and lower not in _NAMES else None
    return with_s(one) if one else _NAMES.get(lower)


def with_s(said: str) -> str:
    """Returns how a word is said with the ending of an owner, or of several."""
    return said + ("s" if said[-1] in "ptkfθ" else "ᵻz" if said[-1] in "szʃʒʧʤ" else "z")


def _plain(word: str) -> str:
    """Returns a word without accents."""
    letters = unicodedata.normalize("NFD", word)
    return "".join(each for each in letters if not unicodedata.combining(each)).translate(_PLAIN)


def _spelling(match: re.Match[str], word: str, known: Callable[[str], bool]) -> str:
    """Returns a word in capitals in lower case, a stretched one as it is usually written, one without accents."""
    base = word.partition("'")[0]
    spelled = base in _ACRONYMS or (len(base) > 3 and base in ascii_uppercase) or match.string[match.end() :][:1] == "&"
    whole = spelled or (base != "I" and _ROMAN.fullmatch(base))
    if word.isupper() and len(word) > 1 and not whole and _VOWEL.search(word.lower()):
        before = match.string[: match.start()].rstrip(" (")
        word = word.capitalize() if not before or before[-1] in ".!?…\n" or base == "I" else word.lower()
    if _STRETCH.search(word.lower()) and not whole:
        return _shortened(word, known)
    return word if word.isascii() or known(base) else _plain(word)


def _shortened(word: str, known: Callable[[str], bool]) -> str:
    """Returns "No" for "Nooo" and "Hello" for "Hellooo": each run of a letter is two or one of it."""
    stretch = re.compile(_STRETCH.pattern, re.IGNORECASE)

    def form(counts: Iterable[int]) -> str:
        left = iter(counts)
        return stretch.sub(lambda run: run[0][: next(left, 1)], word)

    runs = stretch.findall(word)
    forms = map(form, product((2, 1), repeat=min(4, len(runs))))
    usual = form(1 + (run in "oeOE") for run in runs)
    return next((each for each in forms if known(each.lower())), usual)
