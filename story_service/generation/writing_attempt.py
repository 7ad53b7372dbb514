"""One call to a chat model, from its events to the items of the port."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.languages import LanguageDetector
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.sentences import is_closed
from story_service.answer.reader import AnswerItem, AnswerReader
from story_service.answer.sentences import count_words
from story_service.answer.stream_text import read_text
from story_service.assignment import Assignment
from story_service.chat import ChatDelta, ChatEnded, ChatEvent, ChatStarted, EndMark
from story_service.errors import BrokenOffError, OutOfTokensError, UnfitError, WrongLanguageError, why
from story_service.generation.endings import Verdict, has_paired_quotes, is_whole, judge
from story_service.generation.guards import OutputGuard, RepeatedError, StartedOverError
from story_service.generation.opening import OpeningGuard, OtherLanguageError, RefusedError
from story_service.ports import AttemptEnded, AttemptText, AttemptTitle, ModelCall, Spending
from story_service.prompting.length import lacks_only_ending, words_asked, words_left

if TYPE_CHECKING:
    from tale.common.v1.common_pb2 import AttemptOutcome

_ERROR: Final = re.compile(
    r"\s*\n\W{0,3}(?:error\s*(?:\d{3}\b|[:\]])|an? (?:\w+ ){0,2}error (?:has )?occurred|internal server error|"
    r"bad gateway|service unavailable|gateway time-?out|too many requests|rate limit exceeded|"
    r"(?:upstream|api|server|network|stream|connection|request)\b.{0,40}\b(?:error|timed.out|aborted|failed|lost)\b)",
    re.IGNORECASE,
)
"""Begins a paragraph that a server wrote in place of the model's."""


