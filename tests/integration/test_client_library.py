"""The asyncio client against a scripted gateway on a real server."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from support.cutting_proxy import cutting_proxy, refusing
from support.scripted_gateway import Failure, Hold, ScriptedGateway, scripted_gateway

from tale.common.v1 import common_pb2, status_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client import AsyncTaleClient, ReconnectPolicy, RetryPolicy, TaleError, Violation
from tale_client.calls import Backoff

ID = "0197a5a0-0000-7000-8000-000000000001"
SPEC = common_pb2.StorySpec(child=common_pb2.Child(name="Mia"))
SOUND = bytes(range(256)) * 40
NOW = Backoff(initial=0.0)
LOST = Failure(grpc.StatusCode.UNAVAILABLE)
RECONNECT = Failure(grpc.StatusCode.UNAVAILABLE, "RECONNECT")


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as scripted:
        yield scripted


def client_of(target: str, *, attempts: int = 8, timeout: float = 60.0, idle: float = 30.0) -> AsyncTaleClient:
    return AsyncTaleClient(
        target,
        retry=RetryPolicy(attempts=3, backoff=NOW),
        reconnect=ReconnectPolicy(attempts=attempts, timeout=timeout, idle_timeout=idle, backoff=NOW),
    )


@pytest.fixture
async def client(gateway: ScriptedGateway) -> AsyncIterator[AsyncTaleClient]:
    async with client_of(gateway.target) as made:
        yield made


def told(event: gateway_pb2.StoryEvent) -> gateway_pb2.TellStoryResponse:
    return gateway_pb2.TellStoryResponse(event=event)


def watched(event: gateway_pb2.StoryEvent) -> gateway_pb2.WatchStoryResponse:
    return gateway_pb2.WatchStoryResponse(event=event)


def text(offset: int, delta: str) -> gateway_pb2.StoryEvent:
    return gateway_pb2.StoryEvent(story_id=ID, text=gateway_pb2.TextEvent(offset=offset, delta=delta))


def sound(offset: int, chunk: bytes, audio_id: str = "a") -> gateway_pb2.StoryEvent:
    part = gateway_pb2.AudioEvent(audio_id=audio_id, offset=offset, chunk=chunk)
    return gateway_pb2.StoryEvent(story_id=ID, audio=part)


def header(audio_id: str = "a") -> gateway_pb2.StoryEvent:
    return gateway_pb2.StoryEvent(story_id=ID, audio_header=common_pb2.NarrationHeader(audio_id=audio_id))


def audio_of(data: bytes, audio_id: str = "a") -> common_pb2.StoryAudio:
    return common_pb2.StoryAudio(audio_id=audio_id, size_bytes=len(data), sha256=hashlib.sha256(data).digest())


def done(content: str, data: bytes | None = None, audio_id: str = "a") -> gateway_pb2.StoryEvent:
    audio = None if data is None else audio_of(data, audio_id)
    story = common_pb2.Story(id=ID, state=common_pb2.STORY_STATE_READY, content=content, audio=audio)
    return gateway_pb2.StoryEvent(story_id=ID, done=gateway_pb2.DoneEvent(story=story))


def piece(offset: int, chunk: bytes) -> gateway_pb2.ReadStoryAudioResponse:
    return gateway_pb2.ReadStoryAudioResponse(chunk=gateway_pb2.AudioEvent(audio_id="a", offset=offset, chunk=chunk))


def announced(data: bytes) -> gateway_pb2.ReadStoryAudioResponse:
    return gateway_pb2.ReadStoryAudioResponse(header=audio_of(data))


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_call_repeats_under_the_same_request_id(gateway: ScriptedGateway, client: AsyncTaleClient) -> None:
    """CreateStory is repeated on UNAVAILABLE with the same UUIDv7."""
    gateway.queue("CreateStory", LOST)
    gateway.queue("CreateStory", gateway_pb2.CreateStoryResponse(story=common_pb2.Story(id=ID)))
    assert ID == (await client.create_story(SPEC)).id
    first, second = gateway.requests("CreateStory")
    assert first == second
    assert 7 == uuid.UUID(first.request_id).version  # type: ignore[attr-defined]
    assert {first.request_id} == {metadata["x-request-id"] for metadata in gateway.metadata}  # type: ignore[attr-defined]


async def test_unary_call_stops_after_the_maximum_number_of_attempts(
    gateway: ScriptedGateway, client: AsyncTaleClient
) -> None:
    """After the maximum number of attempts the last error is raised."""
    for _ in range(3):
        gateway.queue("GetStory", Failure(grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", retry_after=0.01))
    with pytest.raises(TaleError) as caught:
        await client.get_story(ID)
    assert "UPSTREAM_UNAVAILABLE" == caught.value.reason
    assert 0.01 == caught.value.retry_after
    assert 3 == caught.value.attempts


async def test_refused_call_is_not_repeated(gateway: ScriptedGateway, client: AsyncTaleClient) -> None:
    """A refused request raises at once, with all details of the server."""
    gateway.queue(
        "CreateStory",
        Failure(
            grpc.StatusCode.INVALID_ARGUMENT,
            "VALIDATION_FAILED",
            "bad",
            violations=[("spec.child.name", "is needed"), ("spec.length_minutes", "must be from 1 to 30")],
            metadata={"fact": "1"},
        ),
    )
    with pytest.raises(TaleError) as caught:
        await client.create_story(SPEC)
    error = caught.value
    assert grpc.StatusCode.INVALID_ARGUMENT == error.code
    assert "VALIDATION_FAILED" == error.reason
    assert "bad" == error.message
    assert (
        Violation("spec.child.name", "is needed"),
        Violation("spec.length_minutes", "must be from 1 to 30"),
    ) == error.violations
    assert {"fact": "1"} == error.metadata


async def test_rating_with_a_revision_is_not_repeated(gateway: ScriptedGateway, client: AsyncTaleClient) -> None:
    """A repetition could not be distinguished from a lost race."""
    gateway.queue("RateStory", LOST)
    with pytest.raises(TaleError):
        await client.rate_story(ID, 9, expected_revision=3)
    gateway.queue("RateStory", LOST)
    gateway.queue("RateStory", gateway_pb2.RateStoryResponse(story=common_pb2.Story(id=ID, rating=9)))
    assert 9 == (await client.rate_story(ID, 9)).rating


async def test_repeated_deletion_of_a_missing_story_succeeds(gateway: ScriptedGateway, client: AsyncTaleClient) -> None:
    """NOT_FOUND is an error of the first call only."""
    gone = Failure(grpc.StatusCode.NOT_FOUND, "STORY_DELETED")
    gateway.queue("DeleteStory", LOST)
    gateway.queue("DeleteStory", gone)
    await client.delete_story(ID)
    gateway.queue("DeleteStory", gone)
    with pytest.raises(TaleError, match="STORY_DELETED"):
        await client.delete_story(ID)


async def test_list_reads_every_page(gateway: ScriptedGateway, client: AsyncTaleClient) -> None:
    """list_stories follows the page tokens."""
    for ids, token in ((("1", "2"), "next"), (("3",), "")):
        stories = [common_pb2.StorySummary(id=each) for each in ids]
        gateway.queue("ListStories", gateway_pb2.ListStoriesResponse(stories=stories, next_page_token=token))
    assert ["1", "2", "3"] == [summary.id async for summary in client.list_stories(page_size=2)]
    assert ["", "next"] == [request.page_token for request in gateway.requests("ListStories")]  # type: ignore[attr-defined]


async def test_calls_send_their_arguments(gateway: ScriptedGateway, client: AsyncTaleClient) -> None:
    """Cancel, retry, narrate, status and the reset of a circuit reach their RPCs."""
    story = common_pb2.Story(id=ID)
    voice = common_pb2.VoiceSelection(provider="mock")
    gateway.queue("CancelStory", gateway_pb2.CancelStoryResponse(story=story))
    gateway.queue("RetryStory", gateway_pb2.RetryStoryResponse(story=story))
    gateway.queue("NarrateStory", gateway_pb2.NarrateStoryResponse(story=story))
    gateway.queue("GetSystemStatus", gateway_pb2.GetSystemStatusResponse(healthy=True))
    circuit = status_pb2.CircuitStatus(name="models")
    gateway.queue("ResetCircuit", gateway_pb2.ResetCircuitResponse(circuit=circuit))
    assert story == await client.cancel_story(ID)
    assert story == await client.retry_story(ID, request_id="r")
    assert story == await client.narrate_story(ID, voice, request_id="n")
    assert (await client.system_status()).healthy
    assert "models" == (await client.reset_circuit("models")).name
    assert [
        gateway_pb2.CancelStoryRequest(story_id=ID),
        gateway_pb2.RetryStoryRequest(story_id=ID, request_id="r"),
        gateway_pb2.NarrateStoryRequest(story_id=ID, request_id="n", voice=voice),
        gateway_pb2.GetSystemStatusRequest(),
        gateway_pb2.ResetCircuitRequest(name="models"),
    ] == [request for _, request in gateway.calls]


async def test_missing_gateway_is_named() -> None:
    """No gateway: GATEWAY_UNREACHABLE after the connect timeout, for streams too."""
    async with AsyncTaleClient("127.0.0.1:1", connect_timeout=0.05) as client:
        with pytest.raises(TaleError) as caught:
            await client.get_story(ID)
        assert "GATEWAY_UNREACHABLE" == caught.value.reason
        assert "127.0.0.1:1" == caught.value.metadata["target"]
        with pytest.raises(TaleError, match="GATEWAY_UNREACHABLE"):
            await anext(client.watch(ID))


async def test_starting_gateway_is_waited_for(gateway: ScriptedGateway) -> None:
    """A call that is made before the gateway listens succeeds."""
    gateway.queue("GetStory", gateway_pb2.GetStoryResponse(story=common_pb2.Story(id=ID)))
    async with AsyncExitStack() as stack:
        async with refusing() as (port, tried):
            client = await stack.enter_async_context(AsyncTaleClient(f"127.0.0.1:{port}"))
            call = asyncio.create_task(client.get_story(ID))
            await tried.wait()
        async with cutting_proxy(gateway.target, [], port=port):
            assert ID == (await call).id


@pytest.mark.parametrize(
    "end",
    [
        RECONNECT,
        LOST,
        Failure(grpc.StatusCode.CANCELLED),
        Failure(grpc.StatusCode.INTERNAL),
        Failure(grpc.StatusCode.UNKNOWN),
        None,
    ],
)
async def test_stream_that_ends_early_continues_at_its_position(
    gateway: ScriptedGateway, client: AsyncTaleClient, end: Failure | None
) -> None:
    """After RECONNECT, a lost connection or an end without `done`, WatchStory continues from the offsets."""
    gateway.queue(
        "TellStory", told(header()), told(text(0, "Öne. ")), told(sound(0, b"abc")), *([end] if end is not None else [])
    )
    gateway.queue(
        "WatchStory",
        watched(header()),
        watched(text(5, "Two.")),
        watched(sound(3, b"d")),
        watched(done("Öne. Two.", b"abcd")),
    )
    events = [event async for event in client.tell(SPEC, include_audio=True)]
    assert "Öne. Two." == "".join(event.text.delta for event in events)
    assert b"abcd" == b"".join(event.audio.chunk for event in events)
    assert "done" == events[-1].WhichOneof("event")
    expected = gateway_pb2.WatchStoryRequest(
        story_id=ID, include_audio=True, text_offset=5, audio_id="a", audio_offset=3
    )
    assert [expected] == gateway.requests("WatchStory")


FULL = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry_after=0.01)
DROPPED = Failure(grpc.StatusCode.CANCELLED)


async def test_call_that_the_server_did_not_begin_is_repeated(gateway: ScriptedGateway) -> None:
    """An overloaded server as often as the timeout allows, a dropped call as a lost connection."""
    retry = RetryPolicy(attempts=2, backoff=Backoff(initial=0.001))
    async with AsyncTaleClient(gateway.target, retry=retry) as client:
        for _ in range(6):
            gateway.queue("GetStory", FULL)
        gateway.queue("GetStory", gateway_pb2.GetStoryResponse(story=common_pb2.Story(id=ID)))
        assert ID == (await client.get_story(ID)).id
        gateway.queue("GetStory", DROPPED)
        gateway.queue("GetStory", gateway_pb2.GetStoryResponse(story=common_pb2.Story(id=ID)))
        assert ID == (await client.get_story(ID)).id
        gateway.queue("GetStory", DROPPED)
        gateway.queue("GetStory", DROPPED)
        with pytest.raises(TaleError) as caught:
            await client.get_story(ID)
        assert grpc.StatusCode.UNAVAILABLE is caught.value.code
        gateway.queue("RateStory", FULL)
        gateway.queue("RateStory", gateway_pb2.RateStoryResponse(story=common_pb2.Story(id=ID)))
        assert ID == (await client.rate_story(ID, 7, expected_revision=1)).id
    assert 11 == len(gateway.requests("GetStory"))


async def test_overloaded_gateway_is_asked_again_for_a_stream(
    gateway: ScriptedGateway, client: AsyncTaleClient
) -> None:
    """With the same request id, as after a lost connection."""
    gateway.queue("TellStory", FULL)
    gateway.queue("TellStory", told(done("")))
    assert ["done"] == [event.WhichOneof("event") async for event in client.tell(SPEC)]


async def test_stream_lost_before_the_story_id_sends_the_request_again(
    gateway: ScriptedGateway, client: AsyncTaleClient
) -> None:
    """Without a first event the id is unknown: TellStory is repeated with the same request id."""
    gateway.queue("TellStory", LOST)
    gateway.queue("TellStory", told(done("")))
    (event,) = [event async for event in client.tell(SPEC)]
    assert ID == event.story_id
    first, second = gateway.requests("TellStory")
    assert first == second
    assert "" != first.request_id  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "end",
    [Failure(grpc.StatusCode.INTERNAL, "INTERNAL"), Failure(grpc.StatusCode.NOT_FOUND, "STORY_DELETED")],
)
async def test_refused_stream_is_not_repeated(gateway: ScriptedGateway, client: AsyncTaleClient, end: Failure) -> None:
    """A refusal of the server is raised, without a reconnect."""
    gateway.queue("WatchStory", watched(text(0, "One.")), end)
    with pytest.raises(TaleError) as caught:
        _ = [event async for event in client.watch(ID)]
    assert end.reason == caught.value.reason


async def test_gap_in_a_stream_is_read_again(gateway: ScriptedGateway, client: AsyncTaleClient) -> None:
    """Missing text is read from its offset."""
    gateway.queue("WatchStory", watched(text(0, "One. ")), watched(text(10, "Three.")), Hold())
    gateway.queue(
        "WatchStory", watched(text(5, "Two. ")), watched(text(10, "Three.")), watched(done("One. Two. Three."))
    )
    assert "One. Two. Three." == "".join([event.text.delta async for event in client.watch(ID)])


async def test_replaced_audio_begins_again(gateway: ScriptedGateway, client: AsyncTaleClient) -> None:
    """A new audio id after a reconnect comes as a header, followed by all its bytes."""
    gateway.queue("WatchStory", watched(header("a")), watched(sound(0, b"abc", "a")), RECONNECT)
    gateway.queue("WatchStory", watched(header("b")), watched(sound(0, b"xyz", "b")), watched(done("", b"xyz", "b")))
    events = [event async for event in client.watch(ID, include_audio=True)]
    assert ["a", "b"] == [event.audio_header.audio_id for event in events if event.HasField("audio_header")]
    assert b"xyz" == b"".join(event.audio.chunk for event in events if event.audio.audio_id == "b")


async def test_stream_without_progress_fails(gateway: ScriptedGateway) -> None:
    """After the maximum number of attempts without progress the lost connection is raised."""
    for _ in range(3):
        gateway.queue("WatchStory", LOST)
    async with client_of(gateway.target, attempts=2, timeout=0.0) as client:
        with pytest.raises(TaleError) as caught:
            _ = [event async for event in client.watch(ID)]
    assert grpc.StatusCode.UNAVAILABLE == caught.value.code


async def test_lasting_loss_of_connection_is_logged(
    gateway: ScriptedGateway, client: AsyncTaleClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A first reconnect is not a warning; each further one without progress is."""
    gateway.queue("WatchStory", watched(text(0, "One. ")), RECONNECT)
    gateway.queue("WatchStory", LOST)
    gateway.queue("WatchStory", watched(done("One. ")))
    _ = [event async for event in client.watch(ID)]

    said = [record for record in caplog.records if record.name == "tale_client"]
    assert ["WARNING"] == [record.levelname for record in said if record.levelname != "INFO"]
    assert "Connection to the gateway lost. Connecting again" in said[-1].getMessage()


