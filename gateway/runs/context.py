"""What the writer and the narrator of one story share."""

from dataclasses import dataclass

from gateway.peers.clients import Peers
from gateway.runs.checkpointer import Checkpointer, CheckpointRefusedError
from gateway.runs.lease import Lease
from gateway.runs.ledger import Ledger
from gateway.runs.live_story import LiveStory
from gateway.settings import GatewaySettings
from servicekit.errors import DomainError
from tale.storage.v1 import storage_pb2


@dataclass(slots=True)
class RunContext:
    """One story's run: what is stored of it, what is released of it, and the right to write to it."""

    record: storage_pb2.StoryRecord
    lease: Lease
    live: LiveStory
    ledger: Ledger
    peers: Peers
    checkpointer: Checkpointer
    settings: GatewaySettings

    async def keep(self, checkpoint: storage_pb2.StoryCheckpoint) -> None:
        """Makes `checkpoint` durable, the ledger's news with it.

        LeaseLostError when the story may be another run's; DomainError when storage refuses the content.
        """
        news = self.ledger.take_unkept()
        checkpoint.attempts.extend(news)
        try:
            await self.checkpointer.keep(checkpoint, self.lease)
        except CheckpointRefusedError as refused:
            self.ledger.give_back(news)
            problem = refused.problem
            raise DomainError(problem.reason, problem.message) from refused
        except BaseException:
            # Also when the run is being stopped: its last words then carry them. Keeping a line twice changes nothing.
            self.ledger.give_back(news)
            raise
