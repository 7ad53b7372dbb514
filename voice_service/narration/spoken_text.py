"""The text that a provider is to read: without marks that are never spoken, with pauses, and where each part stood."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from servicekit.sentences import CLOSERS, code_points, pause_marks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PARAGRAPH_PAUSE: Final = 0.4
"""Seconds of silence after an empty line, beside what a voice leaves after a sentence."""
HEADING_PAUSE: Final = 0.7
"""Seconds of silence after a title or a heading."""

READ, DROP, JOINT, SPACE, PAUSE, LINE, ITEM, BREAK = range(1, 9)
"""What a code point is to a voice: read, or nothing, or a gap. JOINT parts letters alone, ITEM ends a line for certain,
BREAK is an empty line. Of the gaps between two words the largest counts."""

_BY_CATEGORY: Final = {
    "Me": DROP, "Pc": SPACE, "Pd": PAUSE, "Sk": DROP, "So": JOINT, "Zs": SPACE, "Zl": LINE, "Zp": BREAK,
    "Cc": DROP, "Cf": DROP, "Cn": DROP, "Co": DROP, "Cs": DROP,
}  # fmt: skip
"""Categories that are not read."""
_BY_POINT: Final = {
    character: kind
    for kind, ranges in {
        # Hyphens and dashes that voices know, underscores within words, degrees.
        READ: "2d 2010-2015 5f b0",
        # Asterisks, tildes, fillers, selectors of variants, the signs of trade and service marks.
        DROP: "2a 7e ff0a ff5e 301c 34f 115f-1160 17b4-17b5 3164 ffa0 180b-180d 180f fe00-fe0f e0100-e01ef 2120 2122",
        SPACE: "9 d 1c-1f 5c ff3c 30fb ff65",
        LINE: "a-c 85",
        # Bars, bullets, daggers and other marks of editors, arrows.
        PAUSE: "7c a6 ff5c b6 2016-2017 2020-2023 203b 203e 2041-2043 204a-205e 2e00-2e2d 2e30-2e3b 2e3d-2e52 "
        "2e55-2e5d 303d 3003 2190-21ff 27f0-27ff 2900-297f 2b00-2b11 2b30-2b4f 2b5a-2b95 1f800-1f8ff",
    }.items()
    for character in code_points(ranges)
}
_EMOJI: Final = 0x1F000


@lru_cache(maxsize=4_096)
def kind_of(character: str) -> int:
    """Returns what the code point is to a voice where no markup says otherwise."""
    category = unicodedata.category(character)
    kind = _BY_CATEGORY.get(category, READ)
    if category == "Cn":
        return kind
    if category == "So" and ord(character) < _EMOJI and any(map(str.isalnum, unicodedata.normalize("NFKC", character))):
        # An abbreviation, such as № or ℃.
        kind = READ
    return _BY_POINT.get(character, kind)


_ENTITY: Final = re.compile(
    r"&(?:amp;)*(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});|\\(?=[!-/:-@\[-`{-~])"
)
_BLOCKS: Final = "br|p|div|h[1-6]|li|[uod]l|dt|dd|tr|table|blockquote|hr|center|pre|section|article|break|body|html"
_INLINE: Final = (
    "a|abbr|b|big|cite|code|del|details|em|font|i|img|ins|kbd|mark|q|ruby|r[tp]|s|samp|small|span|strike|strong|su[bp]|"
    "summary|t[dht]|tbody|thead|u|var|wbr|speak|voice|prosody|emphasis|phoneme|say-as|audio|lang|sub|w|mstts:[a-z-]+"
)
_ATTRIBUTES: Final = r"""(?:\s+[\w:-]+\s*=\s*(?:"[^"<>]*+"|'[^'<>]*+'|[^\s"'<>]++))*+\s*/?>"""
_ADDRESS: Final = r"""\([^()\s]{0,400}(?:\s"[^"\n]*")?\)"""
_MARKUP: Final = re.compile(
    rf"""
      (?P<keep>(?<=\d)[ ]?(?:[*^<>]|={{1,2}})[ ]?(?=\d)|(?<=\S[ ])[<>](?=[ ]\S))
    | (?P<joint><!--.{{0,2000}}?-->|\[\^[^\[\]\s]{{1,40}}\]:?|(?<!\S)<3+(?!\S)|(?<=\d)[~\u301c\uff5e]+(?=\d))
    | </?(?:{_BLOCKS}){_ATTRIBUTES}(?P<line>[^\S\n]*\n?)
    | (?P<tag></?(?:{_INLINE}){_ATTRIBUTES})
    | (?P<open>!?\[)[^\[\]\n]{{0,400}}(?P<target>\](?:{_ADDRESS}|\[[^\[\]\n]{{0,100}}\]))
    | ^[^\S\n]*+(?P<rule>(?:[-*_=~#•·.+|:][^\S\n]*+){{3,}})$
    | ^[^\S\n]*+(?P<heading>\#{{1,6}}(?=\s))
    | ^[^\S\n]*+(?P<quote>(?:>[^\S\n]?)++)
    | ^[^\S\n]*+(?P<item>[-*+•‣◦▪●○\u2043](?=\s)(?:[^\S\n]++\[[ xX]\](?=\s))?)
    | (?P<pause>[-=]+>|<[-=]+|--++|(?<!\w)[·\u2027]|[·\u2027](?!\w))
    | (?P<drop>(?<!\w)_+|_+(?!\w)|==++|(?<!\w)\#+(?=[^\W\d_])|(?<=\s)\#+[^\S\n]*$|(?<!\d)<|(?<=\S)>|[{{}}])
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_KINDS: Final = {
    "keep": READ, "joint": JOINT, "line": LINE, "tag": DROP, "open": DROP, "target": DROP, "rule": DROP,
    "heading": DROP, "quote": DROP, "item": ITEM, "pause": PAUSE, "drop": DROP,
}  # fmt: skip
_ODD: Final = re.compile(r"[^ -~À-ÖØ-öø-ʯЀ-ҁҊ-ԯ–—“”‘’„«»…]|[#*`~_\[\]<>|\\^&={}×÷]|  |^[->+]|--|->")
"""Found in whatever may need cleaning; most of a story goes by without."""
_SHORT_LINE, _VERSE_LINE = 30, 60
"""Code points: a line that ends before is one of verses, whatever follows, or if a capital letter does."""


@dataclass(frozen=True, slots=True)
class SpokenText:
    """`text` as a provider gets it; its code point i comes from [positions[i], ends[i]) of the text it was made from.

    `pause` is the silence in seconds that follows it.
    """

    text: str
    positions: Sequence[int]
    ends: Sequence[int]
    pause: float = 0.0

    @property
    def audible(self) -> bool:
        """False where nothing is left but punctuation."""
        return any(character.isalnum() for character in self.text)

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Where [start, end) of the spoken text stands in the text that it came from; clipped to what there is."""
        start, end = max(0, start), min(end, len(self.positions))
        return (self.positions[start], self.ends[end - 1]) if start < end else (0, 0)


def speakable(text: str) -> SpokenText:
    """Returns `text` as it is to be read: no markup, symbols and invisible characters, one blank or line between words.

    A line that ends without punctuation gets some: a voice makes its pauses by it. Numbers and abbreviations are left
    to the provider.
    """
    plain = text.strip()
    start = len(text) - len(text.lstrip())
    if _ODD.search(plain) or "\n" in text[start + len(plain) :]:
        return _cleaned(text)
    return SpokenText(plain, range(start, start + len(plain)), range(start + 1, start + len(plain) + 1))


def _cleaned(text: str) -> SpokenText:
    decoded = list(_decoded(text))
    text = "".join(character for character, _, _ in decoded)
    kinds = _kinds(text)
    spoken: list[str] = []
    spans: list[tuple[int, int]] = []
    gap = line_start = 0
    for kind, (character, start, end) in zip(kinds, decoded, strict=True):
        if kind == DROP:
            continue
        if kind != READ:
            if not gap:
                gap_span = (start, end)
            gap = _wider(gap, kind)
            continue
        if gap and spoken:
            for filler in _filling(spoken, gap, character, len(spoken) - line_start):
                spans.append(gap_span if filler.isspace() else spans[-1])
                spoken.append(filler)
            line_start = len(spoken) if spoken[-1] == "\n" else line_start
        gap = 0
        spoken.append(character)
        spans.append((start, end))
    pause = 0.0
    if spoken and gap >= LINE:
        is_open = _is_open(spoken)
        pause = (HEADING_PAUSE if is_open else PARAGRAPH_PAUSE) if gap == BREAK else 0.0
        if is_open:
            spoken.append(pause_marks(_last_letter(spoken))[0])
            spans.append(spans[-1])
    return SpokenText("".join(spoken), [start for start, _ in spans], [end for _, end in spans], pause)


def _decoded(text: str) -> Iterator[tuple[str, int, int]]:
    """Yields the characters that entities and escapes stand for, and where each stood."""
    at = 0
    for found in _ENTITY.finditer(text) if "&" in text or "\\" in text else ():
        yield from ((text[index], index, index + 1) for index in range(at, found.start()))
        at = found.end()
        before, after = "", found[0].removeprefix("\\")
        while before != after:
            before, after = after, html.unescape(after)
        yield from ((character, *found.span()) for character in after)
    yield from ((text[index], index, index + 1) for index in range(at, len(text)))


def _kinds(text: str) -> list[int]:
    """Returns what each character is to a voice, by its markup or else its category."""
    marked = bytearray(len(text))
    for found in _MARKUP.finditer(text):
        if found["line"] is not None:
            marked[found.start() : found.end()] = bytes([DROP]) * (found.end() - found.start())
            marked[found.start()] = LINE
            continue
        for name, kind in _KINDS.items():
            start, end = found.span(name)
            marked[start:end] = bytes([kind]) * (end - start)
        if found["heading"] and (line_end := text.find("\n", found.end())) >= 0:
            marked[line_end] = BREAK
    return [READ if _joins(text, at) else marked[at] or kind_of(character) for at, character in enumerate(text)]


def _joins(text: str, at: int) -> bool:
    """Returns whether an invisible joiner stands within a word of a script that is written with them."""
    return (
        text[at] in "\u200c\u200d"
        and 0 < at < len(text) - 1
        and all("\u0600" <= text[near] <= "\u1fff" for near in (at - 1, at + 1))
    )


def _wider(gap: int, kind: int) -> int:
    if gap == kind == LINE:
        return BREAK
    return ITEM if {gap, kind} == {PAUSE, LINE} else max(gap, kind)


def _filling(spoken: Sequence[str], gap: int, following: str, line: int) -> str:
    """Returns what is spoken between two words with such a gap: `following` begins the next, `line` ends there."""
    if gap == JOINT:
        return " " if spoken[-1].isalnum() and following.isalnum() else ""
    verse = gap == LINE and line < (_SHORT_LINE if following.islower() else _VERSE_LINE)
    blank = " " if gap < LINE else "\n\n" if gap == BREAK else "\n"
    closes = gap == PAUSE and unicodedata.category(following)[0] == "P"
    if closes or not (verse or gap in {PAUSE, ITEM, BREAK}) or not _is_open(spoken):
        return blank
    stop, comma = pause_marks(_last_letter(spoken))
    return (stop if gap == BREAK else comma) + blank


def _is_open(spoken: Sequence[str]) -> bool:
    """Returns whether no punctuation ends what is spoken so far, beside what closes a quotation."""
    last = next((character for character in reversed(spoken) if character not in CLOSERS), ".")
    return unicodedata.category(last)[0] != "P"


def _last_letter(spoken: Sequence[str]) -> str:
    return next((character for character in reversed(spoken) if character.isalpha()), "a")
