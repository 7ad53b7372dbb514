"""What a sequel remembers of the story before it: its title and sentences of its summary, each as a quotation."""

import re
from dataclasses import dataclass
from typing import Self

from offline_writer.brief import Parent
from offline_writer.cleaning import clean
from offline_writer.english.people import Room

_SENTENCE = re.compile(r"(?<=[.!?\u2026])[\"\u201d\u2019']*\s+")
_MARKS = frozenset("!?\u2026")


@dataclass(frozen=True, slots=True)
class Memory:
    """Texts that can stand in quotation marks; "" where there is none."""

    title: str = ""
    detail: str = ""
    other_detail: str = ""
    source: str = ""
    """Title and summary, folded: what the new story need not have again."""

    @classmethod
    def of(cls, sequel: Parent | None, room: Room) -> Self:
        """The first two sentences that say something; a long one is cut and trails off."""
        if sequel is None:
            return cls()
        kept = (_quoted(part, room.detail) for part in _SENTENCE.split(sequel.summary[:4000]))
        details = [*dict.fromkeys(part for part in kept if part), "", ""]
        title = clean(sequel.title, limit=room.title)
        if room.tight and title and details[0].endswith("\u2026"):
            # A few words that trail off tell nothing that the title does not, and the story needs their room.
            details[0] = ""
        return cls(
            title=title,
            detail=details[0],
            other_detail=details[1],
            source=f"{sequel.title} {sequel.summary}".casefold(),
        )

    def has(self, text: str) -> bool:
        """Whether that story spoke of it."""
        return bool(text) and re.search(rf"\b{re.escape(text.casefold())}\b", self.source) is not None

    @property
    def slots(self) -> dict[str, str]:
        """For the stock."""
        return {"ptitle": self.title, "pdetail": self.detail, "pdetail2": self.other_detail}


def _quoted(text: str, limit: int) -> str:
    whole = clean(text, limit=4000)
    body = clean(text, limit=limit)
    if not any(char.isalnum() for char in body):
        return ""
    if body != whole:
        return body + "\u2026"
    last = text.rstrip().rstrip("\"\u201d\u2019'")[-1:]
    return body[:1].upper() + body[1:] + (last if last in _MARKS else ".")
