"""The record of a story says what was done: by its segments, its attempts, and the problems that stand."""

import asyncio
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from support.elevenlabs_fake import RACHEL, Fault
from support.house import House, house
from support.openrouter_fake import DONE, PROMPT_TOKENS, Answer, Call, Cut, Finish, Usage, Wait, error, pieces, stream
from support.openrouter_fake import story as whole
from support.paid_house import FALLBACK, MODEL, PaidHouse, paid_house
from support.story_models import TEXT, TITLE, WHOLE, goes_on

from gateway.runs.ledger import Ledger
from servicekit.ids import new_id
from standins.storage_kit import checkpoint, create_request, lease_request
from standins.watcher import Watcher, spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.storage.v1 import storage_pb2

READY, FAILED, CANCELLED = (
    common_pb2.STORY_STATE_READY,
    common_pb2.STORY_STATE_FAILED,
    common_pb2.STORY_STATE_CANCELLED,
)
HALF = f"{TITLE}\n\n{TEXT[: len(TEXT) // 2]}"


def responses(story: common_pb2.Story) -> list[dict[str, Any]]:
    """The completions of the calls to models."""
    return [MessageToDict(response) for response in story.full_response]


async def narrated_again(home: House, story_id: str, provider: str) -> common_pb2.Story:
    """The story once it is narrated by another provider."""
    voice = common_pb2.VoiceSelection(provider=provider)
    await home.stub.NarrateStory(gateway_pb2.NarrateStoryRequest(story_id=story_id, voice=voice), timeout=20)
    await home.watch(story_id)
    return await home.get(story_id)


async def test_record_names_the_fallback_voice_that_spoke_all_segments(tmp_path: Path) -> None:
    """ElevenLabs answers 500 to every call: header, `done` and record name the embedded voice."""
    async with paid_house(tmp_path, voice={"provider_fallback": ("offline",)}) as it:
        it.voice.always = Fault(status=500)
        it.writer.answer(whole(WHOLE))
        watcher = await it.home.tell(spec(1))
        story = await it.home.get(watcher.story_id)
    assert READY == story.state
    assert {"offline"} == {segment.provider for segment in story.audio.segments}
    assert "offline" == story.audio.provider
    assert story.audio.segments[0].voice_id == story.audio.voice_id
    assert story.audio.segments[0].model_id == story.audio.model_id
    assert RACHEL != story.audio.voice_id
    assert "voice" in story.embedded_parts
    assert watcher.done is not None
    assert "offline" == watcher.done.audio.provider
    assert "voice" in watcher.done.embedded_parts
    assert watcher.header is not None
    assert "offline" == watcher.header.provider
    assert story.audio.voice_id == watcher.header.voice_id
    assert watcher.header.embedded


async def test_record_of_a_mixed_narration_names_the_first_voice_and_the_embedded_part(tmp_path: Path) -> None:
    """ElevenLabs began and the embedded voice took over: the segments say which spoke what."""
    voice = {"provider_fallback": ("offline",), "segments_ahead": 0}
    async with paid_house(tmp_path, voice=voice) as it:
        held = asyncio.Event()
        it.writer.answer(stream(*pieces(HALF), Wait(held), Cut()))
        it.writer.default = goes_on
        watcher = Watcher()
        telling = watcher.tell(it.home.channel, spec(1))
        await watcher.until(lambda seen: len(seen.segments) >= 2)
        it.voice.fail("with-timestamps", Fault(status=401, code="quota_exceeded"))
        held.set()
        await telling
        story = await it.home.get(watcher.story_id)
    assert READY == story.state
    assert {"elevenlabs", "offline"} == {segment.provider for segment in story.audio.segments}
    assert "elevenlabs" == story.audio.segments[0].provider == story.audio.provider
    assert RACHEL == story.audio.voice_id
    assert "voice" in story.embedded_parts


async def test_embedded_voice_leaves_the_record_with_its_audio(tmp_path: Path) -> None:
    """Narrated again by another provider, the story says that one; and the other way round."""
    async with paid_house(tmp_path) as it:
        it.writer.answer(whole(WHOLE))
        wish = spec(1)
        wish.voice.provider = "offline"
        watcher = await it.home.tell(wish)
        before = await it.home.get(watcher.story_id)
        after = await narrated_again(it.home, watcher.story_id, "elevenlabs")
        again = await narrated_again(it.home, watcher.story_id, "offline")
    assert "offline" == before.audio.provider
    assert "voice" in before.embedded_parts
    assert "elevenlabs" == after.audio.provider
    assert "voice" not in after.embedded_parts
    assert "offline" == again.audio.provider
    assert "voice" in again.embedded_parts


async def test_record_names_the_embedded_writer_that_wrote_for_a_model(tmp_path: Path) -> None:
    """The model refused; `model_used` and `embedded_parts` say what wrote, and the fallback is one problem."""
    async with paid_house(tmp_path, story={"fallback_models": ("offline",)}) as it:
        it.writer.answer(error(400))
        watcher = await it.home.tell(spec(1, narrate=False))
        story = await it.home.get(watcher.story_id)
    assert READY == story.state
    assert "offline" == story.model_used
    assert "writer" in story.embedded_parts
    assert ["MODEL_FALLBACK"] == [problem.reason for problem in story.problems]


