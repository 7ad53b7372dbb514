"""What a caller may ask for: operators all, users their own, callers that are bound to children what is of those."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cachetools import LRUCache
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from gateway.peers.clients import StorageStub, read_story
from servicekit.context import current
from servicekit.errors import DomainError, resource_not_found
from tale.common.v1 import status_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2

GATEWAY: Final = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"]
PROFILE: Final = profile_pb2.DESCRIPTOR.services_by_name["ProfileService"]
STATUS: Final = status_pb2.DESCRIPTOR.services_by_name["StatusService"]
_STORY: Final = story_pb2.DESCRIPTOR.services_by_name["StoryService"]
_VOICE: Final = voice_pb2.DESCRIPTOR.services_by_name["VoiceService"]


def paths(service: ServiceDescriptor, *names: str) -> Iterable[tuple[str, MethodDescriptor]]:
    """Yields the path and the descriptor of each method of a service, or of those with these names."""
    for method in service.methods:
        if not names or method.name in names:
            yield f"/{service.full_name}/{method.name}", method


_FOR_OPERATORS: Final = dict((*paths(GATEWAY, "ResetCircuit"), *paths(STATUS)))
_FOR_BOUND: Final[Mapping[str, MethodDescriptor]] = {
    path: method
    for path, method in (
        *paths(GATEWAY),
        *paths(PROFILE, "GetChild", "ListChildren", "GetHero", "ListHeroes"),
        *paths(_VOICE, "ListProviders", "ListVoices", "Transcribe"),
        *paths(_STORY, "ListModels"),
    )
    if method.name not in {"EraseChild", "GetUsage"}
}
"""What a caller that is bound to children may call; the fields of a request say whose it is."""
_MOST_STORIES: Final = 10_000
LIST_CHILDREN: Final = f"/{PROFILE.full_name}/ListChildren"


class Access:
    """Refuses what the caller may not do. What is of another child does not exist for it."""

    def __init__(self, storage: StorageStub) -> None:
        self._storage = storage
        # The child of a story never changes, and an id is of one owner.
        self._children = LRUCache[tuple[str, str], str](_MOST_STORIES)

    async def check(self, method: str, request: Message | bytes | None) -> None:
        """Raises OPERATOR_ONLY, CHILDREN_ONLY, STORY_NOT_FOUND or CHILD_NOT_FOUND; `request` is None for a stream."""
        caller = current().caller
        if method in _FOR_OPERATORS and not caller.operator:
            raise DomainError("OPERATOR_ONLY", "Only operators may do this.")
        if caller.children is None:
            return
        known = _FOR_BOUND.get(method)
        if known is None:
            raise DomainError("CHILDREN_ONLY", "A caller that is bound to children may not do this.")
        if request is None:
            return
        asked = _asked(known, request)
        match asked:
            case gateway_pb2.CreateStoryRequest() | gateway_pb2.TellStoryRequest():
                _check_child(asked.spec.child_id, caller.children)
                if asked.spec.parent_story_id:
                    await self._check_story(asked.spec.parent_story_id, caller.children)
            case gateway_pb2.ListStoriesRequest():
                _check_child(asked.filter.child_id, caller.children)
            case profile_pb2.GetChildRequest() | gateway_pb2.GetFeedUrlRequest():
                _check_child(asked.child_id, caller.children)
            case _ if "story_id" in known.input_type.fields_by_name:
                await self._check_story(asked.story_id, caller.children)

    async def _check_story(self, story_id: str, children: frozenset[str]) -> None:
        key = current().owner, story_id
        if key not in self._children:
            self._children[key] = (await read_story(self._storage, story_id)).story.child_id
        if self._children[key] not in children:
            raise resource_not_found("story", story_id)


def own_children(response: bytes) -> bytes:
    """Returns a ListChildrenResponse with the children that the caller is bound to; all for any other caller."""
    children = current().caller.children
    if children is None:
        return response
    listed = profile_pb2.ListChildrenResponse.FromString(response)
    own = [child for child in listed.children if child.id in children]
    del listed.children[:]
    listed.children.extend(own)
    return listed.SerializeToString()


def without_details(status: gateway_pb2.GetSystemStatusResponse) -> gateway_pb2.GetSystemStatusResponse:
    """Returns what a user sees of the cluster: names, health, and which parts are embedded."""
    if current().caller.operator:
        return status
    return gateway_pb2.GetSystemStatusResponse(
        healthy=status.healthy,
        services=[status_pb2.ServiceStatus(service=each.service, health=each.health) for each in status.services],
        embedded_parts=status.embedded_parts,
    )


def decoded(kind: Descriptor, message: Message | bytes) -> Any:
    """Returns a message, or the bytes of one that is only passed on, as a message; DecodeError if they are none."""
    return message if isinstance(message, Message) else GetMessageClass(kind).FromString(message)


def _asked(method: MethodDescriptor, request: Message | bytes) -> Any:
    try:
        return decoded(method.input_type, request)
    except DecodeError:
        raise DomainError("VALIDATION_FAILED", "The request is not a message of this method.") from None


def _check_child(child_id: str, children: frozenset[str]) -> None:
    if not child_id:
        raise DomainError("CHILDREN_ONLY", "The request must name one of the children that the caller is bound to.")
    if child_id not in children:
        raise resource_not_found("child", child_id)
