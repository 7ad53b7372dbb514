"""Writes one story: the models in their order, each going on where the one before it was cut."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias

from servicekit.resilience.retry import RetryBudget, RetryPolicy
from story_service.assignment import Assignment
from story_service.generation.accounting import CostLedger
from story_service.generation.content import Content, Delta, Title
from story_service.generation.relay import Relay
from story_service.generation.selection import ModelSelector, Notice
from story_service.metrics import StoryMetrics
from story_service.models.generations import Generations
from story_service.ports import AttemptStarted, ModelCall, ModelWriter, Spending

__all__ = ["Completed", "Delta", "StoryGenerator", "StoryItem", "Title"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The text is whole and verified. `content_length` in code points, `content_sha256` of the content in UTF-8.

    `model` and `provider` brought it to its end; `embedded` says whether the embedded writer wrote any of it.
    """

    model: str
    provider: str
    embedded: bool
    content_length: int
    content_sha256: bytes
    spending: Spending
    summary: str


StoryItem: TypeAlias = AttemptStarted | Notice | Title | Delta | ModelCall | Completed


class StoryGenerator:
    """Writes stories with the writers that it is given."""

    def __init__(
        self,
        *,
        selector: ModelSelector,
        writers: Mapping[str, ModelWriter],
        chat_writer: ModelWriter | None = None,
        policy: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
        generations: Generations | None = None,
        metrics: StoryMetrics | None = None,
        generation_info_wait: float = 3.0,
        patience: float = 10.0,
    ) -> None:
        """`writers` is by model; `chat_writer` has every other that `selector` may choose.

        `policy` and `budget` are for calls to the same model again; `generation_info_wait` is how long the end of a
        story waits for what providers tell of it, and `patience` is for a circuit that is the last hope, in seconds.
        """
        self._selector = selector
        self._writers = dict(writers)
        self._chat_writer = chat_writer
        self._policy = policy or RetryPolicy()
        self._budget = budget
        self._generations = generations
        self._metrics = metrics
        self._wait = generation_info_wait
        self._patience = patience

    async def generate(
        self, assignment: Assignment, *, deadline: float | None = None
    ) -> AsyncGenerator[StoryItem, None]:
        """Write: AttemptStarted, notices, the title unless it is out, deltas, calls, and Completed last.

        A later ModelCall of the same id knows more. `deadline` is on the loop's clock. Raises DomainError:
        MODEL_NOT_FOUND, INVALID_CONFIGURATION, LANGUAGE_UNSUPPORTED, TEXT_TOO_LONG, COST_LIMIT, and what became of
        the models when the last has failed (story_service.errors.all_failed).
        """
        selection = self._selector.select(assignment)
        content, books = Content(assignment), CostLedger(self._generations, wait=self._wait)
        relay = Relay(
            selection,
            content=content,
            books=books,
            writer_of=self._writer_of,
            policy=self._policy,
            budget=self._budget,
            metrics=self._metrics,
            deadline=deadline,
            patience=self._patience,
        )
        async with aclosing(relay.run()) as items:
            async for item in items:
                yield item
        for call in await books.settle():
            yield call
        started, ended = relay.outcome()
        yield Completed(
            model=started.model,
            provider=started.provider,
            embedded=relay.embedded,
            content_length=content.length,
            content_sha256=content.sha256,
            spending=books.spending,
            summary=ended.summary,
        )

    def _writer_of(self, model: str) -> ModelWriter:
        writer = self._writers.get(model, self._chat_writer)
        if writer is None:
            raise LookupError("a model was chosen that nobody writes with")
        return writer
