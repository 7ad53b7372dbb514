"""Random and mutated requests to the storage service: none is INTERNAL or UNKNOWN, and the server serves on."""

import random
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from support.random_messages import random_message
from support.storage_service import Narrated, Storage, narrating, read, service

from servicekit.ids import new_id
from standins.storage_kit import checkpoint, create_request, lease_request, narration, put_messages, speech
from storage_service.stories import states
from tale.storage.v1 import segment_pb2, storage_pb2

DEFECTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
METHODS: list[MethodDescriptor] = [
    *storage_pb2.DESCRIPTOR.services_by_name["StorageService"].methods,
    *segment_pb2.DESCRIPTOR.services_by_name["SegmentService"].methods,
]
FEW, MANY = 60, 2_000


@pytest_asyncio.fixture(scope="module")
async def storage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Storage]:
    """The service over the embedded store."""
    async with service(tmp_path_factory.mktemp("fuzz")) as it:
        yield it


def good_requests(made: Narrated) -> dict[str, Callable[[], list[Message]]]:
    """For each RPC requests that a story answers, to be mutated."""
    story_id, position = made.story_id, storage_pb2.StoryPosition(story_id=made.story_id)
    more = checkpoint(
        story_id, made.token, narration=narration(made.audio_id), segments=[one.place for one in made.spoken]
    )
    more.attempts.add(attempt_id=new_id())
    more.problems.add(reason="VOICE_SLOW")
    ended = checkpoint(story_id, made.token, state=states.FAILED, title="T", text=(0, "x"))
    lease = lease_request()
    key = made.spoken[0].stored.key
    return {
        "CreateStory": lambda: [create_request(request_id="r", fingerprint=bytes(32))],
        "GetStory": lambda: [storage_pb2.GetStoryRequest(story_id=story_id)],
        "GetUsage": lambda: [storage_pb2.GetUsageRequest(days=3)],
        "ListStories": lambda: [storage_pb2.ListStoriesRequest(page_size=3)],
        "UpdateStory": lambda: [storage_pb2.UpdateStoryRequest(story_id=story_id, rating=3)],
        "DeleteStory": lambda: [storage_pb2.DeleteStoryRequest(story_id=new_id())],
        "EraseChild": lambda: [storage_pb2.EraseChildRequest(child_id=new_id())],
        "FollowStories": lambda: [storage_pb2.FollowStoriesRequest(positions=[position])],
        "ClaimStories": lambda: [storage_pb2.ClaimStoriesRequest(lease=lease, max_count=3)],
        "CheckpointStories": lambda: [
            storage_pb2.CheckpointStoriesRequest(lease_duration=lease.duration, checkpoints=[more, ended])
        ],
        "ReleaseStories": lambda: [
            storage_pb2.ReleaseStoriesRequest(leases=[storage_pb2.HeldLease(story_id=story_id, lease_token=made.token)])
        ],
        "FinishAudio": lambda: [made.finish()],
        "ReadAudio": lambda: [storage_pb2.ReadAudioRequest(story_id=story_id, offset=7)],
        "GetAudioUrl": lambda: [storage_pb2.GetAudioUrlRequest(story_id=story_id)],
        "FindSegments": lambda: [
            segment_pb2.FindSegmentsRequest(lookups=[segment_pb2.SegmentLookup(key=key, story_id=story_id)])
        ],
        "PutSegment": lambda: list(put(story_id)),
        "ReadSegment": lambda: [segment_pb2.ReadSegmentRequest(key=key)],
    }


def put(story_id: str) -> list[segment_pb2.PutSegmentRequest]:
    """A new segment in a few chunks."""
    (one,) = speech([3_000], new_id())
    return put_messages(one.stored, one.data, story_id=story_id, piece=1_000)


def mutated(chance: random.Random, message: Message) -> bytes:
    """The message with something else in it: other fields, or other bytes."""
    if chance.random() < 0.5:
        message.MergeFrom(random_message(chance, cast("Descriptor", message.DESCRIPTOR)))
    data = bytearray(message.SerializeToString())
    if data and chance.random() < 0.4:
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


async def code_of(storage: Storage, method: MethodDescriptor, requests: list[bytes]) -> grpc.StatusCode:
    """How a call with these bytes ends. Answers are read to their end."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    channel: Any = storage.channel
    try:
        if method.server_streaming:
            async for _ in channel.unary_stream(path)(requests[0], timeout=20):
                pass
        elif method.client_streaming:
            await channel.stream_unary(path)(iter(requests), timeout=20)
        else:
            await channel.unary_unary(path)(requests[0], timeout=20)
    except grpc.aio.AioRpcError as error:
        # What a client that still sends makes of an early end.
        return grpc.StatusCode.OK if error.details() == "Internal error from Core" else error.code()
    return grpc.StatusCode.OK


async def fuzz(storage: Storage, method: MethodDescriptor, count: int) -> None:
    """Sends so many requests, a third of them made up, the others good ones that were changed."""
    chance = random.Random(method.full_name)
    for number in range(count):
        storage.clock.advance(0.001)
        if number % 20 == 0:
            made = await narrating(storage, sizes=[1_000, 2_000])
        good = good_requests(made)[method.name]()
        if number % 3 == 0:
            requests = [random_message(chance, method.input_type).SerializeToString() for _ in good]
        else:
            requests = [mutated(chance, message) for message in good]
            if method.client_streaming and chance.random() < 0.3:
                chance.shuffle(requests)
        code = await code_of(storage, method, requests)
        assert code not in DEFECTS, (method.name, number, requests)
    after = await narrating(storage)
    assert (await read(storage, after.story_id))[1] == after.data


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_odd_requests_have_typed_answers(storage: Storage, method: MethodDescriptor) -> None:
    """A few of every RPC."""
    await fuzz(storage, method, FEW)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_thousands_of_odd_requests_have_typed_answers(storage: Storage, method: MethodDescriptor) -> None:
    """Two thousand of every RPC."""
    await fuzz(storage, method, MANY)
