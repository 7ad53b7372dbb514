"""Holds what the writer and the narrator of one story share."""

from dataclasses import dataclass, field
from typing import Final

from google.protobuf.duration_pb2 import Duration

from gateway.peers.clients import Peers
from gateway.peers.retry import AttemptRetry, ProviderWait
from gateway.runs.checkpointer import Checkpointer, CheckpointRefusedError, Lease
from gateway.runs.ledger import Ledger
from gateway.runs.live_story import LiveStory
from gateway.settings import GatewaySettings
from servicekit.errors import DomainError
from servicekit.reasons import REASONS, WAITS, Reason
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

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
    providers: ProviderWait = field(init=False)
    """How long the story may still wait for providers."""
    _known: set[tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        """Notes the problems that the record has."""
        self.providers = ProviderWait(self.settings.provider_wait_seconds)
        self._known = {_identity(problem) for problem in self.record.story.problems}

    def attempt_retry(self) -> AttemptRetry:
        """Returns what decides after a failed attempt."""
        return AttemptRetry(wait_seconds=self.settings.peer_wait_seconds, providers=self.providers)

    def fill_wait(self, wait: Duration) -> None:
        """Sets how long a service may wait for providers; nothing is set where it may not wait."""
        if left := self.providers.left:
            wait.FromNanoseconds(int(left * 1e9))

    def new_problem(self, problem: common_pb2.Problem) -> bool:
        """Returns whether `problem` is new: the same fallback in several attempts, or the same wait, is one problem."""
        if problem.reason in WAITS:
            # It stands for no longer than this run.
            problem.metadata["run"] = str(self.lease.token)
        if problem.reason == "WAITING_FOR_PLACE":
            # A place is no provider that is down: the time for those does not run.
            self.providers.progressed()
        identity = _identity(problem)
        if identity in self._known:
            return False
        self._known.add(identity)
        return True

    async def store(self, checkpoint: storage_pb2.StoryCheckpoint) -> None:
        """Makes `checkpoint` durable, and what is new in the ledger with it.

        Raises LeaseLostError when the story may be another run's, and DomainError when storage refuses the content.
        """
        self.ledger.fill(checkpoint)
        try:
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
