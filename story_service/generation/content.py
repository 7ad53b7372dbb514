"""The released text of a story, and what is released next. It only grows."""

import hashlib
from dataclasses import dataclass, replace

from offline_writer import Outline
from servicekit.errors import DomainError
from servicekit.resilience.errors import ProviderError
from story_service.answer.sentences import count_words
from story_service.answer.titles import fallback_ending, fallback_title, normalise_title
from story_service.assignment import MAX_CONTENT_LENGTH, Assignment
from story_service.errors import (
    BrokenOffError,
    OutOfTokensError,
    PassageRefusedError,
    UnfitError,
    generation_failed,
    passage_refused,
    text_too_long,
)
from story_service.generation.attempt_request import later_calls
from story_service.generation.endings import TOO_SHORT
from story_service.passage import NEARLY_WHOLE, words_of
from story_service.ports import AttemptEnded, AttemptText, AttemptTitle, Missing, Spending


@dataclass(frozen=True, slots=True)
class Title:
    """The title, normalised."""

    title: str


@dataclass(frozen=True, slots=True)
class Delta:
    """Whole sentences; `offset` is in code points of the content, earlier text included."""

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
        """Code points of the whole content, text before the request included."""
        self._attempt = 0
        self.passage = assignment.passage
        """What the present attempt writes."""
        self._extended = False
        self._ending = ""
        self._good_night = fallback_ending(assignment.language_code)
        """What stands in place of an ending, "" where it is not known in the language."""
        self.words_asked = words_of(assignment.length_minutes)
        """Requested words of the story."""
        self.outline = assignment.outline
        """The plan of the story, once there is one."""
        self.broke_off = False
        """True once an answer ended without an ending (BrokenOffError)."""
        self.was_cut = False
        """True once an answer was cut at its maximum of tokens."""
        self._outage = False
        """True where a call since the last text, or the text's own, failed for more than what its model wrote."""
        self._gentle = False
        self._refused_at: int | None = None
        """Code points before what the safety check refused, until more of the story is there."""

    def can_end(self, *, one_used_up: bool, all_used_up: bool) -> bool:
        """Returns whether the released text can be the whole story, when one model or all may not be called any more.

        A story that an outage interrupted is not ended early: it can be continued later.
        """
        cut_short = self.was_cut and not self._outage and self.words >= TOO_SHORT * self.words_asked
        return self.broke_off or (one_used_up and not self.is_short) or (all_used_up and cut_short)

    @property
    def words(self) -> int:
        """Words of the whole content, without a good night."""
        return count_words("".join(self._pieces).removesuffix(self._good_night))

    @property
    def is_short(self) -> bool:
        """True where the content has too few of the requested words."""
        return self.words < NEARLY_WHOLE * self.words_asked

    @property
    def is_told(self) -> bool:
        """True where the outline says that the last scene has ended, and where good night was said."""
        scenes = () if self.outline is None else self.outline.scenes[1:][-1:]
        return any(0 < scene.end == self.length for scene in scenes) or self._said_good_night

    @property
    def whole(self) -> str:
        """Title and text."""
        return "".join([self._title, "\n\n", *self._pieces])

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the whole content in UTF-8."""
        return self._digest.digest()

    @property
    def has_cost_limit(self) -> bool:
        """True where the cost of an attempt must be known before the next starts."""
        return self._assignment.max_cost_usd is not None

    def begin_attempt(self, spent: Spending, *, calls_left: int, alone: bool = False) -> Assignment:
        """Returns what the next attempt is to write; `spent` is the cost of this request so far.

        A passage is extended where enough calls are left for the scenes behind it. `alone`: no writer that needs none
        continues a story that was cut.
        """
        self._pieces = ["".join(self._pieces)]
        self._attempt = len(self._pieces)
        assignment = replace(
            self._assignment,
            title_so_far=self._title,
            written_so_far=self._pieces[0],
            broke_off=self.broke_off,
            outline=self.outline,
            gentle=self._gentle,
            extended=self._extended,
            spent_usd=self._assignment.spent_usd + spent.cost_usd,
        )
        self.passage = assignment.passage
        if self.passage.scene and self.outline is not None:
            # A scene that has nearly all its words has ended, though its attempt failed: it is written once.
            self.outline = _ended(self.outline, self.passage.scene, self.passage.start)
            assignment = replace(assignment, outline=self.outline)
        enough = calls_left >= 2 + later_calls(assignment)
        return replace(assignment, extendable=enough and not self._extended, ends_if_cut=alone and not enough)

    def note_failed(self, error: ProviderError | DomainError) -> None:
        """Notes how an attempt failed.

        Raises FAILED_PRECONDITION / CONTENT_REFUSED where the safety check refused a second version of what is next.
        """
        if isinstance(error, ProviderError):
            self._outage = not isinstance(error, UnfitError) or (self._outage and not self.attempt_has_text)
        match error:
            case PassageRefusedError():
                if self._refused_at == self.length:
                    raise passage_refused(error.category)
                self._gentle, self._refused_at = True, self.length
            case BrokenOffError():
                self.broke_off = True
            case OutOfTokensError():
                self.was_cut = True

    @property
    def attempt_has_text(self) -> bool:
        """True where the present attempt has released text."""
        return len(self._pieces) > self._attempt

    def release(self, item: AttemptTitle | AttemptText) -> Title | Delta | None:
        """Returns what the caller gets of `item`, or None.

        Raises FAILED_PRECONDITION / TEXT_TOO_LONG beyond `MAX_CONTENT_LENGTH`, and UNAVAILABLE /
        UPSTREAM_UNAVAILABLE for text before a title.
        """
        if isinstance(item, AttemptTitle):
            if self._title:
                return None
            self._title = normalise_title(item.title) or fallback_title(self._assignment.language_code)
            if self.outline is not None:
                self.outline = replace(self.outline, title=self._title)
            return Title(self._title)
        return self.add(item.text) if item.text else None

    def add(self, text: str) -> Delta:
        """Returns the delta of new text. Raises as `release` does."""
        if not self._title:
            raise generation_failed("TRUNCATED", "The model gave text before a title.")
        if self.length + len(text) > MAX_CONTENT_LENGTH:
            raise text_too_long()
        delta = Delta(self.length, text)
        self.length += len(text)
        self._digest.update(text.encode())
        self._pieces.append(text)
        return delta

    def take_ending(self) -> Delta | None:
        """Returns the ending that was not released, after an attempt has added nothing before it; None without one."""
        ending, self._ending = self._ending, ""
        return self.add(ending) if ending and not self.attempt_has_text else None

    def say_good_night(self) -> Delta | None:
        """Returns the last words of a story without an ending; None where it has them, or none are known."""
        words = self._good_night
        return self.add(f"\n\n{words}") if words and self.length and not self._said_good_night else None

    @property
    def _said_good_night(self) -> bool:
        return bool(self._good_night) and "".join(self._pieces).endswith(self._good_night)

    def close_passage(self, missing: Missing = Missing.SCENE, *, ending: str = "") -> Outline | None:
        """Notes what the story lacks; returns the outline where a scene has ended."""
        self._extended = missing is Missing.WORDS or (self._extended and missing is Missing.ENDING)
        self._ending, self._refused_at, self._outage = ending, None, False
        self.broke_off = self.broke_off or missing is Missing.ENDING
        scene = self.passage.scene
        if scene is None or self.passage.plans or missing in {Missing.WORDS, Missing.ENDING}:
            return None
        if self.outline is None or not all(each.words for each in self.outline.scenes):
            # The embedded writer has ends of its own.
            return None
        self.outline = _ended(self.outline, scene + 1, self.length)
        return self.outline

    def verify(self, ended: AttemptEnded | None) -> None:
        """Raises UNAVAILABLE unless the attempt ended, with text that is equal to what was released."""
        if ended is None:
            raise generation_failed("TRUNCATED", "The model's answer was cut.")
        if not self.length and ended.missing is Missing.NOTHING:
            raise generation_failed("TRUNCATED", "The model's answer was empty.")
        if ended.text != "".join(self._pieces[self._attempt :]):
            raise generation_failed("TRUNCATED", "The model's answer was not what it had streamed.")


def _ended(outline: Outline, number: int, end: int) -> Outline:
    """Returns the outline in which so many scenes have an end: where they had none, `end`."""
    scenes = outline.scenes
    return replace(
        outline, scenes=(*(replace(each, end=each.end or end) for each in scenes[:number]), *scenes[number:])
    )
