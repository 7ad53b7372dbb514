"""The cluster with keys set: what callers get, what is stored, and what is paid for."""

import asyncio
from hashlib import sha256
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format
from support.elevenlabs_fake import RACHEL, Fault
from support.openrouter_fake import (
    DONE,
    KEY,
    PROMPT_TOKENS,
    Answer,
    Call,
    Cut,
    Finish,
    Usage,
    Wait,
    error,
    pieces,
    stream,
)
from support.openrouter_fake import story as whole
from support.paid_house import FALLBACK, MODEL, PaidHouse, paid_house
from support.speech_fake import speech_fake
from support.story_models import TEXT, TITLE, WHOLE, goes_on

from servicekit.status import from_rpc_error
from standins.made_up import made_up_story
from standins.processes import free_ports
from standins.watcher import Watcher, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from voice_service.audio.mp3 import followed_by_silence, walk
from voice_service.narration.spoken_text import HEADING_PAUSE, PARAGRAPH_PAUSE

READY, TEXT_ONLY = common_pb2.STORY_STATE_READY, common_pb2.STORY_STATE_READY_WITHOUT_AUDIO
FAILED, CANCELLED = common_pb2.STORY_STATE_FAILED, common_pb2.STORY_STATE_CANCELLED
HALF = f"{TITLE}\n\n{TEXT[: len(TEXT) // 2]}"


def sound_of(house: PaidHouse, story: common_pb2.Story) -> bytes:
    """What ElevenLabs made of the story's segments, in their order; SHA-256, since a failure would print it all."""
    made = {}
    for call in house.voice.speeches:
        assert call.body is not None
        walked = walk(house.voice.sound(call.body, RACHEL))
        for pause in (0.0, HEADING_PAUSE, PARAGRAPH_PAUSE):
            sound = followed_by_silence(walked, pause).data
            made[sha256(sound).digest()] = sound
    return sha256(b"".join(made[segment.sha256] for segment in story.audio.segments)).digest()


def calls_of(story: common_pb2.Story, kind: "common_pb2.AttemptKind.ValueType") -> list[common_pb2.Attempt]:
    """The lines of the ledger of one kind."""
    return [attempt for attempt in story.attempts if attempt.kind == kind]


def characters(house: PaidHouse) -> int:
    """What ElevenLabs bills."""
    return sum(map(len, house.texts_spoken))


async def ended(house: PaidHouse, story_id: str) -> common_pb2.Story:
    """The story in full once it has ended."""
    await house.home.watch(story_id)
    return await house.home.get(story_id)


async def test_story_by_a_model_and_elevenlabs_has_all_facts(tmp_path: Path) -> None:
    """Text, audio, model, voice and cost are in the record; nothing of it is embedded."""
    async with paid_house(tmp_path) as house:
        house.writer.answer(whole(WHOLE))
        watcher = await house.home.tell(spec(1))
        story = await house.home.get(watcher.story_id)

        (call,) = house.writer.calls
        assert READY == story.state
        assert TITLE == story.title
        assert TEXT == story.content
        _, kept = await house.home.read_audio(story.id)
        assert sound_of(house, story) == watcher.audio_sha256 == sha256(kept).digest() == story.audio.sha256
        assert len(story.audio.segments) == len(house.voice.speeches)
        assert [] == [*story.problems, *watcher.warnings]
        assert not {"writer", "voice"} & set(story.embedded_parts)
        assert MODEL == story.model_used
        assert PROMPT_TOKENS == story.usage.prompt_tokens
        assert len(WHOLE.split()) == story.usage.completion_tokens
        assert call.total_cost == story.usage.cost_usd
        assert story.usage.cost_known
        info = json_format.MessageToDict(story.generation_info)
        assert "gen-1" == info["id"]
        assert call.total_cost == info["total_cost"]
        (response,) = map(json_format.MessageToDict, story.full_response)
        assert WHOLE == response["choices"][0]["message"]["content"]
        assert "elevenlabs" == story.audio.provider
        assert RACHEL == story.audio.voice_id
        assert "eleven_multilingual_v2" == story.audio.model_id
        assert {("elevenlabs", RACHEL)} == {(each.provider, each.voice_id) for each in story.audio.segments}
        assert all(segment.words for segment in story.audio.segments)
        spoken = calls_of(story, common_pb2.ATTEMPT_KIND_SPEECH_CALL)
        assert characters(house) == sum(attempt.characters for attempt in spoken)
        assert {f"req-{number}" for number in range(1, len(spoken) + 1)} == {
            attempt.metadata["request_id"] for attempt in spoken
        }


