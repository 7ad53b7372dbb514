"""What of a story is out, and what goes out next. It never changes; it only grows."""

import hashlib
from dataclasses import dataclass, replace

from story_service.answer.titles import fallback_title, normalise_title
from story_service.assignment import MAX_CONTENT_LENGTH, Assignment
from story_service.errors import generation_failed, text_too_long
from story_service.ports import AttemptEnded, AttemptText, AttemptTitle, Spending


@dataclass(frozen=True, slots=True)
class Title:
    """The title, normalised."""

    title: str


@dataclass(frozen=True, slots=True)
class Delta:
    """Whole sentences; `offset` is in code points of the content, what was written before included."""

    offset: int
    text: str


class Content:
    """Title and text of one story."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._title = assignment.title_so_far
        self._pieces = [assignment.written_so_far]
        self._digest = hashlib.sha256(assignment.written_so_far.encode())
        self.length = len(assignment.written_so_far)
        """Code points of the whole content, what was written before the request included."""
        self._attempt = 0

    @property
    def sha256(self) -> bytes:
        """Of the whole content in UTF-8."""
        return self._digest.digest()

    @property
    def may_cost_only_so_much(self) -> bool:
        """True where the price of an attempt has to be known before the next begins."""
        return self._assignment.max_cost_usd is not None

    def begin_attempt(self, spent: Spending) -> Assignment:
        """What the next attempt is to write, `spent` being what this request has cost so far."""
        self._pieces = ["".join(self._pieces)]
        self._attempt = len(self._pieces)
        return replace(
            self._assignment,
            title_so_far=self._title,
            written_so_far=self._pieces[0],
            spent_usd=self._assignment.spent_usd + spent.cost_usd,
        )

    @property
    def attempt_has_text(self) -> bool:
        """True where the present attempt has let text out."""
        return len(self._pieces) > self._attempt

    def tell(self, item: AttemptTitle | AttemptText) -> Title | Delta | None:
        """What the caller is told of `item`, None where that is nothing.

        Raises FAILED_PRECONDITION / TEXT_TOO_LONG beyond 65,536 code points, and UNAVAILABLE / UPSTREAM_UNAVAILABLE
        for text before a title.
        """
        if isinstance(item, AttemptTitle):
            if self._title:
                return None
            self._title = normalise_title(item.title) or fallback_title(self._assignment.language_code)
            return Title(self._title)
        if not item.text:
            return None
        if not self._title:
            raise generation_failed("TRUNCATED", "The model gave text before a title.")
        if self.length + len(item.text) > MAX_CONTENT_LENGTH:
            raise text_too_long()
        delta = Delta(self.length, item.text)
        self.length += len(item.text)
        self._digest.update(item.text.encode())
        self._pieces.append(item.text)
        return delta

    def verify(self, ended: AttemptEnded | None) -> AttemptEnded:
        """`ended`, if the text is there, was finished, and is what went out; else UNAVAILABLE."""
        if ended is None:
            raise generation_failed("TRUNCATED", "The model's answer broke off.")
        if not self.length:
            raise generation_failed("TRUNCATED", "The model's answer was empty.")
        if ended.text != "".join(self._pieces[self._attempt :]):
            raise generation_failed("TRUNCATED", "The model's answer was not what it had streamed.")
        return ended