async def test_silent_stream_counts_as_lost(gateway: ScriptedGateway) -> None:
    """A connection without heartbeats is replaced."""
    gateway.queue("WatchStory", watched(text(0, "One. ")), Hold())
    gateway.answer("WatchStory", lambda _: [watched(done("One. Two."))])
    async with client_of(gateway.target, idle=0.2) as client:
        assert "One. Two." == "".join([event.text.delta async for event in client.watch(ID)])


async def test_closed_iterator_ends_the_call(gateway: ScriptedGateway, client: AsyncTaleClient) -> None:
    """Closing the iterator cancels the stream; no call follows."""
    hold = Hold()
    gateway.queue("WatchStory", watched(text(0, "One.")), hold)
    async with aclosing(client.watch(ID)) as events:
        await anext(events)
        await hold.reached.wait()
    assert 1 == len(gateway.calls)


async def test_audio_is_read_over_lost_connections(gateway: ScriptedGateway, client: AsyncTaleClient) -> None:
    """Every byte comes once, the checksum is correct, and the second call names the same audio."""
    gateway.queue("ReadStoryAudio", announced(SOUND), piece(0, SOUND[:100]), piece(100, SOUND[100:200]), LOST)
    gateway.queue("ReadStoryAudio", announced(SOUND), piece(200, SOUND[200:300]))
    gateway.queue("ReadStoryAudio", announced(SOUND), piece(300, SOUND[300:]))
    assert SOUND == b"".join([chunk async for chunk in client.read_audio(ID)])
    assert [("", 0), ("a", 200), ("a", 300)] == [
        (request.audio_id, request.offset)  # type: ignore[attr-defined]
        for request in gateway.requests("ReadStoryAudio")
    ]