async def test_what_to_avoid_and_the_note_reach_the_model_and_not_the_record(tmp_path: Path) -> None:
    """Both are in its prompt as data; a word that it writes all the same is a problem of the record."""
    async with paid_house(tmp_path) as house:
        house.writer.answer(whole(WHOLE))
        asked = spec(1)
        asked.avoid.extend(["dragons", "a lantern"])
        asked.audience_note = "her dog died last week"
        watcher = await house.home.tell(asked)
        story = await house.home.get(watcher.story_id)

        (call,) = house.writer.calls
        prompt = call.body["messages"][-1]["content"]
        assert "<data>dragons</data>, <data>a lantern</data>" in prompt
        assert "<data>her dog died last week</data>" in prompt
        assert READY == story.state
        assert ["AVOID_NOT_MET"] == [problem.reason for problem in story.problems]
        assert "avoid[1] of" in story.problems[0].message
        assert "her dog died" not in str(story)


async def test_another_model_continues_a_cut_answer(tmp_path: Path) -> None:
    """What was shown and spoken stays; both calls are in the bill."""
    async with paid_house(tmp_path, story={"fallback_models": (FALLBACK,)}) as house:
        house.writer.answer(stream(*pieces(HALF), Cut()))
        house.writer.default = goes_on
        watcher = await house.home.tell(spec(1))
        story = await house.home.get(watcher.story_id)

        assert [MODEL, FALLBACK] == [call.model for call in house.writer.calls]
        assert READY == story.state
        assert TEXT == story.content
        assert FALLBACK == story.model_used
        assert 2 == len(story.full_response)
        assert story.usage.cost_known
        assert pytest.approx(house.writer.total_cost) == story.usage.cost_usd
        assert sound_of(house, story) == watcher.audio_sha256
        assert len(set(house.texts_spoken)) == len(house.texts_spoken)


async def test_fallback_voice_replaces_unreachable_elevenlabs(tmp_path: Path) -> None:
    """The one that is named for it, from the first segment on, and the record says so."""
    (port,) = free_ports(1)
    async with speech_fake() as server:
        voice = {
            "elevenlabs_base_url": f"http://127.0.0.1:{port}",
            "speech_base_url": server.url,
            "speech_model": "kokoro",
            "speech_voice": "af_heart",
            "provider_fallback": ("speech",),
        }
        async with paid_house(tmp_path, voice=voice) as house:
            house.writer.answer(whole(WHOLE))
            watcher = await house.home.tell(spec(1))
            story = await house.home.get(watcher.story_id)
        assert READY == story.state, story.problems
        assert {"speech"} == {segment.provider for segment in story.audio.segments}
        assert len(story.audio.segments) == len(server.speeches)
        assert not {"writer", "voice"} & set(story.embedded_parts)
        assert any("elevenlabs" in str(problem) for problem in story.problems)


async def test_fallback_voice_continues_from_the_failed_segment(tmp_path: Path) -> None:
    """From the segment that failed; those before stay as they were heard."""
    async with speech_fake() as server:
        voice = {
            "speech_base_url": server.url,
            "speech_model": "kokoro",
            "speech_voice": "af_heart",
            "provider_fallback": ("speech",),
            "segments_ahead": 0,
        }
        async with paid_house(tmp_path, voice=voice) as house:
            held = asyncio.Event()
            house.writer.answer(stream(*pieces(HALF), Wait(held), *pieces(WHOLE[len(HALF) :]), Finish(), Usage(), DONE))
            watcher = Watcher()
            telling = watcher.tell(house.home.channel, spec(1))
            await watcher.until(lambda seen: len(seen.segments) >= 2)
            heard = bytes(watcher.audio)
            house.voice.fail("with-timestamps", Fault(status=401, code="quota_exceeded"))
            held.set()
            await telling
            story = await house.home.get(watcher.story_id)
        assert READY == story.state, story.problems
        providers = [segment.provider for segment in story.audio.segments]
        assert sorted(providers) == providers
        assert {"elevenlabs", "speech"} == set(providers)
        assert sha256(heard).digest() == sha256(watcher.audio[: len(heard)]).digest()
        assert TEXT == story.content


