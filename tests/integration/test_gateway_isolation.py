"""Owners never see each other, by no id and no RPC; users are no operators; bound callers have their children."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from support.house import House, house

from gateway.door.access import Access
from gateway.door.keys import KeyFile
from servicekit.context import Caller, RequestContext, bound
from servicekit.errors import DomainError
from servicekit.status import from_rpc_error
from standins.watcher import spec
from tale.common.v1 import common_pb2, status_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2

OFFERED = {
    gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"]: None,
    profile_pb2.DESCRIPTOR.services_by_name["ProfileService"]: None,
    voice_pb2.DESCRIPTOR.services_by_name["VoiceService"]: {"ListProviders", "ListVoices", "Transcribe"},
    story_pb2.DESCRIPTOR.services_by_name["StoryService"]: {"ListModels"},
    status_pb2.DESCRIPTOR.services_by_name["StatusService"]: None,
}
METHODS = [
    method for service, names in OFFERED.items() for method in service.methods if names is None or method.name in names
]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
OPERATORS_ONLY = {"ResetCircuit", "GetStatus"}
LISTS = {"GetUsage", "ListStories", "ListChildren", "ListHeroes", "CreateChild"}
WITHOUT_OWNER = {"GetSystemStatus", "ListProviders", "ListVoices", "Transcribe", "ListModels"}


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()


@dataclass
class Family:
    """What an owner has, and the ways to call: by no key, her own, a stranger's, an operator's, and bound ones."""

    house: House
    keys: dict[str, str]
    story: common_pb2.Story
    child: str
    hero: str
    words: Sequence[str]

    async def call(self, method: MethodDescriptor, request: Message, key: str) -> list[Message]:
        """The responses to a call with a key; AioRpcError."""
        path = f"/{method.containing_service.full_name}/{method.name}"
        answer = GetMessageClass(method.output_type)
        metadata = [("authorization", f"Bearer {self.keys[key]}"), ("x-tale-owner", "mia")] if key else ()
        kind = (
            ("stream" if method.client_streaming else "unary")
            + "_"
            + ("stream" if method.server_streaming else "unary")
        )
        multicallable: Any = getattr(self.house.channel, kind)(path, _bytes, answer.FromString)
        call = multicallable(iter([request]) if method.client_streaming else request, metadata=metadata, timeout=20)
        return [each async for each in call] if method.server_streaming else [await call]

    def request(self, method: MethodDescriptor) -> Message:
        """A valid request that names what the owner has, wherever a field can."""
        request = GetMessageClass(method.input_type)()
        values: dict[str, Any] = {
            "story_id": self.story.id,
            "child_id": self.child,
            "hero_id": self.hero,
            "rating": 5,
            "name": "elevenlabs",
            "format": gateway_pb2.DOWNLOAD_FORMAT_TEXT,
            "audio_id": self.story.audio.audio_id,
            "spec": common_pb2.StorySpec(
                child_id=self.child, length_minutes=1, language_code="en", parent_story_id=self.story.id
            ),
            "child": common_pb2.Child(id=self.child, name="Tom", age=6),
            "hero": common_pb2.Hero(id=self.hero, name="Ivanhoe"),
            "filter": common_pb2.StoryFilter(child_id=self.child),
        }
        for field in method.input_type.fields:
            if field.name in values and (field.message_type is None or isinstance(values[field.name], Message)):
                if field.message_type is not None:
                    if field.message_type.full_name == values[field.name].DESCRIPTOR.full_name:
                        getattr(request, field.name).CopyFrom(values[field.name])
                else:
                    setattr(request, field.name, values[field.name])
        return request


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def family(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Family]:
    """A cluster with one owner's story, child and hero."""
    folder = tmp_path_factory.mktemp("isolation")
    file = KeyFile(folder / "keys.json")
    keys = {"mia": file.create("mia")[0], "stranger": file.create("stranger")[0]}
    keys["operator"] = file.create("house", role="operator")[0]
    settings: dict[str, Any] = {"auth": "api_key", "api_keys_file": folder / "keys.json", "web_listen": "127.0.0.1:0"}
    async with house(folder, **settings) as it:
        made = Family(it, keys, common_pb2.Story(), "", "", ())
        profile = profile_pb2.DESCRIPTOR.services_by_name["ProfileService"].methods_by_name
        children = []
        for name in ("Mirabella", "Anastasius"):
            child = profile_pb2.CreateChildRequest(child=common_pb2.Child(name=name, age=6))
            children.append((await made.call(profile["CreateChild"], child, "mia"))[0].child.id)  # type: ignore[attr-defined]
        hero = profile_pb2.CreateHeroRequest(hero=common_pb2.Hero(name="Zorro"))
        made.hero = (await made.call(profile["CreateHero"], hero, "mia"))[0].hero.id  # type: ignore[attr-defined]
        made.child = children[0]
        keys["bound"] = file.create("mia", children=(children[0],))[0]
        keys["other"] = file.create("mia", children=(children[1],))[0]
        told = spec(1)
        told.ClearField("child")
        told.child_id = made.child
        methods = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].methods_by_name
        events = await made.call(methods["TellStory"], gateway_pb2.TellStoryRequest(spec=told), "mia")
        story_id = events[0].event.story_id  # type: ignore[attr-defined]
        found = await made.call(methods["GetStory"], gateway_pb2.GetStoryRequest(story_id=story_id), "mia")
        made.story = found[0].story  # type: ignore[attr-defined]
        assert common_pb2.STORY_STATE_READY == made.story.state
        made.words = (made.story.id, made.story.title, "Mirabella", made.child, made.hero)
        yield made


def reason(error: grpc.aio.AioRpcError) -> str:
    """The reason of a refusal."""
    return from_rpc_error(error).reason