@pytest.mark.parametrize("data", [SOUND[:-1] + b"?", SOUND + b"more"])
async def test_audio_with_a_wrong_size_or_checksum_is_an_error(
    gateway: ScriptedGateway, client: AsyncTaleClient, data: bytes, tmp_path: Path
) -> None:
    """Wrong or too many bytes: AUDIO_CORRUPT, and the file is unchanged."""
    place = tmp_path / "story.mp3"
    place.write_bytes(b"before")
    gateway.queue("ReadStoryAudio", announced(SOUND), piece(0, data))
    with pytest.raises(TaleError, match="AUDIO_CORRUPT"):
        await client.save_audio(ID, place)
    assert [place] == entries(tmp_path)
    assert b"before" == place.read_bytes()


async def test_audio_replaced_during_a_download_is_an_error(gateway: ScriptedGateway, client: AsyncTaleClient) -> None:
    """Parts of two narrations are never joined."""
    gateway.queue("ReadStoryAudio", announced(SOUND), piece(0, SOUND[:100]), LOST)
    gateway.queue("ReadStoryAudio", announced(b"other"))
    with pytest.raises(TaleError, match="AUDIO_CORRUPT"):
        _ = [chunk async for chunk in client.read_audio(ID)]


async def test_saved_audio_is_complete_or_absent(
    gateway: ScriptedGateway, client: AsyncTaleClient, tmp_path: Path
) -> None:
    """save_audio creates the folder, leaves only the file and returns the header."""
    gateway.queue("ReadStoryAudio", announced(SOUND), piece(0, SOUND))
    place = tmp_path / "new" / "story.mp3"
    assert audio_of(SOUND) == await client.save_audio(ID, place)
    assert SOUND == place.read_bytes()
    assert [place] == entries(place.parent)


