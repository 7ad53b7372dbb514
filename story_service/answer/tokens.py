"""Removes thoughts, template tokens and second turns from an answer, each by its shape."""

from __future__ import annotations

import re
from typing import Final

from story_service.answer.scanner import Scanner, beginnings

RESTART: Final = "\x00"
"""Marks the end of what is no answer: text before it that is not released is none either."""

THINKING: Final = (
    r"think|thought|reason|reflect|scratch_?pad|analy[sz]|planning|plan\b|monolog|deliberat|brainstorm|rationale"
    r"|cot(?:_|\b)|ponder|outline|critique|internal|contemplat|cogitat|denken|gedanke|pensée|pensamiento|raisonn"
    r"|razonamiento|мысл|мышлен|рассужд|思考|推理|考え"
)
"""Stems of what models call their thoughts."""
_THOUGHT: Final = re.compile(rf"{THINKING}|\b(?:details|style|script)\b", re.IGNORECASE)
_CLOSES: Final = re.compile(r"\A\W*/|end|\A<[^|\uff5c]*[|\uff5c]>", re.IGNORECASE)
_KIND: Final = re.compile(
    r"(?P<channel>channel)"
    r"|(?P<message>message|middle|end\w*(?:header|role)|(?:header|role)_?end)"
    r"|(?P<other>user|human|system|developer|observation|tool|\bcall\b|inst\b|\bsys\b)"
    r"|(?P<assistant>assistant|chatbot)"
    r"|(?P<header>\bstart\b|im_(?:start|assistant|user|system)|start_header|header_start|start_of_(?:role|turn)"
    r"|\A<\|turn|~b\])"
    r"|(?P<start>start|begin|bos\b|sop\b)"
    r"|(?P<end>end|eo[a-z](?![a-z])|return|stop|\bsep\b|/s\b|turn\||e~)",
    re.IGNORECASE,
)
_NAME: Final = r"[\w:.\u2581/ -]{1,40}"
_STEM: Final = rf"[\w:.-]{{0,30}}(?:{THINKING}|details\b|style\b|script\b)[\w:.-]{{0,30}}"
_ATTRIBUTES: Final = r"(?:\s[^<>\n]{0,200})?"
_TOKEN: Final = re.compile(
    r"(?P<bytes>(?:<0x[0-9A-Fa-f]{2}>){1,8})"
    rf"|(?P<name><[|\uff5c]{_NAME}[|\uff5c]?>|<{_NAME}[|\uff5c]>|\[\|{_NAME}\|\]|\u25c1{_NAME}\u25b7|<</?SYS>>"
    rf"|<\s?/?\s?(?i:{_STEM}{_ATTRIBUTES}|(?:start|end|begin(?:ning)?)_of_\w{{1,30}}"
    r"|\w{0,20}[:_]?(?:bos|eos|eot|eop|eoa|eoh|sop)|pad|unk|mask|s|extra_id_\d{1,4})\s?/?>"
    r"|\[/?(?:THINK(?:ING)?|REASONING|INST|SYSTEM_PROMPT|BOS|EOS|PAD|UNK|SEP|CLS|MASK|gMASK|TOOL_CALLS)\]"
    r"|\[/(?i:think(?:ing)?|reasoning|thoughts?)\]|\]~!?b\[?\]?|\[e~\[)"
    rf"|(?P<fence>(?<![^\n>])`{{3,4}}[ \t]?(?i:\w{{0,20}}(?:{THINKING})\w{{0,20}})[ \t]*(?=\n))"
    r"|(?P<unfenced>(?<![^\n])`{3,4}[ \t]*(?=\n))"
    r"|(?P<thoughts>\b(?:assistant)?(?:analysis|commentary)(?=[A-Z\"\u201c])|assistant(?:commentary|analysis))"
    r"|(?P<final>assistantfinal|(?<![^\n])\.{3} ?done thinking\.?)"
    r"|(?P<turn>(?<=[^\s-])assistant(?=\n\n))"
)
_SIGN: Final = re.compile(r"[<\[\]`\u25c1]|assistant|analysis|commentary|\.{3}")
_HELD: Final = re.compile(
    r"(?:(?:<0x[0-9A-Fa-f]{2}>){1,7}(?:<(?:0(?:x[0-9A-Fa-f]{0,2})?)?)?|(?:<0x[0-9A-Fa-f]{2}>){8}"
    r"|<(?:0(?:x[0-9A-Fa-f]{0,2})?|[^\W\d_|\uff5c][^<>\n]{0,280}|[|\uff5c/\s][^<>\n]{0,280})?|<<[/SY]{0,4}>?"
    r"|\[[|/]?[\w:.\u2581/ ~-]{0,40}\|?|\u25c1[\w/]{0,40}|(?<![^\n>])`{1,4}[ \t]?\w{0,60}[ \t]{0,8}"
    r"|\]~?!?b?\[?\]?"
    rf"|{beginnings('assistantcommentary', 'assistantanalysis', 'assistantfinal', 'analysis', 'commentary')}"
    r"|assistant\n|(?<![^\n])\.{1,3} ?(?:done[a-z ]{0,10})?|(?<![^\n])\.{3} ?d[on]{0,2})\Z"
)
_LONGEST: Final = 320
_CUT: Final = re.compile(r"<[|\uff5c/][^>\n]*\Z")
_ROLE: Final = re.compile(
    r"\s*(?:(?P<assistant>assistant|model|chatbot|ai|bot)|(?P<other>user|human|system|developer|tool|ipython))\b",
    re.IGNORECASE,
)
_SPOKEN: Final = re.compile(r"\s*(?:final|response|answer|output|\Z)", re.IGNORECASE)
_MAX_HEADER: Final = 40
_MAX_LIMBO: Final = 4_000


