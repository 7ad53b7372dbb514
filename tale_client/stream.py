"""Reads streams over as many connections as needed: the events of a story, and its audio."""

import hashlib
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.calls import ReconnectPolicy, Reconnects
from tale_client.errors import TaleError, own_error
from tale_client.follow import Accepted, Follower, StreamBrokenError
from tale_client.transport import Metadata, ResponseStream, Rpc, Transport, connected, waits

TELL_STORY: Final = Rpc(gateway_pb2.TellStoryRequest, gateway_pb2.TellStoryResponse)
WATCH_STORY: Final = Rpc(gateway_pb2.WatchStoryRequest, gateway_pb2.WatchStoryResponse)
READ_STORY_AUDIO: Final = Rpc(gateway_pb2.ReadStoryAudioRequest, gateway_pb2.ReadStoryAudioResponse)

_log: Final = logging.getLogger("tale_client")

EventResponse = gateway_pb2.TellStoryResponse | gateway_pb2.WatchStoryResponse
ResponseT = TypeVar("ResponseT", bound=Message)
ItemT = TypeVar("ItemT")
ItemT_co = TypeVar("ItemT_co", covariant=True)


class Source(Protocol[ResponseT, ItemT_co]):
    """Something that is read from a position, which it stores itself."""

    @property
    def done(self) -> bool:
        """Whether everything has been read."""
        ...

    def open(self) -> ResponseStream[ResponseT]:
        """Starts a call from the current position."""
        ...

    def accept(self, response: ResponseT) -> tuple[Sequence[ItemT_co], bool]:
        """Returns the new items of a response, and whether they are progress; StreamBrokenError, TaleError."""
        ...

    def ended(self) -> None:
        """Checks that the server may end the stream here; StreamBrokenError if it is too early, TaleError."""
        ...


async def resumed(
    source: Source[ResponseT, ItemT], transport: Transport, policy: ReconnectPolicy
) -> AsyncGenerator[ItemT, None]:
    """Yields every item of `source` once; raises the last TaleError when `policy` allows no more connections."""
    reconnects = Reconnects(policy, transport.clock)
    resumable = False
    while True:
        stream: ResponseStream[ResponseT] | None = None
        try:
            await connected(transport)
            stream, resumable = source.open(), True
            while (response := await stream.next(policy.idle_timeout)) is not None:
                transport.waiting = None
                items, progressed = source.accept(response)
                if progressed:
                    reconnects.progressed()
                for item in items:
                    yield item
                if source.done:
                    return
            source.ended()
        except (StreamBrokenError, TaleError) as failed:
            error = _loss(failed, resumable=resumable)
        else:
            return
        finally:
            if stream is not None:
                if source.done:
                    # Also when the caller stops at the last item: a good call must not end as CANCELLED.
                    await _read_status(stream, policy.idle_timeout)
                stream.cancel()
        wait = reconnects.lost(error)
        waits(transport, error)
        # A loss that the first reconnect repairs, as when a gateway drains, needs no warning.
        level = logging.WARNING if reconnects.attempts > 1 else logging.INFO
        _log.log(level, "Connection to the gateway lost. Connecting again in %.1f s.", wait)
        await transport.sleep(wait)


async def _read_status(stream: ResponseStream[Message], idle: float) -> None:
    """Reads a stream to its status, which follows the last message; a lost status changes nothing."""
    with suppress(TaleError):
        while await stream.next(idle) is not None:
            pass


def _loss(failed: StreamBrokenError | TaleError, *, resumable: bool) -> TaleError:
    """Returns the lost connection that `failed` means; raises `failed` if it means anything else."""
    if isinstance(failed, StreamBrokenError):
        return own_error("STREAM_INCOMPLETE", f"The stream is incomplete: {failed}.")
    # Without a first connection there is nothing to resume.
    if not failed.connection_lost or not resumable:
        raise failed
    return failed


