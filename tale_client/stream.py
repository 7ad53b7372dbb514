"""Follows a story over as many connections as it takes."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.connection import Connection, correlation, next_of
from tale_client.errors import TaleError
from tale_client.follow import Follower, StreamBrokenError
from tale_client.retry import ReconnectPolicy, Reconnects


class StoryStream:
    """Events of one story: asked for by `spec` (TellStory) or already known by the follower's id (WatchStory)."""

    def __init__(
        self,
        connection: Connection,
        follower: Follower,
        policy: ReconnectPolicy,
        *,
        include_audio: bool,
        request_id: str = "",
        spec: common_pb2.StorySpec | None = None,
    ) -> None:
        self._connection = connection
        self._follower = follower
        self._policy = policy
        self._include_audio = include_audio
        self._request_id = request_id
        self._spec = spec

    async def events(self) -> AsyncGenerator[gateway_pb2.StoryEvent, None]:
        """Every event once, `done` last; TaleError."""
        reconnects = Reconnects(self._policy, asyncio.get_running_loop().time)
        first = True
        while True:
            call: grpc.aio.UnaryStreamCall[Any, Any] | None = None
            try:
                await self._connection.ready()
                call = self._call()
                while (response := await next_of(call, self._policy.idle)) is not None:
                    shown, progressed = self._follower.accept(response.event)
                    if progressed:
                        reconnects.progressed()
                    for event in shown:
                        yield event
                    if self._follower.done:
                        return
                error = _incomplete("The stream ended before the story did.")
            except StreamBrokenError as broken:
                error = _incomplete(f"The stream left something out: {broken}.")
            except TaleError as failed:
                # A gateway that was never there is nothing to reconnect to.
                if not failed.connection_lost or (first and call is None):
                    raise
                error = failed
            finally:
                if call is not None:
                    call.cancel()
            first = False
            await asyncio.sleep(reconnects.lost(error))

    def _call(self) -> grpc.aio.UnaryStreamCall[Any, Any]:
        position, timeout = self._follower, self._policy.stream_deadline
        metadata = correlation(self._request_id)
        if self._spec is not None and not position.story_id:
            return self._connection.stub.TellStory(
                gateway_pb2.TellStoryRequest(
                    request_id=self._request_id, spec=self._spec, include_audio=self._include_audio
                ),
                timeout=timeout,
                metadata=metadata,
            )
        return self._connection.stub.WatchStory(
            gateway_pb2.WatchStoryRequest(
                story_id=position.story_id,
                include_audio=self._include_audio,
                text_offset=position.text_offset,
                audio_id=position.audio_id,
                audio_offset=position.audio_offset,
            ),
            timeout=timeout,
            metadata=metadata,
        )


def _incomplete(message: str) -> TaleError:
    return TaleError(grpc.StatusCode.UNAVAILABLE, "STREAM_INCOMPLETE", message)
