"""The events of a story as a source that can be resumed."""

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.calls import correlation
from tale_client.follow import Follower, Taken
from tale_client.resume import StreamBrokenError
from tale_client.rpcs import TELL_STORY, WATCH_STORY
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