class WritingAttempt:
    """Reads and checks what a model writes, and records it for the ledger."""

    def __init__(
        self,
        assignment: Assignment,
        *,
        model: str,
        provider: str,
        start_time: datetime,
        free: bool = False,
        languages: LanguageDetector | None = None,
    ) -> None:
        """`free`: the provider bills nothing. `languages` None leaves the language unchecked."""
        self._assignment = assignment
        self._model = model
        self._provider = provider
        self._reader = AnswerReader(
            title_wanted=not assignment.title_so_far,
            title=assignment.title_so_far,
            language_code=assignment.language_code,
            words_asked=words_left(assignment),
        )
        self._opening = OpeningGuard(assignment, languages)
        self._guard = OutputGuard(assignment, self._opening)
        # The ending was asked for, alone or again: without it the story ends where it stands.
        self._may_end = assignment.broke_off or lacks_only_ending(assignment)
        self._titles: list[AttemptTitle] = []
        """The title, where it is released with the first text."""
        self._unclosed = ""
        self._released: list[str] = []
        self._call_id = new_id()
        self._start_time = start_time
        self._free = free
        self._began = asyncio.get_running_loop().time()
        self._raw: list[str] = []
        self._started: ChatStarted | None = None
        self._ended: ChatEnded | None = None
        self._ending_missing = False
        self.complete = False
        """True once the story is complete: what the model still writes is not needed."""
        self.first_token_seconds: float | None = None
        """Seconds from the call to its first text, None before it."""

    @property
    def raw_text(self) -> str:
        """What the model wrote, unchanged."""
        return "".join(self._raw)

    @property
    def seconds(self) -> float:
        """Seconds since the call."""
        return asyncio.get_running_loop().time() - self._began

    @property
    def words(self) -> int:
        """Words of the story that this attempt has released."""
        return count_words("".join(self._released))

    @property
    def generation_id(self) -> str:
        """The provider's id of the call, "" before it is known."""
        known = self._ended or self._started
        return known.generation_id if known is not None else ""

    def take(self, event: ChatEvent) -> Iterator[AttemptTitle | AttemptText]:
        """Yields what may be released after `event`.

        Raises UnfitError for text that does not continue the story or is too short, BrokenOffError where only the
        ending is missing, WrongLanguageError, OutOfTokensError, ProviderError CONTENT_POLICY for a refusal and
        TRUNCATED for a cut answer, and FAILED_PRECONDITION / TEXT_TOO_LONG.
        """
        try:
            for item in self._taken(event):
                if isinstance(item, AttemptText):
                    self._released.append(item.text)
                yield item
        except (StartedOverError, RepeatedError, RefusedError, OtherLanguageError) as error:
            if not self._may_end:
                raise self._failure(error) from None
            self._complete(ending_missing=True)

    def call(
        self,
        outcome: "AttemptOutcome.ValueType",
        *,
        end_time: datetime | None = None,
        error: ProviderError | DomainError | None = None,
        estimate: float = 0.0,
    ) -> ModelCall:
        """Returns the line of the ledger. `estimate` replaces a cost, in US dollars, that is not known yet."""
        upstream = error if isinstance(error, ProviderError) else None
        generation_id = self.generation_id or _generation_id(upstream)
        metadata = {
            "generation_id": generation_id,
            "provider_name": self._ended.provider_name if self._ended is not None else "",
            "upstream_request_id": upstream.request_id if upstream is not None else "",
            "http_status": str(upstream.status) if upstream is not None and upstream.status else "",
            "billed": "false" if upstream is not None and not upstream.billed else "",
        }
        return ModelCall(
            call_id=self._call_id,
            provider=self._provider,
            model=self._model,
            outcome=outcome,
            start_time=self._start_time,
            end_time=end_time,
            reason="" if error is None else why(error),
            spending=self._spending(upstream, estimate),
            metadata={key: value for key, value in metadata.items() if value},
            generation_id=generation_id,
            completion=self._completion() if self._started is not None or self._raw else {},
        )

    def ended(self) -> AttemptEnded:
        """Returns the end of a successful attempt."""
        if not self.complete:
            raise ValueError("the attempt has not ended")
        return AttemptEnded("".join(self._released), ending_missing=self._ending_missing)

    def _complete(self, *, ending_missing: bool) -> None:
        self.complete, self._ending_missing = True, ending_missing

    def _taken(self, event: ChatEvent) -> Iterator[AttemptTitle | AttemptText]:
        match event:
            case ChatStarted():
                self._started = event
            case ChatDelta():
                if self.first_token_seconds is None:
                    self.first_token_seconds = self.seconds
                self._raw.append(event.text)
                for item in self._reader.feed(event.text):
                    yield from self._checked(item)
                if self._guard.full:
                    self._complete(ending_missing=True)
            case ChatEnded():
                self._ended = event
                yield from self._finished(event)

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
            self._guard.finish(ended=ended or self._may_end, cut=not ended, new_paragraph=self._reader.opens_paragraph)
        )
        added = bool(self._released) or any(isinstance(item, AttemptText) for item in items)
        share = self._guard.words / words_asked(self._assignment)
        verdict = judge(event.mark, whole=whole, share=share, added=added)
        answered = added or ended or bool(self.raw_text.strip())
        may_end = (self._guard.full and added) or (self._may_end and answered)
        if added and verdict is not Verdict.TOO_SHORT:
            yield from items
        if verdict is not Verdict.COMPLETE and not may_end:
            raise self._incomplete(verdict, event)
        nothing = may_end and not self.raw_text.strip()
        self._complete(ending_missing=self._guard.full or verdict is not Verdict.COMPLETE or nothing)

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
        return self._texts(self._guard.feed(text, new_paragraph=self._reader.opens_paragraph) if text else [])

    def _texts(self, released: list[str]) -> list[AttemptTitle | AttemptText]:
        titles: list[AttemptTitle] = []
        if released:
            titles, self._titles = self._titles, []
        return [*titles, *map(AttemptText, released)]

    def _spending(self, error: ProviderError | None, estimate: float) -> Spending:
        if self._ended is not None:
            spending = self._ended.spending
        elif error is not None and not self.generation_id and not error.billed:
            return Spending()
        else:
            spending = Spending(cost_known=False)
        if spending.cost_known:
            return spending
        return Spending(
            prompt_tokens=spending.prompt_tokens,
            completion_tokens=spending.completion_tokens,
            cost_usd=estimate,
            cost_known=self._free,
        )

    def _completion(self) -> dict[str, Any]:
        """Returns the answer as one chat completion; a cut one has no finish_reason and may have no usage."""
        ended, started = self._ended, self._started
        known = ended or started
        return {
            "id": self.generation_id,
            "object": "chat.completion",
            "created": (ended.created if ended is not None else 0) or int(self._start_time.timestamp()),
            "provider": (ended.provider_name if ended is not None else "") or self._provider,
            "model": (known.model if known is not None else "") or self._model,
            "choices": [
                {
                    "index": 0,
                    "finish_reason": (ended.finish_reason or None) if ended is not None else None,
                    "message": {"role": "assistant", "content": self.raw_text},
                }
            ],
            "usage": dict(ended.usage) if ended is not None else None,
        }

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


def _generation_id(error: ProviderError | None) -> str:
    """Returns the id of a generation that failed before its first event; with a status it is that of a refusal."""
    return error.request_id if error is not None and not error.status else ""