class StoryStream:
    """The events of one story; see Source.

    It is created from `spec` (TellStory), or known by the follower's id (WatchStory). `deadline`: seconds for one call.
    """

    def __init__(
        self,
        transport: Transport,
        follower: Follower,
        *,
        deadline: float,
        metadata: Metadata,
        request_id: str = "",
        spec: common_pb2.StorySpec | None = None,
    ) -> None:
        self._transport = transport
        self._follower = follower
        self._deadline = deadline
        self._metadata = metadata
        self._request_id = request_id
        self._spec = spec

    @property
    def done(self) -> bool:
        """See Source."""
        return self._follower.done

    def accept(self, response: EventResponse) -> Accepted:
        """See Source."""
        return self._follower.accept(response.event)

    def ended(self) -> None:
        """See Source."""
        raise StreamBrokenError("it ended before the story was done")

    def open(self) -> ResponseStream[EventResponse]:
        """See Source."""
        position, metadata = self._follower, self._metadata
        if self._spec is not None and not position.story_id:
            tell = gateway_pb2.TellStoryRequest(
                request_id=self._request_id, spec=self._spec, include_audio=self._follower.include_audio
            )
            return self._transport.stream(TELL_STORY, tell, timeout=self._deadline, metadata=metadata)
        watch = gateway_pb2.WatchStoryRequest(
            story_id=position.story_id,
            include_audio=self._follower.include_audio,
            text_offset=position.text_offset,
            audio_id=position.audio_id,
            audio_offset=position.audio_offset,
        )
        return self._transport.stream(WATCH_STORY, watch, timeout=self._deadline, metadata=metadata)


class AudioDownload:
    """The audio of one story from byte `offset`; see Source."""

    def __init__(
        self,
        transport: Transport,
        policy: ReconnectPolicy,
        metadata: Metadata,
        story_id: str,
        *,
        audio_id: str = "",
        offset: int = 0,
    ) -> None:
        self.header: common_pb2.StoryAudio | None = None
        """Size, SHA-256 and media type; None until the first chunk."""
        self.done = False
        """Whether all bytes arrived and are correct."""
        self._transport = transport
        self._policy = policy
        self._metadata = metadata
        self._story_id = story_id
        self._audio_id = audio_id
        self._offset = offset
        # The checksum is that of the whole audio: from a later offset only the size can be checked.
        self._hash = hashlib.sha256() if offset == 0 else None

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yields every byte once, in order; TaleError AUDIO_CORRUPT if size or SHA-256 differ from the header."""
        return resumed(self, self._transport, self._policy)

    def open(self) -> ResponseStream[gateway_pb2.ReadStoryAudioResponse]:
        """See Source."""
        request = gateway_pb2.ReadStoryAudioRequest(
            story_id=self._story_id, audio_id=self._audio_id, offset=self._offset
        )
        return self._transport.stream(
            READ_STORY_AUDIO, request, timeout=self._policy.stream_deadline, metadata=self._metadata
        )

    def accept(self, response: gateway_pb2.ReadStoryAudioResponse) -> tuple[list[bytes], bool]:
        """See Source."""
        if response.WhichOneof("piece") == "header":
            if self.header is not None and self.header.sha256 != response.header.sha256:
                raise _corrupt("The audio was replaced during the download. Read it again.")
            self.header = response.header
            self._audio_id = response.header.audio_id
            return [], False
        piece = response.chunk
        if piece.offset > self._offset:
            raise StreamBrokenError(f"audio at byte {piece.offset} instead of {self._offset}")
        chunk = piece.chunk[self._offset - piece.offset :]
        if not chunk:
            return [], False
        self._offset += len(chunk)
        if self._hash is not None:
            self._hash.update(chunk)
        return [chunk], True

    def ended(self) -> None:
        """See Source."""
        if self.header is None or self._offset < self.header.size_bytes:
            raise StreamBrokenError("it ended before the audio was complete")
        if self._offset != self.header.size_bytes:
            raise _corrupt(f"The audio has {self._offset} bytes instead of {self.header.size_bytes}.")
        if self._hash is not None and self._hash.digest() != self.header.sha256:
            raise _corrupt("The audio does not match its SHA-256.")
        self.done = True


def _corrupt(message: str) -> TaleError:
    return own_error("AUDIO_CORRUPT", message)
