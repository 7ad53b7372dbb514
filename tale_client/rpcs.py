"""The RPCs that the client calls, by path and messages: the same for every kind of channel."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

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

    path: str
    request: type[RequestT]
    response: type[ResponseT]


_GATEWAY: Final = "/tale.gateway.v1.GatewayService"
_PROFILE: Final = "/tale.profile.v1.ProfileService"
_STORY: Final = "/tale.story.v1.StoryService"
_VOICE: Final = "/tale.voice.v1.VoiceService"

CREATE_STORY: Final = Rpc(f"{_GATEWAY}/CreateStory", gateway_pb2.CreateStoryRequest, gateway_pb2.CreateStoryResponse)
TELL_STORY: Final = Rpc(f"{_GATEWAY}/TellStory", gateway_pb2.TellStoryRequest, gateway_pb2.TellStoryResponse)
WATCH_STORY: Final = Rpc(f"{_GATEWAY}/WatchStory", gateway_pb2.WatchStoryRequest, gateway_pb2.WatchStoryResponse)
GET_STORY: Final = Rpc(f"{_GATEWAY}/GetStory", gateway_pb2.GetStoryRequest, gateway_pb2.GetStoryResponse)
LIST_STORIES: Final = Rpc(f"{_GATEWAY}/ListStories", gateway_pb2.ListStoriesRequest, gateway_pb2.ListStoriesResponse)
CANCEL_STORY: Final = Rpc(f"{_GATEWAY}/CancelStory", gateway_pb2.CancelStoryRequest, gateway_pb2.CancelStoryResponse)
RETRY_STORY: Final = Rpc(f"{_GATEWAY}/RetryStory", gateway_pb2.RetryStoryRequest, gateway_pb2.RetryStoryResponse)
NARRATE_STORY: Final = Rpc(
    f"{_GATEWAY}/NarrateStory", gateway_pb2.NarrateStoryRequest, gateway_pb2.NarrateStoryResponse
)
RATE_STORY: Final = Rpc(f"{_GATEWAY}/RateStory", gateway_pb2.RateStoryRequest, gateway_pb2.RateStoryResponse)
DELETE_STORY: Final = Rpc(f"{_GATEWAY}/DeleteStory", gateway_pb2.DeleteStoryRequest, gateway_pb2.DeleteStoryResponse)
READ_STORY_AUDIO: Final = Rpc(
    f"{_GATEWAY}/ReadStoryAudio", gateway_pb2.ReadStoryAudioRequest, gateway_pb2.ReadStoryAudioResponse
)
GET_AUDIO_URL: Final = Rpc(f"{_GATEWAY}/GetAudioUrl", gateway_pb2.GetAudioUrlRequest, gateway_pb2.GetAudioUrlResponse)
ERASE_CHILD: Final = Rpc(f"{_GATEWAY}/EraseChild", gateway_pb2.EraseChildRequest, gateway_pb2.EraseChildResponse)
GET_SYSTEM_STATUS: Final = Rpc(
    f"{_GATEWAY}/GetSystemStatus", gateway_pb2.GetSystemStatusRequest, gateway_pb2.GetSystemStatusResponse
)
RESET_CIRCUIT: Final = Rpc(
    f"{_GATEWAY}/ResetCircuit", gateway_pb2.ResetCircuitRequest, gateway_pb2.ResetCircuitResponse
)

CREATE_CHILD: Final = Rpc(f"{_PROFILE}/CreateChild", profile_pb2.CreateChildRequest, profile_pb2.CreateChildResponse)
GET_CHILD: Final = Rpc(f"{_PROFILE}/GetChild", profile_pb2.GetChildRequest, profile_pb2.GetChildResponse)
LIST_CHILDREN: Final = Rpc(
    f"{_PROFILE}/ListChildren", profile_pb2.ListChildrenRequest, profile_pb2.ListChildrenResponse
)
UPDATE_CHILD: Final = Rpc(f"{_PROFILE}/UpdateChild", profile_pb2.UpdateChildRequest, profile_pb2.UpdateChildResponse)
DELETE_CHILD: Final = Rpc(f"{_PROFILE}/DeleteChild", profile_pb2.DeleteChildRequest, profile_pb2.DeleteChildResponse)
CREATE_HERO: Final = Rpc(f"{_PROFILE}/CreateHero", profile_pb2.CreateHeroRequest, profile_pb2.CreateHeroResponse)
GET_HERO: Final = Rpc(f"{_PROFILE}/GetHero", profile_pb2.GetHeroRequest, profile_pb2.GetHeroResponse)
LIST_HEROES: Final = Rpc(f"{_PROFILE}/ListHeroes", profile_pb2.ListHeroesRequest, profile_pb2.ListHeroesResponse)
UPDATE_HERO: Final = Rpc(f"{_PROFILE}/UpdateHero", profile_pb2.UpdateHeroRequest, profile_pb2.UpdateHeroResponse)
DELETE_HERO: Final = Rpc(f"{_PROFILE}/DeleteHero", profile_pb2.DeleteHeroRequest, profile_pb2.DeleteHeroResponse)

LIST_MODELS: Final = Rpc(f"{_STORY}/ListModels", story_pb2.ListModelsRequest, story_pb2.ListModelsResponse)
LIST_PROVIDERS: Final = Rpc(f"{_VOICE}/ListProviders", voice_pb2.ListProvidersRequest, voice_pb2.ListProvidersResponse)
TRANSCRIBE: Final = Rpc(f"{_VOICE}/Transcribe", voice_pb2.TranscribeRequest, voice_pb2.TranscribeResponse)
LIST_VOICES: Final = Rpc(f"{_VOICE}/ListVoices", voice_pb2.ListVoicesRequest, voice_pb2.ListVoicesResponse)
