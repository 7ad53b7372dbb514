"""Erases a child: what storage keeps of it, the runs that are making stories for it, and what the voice cached."""

import asyncio
from typing import Final

import grpc
import structlog

from gateway.forgetting import Forgetting
from gateway.runs import Runs
from gateway.siblings import SIBLING_ERRORS, classify
from gateway.storage_client import StorageClient
from servicekit.context import current
from servicekit.errors import DomainError
from tale.gateway.v1 import gateway_pb2

DEFAULT_SECONDS: Final = 120.0
"""Deadline of a call where the caller set none: at its end storage writes its file anew."""

RETRY_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Erasing:
    """Repeatable: each call does what is left to do, and says so where that is not all."""

    def __init__(self, storage: StorageClient, runs: Runs, forgetting: Forgetting) -> None:
        self._storage = storage
        self._runs = runs
        self._forgetting = forgetting

    async def erase(self, child_id: str, *, timeout: float) -> gateway_pb2.EraseChildResponse:
        """Erases a child within `timeout` seconds; CHILD_NOT_FOUND, or UNAVAILABLE / ERASE_INCOMPLETE."""
        until = asyncio.get_running_loop().time() + timeout
        done = False
        while not done:
            left = until - asyncio.get_running_loop().time()
            # Storage's own word counts here: an unknown child, or a store that can not be used.
            done = (await self._storage.erase_child(child_id, timeout=left)).done
        counts = gateway_pb2.EraseChildResponse()
        try:
            while stories := await self._forgetting.left(child_id):
                # Their leases are gone with them; runs of other gateways learn it at their next checkpoint.
                for story in stories:
                    await self._runs.stop(story.story_id, owner=current().owner)
                forgotten = await self._forgetting.forget(stories)
                counts.story_count += forgotten.story_count
                counts.audio_count += forgotten.audio_count
                counts.segment_count += forgotten.segment_count
        except SIBLING_ERRORS as error:
            log.warning("erase_incomplete", child_id=child_id, reason=classify(error).error.reason)
            raise _incomplete(child_id) from error
        log.info("child_erased", child_id=child_id, stories=counts.story_count, segments=counts.segment_count)
        return counts


def _incomplete(child_id: str) -> DomainError:
    return DomainError(
        grpc.StatusCode.UNAVAILABLE,
        "ERASE_INCOMPLETE",
        "The child and its stories are erased, but not all that is cached of their audio is forgotten yet; repeat the"
        " call.",
        metadata={"child_id": child_id},
        retry_after=RETRY_SECONDS,
    )
