"""Holds what the writer and the narrator of one story share."""

from dataclasses import dataclass, field
from typing import Final

from gateway.peers.clients import Peers
from gateway.runs.checkpointer import Checkpointer, CheckpointRefusedError, Lease
from gateway.runs.ledger import Ledger
from gateway.runs.live_story import LiveStory
from gateway.settings import GatewaySettings
from servicekit.errors import DomainError
from servicekit.reasons import REASONS, Reason
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_IDENTIFYING: Final = ("audio_id", "failed_model", "model", "provider", "next")
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
    _known: set[tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        """Notes the problems that the record has."""
        self._known = {_identity(problem) for problem in self.record.story.problems}

    def new_problem(self, problem: common_pb2.Problem) -> bool:
        """Returns whether `problem` is new; the same fallback in several attempts is one problem."""
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


def _identity(problem: common_pb2.Problem) -> tuple[str, ...]:
    return (problem.reason, *(problem.metadata.get(name, "") for name in _IDENTIFYING))