async def test_model_that_wrote_is_named_where_another_was_only_called(tmp_path: Path) -> None:
    """A story that fails is of the model whose text it has."""
    async with paid_house(tmp_path, story={"fallback_models": (FALLBACK,)}) as it:

        def refuses(call: Call) -> Answer:
            return error(400) if call.model == FALLBACK else error(402)

        it.writer.answer(stream(*pieces(HALF), Usage(0.25), Cut()))
        it.writer.default = refuses
        watcher = await it.home.tell(spec(1, narrate=False))
        story = await it.home.get(watcher.story_id)
    assert FAILED == story.state
    assert story.content
    assert MODEL == story.model_used


async def test_failed_story_carries_what_its_attempts_brought(tmp_path: Path) -> None:
    """Usage, completions and generation info of the call that was cut, as those of a story that is ready."""
    async with paid_house(tmp_path, story={"max_retries": 0}) as it:
        it.writer.answer(stream(*pieces(HALF), Usage(0.25), Cut()))
        it.writer.default = lambda _: error(400)
        watcher = await it.home.tell(spec(1, narrate=False))
        story = await it.home.get(watcher.story_id)
    assert FAILED == story.state
    assert 0.25 == story.usage.cost_usd
    assert PROMPT_TOKENS == story.usage.prompt_tokens
    assert "gen-1" == responses(story)[0]["id"]
    assert HALF.startswith(responses(story)[0]["choices"][0]["message"]["content"])
    assert "gen-1" in str(MessageToDict(story.generation_info))
    assert watcher.done is not None
    assert 0.25 == watcher.done.usage.cost_usd


async def in_its_second_call(it: PaidHouse) -> common_pb2.Story:
    """A story whose first call to a model reached its bound, and whose second one never ends."""
    cut = stream(*pieces(HALF), Finish("length"), Usage(0.25), DONE)
    it.writer.answer(cut, stream(Wait(asyncio.Event(), keep_alive=0.05)))
    story = await it.home.create(spec(1, narrate=False))
    async with asyncio.timeout(20):
        # That a call has begun is stored with the next checkpoint.
        while 2 > sum(line.kind == common_pb2.ATTEMPT_KIND_MODEL_CALL for line in story.attempts):
            await asyncio.sleep(0.02)
            story = await it.home.get(story.id)
    return story


async def test_what_a_call_brought_is_stored_while_the_next_one_is_under_way(tmp_path: Path) -> None:
    """So a gateway that is killed now loses nothing of it; and a story that is cancelled now has it."""
    async with paid_house(tmp_path) as it:
        story = await in_its_second_call(it)
        assert common_pb2.STORY_STATE_WRITING == story.state
        assert 0.25 == story.usage.cost_usd
        assert not story.usage.cost_known
        assert "gen-1" == responses(story)[0]["id"]

        cancelled = await it.home.cancel(story.id)
        story = await it.home.get(story.id)
    assert CANCELLED == cancelled.state == story.state
    assert 0.25 == cancelled.usage.cost_usd == story.usage.cost_usd
    assert not story.usage.cost_known
    assert MODEL == story.model_used
    assert "gen-1" == responses(story)[0]["id"]
    assert 2 == len([line for line in story.attempts if line.kind == common_pb2.ATTEMPT_KIND_MODEL_CALL])
    assert not [line for line in story.attempts if line.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED]


async def test_story_cancelled_in_its_first_call_names_that_call(tmp_path: Path) -> None:
    """The id of the generation, so that its cost can be looked up; the cost is not called known."""
    async with paid_house(tmp_path) as it:
        it.writer.answer(stream(*pieces(HALF), Wait(asyncio.Event(), keep_alive=0.05)))
        watcher = Watcher()
        telling = watcher.tell(it.home.channel, spec(1, narrate=False))
        await watcher.until(lambda seen: bool(seen.text))
        await it.home.cancel(watcher.story_id)
        await telling
        story = await it.home.get(watcher.story_id)
    assert CANCELLED == story.state
    (call,) = [line for line in story.attempts if line.kind == common_pb2.ATTEMPT_KIND_MODEL_CALL]
    assert common_pb2.ATTEMPT_OUTCOME_CANCELLED == call.outcome
    assert "gen-1" == call.metadata["generation_id"]
    assert "gen-1" == responses(story)[0]["id"]
    assert "gen-1" == story.generation_info["id"]
    assert story.HasField("usage")
    assert not story.usage.cost_known
    assert MODEL == story.model_used


async def test_story_cancelled_through_another_gateway_is_complete_as_well(tmp_path: Path) -> None:
    """Within a second: what its attempts cost, and none of them open."""
    async with paid_house(tmp_path) as it:
        story = await in_its_second_call(it)
        async with it.home.another_gateway() as other:
            cancelled = await other.cancel(story.id)
            await it.home.watch(story.id)
            story = await other.get(story.id)
    assert 0.25 == cancelled.usage.cost_usd == story.usage.cost_usd
    assert not story.usage.cost_known
    assert 1 <= len(story.full_response)
    assert not [line for line in story.attempts if line.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED]