@pytest.mark.long
async def test_embedded_voice_is_no_fallback_unless_named(tmp_path: Path) -> None:
    """A dead ElevenLabs alone leaves the text, never an embedded voice."""
    (port,) = free_ports(1)
    voice = {"elevenlabs_base_url": f"http://127.0.0.1:{port}", "breaker_seconds": 0.1}
    async with paid_house(tmp_path, voice=voice, provider_wait_seconds=0) as house:
        house.writer.answer(whole(WHOLE))
        watcher = await house.home.tell(spec(1))
        story = await house.home.get(watcher.story_id)
    assert TEXT_ONLY == story.state
    assert TEXT == story.content
    assert [] == [part for part in story.embedded_parts if part != "store"]
    assert "NarrateStory" in story.problems[-1].remedy


async def test_wrong_key_of_elevenlabs_leaves_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The problem names the key; with another key in the file, the same text is narrated."""
    monkeypatch.setattr("servicekit.secrets._LOOK_SECONDS", 0.0)
    file = tmp_path / "elevenlabs.key"
    file.write_text("sk_wrong")
    async with paid_house(tmp_path, voice={"elevenlabs_api_key": None, "elevenlabs_api_key_file": file}) as house:
        house.writer.answer(whole(WHOLE))
        watcher = await house.home.tell(spec(1))
        story = await house.home.get(watcher.story_id)
        assert TEXT_ONLY == story.state
        assert TEXT == story.content
        problem = story.problems[-1]
        assert problem.reason in {"UPSTREAM_AUTH", "INVALID_CONFIGURATION"}
        assert "ELEVENLABS_API_KEY" in f"{problem.message} {problem.remedy} {dict(problem.metadata)}"
        assert "sk_wrong" not in str(story)
        assert not {"writer", "voice"} & set(story.embedded_parts)

        file.write_text("sk_of_the_fake")
        await house.home.stub.NarrateStory(gateway_pb2.NarrateStoryRequest(story_id=story.id), timeout=10)
        again = await ended(house, story.id)
        assert READY == again.state, again.problems
        assert TEXT == again.content
        assert {"elevenlabs"} == {segment.provider for segment in again.audio.segments}
        assert 1 == len(house.writer.calls)


async def test_wrong_key_of_elevenlabs_is_no_reason_for_another_voice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor in the stories after the one that found it wrong: the embedded voice is named nowhere."""
    monkeypatch.setattr("voice_service.providers.registry._GOOD_SECONDS", 0.0)
    async with paid_house(tmp_path, voice={"elevenlabs_api_key": "sk_wrong"}) as house:
        for number in (1, 2):
            house.writer.answer(whole(WHOLE))
            watcher = await house.home.tell(spec(number))
            story = await house.home.get(watcher.story_id)
            assert TEXT_ONLY == story.state
            assert TEXT == story.content
            assert not {"writer", "voice"} & set(story.embedded_parts)
            problem = story.problems[-1]
            assert problem.reason in {"UPSTREAM_AUTH", "INVALID_CONFIGURATION"}
            assert "ELEVENLABS_API_KEY" in f"{problem.message} {problem.remedy} {dict(problem.metadata)}"