async def test_connection_cut_anywhere_gives_the_same_story(gateway: ScriptedGateway) -> None:
    """TCP connections that are cut inside messages: text and audio arrive byte for byte."""
    content = "".join(f"Sentence number {n} über Eulen. " for n in range(400))
    data = SOUND * 20

    def rest(message: Message) -> list[gateway_pb2.StoryEvent]:
        text_from, audio_from = message.text_offset, message.audio_offset  # type: ignore[attr-defined]
        events = [header()]
        events += [text(at, content[at : at + 97]) for at in range(text_from, len(content), 97)]
        events += [sound(at, data[at : at + 8192]) for at in range(audio_from, len(data), 8192)]
        return [*events, done(content, data)]

    gateway.answer("TellStory", lambda request: [told(event) for event in rest(request)])
    gateway.answer("WatchStory", lambda request: [watched(event) for event in rest(request)])
    async with (
        cutting_proxy(gateway.target, [400, 3_000, 9_000, 20_001, 30_000, 65_537]) as proxy,
        client_of(proxy.target) as client,
    ):
        events = [event async for event in client.tell(SPEC, include_audio=True)]
        assert 0 == proxy.left
    assert content == "".join(event.text.delta for event in events)
    assert data == b"".join(event.audio.chunk for event in events)
