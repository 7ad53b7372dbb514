"""The RPCs that the client calls, by their messages: the same for every kind of channel."""

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message

from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True, slots=True)
class Rpc(Generic[RequestT, ResponseT]):
    """One RPC; its answer is one `response` or a stream of them."""

    request: type[RequestT]
    response: type[ResponseT]

    @property
    def path(self) -> str:
        """Where it is asked for; its request is named after it."""
        name, file = self.request.DESCRIPTOR.name.removesuffix("Request"), self.request.DESCRIPTOR.file
        return next(
            f"/{each.full_name}/{name}" for each in file.services_by_name.values() if name in each.methods_by_name
        )

    @property
    def codec(self) -> dict[str, Any]:
        """How a channel writes and reads its messages."""
        return {"request_serializer": self.request.SerializeToString, "response_deserializer": self.response.FromString}


CREATE_STORY: Final = Rpc(gateway_pb2.CreateStoryRequest, gateway_pb2.CreateStoryResponse)
TELL_STORY: Final = Rpc(gateway_pb2.TellStoryRequest, gateway_pb2.TellStoryResponse)
WATCH_STORY: Final = Rpc(gateway_pb2.WatchStoryRequest, gateway_pb2.WatchStoryResponse)
GET_STORY: Final = Rpc(gateway_pb2.GetStoryRequest, gateway_pb2.GetStoryResponse)
LIST_STORIES: Final = Rpc(gateway_pb2.ListStoriesRequest, gateway_pb2.ListStoriesResponse)
CANCEL_STORY: Final = Rpc(gateway_pb2.CancelStoryRequest, gateway_pb2.CancelStoryResponse)
RETRY_STORY: Final = Rpc(gateway_pb2.RetryStoryRequest, gateway_pb2.RetryStoryResponse)
NARRATE_STORY: Final = Rpc(gateway_pb2.NarrateStoryRequest, gateway_pb2.NarrateStoryResponse)
RATE_STORY: Final = Rpc(gateway_pb2.RateStoryRequest, gateway_pb2.RateStoryResponse)
DELETE_STORY: Final = Rpc(gateway_pb2.DeleteStoryRequest, gateway_pb2.DeleteStoryResponse)
READ_STORY_AUDIO: Final = Rpc(gateway_pb2.ReadStoryAudioRequest, gateway_pb2.ReadStoryAudioResponse)
GET_AUDIO_URL: Final = Rpc(gateway_pb2.GetAudioUrlRequest, gateway_pb2.GetAudioUrlResponse)
ERASE_CHILD: Final = Rpc(gateway_pb2.EraseChildRequest, gateway_pb2.EraseChildResponse)
GET_SYSTEM_STATUS: Final = Rpc(gateway_pb2.GetSystemStatusRequest, gateway_pb2.GetSystemStatusResponse)
RESET_CIRCUIT: Final = Rpc(gateway_pb2.ResetCircuitRequest, gateway_pb2.ResetCircuitResponse)

CREATE_CHILD: Final = Rpc(profile_pb2.CreateChildRequest, profile_pb2.CreateChildResponse)
GET_CHILD: Final = Rpc(profile_pb2.GetChildRequest, profile_pb2.GetChildResponse)
LIST_CHILDREN: Final = Rpc(profile_pb2.ListChildrenRequest, profile_pb2.ListChildrenResponse)
UPDATE_CHILD: Final = Rpc(profile_pb2.UpdateChildRequest, profile_pb2.UpdateChildResponse)
DELETE_CHILD: Final = Rpc(profile_pb2.DeleteChildRequest, profile_pb2.DeleteChildResponse)
CREATE_HERO: Final = Rpc(profile_pb2.CreateHeroRequest, profile_pb2.CreateHeroResponse)
GET_HERO: Final = Rpc(profile_pb2.GetHeroRequest, profile_pb2.GetHeroResponse)
LIST_HEROES: Final = Rpc(profile_pb2.ListHeroesRequest, profile_pb2.ListHeroesResponse)
UPDATE_HERO: Final = Rpc(profile_pb2.UpdateHeroRequest, profile_pb2.UpdateHeroResponse)
DELETE_HERO: Final = Rpc(profile_pb2.DeleteHeroRequest, profile_pb2.DeleteHeroResponse)

LIST_MODELS: Final = Rpc(story_pb2.ListModelsRequest, story_pb2.ListModelsResponse)
LIST_PROVIDERS: Final = Rpc(voice_pb2.ListProvidersRequest, voice_pb2.ListProvidersResponse)
TRANSCRIBE: Final = Rpc(voice_pb2.TranscribeRequest, voice_pb2.TranscribeResponse)
LIST_VOICES: Final = Rpc(voice_pb2.ListVoicesRequest, voice_pb2.ListVoicesResponse)
