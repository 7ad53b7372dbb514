"""What stands behind the text of an answer: the summary, or the story after all."""

from __future__ import annotations

from typing import Final

from story_service.markup import LineKind, read_line, without_emphasis, without_label

MAX_SUMMARY_LENGTH: Final = 1_000
"""Most code points of a summary."""

_MAX_TAIL: Final = 1_500
"""What goes on for longer behind `===`, and has no label, is no summary: it is the story, behind a rule."""
_ENDS: Final = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f")
_SENTENCES: Final = 2


class Tail:
    """Takes what stands behind `===` or, where `labelled`, behind "Summary:"."""

    def __init__(self, *, labelled: bool = False) -> None:
        self._labelled = labelled
        self._pieces: list[str] = []
        self._length = 0

    def feed(self, text: str) -> str:
        """Take more; returns all that was taken once it turns out to be text, and "" until then."""
        if self._labelled:
            text = text[: _MAX_TAIL - self._length]
        self._pieces.append(text)
        self._length += len(text)
        if self._labelled or self._length <= _MAX_TAIL:
            return ""
        whole = "".join(self._pieces)
        unlabelled, self._labelled = without_label(whole)
        if not self._labelled:
            self._pieces = []
            return whole
        self._pieces = [unlabelled[:_MAX_TAIL]]
        self._length = _MAX_TAIL
        return ""

    @property
    def summary(self) -> str:
        """What was taken up to the end of the paragraph with the second sentence, on one line; "" for nothing."""
        words: list[str] = []
        for each in without_label("".join(self._pieces))[0].splitlines():
            line = read_line(each.strip(), whole=True)
            enough = sum(word.endswith(_ENDS) for word in words) >= _SENTENCES
            if words and (line.kind is LineKind.SEPARATOR or (line.kind is LineKind.BREAK and enough)):
                break
            if line.kind in {LineKind.TEXT, LineKind.SUMMARY}:
                words += without_emphasis(line.text).split()
        summary = " ".join(words)
        if len(summary) <= MAX_SUMMARY_LENGTH:
            return summary
        return summary[: MAX_SUMMARY_LENGTH + 1].rpartition(" ")[0] or summary[:MAX_SUMMARY_LENGTH]
