"""The sync client on a channel of grpc_testing."""

import asyncio
import hashlib
import inspect
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import grpc
import grpc_testing
import pytest
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tale.common.v1 import common_pb2
from tale.common.v1 import status_pb2 as circuits_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2
from tale_client import AsyncTaleClient, ReconnectPolicy, RetryPolicy, TaleClient, TaleError, Violation
from tale_client.blocking import finish
from tale_client.calls import Backoff
from tale_client.client import TaleCalls

ID = "0197a5a0-0000-7000-8000-000000000001"
SPEC = common_pb2.StorySpec(child=common_pb2.Child(name="Mia"))
STORY = common_pb2.Story(id=ID, title="The Owl")
CHILD = common_pb2.Child(id=ID, name="Mia", age=6)
HERO = common_pb2.Hero(id=ID, name="Captain Wonder")
SOUND = bytes(range(256)) * 4
NOW = Backoff(initial=0.0)
SECONDS = 20.0
GATEWAY = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"]
PROFILE = profile_pb2.DESCRIPTOR.services_by_name["ProfileService"]
VOICE = voice_pb2.DESCRIPTOR.services_by_name["VoiceService"]
WRITER = story_pb2.DESCRIPTOR.services_by_name["StoryService"]
METHODS = {method.name: method for service in (GATEWAY, PROFILE, VOICE, WRITER) for method in service.methods}
NEXT = "next"
DETAILS = "grpc-status-details-bin"

T = TypeVar("T")


