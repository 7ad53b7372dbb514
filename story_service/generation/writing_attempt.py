"""A call to a chat model that writes a passage, from its events to the items of the port."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from offline_writer import Outline
from servicekit.languages import LanguageDetector
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.sentences import is_closed
from story_service.answer.reader import AnswerItem, AnswerReader
from story_service.answer.sentences import count_words
from story_service.answer.stream_text import read_text
from story_service.assignment import Assignment
from story_service.chat import ChatDelta, ChatEnded, ChatEvent, EndMark
from story_service.errors import BrokenOffError, OutOfTokensError, UnfitError, WrongLanguageError
from story_service.generation.endings import Verdict, has_paired_quotes, is_whole, judge
from story_service.generation.guards import OutputGuard, RepeatedError, StartedOverError
from story_service.generation.model_answer import CallFacts, ModelAnswer
from story_service.generation.opening import OpeningGuard, OtherLanguageError, RefusedError
from story_service.ports import AttemptEnded, AttemptText, AttemptTitle, Missing

_ERROR: Final = re.compile(
    r"\s*\n\W{0,3}(?:error\s*(?:\d{3}\b|[:\]])|an? (?:\w+ ){0,2}error (?:has )?occurred|internal server error|"
    r"bad gateway|service unavailable|gateway time-?out|too many requests|rate limit exceeded|"
    r"(?:upstream|api|server|network|stream|connection|request)\b.{0,40}\b(?:error|timed.out|aborted|failed|lost)\b)",
    re.IGNORECASE,
)
"""Begins a paragraph that a server wrote in place of the model's."""