@every_method
@pytest.mark.asyncio(loop_scope="module")
async def test_no_call_without_a_key(family: Family, method: MethodDescriptor) -> None:
    """Each RPC that the port offers."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await family.call(method, family.request(method), "")
    assert grpc.StatusCode.UNAUTHENTICATED == caught.value.code()


@every_method
@pytest.mark.asyncio(loop_scope="module")
async def test_a_stranger_sees_and_changes_nothing(family: Family, method: MethodDescriptor) -> None:
    """Neither by the owner's ids nor by naming the owner in the metadata; an answer has no word of hers."""
    answers: list[Message] = []
    code = grpc.StatusCode.OK
    try:
        answers = await family.call(method, family.request(method), "stranger")
    except grpc.aio.AioRpcError as error:
        code = error.code()
    assert not any(word in str(answer) for answer in answers for word in family.words)
    if method.name in {*WITHOUT_OWNER, *LISTS, "CreateHero"}:
        assert code in {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
    else:
        assert code in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED}
    methods = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].methods_by_name
    request = gateway_pb2.GetStoryRequest(story_id=family.story.id)
    assert [gateway_pb2.GetStoryResponse(story=family.story)] == await family.call(methods["GetStory"], request, "mia")


@every_method
@pytest.mark.asyncio(loop_scope="module")
async def test_the_state_of_the_cluster_is_for_operators(family: Family, method: MethodDescriptor) -> None:
    """A user learns which services serve, and no more."""
    if method.name in OPERATORS_ONLY:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await family.call(method, family.request(method), "mia")
        assert (grpc.StatusCode.PERMISSION_DENIED, "OPERATOR_ONLY") == (caught.value.code(), reason(caught.value))
    if method.name == "GetSystemStatus":
        [own] = await family.call(method, family.request(method), "mia")
        [full] = await family.call(method, family.request(method), "operator")
        assert all(not each.version and not each.providers and not each.circuits for each in own.services)  # type: ignore[attr-defined]
        assert any(each.version for each in full.services)  # type: ignore[attr-defined]
        assert [each.health for each in full.services] == [each.health for each in own.services]  # type: ignore[attr-defined]


@every_method
@pytest.mark.asyncio(loop_scope="module")
async def test_a_caller_bound_to_another_child_sees_nothing(family: Family, method: MethodDescriptor) -> None:
    """Of the same owner, too: the child, its stories and their audio do not exist for it."""
    if method.name in {*OPERATORS_ONLY, *WITHOUT_OWNER, "GetHero", "ListHeroes", "ListChildren"}:
        return
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await family.call(method, family.request(method), "other")
    assert reason(caught.value) in {"STORY_NOT_FOUND", "CHILD_NOT_FOUND", "CHILDREN_ONLY"}, caught.value


@pytest.mark.asyncio(loop_scope="module")
async def test_a_bound_caller_has_its_own_child(family: Family) -> None:
    """Reads and lists what is of it; lists of everything need its id."""
    gateway = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].methods_by_name
    profile = profile_pb2.DESCRIPTOR.services_by_name["ProfileService"].methods_by_name
    for method in (gateway["GetStory"], gateway["ReadStoryAudio"], gateway["WatchStory"], profile["GetChild"]):
        assert await family.call(method, family.request(method), "bound")
    [listed] = await family.call(gateway["ListStories"], family.request(gateway["ListStories"]), "bound")
    [children] = await family.call(profile["ListChildren"], profile_pb2.ListChildrenRequest(), "bound")
    [every] = await family.call(profile["ListChildren"], profile_pb2.ListChildrenRequest(), "mia")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await family.call(gateway["ListStories"], gateway_pb2.ListStoriesRequest(), "bound")

    assert [family.story.id] == [each.id for each in listed.stories]  # type: ignore[attr-defined]
    assert ["Mirabella"] == [each.name for each in children.children]  # type: ignore[attr-defined]
    assert {"Mirabella", "Anastasius"} == {each.name for each in every.children}  # type: ignore[attr-defined]
    assert "CHILDREN_ONLY" == reason(caught.value)


@pytest.mark.asyncio(loop_scope="module")
async def test_whose_a_story_is_costs_one_read(family: Family) -> None:
    """The child of a story never changes: later calls of a bound caller cost storage what those of others do."""
    method = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].methods_by_name["GetStory"]

    async def reads() -> int:
        found = await family.house.calls("OK")
        return sum(count for name, count in found.items() if "StorageService" in name and "GetStory" in name)

    await family.call(method, family.request(method), "bound")
    before = await reads()
    for _ in range(3):
        await family.call(method, family.request(method), "bound")
    assert 3 == await reads() - before


@pytest.mark.parametrize("method", ["/tale.gateway.v1.GatewayService/EraseChild", "/tale.later.v1.Later/Upload"])
async def test_a_stream_is_checked_before_it_is_read(method: str) -> None:
    """Also one of a method that is not known here."""
    unused: Any = None
    caller = Caller("mia", children=frozenset())
    with bound(RequestContext("r", caller)), pytest.raises(DomainError, match="CHILDREN_ONLY"):
        await Access(unused).check(method, None)


async def test_a_gateway_that_is_open_to_everyone_says_so(tmp_path: Path) -> None:
    """In its log at the start and in the status; one on this machine alone has nothing to say."""
    with structlog.testing.capture_logs() as lines:
        async with house(tmp_path / "open", listen="0.0.0.0:0", allow_anonymous=True) as it:
            warned = (await it.status()).services[0].warnings
        async with house(tmp_path / "loopback") as it:
            quiet = (await it.status()).services[0].warnings

    assert [True] == ["there is no authentication" in warning for warning in warned]
    assert [warned[0]] == [line["warning"] for line in lines if "no authentication" in line.get("warning", "")]
    assert [] == list(quiet)
