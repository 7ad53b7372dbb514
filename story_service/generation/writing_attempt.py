"""One call to a chat model, from its events to the items of the port."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from story_service.answer.reader import AnswerItem, AnswerReader
from story_service.answer.refusals import is_refusal
from story_service.answer.sentences import count_words
from story_service.assignment import Assignment
from story_service.chat import ChatDelta, ChatEnded, ChatEvent, ChatStarted, EndMark, OutOfTokensError
from story_service.errors import UnfitError, why
from story_service.generation.guards import OutputGuard, RepeatedError, StartedOverError, TooShortError
from story_service.ports import AttemptEnded, AttemptText, AttemptTitle, ModelCall, Spending
from story_service.prompting.length import words_left

if TYPE_CHECKING:
    from tale.common.v1.common_pb2 import AttemptOutcome

_NOT_SENT_OR_NOT_TAKEN: Final = 400
_MAYBE_TAKEN: Final = frozenset(
    {ProviderErrorKind.TIMEOUT, ProviderErrorKind.TRANSPORT, ProviderErrorKind.TRUNCATED, ProviderErrorKind.CANCELLED}
)


class WritingAttempt:
    """Reads and checks what a model writes, and records it for the ledger."""

    def __init__(
        self, assignment: Assignment, *, model: str, provider: str, start_time: datetime, free: bool = False
    ) -> None:
        """`free`: the provider bills nothing."""
        self._model = model
        self._provider = provider
        self._reader = AnswerReader(
            title_wanted=not assignment.title_so_far,
            title=assignment.title_so_far,
            language_code=assignment.language_code,
            words_asked=words_left(assignment),
        )
        self._guard = OutputGuard(assignment)
        self._call_id = new_id()
        self._start_time = start_time
        self._free = free
        self._began = asyncio.get_running_loop().time()
        self._raw: list[str] = []
        self._started: ChatStarted | None = None
        self._ended: ChatEnded | None = None
        self._read = False
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
        return count_words(self._guard.text)

    @property
    def generation_id(self) -> str:
        """The provider's id of the call, "" before it is known."""
        known = self._ended or self._started
        return known.generation_id if known is not None else ""

    def take(self, event: ChatEvent) -> Iterator[AttemptTitle | AttemptText]:
        """Yields what may be released after `event`.

        Raises UnfitError for text that does not continue the story, ProviderError CONTENT_POLICY for a refusal in
        words, and FAILED_PRECONDITION / TEXT_TOO_LONG.
        """
        try:
            yield from self._taken(event)
        except StartedOverError:
            raise self._unfit("the answer started the story again instead of continuing it") from None
        except RepeatedError:
            raise self._unfit("the answer repeated the story") from None
        except TooShortError:
            self._check_refusal()
            raise self._unfit("the answer was too short for a story") from None

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
        if self._ended is None:
            raise ValueError("the attempt has not ended")
        return AttemptEnded(self._guard.text)

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
            case ChatEnded():
                self._ended = event
                self._check_end(event)
                for item in self._reader.finish().items:
                    yield from self._checked(item)
                for text in self._guard.finish(new_paragraph=self._reader.opens_paragraph):
                    yield AttemptText(text)

    def _check_end(self, event: ChatEnded) -> None:
        """Raises ProviderError where the answer is not whole by its end, or empty."""
        if event.mark is EndMark.OUT_OF_TOKENS:
            raise OutOfTokensError(provider=self._provider, request_id=event.generation_id, spending=event.spending)
        if event.mark is EndMark.FILTERED:
            raise self._failed(ProviderErrorKind.CONTENT_POLICY, "a content filter refused it")
        if event.mark is EndMark.NONE:
            raise self._failed(ProviderErrorKind.TRUNCATED, "the answer was cut")
        if not self.raw_text.strip():
            raise self._failed(ProviderErrorKind.TRUNCATED, "the answer was empty")

    def _checked(self, item: AnswerItem) -> Iterator[AttemptTitle | AttemptText]:
        if not self._read:
            self._read = True
            self._check_refusal()
        if isinstance(item, AttemptTitle):
            yield item
            return
        for text in self._guard.feed(item.text, new_paragraph=self._reader.opens_paragraph):
            yield AttemptText(text)

    def _spending(self, error: ProviderError | None, estimate: float) -> Spending:
        if self._ended is not None:
            spending = self._ended.spending
        elif isinstance(error, OutOfTokensError):
            spending = error.spending
        elif error is not None and not self.generation_id and not _maybe_taken(error):
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

    def _check_refusal(self) -> None:
        if is_refusal(self.raw_text):
            raise self._failed(ProviderErrorKind.CONTENT_POLICY, "the model refused to write it")

    def _failed(self, kind: ProviderErrorKind, message: str) -> ProviderError:
        return ProviderError(kind, message, provider=self._provider, request_id=self.generation_id)

    def _unfit(self, message: str) -> UnfitError:
        return UnfitError(message, provider=self._provider, request_id=self.generation_id)


def _generation_id(error: ProviderError | None) -> str:
    """Returns the id of a generation that failed before its first event; with a status it is that of a refusal."""
    return error.request_id if error is not None and not error.status else ""


def _maybe_taken(error: ProviderError) -> bool:
    """Returns whether a model may have started, and so may be billed, although nothing came of it."""
    return error.kind in _MAYBE_TAKEN and error.status < _NOT_SENT_OR_NOT_TAKEN