class WritingAttempt(ModelAnswer):
    """Reads and checks what a model writes, and records it for the ledger."""

    def __init__(self, facts: CallFacts, assignment: Assignment, *, languages: LanguageDetector | None = None) -> None:
        """`languages` None leaves the language unchecked."""
        super().__init__(facts)
        self._assignment = assignment
        self._passage = passage = assignment.passage
        self._reader = AnswerReader(
            title_wanted=not assignment.title_so_far,
            title=assignment.title_so_far,
            language_code=assignment.language_code,
            words_asked=passage.left,
            outline=None if passage.scene is None else assignment.outline or Outline(),
            last=passage.last,
        )
        self._opening = OpeningGuard(assignment, languages)
        self._guard = OutputGuard(assignment, self._opening)
        # The ending was asked for, alone or again: without it the story ends where it stands.
        self._may_end = assignment.broke_off or passage.lacks_only_ending
        self._titles: list[AttemptTitle] = []
        """The title, where it is released with the first text."""
        self._unclosed = ""
        self._released: list[str] = []

    @property
    def words(self) -> int:
        """Words of the story that this attempt has released."""
        return count_words("".join(self._released))

    def take(self, event: ChatEvent) -> Iterator[AttemptTitle | AttemptText | Outline]:
        """Yields what may be released after `event`.

        Raises UnfitError for text that does not continue the story or is too short, BrokenOffError where only the
        ending is missing, WrongLanguageError, OutOfTokensError, ProviderError CONTENT_POLICY for a refusal and
        TRUNCATED for a cut answer, and FAILED_PRECONDITION / TEXT_TOO_LONG.
        """
        try:
            for item in super().take(event):
                if isinstance(item, AttemptText):
                    self._released.append(item.text)
                yield item
        except (StartedOverError, RepeatedError, RefusedError, OtherLanguageError) as error:
            if not self._may_end:
                raise self._failure(error) from None
            self._complete(ending_missing=True)

    def let_go(self) -> Iterator[AttemptText]:
        """Yields what was held of an answer that has failed: it was no ending."""
        held = self._guard.let_go() if self._opening.is_open else []
        self._released += held
        yield from map(AttemptText, held)

    @property
    def _new_paragraph(self) -> bool:
        return self._reader.opens_paragraph or (bool(self._passage.scene) and not self._passage.written)

    def _complete(self, missing: Missing = Missing.NOTHING, *, ending: str = "", ending_missing: bool = False) -> None:
        text = "".join(self._released)
        self._end = AttemptEnded(text, missing=missing, ending=ending, ending_missing=ending_missing)

    def _taken(self, event: ChatEvent) -> Iterator[AttemptTitle | AttemptText]:
        match event:
            case ChatDelta():
                for item in self._reader.feed(event.text):
                    yield from self._checked(item)
                if self._guard.length.full:
                    yield from self._too_long()
            case ChatEnded():
                yield from self._finished(event)

    def _too_long(self) -> Iterator[AttemptText]:
        """Ends an answer that exceeds its words: a scene with a paragraph, a story with an ending that is asked for."""
        if not self._passage.last:
            yield from map(AttemptText, self._guard.let_go(paragraphs=True))
            self._complete(Missing.SCENE)
        elif self._may_end:
            yield from map(AttemptText, self._guard.let_go())
            self._complete(ending_missing=True)
        else:
            self._complete(Missing.ENDING)

    def _finished(self, event: ChatEnded) -> Iterator[AttemptTitle | AttemptText]:
        """Yields what the end of the answer releases. Raises as `take` does."""
        answer, ended = self._reader.finish(), event.mark in {EndMark.PROPER, EndMark.UNKNOWN}
        if ended and not answer.text:
            self._opening.no_story(read_text(self.raw_text))
        *read, last = answer.items or (AttemptText(""),)
        if isinstance(last, AttemptText) and self._released and _ERROR.match(last.text) is not None:
            last, event, ended = AttemptText(""), replace(event, mark=EndMark.NONE), False
        items = [item for each in read for item in self._checked(each)]
        if isinstance(last, AttemptTitle):
            items, last = [*items, *self._checked(last)], AttemptText("")
        # What is before another paragraph is text; what is last may be unfinished.
        before, last_text = (self._unclosed, last.text) if last.text else ("", self._unclosed)
        whole = is_whole(self._assignment.written_so_far + answer.text) and (ended or has_paired_quotes(last_text))
        items += self._passed(before + last_text if whole else before)
        items += self._texts(
            self._guard.finish(ended=ended, may_end=ended or self._may_end, new_paragraph=self._new_paragraph)
        )
        added = bool(self._released) or any(isinstance(item, AttemptText) for item in items)
        length = self._guard.length
        verdict = judge(event.mark, whole=whole, share=length.share, added=added, extendable=length.is_short)
        if verdict is Verdict.BROKE_OFF and not self._passage.last:
            verdict = Verdict.COMPLETE
        may_end = self._may_end and (added or ended or bool(self.raw_text.strip()))
        # The calls that are left are for the scenes that follow.
        may_end = may_end or (added and verdict is Verdict.OUT_OF_TOKENS and self._assignment.ends_if_cut)
        if added and verdict is not Verdict.TOO_SHORT:
            yield from items
        if length.full and added:
            yield from self._too_long()
        elif verdict is Verdict.SHORT:
            self._complete(Missing.WORDS, ending="".join(self._guard.let_go()))
        elif verdict is Verdict.COMPLETE or may_end:
            # A closing word alone ends what has its ending; what does not fit, or was there before, is none.
            missing = verdict is not Verdict.COMPLETE or not (added or (self.raw_text.strip() and not answer.text))
            ends = self._passage.last
            self._complete(Missing.NOTHING if ends else Missing.SCENE, ending_missing=missing and ends)
        else:
            raise self._incomplete(verdict, event)

    def _incomplete(self, verdict: Verdict, event: ChatEnded) -> ProviderError:
        if verdict is Verdict.BROKE_OFF:
            return BrokenOffError(provider=self._provider, request_id=self.generation_id)
        if verdict is Verdict.OUT_OF_TOKENS:
            return OutOfTokensError(provider=self._provider, request_id=event.generation_id)
        if verdict is Verdict.FILTERED:
            return self._failed(ProviderErrorKind.CONTENT_POLICY, "a content filter refused it")
        if verdict is Verdict.CUT:
            return self._failed(ProviderErrorKind.TRUNCATED, "the answer was cut")
        return self._unfit("the answer was " + ("too short for a story" if self.raw_text.strip() else "empty"))

    def _checked(self, item: AnswerItem) -> list[AttemptTitle | AttemptText]:
        if isinstance(item, AttemptTitle):
            if self._opening.title(item.title):
                return [item]
            self._titles.append(item)
            return []
        if self._released and _ERROR.match(item.text) is not None:
            raise self._unfit("an error stands in the answer")
        # Without a stop it may be the last, and unfinished.
        before, self._unclosed = self._unclosed, item.text
        if is_closed(item.text):
            before, self._unclosed = before + item.text, ""
        return self._passed(before)

    def _passed(self, text: str) -> list[AttemptTitle | AttemptText]:
        return self._texts(self._guard.feed(text, new_paragraph=self._new_paragraph) if text else [])

    def _texts(self, released: list[str]) -> list[AttemptTitle | AttemptText]:
        titles: list[AttemptTitle] = []
        if released:
            titles, self._titles = self._titles, []
        return [*titles, *map(AttemptText, released)]

    def _failure(self, error: Exception) -> ProviderError:
        match error:
            case OtherLanguageError():
                requested = self._assignment.language_code
                return WrongLanguageError(
                    requested, error.found, provider=self._provider, request_id=self.generation_id
                )
            case RefusedError():
                return self._failed(ProviderErrorKind.CONTENT_POLICY, "the model refused to write it")
            case StartedOverError():
                return self._unfit("the answer started the story again instead of continuing it")
            case _:
                return self._unfit("the answer repeated the story")

    def _failed(self, kind: ProviderErrorKind, message: str) -> ProviderError:
        return ProviderError(kind, message, provider=self._provider, request_id=self.generation_id)

    def _unfit(self, message: str) -> UnfitError:
        return UnfitError(message, provider=self._provider, request_id=self.generation_id)