async def test_calls_beside_a_refused_segment_are_in_the_ledger(tmp_path: Path) -> None:
    """Segments are made ahead: the second is refused, the others are billed, stored, and not made again."""
    async with paid_house(tmp_path) as house:
        # So that nothing but speech is asked for from here on.
        house.writer.answer(whole(made_up_story(1, 150).answer()))
        await house.home.tell(spec(1))
        before = len(house.voice.speeches)

        refusal = Fault(status=403, code="missing_permissions")
        house.voice.answers = lambda _: refusal if len(house.voice.speeches) == before + 2 else None
        house.writer.answer(whole(WHOLE))
        watcher = await house.home.tell(spec(2))
        story = await house.home.get(watcher.story_id)
        assert TEXT_ONLY == story.state
        sent = house.texts_spoken[before:]
        assert sum(map(len, sent)) == sum(
            attempt.characters for attempt in calls_of(story, common_pb2.ATTEMPT_KIND_SPEECH_CALL)
        )

        await house.home.stub.NarrateStory(gateway_pb2.NarrateStoryRequest(story_id=story.id), timeout=10)
        again = await ended(house, story.id)
        assert READY == again.state, again.problems
        spoken = calls_of(again, common_pb2.ATTEMPT_KIND_SPEECH_CALL)
        assert len(house.voice.speeches) - before == len(spoken) == len(again.audio.segments) + 1
        assert ["AUTH"] == [attempt.reason for attempt in spoken if attempt.reason]