async def test_same_model_fallback_in_several_attempts_is_one_problem(tmp_path: Path) -> None:
    """The stream of the story service breaks twice; each attempt reports the fallback again."""
    async with paid_house(tmp_path, story={"fallback_models": (FALLBACK,)}, cuts={"story": (4_000, 8_000)}) as it:
        it.writer.default = lambda call: error(400) if call.model == MODEL else goes_on(call)
        watcher = await it.home.tell(spec(1, narrate=False))
        story = await it.home.get(watcher.story_id)
    assert READY == story.state
    assert TEXT == story.content
    attempts = [line for line in story.attempts if line.kind == common_pb2.ATTEMPT_KIND_WRITING]
    assert len(attempts) > 1
    assert ["MODEL_FALLBACK"] == [problem.reason for problem in story.problems]
    assert 1 == len(watcher.warnings)


async def test_problem_of_a_narration_goes_when_a_later_one_succeeds(tmp_path: Path) -> None:
    """The attempts keep the history; a failed one after that shows again."""
    async with house(tmp_path) as home:
        wish = spec(1)
        wish.voice.provider, wish.voice.voice_id = "mock", "nobody"
        watcher = await home.tell(wish)
        failed = await home.get(watcher.story_id)
        after = await narrated_again(home, watcher.story_id, "mock")
        listed = await home.stub.GetStory(gateway_pb2.GetStoryRequest(story_id=watcher.story_id), timeout=10)
    assert common_pb2.STORY_STATE_READY_WITHOUT_AUDIO == failed.state
    assert ["VOICE_NOT_FOUND"] == [problem.reason for problem in failed.problems]
    assert READY == after.state
    assert not after.problems
    assert not listed.story.problems
    assert "VOICE_NOT_FOUND" in {line.reason for line in after.attempts}


async def test_problem_of_the_text_goes_when_a_retry_completes_it(tmp_path: Path) -> None:
    """What stopped it once does not stand any more."""
    async with paid_house(tmp_path) as it:
        it.writer.answer(error(400))
        watcher = await it.home.tell(spec(1, narrate=False))
        failed = await it.home.get(watcher.story_id)
        it.writer.answer(whole(WHOLE))
        await it.home.stub.RetryStory(gateway_pb2.RetryStoryRequest(story_id=failed.id), timeout=10)
        await it.home.watch(failed.id)
        story = await it.home.get(failed.id)
    assert FAILED == failed.state
    assert failed.problems
    assert READY == story.state
    assert not story.problems


async def test_cancelled_narration_can_be_cancelled_again(tmp_path: Path) -> None:
    """Both say READY; a story that was never narrated again cannot be cancelled."""
    async with house(tmp_path, realtime_factor=60) as home:
        watcher = await home.tell(spec(1))
        voice = common_pb2.VoiceSelection(provider="mock", settings=common_pb2.VoiceSettings(speed=1.5))
        again = gateway_pb2.NarrateStoryRequest(story_id=watcher.story_id, voice=voice)
        await home.stub.NarrateStory(again, timeout=10)
        first = await home.cancel(watcher.story_id)
        second = await home.cancel(watcher.story_id)
    assert READY == first.state == second.state
    assert first.revision == second.revision
    assert watcher.audio_id == second.audio.audio_id


async def test_story_cancelled_while_no_run_is_alive_is_complete_as_well(tmp_path: Path) -> None:
    """A run that was killed has stored with each attempt what all of them cost."""
    async with house(tmp_path, pickup_interval_seconds=3600) as home:
        record = (await home.storage.CreateStory(create_request(), timeout=10)).record
        ledger = Ledger()
        attempt = ledger.begin_attempt(common_pb2.ATTEMPT_KIND_WRITING, provider="story", model="m")
        for outcome in (common_pb2.ATTEMPT_OUTCOME_SUCCEEDED, common_pb2.ATTEMPT_OUTCOME_STARTED):
            ended = outcome == common_pb2.ATTEMPT_OUTCOME_SUCCEEDED
            call = common_pb2.Attempt(
                attempt_id=new_id(), kind=common_pb2.ATTEMPT_KIND_MODEL_CALL, outcome=outcome, cost_known=ended
            )
            call.cost_usd = 0.25 * ended
            call.response.update({"id": str(ended)})
            ledger.add(attempt, call)
        last = checkpoint(
            record.story.id, record.run.lease_token, title="T", text=(0, "Once."), state=common_pb2.STORY_STATE_WRITING
        )
        ledger.fill(last)
        request = storage_pb2.CheckpointStoriesRequest(lease_duration=lease_request().duration, checkpoints=[last])
        await home.storage.CheckpointStories(request, timeout=10)
        cancelled = await home.cancel(record.story.id)
        story = await home.get(record.story.id)
    assert CANCELLED == story.state
    assert 0.25 == cancelled.usage.cost_usd == story.usage.cost_usd
    assert not story.usage.cost_known
    assert ["True", "False"] == [response["id"] for response in responses(story)]
    assert 3 == len(story.attempts)
    assert not [line for line in story.attempts if line.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED]
