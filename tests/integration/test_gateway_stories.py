"""Stories from a whole cluster: made once, stored, and streamed."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from support.house import House, house

from servicekit.ids import new_id
from servicekit.status import from_rpc_error
from standins.storage_kit import checkpoint, create_request, lease_request
from standins.watcher import Watcher, spec
from storage_service.audio.finishing import true_sizes
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.storage.v1 import storage_pb2
from tale.voice.v1 import voice_pb2, voice_pb2_grpc

READY = common_pb2.STORY_STATE_READY


@pytest_asyncio.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A cluster whose writer takes about half a second for a minute of story."""
    async with house(tmp_path_factory.mktemp("home"), words_per_second=400) as it:
        yield it


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    """Code and reason of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), from_rpc_error(caught.value).reason


async def test_audio_arrives_while_the_story_is_written(tmp_path: Path) -> None:
    """The title is heard when nearly all of a story that takes ten minutes to write is still to come."""
    async with house(tmp_path, words_per_second=1) as home:
        watcher = Watcher()
        telling = watcher.tell(home.channel, spec(1, minutes=4))
        await watcher.until(lambda seen: bool(seen.audio))
        assert common_pb2.STORY_STATE_WRITING == watcher.states[-1]
        await home.stub.CancelStory(gateway_pb2.CancelStoryRequest(story_id=watcher.story_id), timeout=10)
        await telling


async def test_story_is_stored_as_it_was_streamed(home: House) -> None:
    """What was streamed is what is stored."""
    watcher = await home.tell(spec(1))
    assert watcher.done is not None
    assert READY == watcher.done.state
    kept = await home.get(watcher.story_id)
    assert kept.title == watcher.title
    assert kept.content == watcher.text
    assert watcher.audio_sha256 == kept.audio.sha256
    header, data = await home.read_audio(watcher.story_id)
    assert bytes(watcher.audio) == data
    assert len(data) == header.size_bytes
    assert "audio/mpeg" == header.content_type
    assert ["store", "writer"] == list(kept.embedded_parts)


@pytest.mark.parametrize(
    ("audio_format", "content_type", "begins"),
    [(common_pb2.AUDIO_FORMAT_WAV, "audio/wav", b"RIFF"), (common_pb2.AUDIO_FORMAT_OGG_OPUS, "audio/ogg", b"OggS")],
)
async def test_audio_has_the_requested_format(
    home: House, audio_format: common_pb2.AudioFormat.ValueType, content_type: str, begins: bytes
) -> None:
    """From the first byte to the stored file."""
    wish = spec(3, minutes=1)
    wish.voice.audio_format = audio_format
    watcher = await home.tell(wish)
    assert watcher.done is not None
    assert READY == watcher.done.state
    header, data = await home.read_audio(watcher.story_id)
    assert true_sizes(bytes(watcher.audio), len(data)) == data
    assert hashlib.sha256(data).digest() == header.sha256
    assert audio_format == header.audio_format
    assert content_type == header.content_type.partition(";")[0]
    assert data.startswith(begins)


async def test_segments_tile_text_and_audio(home: House) -> None:
    """The title is a segment with an empty span; every byte and every character belongs to one segment."""
    watcher = await home.tell(spec(2))
    story = await home.get(watcher.story_id)
    spans = [(segment.text.start, segment.text.end) for segment in story.audio.segments]
    bytes_ = [(segment.audio.start, segment.audio.end) for segment in story.audio.segments]
    assert (0, 0) == spans[0]
    assert [0, *(end for _, end in spans)] == [*(start for start, _ in spans), len(story.content)]
    assert [0, *(end for _, end in bytes_)] == [*(start for start, _ in bytes_), story.audio.size_bytes]
    assert [segment.sha256 for segment in watcher.segments] == [segment.sha256 for segment in story.audio.segments]
    assert all(
        segment.sha256 == hashlib.sha256(watcher.audio[segment.audio.start : segment.audio.end]).digest()
        for segment in story.audio.segments
    )
    assert all(segment.words for segment in story.audio.segments)


async def test_only_the_full_view_has_ledger_and_segments(home: House) -> None:
    """Ledger and segments are in the full view alone."""
    watcher = await home.tell(spec(3))
    full = await home.get(watcher.story_id)
    answer = await home.stub.GetStory(gateway_pb2.GetStoryRequest(story_id=watcher.story_id), timeout=10)
    assert not answer.story.attempts
    assert not answer.story.audio.segments
    assert watcher.done == answer.story
    kinds = {attempt.kind for attempt in full.attempts}
    assert {
        common_pb2.ATTEMPT_KIND_WRITING,
        common_pb2.ATTEMPT_KIND_MODEL_CALL,
        common_pb2.ATTEMPT_KIND_NARRATION,
        common_pb2.ATTEMPT_KIND_SPEECH_CALL,
    } == kinds
    assert {common_pb2.ATTEMPT_OUTCOME_SUCCEEDED} == {attempt.outcome for attempt in full.attempts}
    assert common_pb2.Usage(cost_known=True) == common_pb2.Usage(
        cost_usd=full.usage.cost_usd, cost_known=full.usage.cost_known
    )
    assert 1 == len(full.full_response)


async def test_full_view_stays_below_a_mebibyte(home: House) -> None:
    """Raw responses that are too large are left out of the answer, which says so."""
    record = (await home.storage.CreateStory(create_request(), timeout=10)).record
    generation = storage_pb2.GenerationRecord(model_used="offline")
    for _ in range(2):
        generation.full_response.add().update({"text": "x" * 700_000})
    end = checkpoint(
        record.story.id,
        record.run.lease_token,
        text=(0, "Once."),
        content_complete=True,
        state=common_pb2.STORY_STATE_READY_WITHOUT_AUDIO,
        generation=generation,
    )
    request = storage_pb2.CheckpointStoriesRequest(lease_duration=lease_request().duration, checkpoints=[end])
    await home.storage.CheckpointStories(request, timeout=10)
    story = await home.get(record.story.id)
    assert ["RESPONSE_TRUNCATED"] == [problem.reason for problem in story.problems]
    assert 0 == len(story.full_response)
    assert "Once." == story.content
    assert 1 << 20 > story.ByteSize()
    basic = await home.stub.GetStory(gateway_pb2.GetStoryRequest(story_id=record.story.id), timeout=10)
    assert not basic.story.problems


async def test_story_without_narration_is_ready_without_audio(home: House) -> None:
    """READY, no audio, and no voice was called."""
    before = home.journal.calls
    watcher = await home.tell(spec(4, narrate=False))
    assert watcher.done is not None
    assert READY == watcher.done.state
    assert not watcher.done.HasField("audio")
    assert before == home.journal.calls
    assert (grpc.StatusCode.NOT_FOUND, "AUDIO_NOT_FOUND") == await refused(home.read_audio(watcher.story_id))


async def test_same_request_id_is_the_same_story(home: House) -> None:
    """However often, at the same time or later, by CreateStory or TellStory: it is made and paid once."""
    wish, request_id = spec(5), new_id()
    many = await asyncio.gather(*(home.create(wish, request_id) for _ in range(5)))
    watcher = await home.tell(wish, request_id)
    calls = home.journal.calls
    again = await home.tell(wish, request_id)
    assert {watcher.story_id} == {story.id for story in many}
    assert watcher.story_id == again.story_id
    assert watcher.audio == again.audio
    assert calls == home.journal.calls


async def test_request_id_cannot_be_used_for_another_spec(home: House) -> None:
    """ALREADY_EXISTS, and after a deletion NOT_FOUND: a tombstone stays."""
    request_id = new_id()
    story = await home.create(spec(6, narrate=False), request_id)
    reused = home.create(spec(7, narrate=False), request_id)
    assert (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED") == await refused(reused)
    await home.stub.DeleteStory(gateway_pb2.DeleteStoryRequest(story_id=story.id), timeout=10)
    repeated = home.create(spec(6, narrate=False), request_id)
    assert (grpc.StatusCode.NOT_FOUND, "STORY_DELETED") == await refused(repeated)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
async def test_stored_story_is_streamed_from_any_offset(home: House, share: float) -> None:
    """The rest of the text and of the audio, byte for byte."""
    whole = await home.tell(spec(8))
    part = Watcher(
        story_id=whole.story_id,
        text=whole.text[: int(len(whole.text) * share)],
        audio_id=whole.audio_id,
        audio=bytearray(whole.audio[: int(len(whole.audio) * share)]),
    )
    # The watcher checks offsets, so the segments that it had count as seen.
    part.segments = [segment for segment in whole.segments if segment.audio.end <= len(part.audio)]
    await part.watch(home.channel)
    assert part.error is None
    assert whole.text == part.text
    assert whole.audio == part.audio
    assert whole.segments == part.segments


async def test_offset_beyond_the_end_is_refused(home: House) -> None:
    """It names the field."""
    whole = await home.tell(spec(8))
    request = gateway_pb2.WatchStoryRequest(story_id=whole.story_id, text_offset=len(whole.text) + 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [response async for response in home.stub.WatchStory(request, timeout=10)]
    assert ["text_offset"] == [violation.field for violation in from_rpc_error(caught.value).violations]


async def test_run_continues_when_its_caller_leaves(home: House) -> None:
    """The run outlives the call."""
    watcher = Watcher()
    telling = watcher.tell(home.channel, spec(9))
    await watcher.until(lambda seen: bool(seen.text))
    telling.cancel()
    await asyncio.wait([telling])
    later = await home.watch(watcher.story_id)
    assert later.done is not None
    assert READY == later.done.state
    assert later.text.startswith(watcher.text)


async def test_all_watchers_of_a_story_get_the_same(home: House) -> None:
    """All of them see the same."""
    story = await home.create(spec(10))
    seen = await asyncio.gather(*(home.watch(story.id) for _ in range(5)))
    assert 1 == len({(watcher.text, bytes(watcher.audio)) for watcher in seen})


async def test_cancelled_story_stops_and_retains_its_text(home: House) -> None:
    """Its watchers see the end; a second cancel has no effect; an ended story cannot be cancelled."""
    watcher = Watcher()
    telling = watcher.tell(home.channel, spec(11, minutes=10))
    await watcher.until(lambda seen: bool(seen.text and seen.audio))
    request = gateway_pb2.CancelStoryRequest(story_id=watcher.story_id)
    answer = await home.stub.CancelStory(request, timeout=10)
    await telling
    assert common_pb2.STORY_STATE_CANCELLED == answer.story.state
    assert watcher.done is not None
    assert common_pb2.STORY_STATE_CANCELLED == watcher.done.state
    assert watcher.text == watcher.done.content
    calls = home.journal.calls
    again = await home.stub.CancelStory(request, timeout=10)
    assert answer.story.revision == again.story.revision
    attempts = [line for line in (await home.get(watcher.story_id)).attempts if line.kind in {1, 2}]
    assert {common_pb2.ATTEMPT_OUTCOME_CANCELLED} == {line.outcome for line in attempts}
    ended = await home.tell(spec(12, narrate=False))
    late = home.stub.CancelStory(gateway_pb2.CancelStoryRequest(story_id=ended.story_id), timeout=10)
    assert (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE") == await refused(late)
    assert calls == home.journal.calls


async def test_unsupported_language_fails_the_story_with_a_problem(home: House) -> None:
    """The call succeeds, the story does not, and its problem says what can be written."""
    wish = spec(13)
    wish.language_code = "de"
    watcher = await home.tell(wish)
    assert watcher.done is not None
    assert common_pb2.STORY_STATE_FAILED == watcher.done.state
    assert ["LANGUAGE_UNSUPPORTED"] == [problem.reason for problem in watcher.done.problems]
    assert "en" in watcher.done.problems[0].message
    assert watcher.done.problems[0].remedy
    retried = await home.stub.RetryStory(gateway_pb2.RetryStoryRequest(story_id=watcher.story_id), timeout=10)
    assert retried.story.state in {common_pb2.STORY_STATE_PENDING, common_pb2.STORY_STATE_WRITING}
    again = await home.watch(watcher.story_id)
    assert again.done is not None
    assert common_pb2.STORY_STATE_FAILED == again.done.state


@pytest.mark.parametrize(
    ("language", "provider", "reason"), [("ja", "", "LANGUAGE_UNSUPPORTED"), ("en", "nope", "PROVIDER_NOT_FOUND")]
)
async def test_what_cannot_be_narrated_is_refused_at_the_call(
    home: House, language: str, provider: str, reason: str
) -> None:
    """Before a model is called or anything is stored; a story without narration is not held up."""
    wish, request_id = spec(13), new_id()
    wish.language_code, wish.voice.provider = language, provider
    create = gateway_pb2.CreateStoryRequest(spec=wish, request_id=request_id)
    assert reason == (await refused(home.stub.CreateStory(create, timeout=10)))[1]
    tell = gateway_pb2.TellStoryRequest(spec=wish, request_id=request_id)
    assert reason == (await refused(anext(aiter(home.stub.TellStory(tell, timeout=10)))))[1]
    create.spec.narrate = False
    assert not (await home.stub.CreateStory(create, timeout=10)).story.narrate


async def test_narrating_again_is_refused_at_the_call_where_it_cannot_be(home: House) -> None:
    """The story stays as it is."""
    told = await home.tell(spec(14))
    again = gateway_pb2.NarrateStoryRequest(
        story_id=told.story_id, request_id=new_id(), voice=common_pb2.VoiceSelection(provider="nope")
    )
    calls = home.journal.calls
    assert (grpc.StatusCode.NOT_FOUND, "PROVIDER_NOT_FOUND") == await refused(home.stub.NarrateStory(again, timeout=10))
    assert READY == (await home.get(told.story_id)).state
    assert calls == home.journal.calls


async def test_only_failed_story_can_be_retried(home: House) -> None:
    """WRONG_STATE otherwise."""
    watcher = await home.tell(spec(14, narrate=False))
    call = home.stub.RetryStory(gateway_pb2.RetryStoryRequest(story_id=watcher.story_id), timeout=10)
    assert (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE") == await refused(call)


async def test_rating_is_stored_and_a_stale_revision_refused(home: House) -> None:
    """By revision."""
    watcher = await home.tell(spec(15, narrate=False))
    assert watcher.done is not None
    rate = gateway_pb2.RateStoryRequest(story_id=watcher.story_id, rating=9, expected_revision=watcher.done.revision)
    answer = await home.stub.RateStory(rate, timeout=10)
    assert 9 == answer.story.rating
    assert watcher.done.revision + 1 == answer.story.revision
    assert (grpc.StatusCode.ABORTED, "REVISION_MISMATCH") == await refused(home.stub.RateStory(rate, timeout=10))


async def test_deleted_story_is_gone_with_its_audio(tmp_path: Path) -> None:
    """And with its segments: another story with the same text makes them again."""
    async with house(tmp_path) as home:
        watcher = await home.tell(spec(16))
        await home.stub.DeleteStory(gateway_pb2.DeleteStoryRequest(story_id=watcher.story_id), timeout=10)
        for call in (home.get(watcher.story_id), home.read_audio(watcher.story_id), home.watch(watcher.story_id)):
            assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == await refused(call)
        calls = home.journal.calls
        again = await home.tell(spec(16))
    assert watcher.text == again.text
    assert watcher.audio == again.audio
    assert len(again.segments) == home.journal.calls - calls


async def test_deleting_a_running_story_stops_it(home: House) -> None:
    """Its watcher learns that it is gone."""
    watcher = Watcher()
    telling = watcher.tell(home.channel, spec(17, minutes=10))
    await watcher.until(lambda seen: bool(seen.text))
    await home.stub.DeleteStory(gateway_pb2.DeleteStoryRequest(story_id=watcher.story_id), timeout=10)
    await telling
    assert watcher.error is not None
    assert "STORY_NOT_FOUND" == from_rpc_error(watcher.error).reason


async def test_second_narration_in_the_same_voice_makes_no_calls(home: House) -> None:
    """NarrateStory in the same voice gives the same bytes without a call; a new audio id all the same."""
    watcher = await home.tell(spec(18))
    calls = home.journal.calls
    request = gateway_pb2.NarrateStoryRequest(story_id=watcher.story_id, request_id=new_id())
    answer = await home.stub.NarrateStory(request, timeout=10)
    assert common_pb2.STORY_STATE_NARRATING == answer.story.state
    again = await home.watch(watcher.story_id)
    assert calls == home.journal.calls
    assert watcher.audio == again.audio
    assert watcher.audio_id != again.audio_id
    repeated = await home.stub.NarrateStory(request, timeout=10)
    assert READY == repeated.story.state
    assert again.audio_id == repeated.story.audio.audio_id


async def test_another_voice_replaces_the_audio(home: House) -> None:
    """The old audio stays until the new one is stored."""
    watcher = await home.tell(spec(19))
    voice = common_pb2.VoiceSelection(provider="mock", settings=common_pb2.VoiceSettings(speed=1.5))
    request = gateway_pb2.NarrateStoryRequest(story_id=watcher.story_id, voice=voice)
    answer = await home.stub.NarrateStory(request, timeout=10)
    assert watcher.audio_id == answer.story.audio.audio_id
    again = await home.watch(watcher.story_id)
    assert again.done is not None
    assert READY == again.done.state
    assert len(watcher.audio) > len(again.audio)
    assert bytes(again.audio) == (await home.read_audio(watcher.story_id))[1]


async def test_failed_narration_leaves_the_old_audio(home: House) -> None:
    """The story stays READY with what it had, and the problem says why the new narration came to nothing."""
    watcher = await home.tell(spec(22))
    voice = common_pb2.VoiceSelection(provider="mock", voice_id="nobody")
    request = gateway_pb2.NarrateStoryRequest(story_id=watcher.story_id, voice=voice)
    await home.stub.NarrateStory(request, timeout=10)
    again = await home.watch(watcher.story_id)
    assert again.done is not None
    assert READY == again.done.state
    assert watcher.audio_id == again.done.audio.audio_id
    assert ["VOICE_NOT_FOUND"] == [problem.reason for problem in again.done.problems]
    assert watcher.audio == again.audio


async def test_cancelled_narration_leaves_the_old_audio(tmp_path: Path) -> None:
    """The story goes back to READY with its old audio; it is no dead end."""
    async with house(tmp_path, realtime_factor=60) as home:
        watcher = await home.tell(spec(23))
        voice = common_pb2.VoiceSelection(provider="mock", settings=common_pb2.VoiceSettings(speed=1.5))
        again = gateway_pb2.NarrateStoryRequest(story_id=watcher.story_id, voice=voice)
        await home.stub.NarrateStory(again, timeout=10)
        answer = await home.stub.CancelStory(gateway_pb2.CancelStoryRequest(story_id=watcher.story_id), timeout=10)
        assert READY == answer.story.state
        assert watcher.audio_id == answer.story.audio.audio_id
        assert bytes(watcher.audio) == (await home.read_audio(watcher.story_id))[1]
        await home.stub.NarrateStory(again, timeout=10)


async def test_stories_are_listed_newest_first_in_pages(home: House) -> None:
    """Each once, by the token of the page before."""
    wish = spec(20, narrate=False)
    wish.child.name = "Lister"
    for _ in range(5):
        await home.create(wish)
    wanted = common_pb2.StoryFilter(child_name="Lister")
    seen: list[str] = []
    token = ""
    while True:
        request = gateway_pb2.ListStoriesRequest(filter=wanted, page_size=2, page_token=token)
        page = await home.stub.ListStories(request, timeout=10)
        seen += [story.id for story in page.stories]
        token = page.next_page_token
        if not token:
            break
    assert 5 == len(set(seen)) == len(seen)
    assert sorted(seen, reverse=True) == seen


async def test_status_names_every_service_and_what_is_embedded(home: House) -> None:
    """With the variables that bring the real ones."""
    status = await home.stub.GetSystemStatus(gateway_pb2.GetSystemStatusRequest(), timeout=10)
    assert status.healthy
    assert ["gateway", "story", "voice", "storage"] == [service.service for service in status.services]
    variables = {part.part: list(part.environment_variables) for part in status.embedded_parts}
    assert ["OPENROUTER_API_KEY", "CHAT_BASE_URL"] == variables["writer"]
    assert "STORAGE_BACKEND" in variables["store"][0]


async def test_catalogues_are_served_at_the_gateway_and_nothing_else(home: House) -> None:
    """Forwarded with their errors; the internal RPCs of peer services are not offered."""
    voice: Any = voice_pb2_grpc.VoiceServiceStub(home.channel)
    providers = await voice.ListProviders(voice_pb2.ListProvidersRequest(), timeout=10)
    assert "mock" in {provider.provider_name for provider in providers.providers}
    bad = voice.ListVoices(voice_pb2.ListVoicesRequest(page_size=-1), timeout=10)
    assert (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED") == await refused(bad)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await voice.SynthesizeSpeech(iter(()), timeout=10).read()
    assert grpc.StatusCode.UNIMPLEMENTED is caught.value.code()


async def test_owner_metadata_of_a_caller_is_ignored(home: House, tmp_path: Path) -> None:
    """Only the gateway sets the owner; metadata of the caller has no effect."""
    del tmp_path
    story = await home.create(spec(21, narrate=False))
    request = gateway_pb2.GetStoryRequest(story_id=story.id)
    answer = await home.stub.GetStory(request, timeout=10, metadata=(("x-tale-owner", "mallory"),))
    assert story.id == answer.story.id