class Tokens(Scanner):
    """Leaves the text of the answer: what a model says first, in its own turn, and does not only think."""

    def __init__(self) -> None:
        super().__init__(_TOKEN, _HELD, _LONGEST, _SIGN)
        self._depth = 0
        """Thoughts, or the turn of another speaker, that the present text is in."""
        self._fenced = False
        self._limbo: list[str] | None = None
        """Text between the ends of nested thoughts: it is the answer where the last of them never ends."""
        self._header: str | None = None
        """The role or the channel of a message, as far as it has come."""
        self._channel = False
        self._said = False
        self._struck = False
        self._over = False

    def finish(self) -> str:
        """Returns what was held at the end of the answer, without a cut token."""
        self._held = _CUT.sub("", self._held)
        text = super().finish() + (self._message() if self._header is not None else "")
        limbo, self._limbo, self._depth = self._limbo, None, 0
        return text + ("".join(limbo) if limbo is not None else "")

    def plain(self, text: str) -> str:
        """Returns `text` unless it is thought, a header, or behind the end of the turn."""
        if self._over:
            return ""
        if self._header is not None:
            return self._in_header(text)
        if self._depth:
            return self._in_limbo(text)
        self._said = self._said or bool(text.strip())
        return text

    def replaced(self, found: re.Match[str]) -> str:
        """Returns what replaces a token."""
        if self._over:
            return ""
        if found.lastgroup in {"unfenced", "fence", "bytes"}:
            return self._fence(found)
        if self._header is not None and "constrain" in found[0]:
            # A part of a header: the kind of the content follows.
            return self._in_header(" ")
        message = self._message() if self._header is not None else ""
        return message + self._token(found)

    def _fence(self, found: re.Match[str]) -> str:
        if found.lastgroup == "bytes":
            return self.plain(bytes.fromhex(re.sub("<0x|>", "", found[0])).decode(errors="ignore"))
        if found.lastgroup == "fence" and not self._said and not self._depth:
            self._depth, self._fenced = 1, True
            return ""
        if self._fenced:
            self._fenced = False
            return self._closed()
        return self.plain(found[0])

    def _token(self, found: re.Match[str]) -> str:
        match found.lastgroup:
            case "thoughts":
                return self._opened()
            case "final":
                return self._restarted()
            case "turn":
                return self._ended()
        token = found[0]
        if _THOUGHT.search(token.partition("=")[0]):
            if token.endswith("/>"):
                return ""
            return self._closed() if _CLOSES.search(token.partition(" ")[0]) else self._opened()
        kind = _KIND.search(token)
        return self._named(kind.lastgroup if kind is not None else None, token)

    def _named(self, kind: str | None, found: str) -> str:
        match kind:
            case "channel" if not _CLOSES.search(found):
                self._header, self._channel = "", True
            case "channel":
                return self._closed()
            case "header" if self._said:
                self._over = True
            case "header":
                self._header, self._channel = "", False
            case "assistant":
                return self._speaks(assistant=True)
            case "other" if found[1] == "/":
                return self._ended() if self._said else self._restarted()
            case "other":
                return self._speaks(assistant=False)
            case "end" if found == "</s>" and self._struck:
                self._struck = False
            case "end":
                return self._ended()
        self._struck = self._struck or (found == "<s>" and self._said)
        return ""

    def _opened(self) -> str:
        self._depth += 1
        self._limbo = None
        return ""

    def _closed(self) -> str:
        if not self._depth:
            return self._restarted()
        self._depth -= 1
        self._limbo = [] if self._depth else None
        return ""

    def _ended(self) -> str:
        """Ends a turn: the answer, where it has said anything."""
        self._over = self._said and not self._depth
        self._depth, self._limbo = 0, None
        return ""

    def _restarted(self) -> str:
        self._depth, self._limbo, self._said = 0, None, False
        return RESTART

    def _speaks(self, *, assistant: bool) -> str:
        if self._said:
            self._over = True
        elif assistant:
            return self._restarted()
        else:
            self._depth = 1
        return ""

    def _in_limbo(self, text: str) -> str:
        if self._limbo is None:
            return ""
        self._limbo.append(text)
        if sum(map(len, self._limbo)) < _MAX_LIMBO:
            return ""
        text, self._limbo, self._depth = "".join(self._limbo), None, 0
        return self.plain(text)

    def _in_header(self, text: str) -> str:
        header = (self._header or "") + text
        line, end, rest = header.partition("\n")
        if (not end and len(header) <= _MAX_HEADER) or not line:
            self._header = header if line else rest
            return ""
        self._header = line[:_MAX_HEADER]
        return self._message() + self.plain(line[_MAX_HEADER:] + end + rest)

    def _message(self) -> str:
        """Returns what is text of a header that has ended."""
        header, self._header = self._header or "", None
        if self._channel:
            if len(header) >= _MAX_HEADER:
                return self.plain(header)
            return self._restarted() if _SPOKEN.match(header) else self._opened()
        role = _ROLE.match(header)
        if role is None:
            return self.plain(header)
        return self._speaks(assistant=role.lastgroup == "assistant") + self.plain(header[role.end() :])
