"""Holds what the writer and the narrator of one story share."""

import math
import time
from dataclasses import dataclass, field
from typing import Final

from gateway.metrics import GatewayMetrics, StoryTimes
from gateway.peers.clients import Peers
from gateway.peers.retry import AttemptRetry, ProviderWait
from gateway.runs.checkpointer import Checkpointer, CheckpointRefusedError, Lease
from gateway.runs.ledger import Ledger
from gateway.runs.live_story import LiveStory
from gateway.runs.waits import NARRATION, STORAGE, TEXT, waiting_of
from gateway.settings import GatewaySettings
from servicekit.errors import DomainError
from servicekit.reasons import REASONS, WAITS, Reason
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

ENOUGH_CHARACTERS: Final = 1_500
"""Length of a text that certainly holds a segment (at most 600 characters) and the text that decides its cut."""
_IDENTIFYING: Final = ("audio_id", "failed_model", "model", "provider", "next", "text_length", "segment_count")
"""Metadata in which two problems of the same reason differ."""


@dataclass(slots=True)
class RunContext:
    """The run of one story: its record, what is released of it, and the lease that allows writing to it."""

    record: storage_pb2.StoryRecord
    lease: Lease
    live: LiveStory
    ledger: Ledger
    peers: Peers
    checkpointer: Checkpointer
    settings: GatewaySettings
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)
    requested: float = field(default_factory=time.time)
    """When the story was requested, as `time.time`."""
    times: StoryTimes = field(init=False)
    writing: ProviderWait = field(init=False)
    """How long the text may still wait for providers."""
    narrating: ProviderWait = field(init=False)
    """How long the narration may."""
    _known: set[tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        """Notes the problems that the record has."""
        self.writing, self.narrating = (ProviderWait(self.settings.provider_wait_seconds) for _ in range(2))
        self._known = {_identity(problem) for problem in self.record.story.problems}
        self.times = self.metrics.story(self.requested, text=bool(self.live.text), audio=bool(self.record.run.segments))

    def attempt_retry(self) -> AttemptRetry:
        """Returns what decides after a failed attempt."""
        return AttemptRetry(wait_seconds=self.settings.peer_wait_seconds)

    def progressed(self) -> None:
        """Notes that the story made progress: text or audio of it was stored."""
        self.writing.progressed()
        self.narrating.progressed()
        self.times.progressed(text=bool(self.live.text), audio=bool(self.live.segments))

    @property
    def only_waits(self) -> bool:
        """Whether the run has only waited, for providers or a place, since its lease was last renewed.

        The text waits, and the narration too unless it has spoken what there is; or the text is complete and the
        narration waits.
        """
        live = self.live
        spoken = not self.record.story.narrate or live.unspoken <= ENOUGH_CHARACTERS
        writing = -math.inf if live.text_complete else self.writing.waits_since
        narrating = -math.inf if spoken and not live.text_complete else self.narrating.waits_since
        return max(writing, narrating) <= self.lease.since

    def new_problem(self, problem: common_pb2.Problem) -> bool:
        """Returns whether `problem` is new: the same fallback in several attempts, or the same wait, is one problem."""
        if problem.reason in WAITS:
            # It stands for no longer than this run.
            problem.metadata["run"] = str(self.lease.token)
            narration = "audio_id" in problem.metadata
            waiting = self.narrating if narration else self.writing
            waiting.waits(for_place=problem.reason == "WAITING_FOR_PLACE")
            self.live.waits.begin(NARRATION if narration else TEXT, waiting_of(problem))
        identity = _identity(problem)
        if identity in self._known:
            return False
        self._known.add(identity)
        return True

    async def store(self, checkpoint: storage_pb2.StoryCheckpoint) -> None:
        """Makes `checkpoint` durable, and what is new in the ledger with it.

        Raises LeaseLostError when the story may be another run's, and DomainError when storage refuses the content.
        """
        checkpoint.waiting = self.only_waits
        self.ledger.fill(checkpoint)
        try:
            with self.live.waits.late(STORAGE):
                await self.checkpointer.store(checkpoint, self.lease)
        except CheckpointRefusedError as refused:
            self.ledger.give_back(checkpoint)
            problem = refused.problem
            known = REASONS.get(problem.reason)
            # Storage may be of another version, with reasons that the table here does not have.
            stated = known or Reason("FAILED_PRECONDITION", problem.remedy, retryable=problem.retryable)
            raise DomainError(problem.reason, problem.message, stated=stated) from refused
        except BaseException:
            # Also when the run is being stopped: its last checkpoint carries it then. Storing it twice changes nothing.
            self.ledger.give_back(checkpoint)
            raise


def placed(problem: common_pb2.Problem, **progress: int) -> common_pb2.Problem:
    """Returns `problem`; if it is a wait, with how far the story is: with further progress the wait is over."""
    if problem.reason in WAITS:
        problem.metadata.update({name: str(value) for name, value in progress.items()})
    return problem


def _identity(problem: common_pb2.Problem) -> tuple[str, ...]:
    return (problem.reason, *(problem.metadata.get(name, "") for name in _IDENTIFYING))
