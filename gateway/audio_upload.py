"""Hands the finished audio of a run to storage."""

from collections.abc import AsyncIterator
from typing import Final

import grpc
import structlog

from gateway.desk import Desk
from gateway.lease import LeaseLostError
from gateway.persistence import Persistence
from gateway.siblings import classify
from gateway.spool import Spool
from servicekit.status import from_rpc_error
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

UPLOAD_SECONDS: Final = 120.0

log = structlog.get_logger(__name__)


async def upload(desk: Desk, spool: Spool, audio: common_pb2.StoryAudio) -> None:
    """Returns once storage has committed the audio; LeaseLostError, or DomainError when storage will not have it."""
    persistence = Persistence(wait_seconds=desk.settings.run_timeout_seconds, clock=desk.clock)
    while True:
        desk.lease.check()
        try:
            await desk.siblings.storage.write_audio(_pieces(desk, spool, audio), timeout=UPLOAD_SECONDS)
        except grpc.aio.AioRpcError as error:
            if from_rpc_error(error).reason in {"LEASE_LOST", "STORY_NOT_FOUND", "WRONG_STATE"}:
                raise LeaseLostError(from_rpc_error(error).reason) from error
            failure = classify(error)
            log.warning("audio_upload_failed", story_id=desk.board.story_id, reason=failure.error.reason)
            await persistence.after(failure)
        else:
            return


async def _pieces(
    desk: Desk, spool: Spool, audio: common_pb2.StoryAudio
) -> AsyncIterator[storage_pb2.WriteAudioRequest]:
    header = storage_pb2.AudioHeader(story_id=desk.board.story_id, lease_token=desk.lease.token, audio=audio)
    yield storage_pb2.WriteAudioRequest(header=header)
    offset = 0
    while offset < spool.size:
        # Pieces of 256 KiB, as the spool gives them: fewer, larger messages cost both sides less.
        data = await spool.read(offset)
        # Filled in place: a message that is given to another's constructor is coded, decoded and copied.
        request = storage_pb2.WriteAudioRequest()
        request.chunk.offset, request.chunk.data = offset, data
        yield request
        offset += len(data)
    yield storage_pb2.WriteAudioRequest(commit=storage_pb2.AudioCommit(size_bytes=spool.size, sha256=spool.sha256()))