class FakeServer:
    """The server's side of the channel, and threads for the client's."""

    def __init__(self) -> None:
        services = (GATEWAY, PROFILE, VOICE, WRITER)
        self.channel: Any = grpc_testing.channel(services, grpc_testing.strict_real_time())

    def client(self, *, idle: float = 30.0) -> TaleClient:
        """A client on the channel that does not wait between calls."""
        return TaleClient(
            channel=self.channel,
            retry=RetryPolicy(attempts=3, backoff=NOW),
            reconnect=ReconnectPolicy(idle_timeout=idle, backoff=NOW),
        )

    def begin(self, work: Callable[[], T]) -> Future[T]:
        """Runs a method of the client in a thread."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except TaleError as error:
                future.set_exception(error)

        # A daemon, so that a call that is never answered fails its test and holds up no other.
        threading.Thread(target=run, daemon=True).start()
        return future

    def pour(self, items: Callable[[], Iterable[T]]) -> "tuple[Future[list[T]], SimpleQueue[T]]":
        """Reads a stream of the client: all items at its end, and each when it arrives."""
        seen: SimpleQueue[T] = SimpleQueue()

        def read() -> list[T]:
            taken: list[T] = []
            for item in items():
                taken.append(item)
                seen.put(item)
            return taken

        return self.begin(read), seen

    def take(self, name: str) -> tuple[Any, Any]:
        """Returns the next unary call of an RPC: request and call."""
        _, request, call = self.channel.take_unary_unary(METHODS[name])
        return request, call

    def answer(self, name: str, response: Message) -> Any:
        """Answers the next unary call of an RPC and returns its request."""
        request, call = self.take(name)
        call.terminate(response, (), grpc.StatusCode.OK, "")
        return request

    def refuse(self, name: str, code: grpc.StatusCode, metadata: Sequence[tuple[str, Any]] = ()) -> Any:
        """Fails the next unary call of an RPC and returns its request."""
        request, call = self.take(name)
        call.terminate(None, metadata, code, "scripted")
        return request

    def end(self, name: str, *responses: Message) -> Any:
        """Sends the rest and the status of the next stream of an RPC, and returns its request."""
        request, call = self.send(name, *responses)
        call.terminate((), grpc.StatusCode.OK, "")
        return request

    def send(self, name: str, *responses: Message) -> tuple[Any, Any]:
        """Sends a part of the next stream of an RPC; returns request and call."""
        _, request, call = self.channel.take_unary_stream(METHODS[name])
        for response in responses:
            call.send_response(response)
        return request, call


@pytest.fixture
def door() -> FakeServer:
    return FakeServer()


def detailed(*details: Message) -> Sequence[tuple[str, bytes]]:
    packed = [any_pb2.Any() for _ in details]
    for place, detail in zip(packed, details, strict=True):
        place.Pack(detail)
    return ((DETAILS, status_pb2.Status(message="said", details=packed).SerializeToString()),)


def text(offset: int, delta: str) -> gateway_pb2.WatchStoryResponse:
    event = gateway_pb2.StoryEvent(story_id=ID, text=gateway_pb2.TextEvent(offset=offset, delta=delta))
    return gateway_pb2.WatchStoryResponse(event=event)


def done(content: str) -> gateway_pb2.WatchStoryResponse:
    story = common_pb2.Story(id=ID, state=common_pb2.STORY_STATE_READY, content=content)
    return gateway_pb2.WatchStoryResponse(
        event=gateway_pb2.StoryEvent(story_id=ID, done=gateway_pb2.DoneEvent(story=story))
    )


def audio_of(data: bytes) -> common_pb2.StoryAudio:
    return common_pb2.StoryAudio(audio_id="a", size_bytes=len(data), sha256=hashlib.sha256(data).digest())


def piece(offset: int, chunk: bytes) -> gateway_pb2.ReadStoryAudioResponse:
    return gateway_pb2.ReadStoryAudioResponse(chunk=gateway_pb2.AudioEvent(audio_id="a", offset=offset, chunk=chunk))


def announced(data: bytes) -> gateway_pb2.ReadStoryAudioResponse:
    return gateway_pb2.ReadStoryAudioResponse(header=audio_of(data))


def test_both_clients_have_the_same_methods() -> None:
    """Every method of one is a method of the other, with the same parameters."""
    methods = {name for name, each in inspect.getmembers(TaleCalls, inspect.isfunction) if not name.startswith("_")}
    assert 34 == len(methods)
    for name in methods:
        assert inspect.signature(getattr(AsyncTaleClient, name)).parameters.keys() == (
            inspect.signature(getattr(TaleClient, name)).parameters.keys()
        )


CALLS: list[tuple[str, Callable[[TaleClient], object], Message, Message, object]] = [
    (
        "CreateStory",
        lambda client: client.create_story(SPEC, request_id="r"),
        gateway_pb2.CreateStoryRequest(request_id="r", spec=SPEC),
        gateway_pb2.CreateStoryResponse(story=STORY),
        STORY,
    ),
    (
        "GetStory",
        lambda client: client.get_story(ID, full=True),
        gateway_pb2.GetStoryRequest(story_id=ID, view=common_pb2.STORY_VIEW_FULL),
        gateway_pb2.GetStoryResponse(story=STORY),
        STORY,
    ),
    (
        "CancelStory",
        lambda client: client.cancel_story(ID),
        gateway_pb2.CancelStoryRequest(story_id=ID),
        gateway_pb2.CancelStoryResponse(story=STORY),
        STORY,
    ),
    (
        "RetryStory",
        lambda client: client.retry_story(ID, request_id="r"),
        gateway_pb2.RetryStoryRequest(story_id=ID, request_id="r"),
        gateway_pb2.RetryStoryResponse(story=STORY),
        STORY,
    ),
    (
        "NarrateStory",
        lambda client: client.narrate_story(ID, common_pb2.VoiceSelection(provider="mock"), request_id="r"),
        gateway_pb2.NarrateStoryRequest(story_id=ID, request_id="r", voice=common_pb2.VoiceSelection(provider="mock")),
        gateway_pb2.NarrateStoryResponse(story=STORY),
        STORY,
    ),
    (
        "RateStory",
        lambda client: client.rate_story(ID, 9, expected_revision=2),
        gateway_pb2.RateStoryRequest(story_id=ID, rating=9, expected_revision=2),
        gateway_pb2.RateStoryResponse(story=STORY),
        STORY,
    ),
    (
        "DeleteStory",
        lambda client: client.delete_story(ID),
        gateway_pb2.DeleteStoryRequest(story_id=ID),
        gateway_pb2.DeleteStoryResponse(),
        None,
    ),
    (
        "GetAudioUrl",
        lambda client: client.get_audio_url(ID, expiry=60).url,
        gateway_pb2.GetAudioUrlRequest(story_id=ID, expiry=Duration(seconds=60)),
        gateway_pb2.GetAudioUrlResponse(url="https://example.org/a"),
        "https://example.org/a",
    ),
    (
        "GetDownloadUrl",
        lambda client: client.get_download_url(ID, gateway_pb2.DOWNLOAD_FORMAT_EPUB, expiry=60).url,
        gateway_pb2.GetDownloadUrlRequest(
            story_id=ID, format=gateway_pb2.DOWNLOAD_FORMAT_EPUB, expiry=Duration(seconds=60)
        ),
        gateway_pb2.GetDownloadUrlResponse(url="https://example.org/b"),
        "https://example.org/b",
    ),
    (
        "GetFeedUrl",
        lambda client: client.get_feed_url(ID),
        gateway_pb2.GetFeedUrlRequest(child_id=ID),
        gateway_pb2.GetFeedUrlResponse(url="https://example.org/c"),
        "https://example.org/c",
    ),
    (
        "CreateChild",
        lambda client: client.create_child(CHILD, request_id="r"),
        profile_pb2.CreateChildRequest(request_id="r", child=CHILD),
        profile_pb2.CreateChildResponse(child=CHILD),
        CHILD,
    ),
    (
        "GetChild",
        lambda client: client.get_child(ID),
        profile_pb2.GetChildRequest(child_id=ID),
        profile_pb2.GetChildResponse(child=CHILD),
        CHILD,
    ),
    (
        "UpdateChild",
        lambda client: client.update_child(CHILD, fields=["age"]),
        profile_pb2.UpdateChildRequest(child=CHILD, update_mask=FieldMask(paths=["age"])),
        profile_pb2.UpdateChildResponse(child=CHILD),
        CHILD,
    ),
    (
        "DeleteChild",
        lambda client: client.delete_child(ID),
        profile_pb2.DeleteChildRequest(child_id=ID),
        profile_pb2.DeleteChildResponse(),
        None,
    ),
    (
        "EraseChild",
        lambda client: client.erase_child(ID).story_count,
        gateway_pb2.EraseChildRequest(child_id=ID),
        gateway_pb2.EraseChildResponse(story_count=3),
        3,
    ),
    (
        "CreateHero",
        lambda client: client.create_hero(HERO, request_id="r"),
        profile_pb2.CreateHeroRequest(request_id="r", hero=HERO),
        profile_pb2.CreateHeroResponse(hero=HERO),
        HERO,
    ),
    (
        "GetHero",
        lambda client: client.get_hero(ID),
        profile_pb2.GetHeroRequest(hero_id=ID),
        profile_pb2.GetHeroResponse(hero=HERO),
        HERO,
    ),
    (
        "UpdateHero",
        lambda client: client.update_hero(HERO),
        profile_pb2.UpdateHeroRequest(hero=HERO),
        profile_pb2.UpdateHeroResponse(hero=HERO),
        HERO,
    ),
    (
        "DeleteHero",
        lambda client: client.delete_hero(ID),
        profile_pb2.DeleteHeroRequest(hero_id=ID),
        profile_pb2.DeleteHeroResponse(),
        None,
    ),
    (
        "ListProviders",
        lambda client: [provider.provider_name for provider in client.list_providers().providers],
        voice_pb2.ListProvidersRequest(),
        voice_pb2.ListProvidersResponse(providers=[voice_pb2.Provider(provider_name="offline")]),
        ["offline"],
    ),
    (
        "GetSystemStatus",
        lambda client: client.system_status().healthy,
        gateway_pb2.GetSystemStatusRequest(),
        gateway_pb2.GetSystemStatusResponse(healthy=True),
        True,
    ),
    (
        "GetUsage",
        lambda client: client.usage(3).entries[0].stories,
        gateway_pb2.GetUsageRequest(days=3),
        gateway_pb2.GetUsageResponse(entries=[common_pb2.UsageEntry(stories=2)]),
        2,
    ),
    (
        "ResetCircuit",
        lambda client: client.reset_circuit("models", service="story").name,
        gateway_pb2.ResetCircuitRequest(service="story", name="models"),
        gateway_pb2.ResetCircuitResponse(circuit=circuits_pb2.CircuitStatus(name="models")),
        "models",
    ),
    (
        "GetUsage",
        lambda client: [each.stories for each in client.usage(7, all_owners=True).entries],
        gateway_pb2.GetUsageRequest(days=7, all_owners=True),
        gateway_pb2.GetUsageResponse(entries=[common_pb2.UsageEntry(stories=2)]),
        [2],
    ),
]


@pytest.mark.parametrize(("name", "call", "request_", "response", "result"), CALLS, ids=[call[0] for call in CALLS])
def test_every_call_sends_its_arguments(
    door: FakeServer,
    name: str,
    call: Callable[[TaleClient], object],
    request_: Message,
    response: Message,
    result: object,
) -> None:
    """Each method calls its RPC and returns the relevant part of the response."""
    given = door.begin(lambda: call(door.client()))
    assert request_ == door.answer(name, response)
    assert result == given.result(SECONDS)


LISTS: list[tuple[str, Callable[[TaleClient], object], list[Message], object]] = [
    (
        "ListStories",
        lambda client: [story.id for story in client.list_stories(common_pb2.StoryFilter(query="owl"))],
        [
            gateway_pb2.ListStoriesResponse(
                stories=[common_pb2.StorySummary(id="1"), common_pb2.StorySummary(id="2")], next_page_token=NEXT
            ),
            gateway_pb2.ListStoriesResponse(stories=[common_pb2.StorySummary(id="3")]),
        ],
        ["1", "2", "3"],
    ),
    (
        "ListChildren",
        lambda client: [child.name for child in client.list_children()],
        [
            profile_pb2.ListChildrenResponse(children=[common_pb2.Child(name="Mia")], next_page_token=NEXT),
            profile_pb2.ListChildrenResponse(children=[common_pb2.Child(name="Leo")]),
        ],
        ["Mia", "Leo"],
    ),
    (
        "ListHeroes",
        lambda client: [hero.name for hero in client.list_heroes()],
        [
            profile_pb2.ListHeroesResponse(heroes=[common_pb2.Hero(name="A")], next_page_token=NEXT),
            profile_pb2.ListHeroesResponse(heroes=[common_pb2.Hero(name="B")]),
        ],
        ["A", "B"],
    ),
    (
        "ListVoices",
        lambda client: client.list_voices(language_code="ru"),
        [
            voice_pb2.ListVoicesResponse(voices=[voice_pb2.Voice(voice_id="a")], next_page_token=NEXT, stale=True),
            voice_pb2.ListVoicesResponse(voices=[voice_pb2.Voice(voice_id="b")]),
        ],
        voice_pb2.ListVoicesResponse(voices=[voice_pb2.Voice(voice_id="a"), voice_pb2.Voice(voice_id="b")], stale=True),
    ),
    (
        "ListModels",
        lambda client: client.list_models(),
        [
            story_pb2.ListModelsResponse(models=[story_pb2.Model(id="a")], next_page_token=NEXT),
            story_pb2.ListModelsResponse(models=[story_pb2.Model(id="b")], stale=True),
        ],
        story_pb2.ListModelsResponse(models=[story_pb2.Model(id="a"), story_pb2.Model(id="b")], stale=True),
    ),
]


@pytest.mark.parametrize(("name", "call", "answers", "result"), LISTS, ids=[each[0] for each in LISTS])
def test_list_reads_every_page(
    door: FakeServer, name: str, call: Callable[[TaleClient], object], answers: list[Message], result: object
) -> None:
    """Lists follow the page tokens; a stale page makes the list stale."""
    given = door.begin(lambda: call(door.client()))
    requests = [door.answer(name, answer) for answer in answers]
    assert result == given.result(SECONDS)
    assert [("", 100), (NEXT, 100)] == [(request.page_token, request.page_size) for request in requests]


def test_call_repeats_under_the_same_request_id(door: FakeServer) -> None:
    """A call that creates something is repeated on UNAVAILABLE with the same UUIDv7, also in its metadata."""
    given = door.begin(lambda: door.client().create_hero(HERO))
    first = door.refuse("CreateHero", grpc.StatusCode.UNAVAILABLE)
    metadata, second, call = door.channel.take_unary_unary(METHODS["CreateHero"])
    call.terminate(profile_pb2.CreateHeroResponse(hero=HERO), (), grpc.StatusCode.OK, "")
    assert HERO == given.result(SECONDS)
    assert first == second
    assert 7 == uuid.UUID(first.request_id).version
    assert ("x-request-id", first.request_id) in [tuple(pair) for pair in metadata]


def test_call_stops_after_the_maximum_number_of_attempts(door: FakeServer) -> None:
    """After the maximum number of attempts the last error is raised, with the details of the server."""
    given = door.begin(lambda: door.client().get_story(ID))
    info = error_details_pb2.ErrorInfo(reason="UPSTREAM_UNAVAILABLE", domain="tale", metadata={"fact": "1"})
    for _ in range(3):
        door.refuse("GetStory", grpc.StatusCode.UNAVAILABLE, detailed(info))
    with pytest.raises(TaleError) as caught:
        given.result(SECONDS)
    error = caught.value
    assert "UPSTREAM_UNAVAILABLE" == error.reason
    assert "said" == error.message
    assert {"fact": "1"} == error.metadata
    assert 3 == error.attempts


def test_refused_call_is_not_repeated(door: FakeServer) -> None:
    """A refused request raises at once, with every field."""
    given = door.begin(lambda: door.client().create_child(CHILD))
    violation = error_details_pb2.BadRequest.FieldViolation(field="child.age", description="must be from 1 to 18")
    details = detailed(
        error_details_pb2.ErrorInfo(reason="VALIDATION_FAILED", domain="tale"),
        error_details_pb2.BadRequest(field_violations=[violation]),
    )
    door.refuse("CreateChild", grpc.StatusCode.INVALID_ARGUMENT, details)
    with pytest.raises(TaleError) as caught:
        given.result(SECONDS)
    assert (Violation("child.age", "must be from 1 to 18"),) == caught.value.violations


def test_change_with_a_revision_is_not_repeated(door: FakeServer) -> None:
    """A repetition could not be distinguished from a lost race."""
    given = door.begin(lambda: door.client().update_child(common_pb2.Child(id=ID, name="Mia", revision=2)))
    door.refuse("UpdateChild", grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(TaleError):
        given.result(SECONDS)


@pytest.mark.parametrize(("name", "result"), [("DeleteHero", None), ("EraseChild", gateway_pb2.EraseChildResponse())])
def test_repeated_deletion_of_a_missing_record_succeeds(door: FakeServer, name: str, result: object) -> None:
    """NOT_FOUND is an error of the first call only."""
    client = door.client()
    removals: dict[str, Callable[[], object]] = {
        "DeleteHero": lambda: client.delete_hero(ID),
        "EraseChild": lambda: client.erase_child(ID),
    }
    given = door.begin(removals[name])
    door.refuse(name, grpc.StatusCode.UNAVAILABLE)
    door.refuse(name, grpc.StatusCode.NOT_FOUND)
    assert result == given.result(SECONDS)
    given = door.begin(removals[name])
    door.refuse(name, grpc.StatusCode.NOT_FOUND)
    with pytest.raises(TaleError):
        given.result(SECONDS)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "RECONNECT"),
        (grpc.StatusCode.UNAVAILABLE, ""),
        (grpc.StatusCode.INTERNAL, ""),
        (grpc.StatusCode.OK, ""),
    ],
)
def test_stream_that_ends_early_continues_at_its_position(door: FakeServer, code: grpc.StatusCode, reason: str) -> None:
    """After RECONNECT, a lost connection or an end without `done`, WatchStory continues from the offset."""
    given, seen = door.pour(lambda: door.client().tell(SPEC, request_id="r"))
    request, first = door.send("TellStory", gateway_pb2.TellStoryResponse(event=text(0, "Öne. ").event))
    # grpc_testing drops what was not read when a call fails.
    seen.get(timeout=SECONDS)
    first.terminate(detailed(error_details_pb2.ErrorInfo(reason=reason)) if reason else (), code, "scripted")
    again = door.end("WatchStory", text(3, ". Two."), done("Öne. Two."))
    events = given.result(SECONDS)
    assert gateway_pb2.TellStoryRequest(request_id="r", spec=SPEC) == request
    assert gateway_pb2.WatchStoryRequest(story_id=ID, text_offset=5) == again
    assert "Öne. Two." == "".join(event.text.delta for event in events)
    assert "done" == events[-1].WhichOneof("event")


def test_silent_stream_counts_as_lost(door: FakeServer) -> None:
    """A silent connection is ended and replaced."""
    given = door.begin(lambda: list(door.client(idle=0.05).watch(ID)))
    _, silent = door.send("WatchStory", text(0, "One. "))
    silent.cancelled()
    again = door.end("WatchStory", done("One. Two."))
    assert 5 == again.text_offset
    assert "One. Two." == "".join(event.text.delta for event in given.result(SECONDS))


def test_refused_stream_is_not_repeated(door: FakeServer) -> None:
    """A refusal of the server is raised, without a reconnect."""
    given = door.begin(lambda: list(door.client().watch(ID)))
    _, call = door.send("WatchStory")
    info = error_details_pb2.ErrorInfo(reason="STORY_NOT_FOUND", domain="tale")
    call.terminate(detailed(info), grpc.StatusCode.NOT_FOUND, "")
    with pytest.raises(TaleError, match="STORY_NOT_FOUND"):
        given.result(SECONDS)


def test_closed_iterator_ends_the_call(door: FakeServer) -> None:
    """Closing the generator cancels the stream."""

    def first_words() -> str:
        with closing(door.client().watch(ID)) as events:
            return next(events).text.delta

    given = door.begin(first_words)
    _, call = door.send("WatchStory", text(0, "One."))
    assert "One." == given.result(SECONDS)
    call.cancelled()


def test_audio_is_read_over_lost_connections(door: FakeServer) -> None:
    """Every byte comes once, and the second call names the same audio."""
    given, seen = door.pour(lambda: door.client().read_audio(ID))
    _, call = door.send("ReadStoryAudio", announced(SOUND), piece(0, SOUND[:100]))
    assert SOUND[:100] == seen.get(timeout=SECONDS)
    call.terminate((), grpc.StatusCode.UNAVAILABLE, "")
    request, call = door.send("ReadStoryAudio", announced(SOUND), piece(100, SOUND[100:]))
    call.terminate((), grpc.StatusCode.OK, "")
    assert [SOUND[:100], SOUND[100:]] == given.result(SECONDS)
    assert "a" == request.audio_id
    assert 100 == request.offset


def test_saved_audio_is_complete_or_absent(door: FakeServer, tmp_path: Path) -> None:
    """save_audio creates the folder, leaves only the file and returns the header."""
    place = tmp_path / "new" / "story.mp3"
    given = door.begin(lambda: door.client().save_audio(ID, place))
    _, call = door.send("ReadStoryAudio", announced(SOUND), piece(0, SOUND))
    call.terminate((), grpc.StatusCode.OK, "")
    assert audio_of(SOUND) == given.result(SECONDS)
    assert [SOUND] == [each.read_bytes() for each in place.parent.iterdir()]


def test_audio_with_a_wrong_size_or_checksum_is_an_error(door: FakeServer, tmp_path: Path) -> None:
    """Wrong bytes: AUDIO_CORRUPT, and no file."""
    given = door.begin(lambda: door.client().save_audio(ID, tmp_path / "story.mp3"))
    _, call = door.send("ReadStoryAudio", announced(SOUND), piece(0, SOUND[:-1] + b"?"))
    call.terminate((), grpc.StatusCode.OK, "")
    with pytest.raises(TaleError, match="AUDIO_CORRUPT"):
        given.result(SECONDS)
    assert [] == list(tmp_path.iterdir())


def test_coroutine_that_suspends_is_refused() -> None:
    """The sync client has no event loop that could continue it."""
    with pytest.raises(RuntimeError, match="must not suspend"):
        finish(asyncio.sleep(0))