async def test_wrong_key_of_openrouter_fails_the_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The problem names the key, no other model is called; with another key in the file, the same story is written."""
    monkeypatch.setattr("servicekit.secrets._LOOK_SECONDS", 0.0)
    file = tmp_path / "openrouter.key"
    file.write_text("sk-or-v1-wrong")
    story_settings = {
        "openrouter_api_key": None,
        "openrouter_api_key_file": file,
        "fallback_models": (FALLBACK,),
    }

    def answer(call: Call) -> Answer:
        return whole(WHOLE) if f"Bearer {KEY}" == call.headers["Authorization"] else error(401)

    async with paid_house(tmp_path, story=story_settings) as house:
        house.writer.default = answer
        watcher = await house.home.tell(spec(1))
        story = await house.home.get(watcher.story_id)
        assert FAILED == story.state
        assert "" == story.content
        problem = story.problems[-1]
        assert "UPSTREAM_AUTH" == problem.reason
        assert "OPENROUTER_API_KEY" in f"{problem.message} {problem.remedy} {dict(problem.metadata)}"
        assert "sk-or-v1-wrong" not in str(story)
        assert [MODEL] == [call.model for call in house.writer.calls]
        assert [] == house.texts_spoken

        file.write_text(KEY)
        await house.home.stub.RetryStory(gateway_pb2.RetryStoryRequest(story_id=story.id), timeout=10)
        again = await ended(house, story.id)
        assert READY == again.state
        assert TEXT == again.content
        assert MODEL == again.model_used


async def test_story_above_its_cost_limit_makes_no_call(tmp_path: Path) -> None:
    """By the prices that are known; with room enough it is written."""
    async with paid_house(tmp_path, story={"model": "openai/gpt-4o-mini"}) as house:
        house.writer.answer(whole(WHOLE))
        wish = spec(1)
        wish.max_cost_usd = 0.00001
        watcher = await house.home.tell(wish)
        assert watcher.done is not None
        assert FAILED == watcher.done.state
        assert "COST_LIMIT" == watcher.done.problems[-1].reason
        assert "max_cost_usd" in watcher.done.problems[-1].remedy
        assert [] == [*house.writer.calls, *house.texts_spoken]

        wish.max_cost_usd = 0.1
        watcher = await house.home.tell(wish)
        assert watcher.done is not None
        assert READY == watcher.done.state, watcher.done.problems
        assert 1 == len(house.writer.calls)


async def test_cost_of_a_cut_answer_counts_towards_the_limit(tmp_path: Path) -> None:
    """The next attempt, which could exceed it, makes no call; the text so far stays."""
    async with paid_house(tmp_path, story={"model": "openai/gpt-4o-mini"}) as house:
        house.writer.answer(stream(*pieces(HALF), Usage(0.0999), Cut()))
        wish = spec(1)
        wish.max_cost_usd = 0.1
        watcher = await house.home.tell(wish)
        story = await house.home.get(watcher.story_id)
        assert FAILED == story.state
        assert "COST_LIMIT" == story.problems[-1].reason
        assert story.content
        assert TEXT.startswith(story.content)
        assert 1 == len(house.writer.calls)
        (call,) = calls_of(story, common_pb2.ATTEMPT_KIND_MODEL_CALL)
        assert call.cost_known
        assert pytest.approx(0.0999) == call.cost_usd == story.usage.cost_usd
        assert story.usage.cost_known


async def test_request_id_bills_once(tmp_path: Path) -> None:
    """Requested three times, at once and later: one story, one text, each segment once."""
    async with paid_house(tmp_path) as house:
        house.writer.answer(whole(WHOLE))
        told = await asyncio.gather(*(house.home.tell(spec(1), "bedtime-1") for _ in range(2)))
        told.append(await house.home.tell(spec(1), "bedtime-1"))

        assert 1 == len({watcher.story_id for watcher in told})
        assert 1 == len({watcher.audio_sha256 for watcher in told})
        assert [TEXT] * 3 == [watcher.text for watcher in told]
        assert 1 == len(house.writer.calls)
        assert len(told[0].segments) == len(house.texts_spoken) == len(set(house.texts_spoken))

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await house.home.create(spec(2), "bedtime-1")
        assert "REQUEST_ID_REUSED" == from_rpc_error(caught.value).reason
        assert 1 == len(house.writer.calls)


async def test_cancelled_story_makes_no_further_calls(tmp_path: Path) -> None:
    """The stream of the model is left at once, and no further segment is made."""
    async with paid_house(tmp_path) as house:
        never = asyncio.Event()
        house.writer.answer(stream(*pieces(HALF), Wait(never, keep_alive=0.05)))
        watcher = Watcher()
        telling = watcher.tell(house.home.channel, spec(1))
        await watcher.until(lambda seen: len(seen.segments) >= 2)
        await house.home.stub.CancelStory(gateway_pb2.CancelStoryRequest(story_id=watcher.story_id), timeout=10)
        await telling
        spoken = len(house.voice.speeches)
        assert watcher.done is not None
        assert CANCELLED == watcher.done.state
        async with asyncio.timeout(10):
            await house.writer.calls[0].ended.wait()
        assert house.writer.calls[0].left
        story = await house.home.get(watcher.story_id)
        assert [] == [line for line in story.attempts if line.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED]
        # What the answer that was left cost is not known, and the story says so.
        assert story.HasField("usage")
        assert not story.usage.cost_known

        # Another story passes through all that the cancelled one could still be in.
        other = made_up_story(2, 150)
        house.writer.answer(whole(other.answer()))
        told = await house.home.tell(spec(2))
        assert told.done is not None
        assert READY == told.done.state
        assert other.text == told.text
        assert 2 == len(house.writer.calls)
        assert len(told.segments) == len(house.voice.speeches) - spoken


async def test_segments_in_flight_at_a_cancellation_are_stored(tmp_path: Path) -> None:
    """What was sent is billed, so it ends in the cache; nothing else is sent."""
    async with paid_house(tmp_path, voice={"segments_ahead": 1}) as house:
        # So that nothing but speech is asked for from here on.
        house.writer.answer(whole(made_up_story(1, 150).answer()))
        await house.home.tell(spec(1))
        before = len(house.voice.speeches)

        house.voice.hold = hold = asyncio.Event()
        house.voice.called.clear()
        house.writer.answer(whole(WHOLE))
        watcher = Watcher()
        telling = watcher.tell(house.home.channel, spec(2))
        async with asyncio.timeout(20):
            await house.voice.called.wait()
        await watcher.until(lambda seen: seen.text == TEXT)
        await house.home.stub.CancelStory(gateway_pb2.CancelStoryRequest(story_id=watcher.story_id), timeout=10)
        await telling
        assert watcher.done is not None
        assert CANCELLED == watcher.done.state
        sent = house.texts_spoken[before:]
        hold.set()
        house.voice.hold = None

        house.writer.answer(whole(WHOLE))
        again = await house.home.tell(spec(3))
        assert again.done is not None
        assert READY == again.done.state
        assert 1 <= len(sent) <= 2
        spoken = house.texts_spoken[before:]
        assert len(again.segments) == len(spoken) == len(set(spoken))
