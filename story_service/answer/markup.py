"""Reads the escapes, the tags and the citations of an answer."""

from __future__ import annotations

import re
from html import unescape
from typing import Final

from story_service.answer.scanner import Scanner

_INVISIBLE: Final = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u202a-\u202e\u2060-\u2069\ue000-\uf8ff\ufeff]"
)
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_LINE_END: Final = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def without_controls(text: str) -> str:
    """Returns `text` without control characters and invisible marks."""
    return _INVISIBLE.sub("", text)


def with_line_feeds(text: str) -> str:
    """Returns `text` with line feeds as its only line ends, and with whole characters for pairs of surrogates."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _LINE_END.sub("\n", text)


_HEX4: Final = r"[0-9a-fA-F]{4}"
_ESCAPE: Final = re.compile(
    r"(?P<entity>&(?:amp;){0,3}(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)"
    r"|(?P<code>\\{1,2}u[dD][89abAB][0-9a-fA-F]{2}\\{1,2}u[dD][c-fC-F][0-9a-fA-F]{2}"
    rf"|\\{{1,2}}u{_HEX4}|\\{{1,2}}x[0-9a-fA-F]{{2}})"
    r"|(?<!\b[A-Za-z]:)(?P<line>\\{1,2}r\\{1,2}n|\\{1,2}n)|(?P<blank>\\{1,2}[rt](?![a-z]))|(?P<nothing>\\(?=\n))"
    r"|\\{1,3}(?P<plain>[\"'/*_#.!\[\]()~`>+-])"
    r"|(?P<word>\u2581|(?<=[^\sA-Z\"'\u201c\u201e\u00ab(\[-])\u0120|(?<=[.,!?][\"'])\u0120"
    r"|(?<=[A-Z])\u0120(?=[a-z]|[A-Z][a-z])|(?<![^\n])\u0120(?=[A-Z]))|(?P<lines>(?<=[^\sA-Z])\u010a)"
    r"|(?P<opening>(?<!`)``(?=[^\s`]))|(?P<closing>(?<!')''(?!'))"
)
_ESCAPE_SIGN: Final = re.compile(r"[&\\`'\u2581\u0120\u010a]")
_ESCAPE_HELD: Final = re.compile(
    r"(?:&(?:amp;){0,3}#?\w{0,32}|\\{1,3}(?:u[0-9a-fA-F]{0,4}|x[0-9a-fA-F]{0,2}|r\\{0,2}|t)?"
    r"|\\{1,2}u[dD][89abAB][0-9a-fA-F]{2}(?:\\{1,2}(?:u[0-9a-fA-F]{0,3})?)?|\u0120[A-Z]?|(?<!`)`{1,2}|(?<!')'{1,2})\Z"
)
_HEX: Final = re.compile(r"[ux]([0-9a-fA-F]{2,4})")


_PLAIN: Final = {
    "line": "\n",
    "lines": "\n",
    "blank": " ",
    "word": " ",
    "nothing": "",
    "opening": "\N{LEFT DOUBLE QUOTATION MARK}",
    "closing": "\N{RIGHT DOUBLE QUOTATION MARK}",
}


def unescaped(text: str) -> str:
    """Returns `text` with what its escapes stand for."""
    return _ESCAPE.sub(_unescaped, text)


def _unescaped(found: re.Match[str]) -> str:
    kind, text = found.lastgroup or "", found[0]
    if kind == "plain":
        return found["plain"]
    if kind == "entity":
        while (once := unescape(text)) != text:
            text = once
    elif kind == "code":
        text = "".join(chr(int(code, 16)) for code in _HEX.findall(text))
    else:
        return _PLAIN[kind]
    return with_line_feeds(without_controls(text))


class Escapes(Scanner):
    r"""Returns what escapes stand for: `&#39;`, `\n`, `\u00e9`, the blanks of a tokenizer, the quotes of LaTeX."""

    def __init__(self) -> None:
        super().__init__(_ESCAPE, _ESCAPE_HELD, 60, _ESCAPE_SIGN)

    def replaced(self, found: re.Match[str]) -> str:
        """Returns what an escape stands for."""
        return _unescaped(found)


_LONGEST_LINK: Final = 540
_SOURCE: Final = (
    r"\((?i:sources?|citations?|via|quellen?|fuentes?|fonte|источники?|来源|出典)\s?[:\uff1a][^()\n]{0,200}"
)
_NUMBERS: Final = r"\[\^?\d{1,3}\]"
_POWERS: Final = r"[\u00b9\u00b2\u00b3\u2070-\u2079]{1,6}"
_AFTER: Final = r"(?<=[.!?,\u2026\"\u201d\u00bb])"
_MARKUP: Final = re.compile(
    r"(?P<tag>(?<!<)<(?P<end>/?)(?P<name>[A-Za-z][\w:.-]{0,30})"
    r"(?P<attributes>(?:[ \t]{1,8}[\w:.-]{1,30}=[^<>\n]{0,200})?)"
    r"\s?/?>|<[!?](?:--|[A-Za-z])[^<>\n]{0,200}>)"
    r"|[ ]?\(\[[^\]\[\n]{0,200}\]\(https?:[^)\n]{0,280}\)\)"
    r"|(?P<image>!?)\[(?P<shown>[^\]\[\n]{0,200})\]\((?P<link>(?:https?:|www\.|mailto:|attachment:"
    r"|data:)[^)\n]{0,280})\)"
    rf"|[ ]?{_SOURCE}(?:\([^()\n]{{0,200}}\)[^()\n]{{0,60}})?\)"
    r"|[ ]?\u3010[^\u3010\u3011\n]{0,60}\u2020[^\u3010\u3011\n]{0,60}\u3011"
    r"|(?<=[^\s])\u3010\d{1,3}(?::\d{1,3})?\u3011"
    rf"|(?<=[^\s\[(<])(?:[ ]?{_NUMBERS}){{2,12}}|(?<=[^\s\[(<])\[\^?\d{{1,3}}(?:\s?[,\u2013-]\s?\d{{1,3}}){{0,8}}\]"
    rf"|{_AFTER}[ ]{_NUMBERS}(?!\S)|(?<=[^\s\d\[(])\^\[?\d{{1,3}}\]?\^?|{_AFTER}{_POWERS}"
)
_MARKUP_SIGN: Final = re.compile(r"[<\[(^\u3010\u00b9\u00b2\u00b3\u2070-\u2079]")
_MARKUP_HELD: Final = re.compile(
    r"(?:<(?:[/!?]?[A-Za-z!-][^<>\n]{0,280}|[/!?]?)|[ ]?\(?!?\[[^\]\[\n]{0,200}(?:\](?:\([^)\n]{0,300}\)?)?)?"
    rf"|(?:[ ]?{_NUMBERS}){{1,12}}(?:[ ]?\[?\^?\d{{0,3}})|[ ]?\([^\W\d_]{{0,10}}\s?"
    rf"|[ ]?{_SOURCE}(?:\([^()\n]{{0,200}}(?:\)[^()\n]{{0,60}})?)?"
    rf"|[ ]?\u3010[^\u3010\u3011\n]{{0,122}}|\^\[?\d{{0,3}}\]?|{_POWERS}|[ !])\Z"
)
_BLOCKS: Final = (
    "br hr div story li tr ul ol table section article body head header footer main chapter page scene answer response "
    "output content text narrative final result blockquote poem verse stanza line speak"
)
_BETWEEN: Final = (
    dict.fromkeys(_BLOCKS.split(), "\n") | dict.fromkeys(("p", "paragraph"), "\n\n") | dict.fromkeys(("td", "th"), " ")
)
"""What separates the text before and behind a tag."""
_HEADINGS: Final = frozenset({"title", "h1", "h2", "h3", "h4", "h5", "h6", "heading"})
_INLINE: Final = frozenset(
    ["data", "b", "i", "u", "em", "strong", "span", "small", "big", "font", "center", "html", "a", "sup", "sub", "q"]
)
_DOMAIN: Final = re.compile(r"\W*(?:[\w-]+\.)+[a-z]{2,8}\W*|\W*\d*\W*|(?:https?|www).*", re.IGNORECASE)


class Markup(Scanner):
    """Leaves out tags and citations; of tags that separate lines a line feed remains, of links what they show."""

    def __init__(self) -> None:
        super().__init__(_MARKUP, _MARKUP_HELD, _LONGEST_LINK, _MARKUP_SIGN)
        self.cited = False
        """True after a citation."""

    def replaced(self, found: re.Match[str]) -> str:
        """Returns what replaces a tag, a link or a citation."""
        if found["link"]:
            shown: str = found["shown"]
            return "" if found["image"] or _DOMAIN.fullmatch(shown) else shown
        if not found["name"]:
            self.cited = self.cited or not found["tag"]
            return ""
        name = found["name"].lower().rpartition("_")[2]
        if name in _HEADINGS:
            return "\n\n" if found["end"] else "\n\n# "
        if name == "summary":
            return "\n" if found["end"] else "\nSummary:\n"
        if name in _BETWEEN:
            return _BETWEEN[name]
        word = found["name"][0].isupper() and not (found["end"] or found["attributes"]) and name not in _INLINE
        return found[0] if word else ""
