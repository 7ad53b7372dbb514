"""What can be resumed: the events of a story, and kept audio, checked to be what the gateway said it is."""

import hashlib
from collections.abc import AsyncGenerator

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.calls import correlation
from tale_client.errors import TaleError, own_error
from tale_client.follow import Follower, Taken
from tale_client.resume import StreamBrokenError, resumed
from tale_client.retry import ReconnectPolicy
from tale_client.rpcs import READ_STORY_AUDIO, TELL_STORY, WATCH_STORY
from tale_client.transport import ResponseStream, Transport

Answer = gateway_pb2.TellStoryResponse | gateway_pb2.WatchStoryResponse


class StoryStream:
    """Events of one story: asked for by `spec` (TellStory) or already known by the follower's id (WatchStory).

    See Source. `deadline`: seconds that one call may last.
    """

    def __init__(
        self,
        transport: Transport,
        follower: Follower,
        *,
        deadline: float,
        include_audio: bool,
        request_id: str = "",
        spec: common_pb2.StorySpec | None = None,
    ) -> None:
        self._transport = transport
        self._follower = follower
        self._deadline = deadline
        self._include_audio = include_audio
        self._request_id = request_id
        self._spec = spec

    @property
    def done(self) -> bool:
        """See Source."""
        return self._follower.done

    def accept(self, answer: Answer) -> Taken:
        """See Source."""
        return self._follower.accept(answer.event)

    def ended(self) -> None:
        """See Source."""
        raise StreamBrokenError("it ended before the story did")

    def open(self) -> ResponseStream[Answer]:
        """See Source."""
        position, metadata = self._follower, correlation(self._request_id)
        if self._spec is not None and not position.story_id:
            tell = gateway_pb2.TellStoryRequest(
                request_id=self._request_id, spec=self._spec, include_audio=self._include_audio
            )
            return self._transport.stream(TELL_STORY, tell, timeout=self._deadline, metadata=metadata)
        watch = gateway_pb2.WatchStoryRequest(
            story_id=position.story_id,
            include_audio=self._include_audio,
            text_offset=position.text_offset,
            audio_id=position.audio_id,
            audio_offset=position.audio_offset,
        )
        return self._transport.stream(WATCH_STORY, watch, timeout=self._deadline, metadata=metadata)


class AudioDownload:
    """The audio of one story, from byte `offset` on; see Source. `header` is known with the first chunk."""

    def __init__(
        self, transport: Transport, policy: ReconnectPolicy, story_id: str, *, audio_id: str = "", offset: int = 0
    ) -> None:
        self.header: common_pb2.StoryAudio | None = None
        """Size, SHA-256, media type; None until it came."""
        self.done = False
        """True when all of it came and is right."""
        self._transport = transport
        self._policy = policy
        self._story_id = story_id
        self._audio_id = audio_id
        self._offset = offset
        # The checksum is of the whole: without the beginning only the size can be checked.
        self._hash = hashlib.sha256() if offset == 0 else None

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes, in order, each once; TaleError, AUDIO_CORRUPT where size or SHA-256 are not the header's."""
        return resumed(self, self._transport, self._policy)

    def open(self) -> ResponseStream[gateway_pb2.ReadStoryAudioResponse]:
        """See Source."""
        request = gateway_pb2.ReadStoryAudioRequest(
            story_id=self._story_id, audio_id=self._audio_id, offset=self._offset
        )
        return self._transport.stream(
            READ_STORY_AUDIO, request, timeout=self._policy.stream_deadline, metadata=correlation()
        )

    def accept(self, answer: gateway_pb2.ReadStoryAudioResponse) -> tuple[list[bytes], bool]:
        """See Source."""
        if answer.WhichOneof("piece") == "header":
            if self.header is not None and self.header.sha256 != answer.header.sha256:
                raise _corrupt("The audio was replaced by another while it was read; read it again.")
            self.header = answer.header
            self._audio_id = answer.header.audio_id
            return [], False
        piece = answer.chunk
        if piece.offset > self._offset:
            raise StreamBrokenError(f"audio from {piece.offset} where {self._offset} was due")
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
            raise StreamBrokenError("it ended before the audio did")
        self._verify(self.header)
        self.done = True

    def _verify(self, header: common_pb2.StoryAudio) -> None:
        if self._offset != header.size_bytes:
            raise _corrupt(f"The audio has {self._offset} bytes where {header.size_bytes} were announced.")
        if self._hash is not None and self._hash.digest() != header.sha256:
            raise _corrupt("The audio that came does not match its SHA-256.")


def _corrupt(message: str) -> TaleError:
    return own_error("AUDIO_CORRUPT", message)
