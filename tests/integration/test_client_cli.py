"""The `tale` command as a process, against a scripted gateway."""

import asyncio
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from support.scripted_gateway import Failure, Hold, ScriptedGateway, scripted_gateway
from support.tale_command import SECONDS, environment, start
from support.tale_command import tale as run

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2

ID = "0197a5a0-0000-7000-8000-000000000001"
OTHER_ID = "0197a5a0-0000-7000-8000-000000000002"
TITLE = "The Owl & the Moon"
CONTENT = "Once there was an owl who did not like the dark.\n\nThen the moon came up."
SOUND = bytes(range(256)) * 10


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as scripted:
        yield scripted


async def tale(gateway: ScriptedGateway, folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    return await run(gateway.target, folder, *arguments)


def story_of(
    state: common_pb2.StoryState.ValueType = common_pb2.STORY_STATE_READY,
    sound: bytes | None = SOUND,
    **fields: object,
) -> common_pb2.Story:
    story = common_pb2.Story(
        id=ID,
        state=state,
        title=TITLE,
        content=CONTENT,
        child=common_pb2.Child(name="Mia", age=6),
        language_code="en",
        length_minutes=1,
        model_used="offline",
        embedded_parts=["writer", "voice"],
        **fields,  # type: ignore[arg-type]
    )
    if sound is not None:
        story.audio.audio_id = "a"
        story.audio.content_type = "audio/mpeg"
        story.audio.size_bytes = len(sound)
        story.audio.sha256 = hashlib.sha256(sound).digest()
        story.audio.duration.FromSeconds(67)
    return story


def events_of(story: common_pb2.Story, sound: bytes = b"") -> list[gateway_pb2.StoryEvent]:
    """Returns the events of a story from its beginning."""
    event = gateway_pb2.StoryEvent
    progress = common_pb2.StoryProgress(characters_written=len(story.content))
    half = len(story.content) // 2
    events = [
        event(title=gateway_pb2.TitleEvent(title=story.title)),
        event(text=gateway_pb2.TextEvent(offset=0, delta=story.content[:half])),
        event(text=gateway_pb2.TextEvent(offset=half, delta=story.content[half:])),
    ]
    if sound:
        segment = common_pb2.Segment(index=0, text=common_pb2.Span(start=0, end=half))
        events += [
            event(state=gateway_pb2.StateEvent(state=common_pb2.STORY_STATE_NARRATING, progress=progress)),
            event(audio_header=common_pb2.NarrationHeader(audio_id="a")),
            event(audio=gateway_pb2.AudioEvent(audio_id="a", offset=0, chunk=sound)),
            event(segment=gateway_pb2.SegmentEvent(audio_id="a", segment=segment)),
        ]
    events.append(event(done=gateway_pb2.DoneEvent(story=story)))
    for each in events:
        each.story_id = story.id
    return events


def told(story: common_pb2.Story, sound: bytes = b"") -> list[gateway_pb2.TellStoryResponse]:
    return [gateway_pb2.TellStoryResponse(event=event) for event in events_of(story, sound)]


def watched(story: common_pb2.Story, sound: bytes = b"") -> list[gateway_pb2.WatchStoryResponse]:
    return [gateway_pb2.WatchStoryResponse(event=event) for event in events_of(story, sound)]


def audio_pieces(sound: bytes) -> list[gateway_pb2.ReadStoryAudioResponse]:
    piece = gateway_pb2.ReadStoryAudioResponse
    return [
        piece(header=story_of(sound=sound).audio),
        piece(chunk=gateway_pb2.AudioEvent(audio_id="a", offset=0, chunk=sound)),
    ]


async def test_tell_shows_the_text_and_writes_both_files(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Only text on standard output, lines of progress on standard error, complete files named after the title."""
    gateway.queue("TellStory", *told(story_of(), SOUND))
    code, out, err = await tale(gateway, tmp_path, "tell", "--name", "Mia")
    assert 0 == code
    assert f"{TITLE}\n{'=' * len(TITLE)}\n\n{CONTENT}\n" == out
    assert "Narrated 0 %\nNarrated 50 %\nNarrated 100 %\n" in err
    assert "Audio: 1:07 minutes.\n" in err
    written = {place.name: place.read_bytes() for place in (tmp_path / "out").iterdir()}
    assert {"the-owl-the-moon.md", "the-owl-the-moon.mp3"} == set(written)
    assert SOUND == written["the-owl-the-moon.mp3"]
    assert f"# {TITLE}\n\n{CONTENT}\n\n---\n\n- Story: {ID}\n" in written["the-owl-the-moon.md"].decode()


async def test_tell_shows_a_wait_while_it_lasts(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """One line in a pipe, however often the gateway says it; not a problem of the story."""
    responses = told(story_of(), SOUND)
    service = common_pb2.WAIT_FOR_STORY_SERVICE
    wait = common_pb2.Waiting(what=service, name="story service", since=Timestamp(seconds=int(time.time()) - 100))
    progress = common_pb2.StoryProgress(waiting=wait)
    state = gateway_pb2.StateEvent(state=common_pb2.STORY_STATE_WRITING, progress=progress)
    for _ in range(2):
        responses.insert(2, gateway_pb2.TellStoryResponse(event=gateway_pb2.StoryEvent(story_id=ID, state=state)))
    gateway.queue("TellStory", *responses)
    code, out, err = await tale(gateway, tmp_path, "tell", "--name", "Mia")
    assert 0 == code
    assert f"{TITLE}\n{'=' * len(TITLE)}\n\n{CONTENT}\n" == out
    assert "Waiting for the story service, not reachable for 1 min 4" in err
    assert 1 == err.count("Waiting")
    assert err.index("Waiting") < err.index("Narrated")


async def test_tell_sends_every_option(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Every option reaches the spec; with --json standard output has only the story."""
    gateway.queue("TellStory", *told(story_of(), SOUND))
    code, out, _ = await tale(
        gateway,
        tmp_path,
        *("tell", "--name", "Mia", "--age", "6", "--gender", "female", "--interest", "dragons"),
        *("--interest", "the sea", "--wish", "w", "--moral", "m", "--theme", "t", "--minutes", "3", "--language", "en"),
        *("--avoid", "storms", "--avoid", "a spider", "--note", "n"),
        *("--model", "a/b", "--fallback-model", "c/d", "--fallback-model", "offline", "--temperature", "0.5"),
        *("--seed", "0", "--max-cost", "0.25", "--voice-provider", "offline", "--voice", "v", "--no-narrate"),
        *("--request-id", "r-1", "--out", "here", "--json"),
    )
    assert 0 == code
    expected = common_pb2.StorySpec(
        child=common_pb2.Child(name="Mia", age=6, gender=common_pb2.GENDER_FEMALE, interests=["dragons", "the sea"]),
        wish="w",
        moral="m",
        theme="t",
        avoid=["storms", "a spider"],
        audience_note="n",
        length_minutes=3,
        language_code="en",
        model="a/b",
        fallback_models=["c/d", "offline"],
        temperature=0.5,
        seed=0,
        max_cost_usd=0.25,
        voice=common_pb2.VoiceSelection(provider="offline", voice_id="v"),
        narrate=False,
    )
    assert [gateway_pb2.TellStoryRequest(request_id="r-1", spec=expected, include_audio=True)] == gateway.requests(
        "TellStory"
    )
    assert ID == json.loads(out)["id"]
    assert "STORY_STATE_READY" == json.loads(out)["state"]
    assert 1 == json.loads(out)["lengthMinutes"]
    assert (tmp_path / "here" / "the-owl-the-moon.mp3").exists()


async def test_tell_leaves_missing_options_unset(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """A field without an option stays unset, so that the server decides."""
    gateway.queue("TellStory", *told(story_of(), SOUND))
    await tale(gateway, tmp_path, "tell", "--name", "Mia")
    (request,) = gateway.requests("TellStory")
    assert isinstance(request, gateway_pb2.TellStoryRequest)
    assert common_pb2.StorySpec(child=common_pb2.Child(name="Mia")) == request.spec


async def test_tell_downloads_wrong_audio_again(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Bytes that do not match the checksum of the stored story are not written to the file."""
    gateway.queue("TellStory", *told(story_of(), b"x" * len(SOUND)))
    gateway.queue("ReadStoryAudio", *audio_pieces(SOUND))
    code, _, _ = await tale(gateway, tmp_path, "tell", "--name", "Mia")
    assert 0 == code
    assert SOUND == (tmp_path / "out" / "the-owl-the-moon.mp3").read_bytes()


async def test_tell_never_overwrites_files_of_another_story(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Another story with the same title gets a number; the same story keeps its name."""
    for story_id in (ID, OTHER_ID, ID):
        story = story_of()
        story.id = story_id
        gateway.queue("TellStory", *told(story, SOUND))
        await tale(gateway, tmp_path, "tell", "--name", "Mia")
    names = {place.name: place.read_text() for place in (tmp_path / "out").glob("*.md")}
    assert {"the-owl-the-moon.md", "the-owl-the-moon-2.md"} == set(names)
    assert ID in names["the-owl-the-moon.md"]
    assert OTHER_ID in names["the-owl-the-moon-2.md"]


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [
        (common_pb2.STORY_STATE_FAILED, 1, f"tale retry {ID}"),
        (common_pb2.STORY_STATE_READY_WITHOUT_AUDIO, 3, f"tale narrate {ID}"),
        (common_pb2.STORY_STATE_CANCELLED, 1, "CANCELLED"),
    ],
)
async def test_tell_reports_an_incomplete_story_by_exit_code(
    gateway: ScriptedGateway, tmp_path: Path, state: common_pb2.StoryState.ValueType, code: int, said: str
) -> None:
    """The problem and the next step are printed, and the text is written to its file."""
    problem = common_pb2.Problem(reason="SOMETHING", message="It broke.", remedy="Fix it.", retryable=True)
    gateway.queue("TellStory", *told(story_of(state, sound=None, problems=[problem])))
    got, out, err = await tale(gateway, tmp_path, "tell", "--name", "Mia")
    assert code == got
    assert out.endswith("Then the moon came up.\n")
    assert "Problem: It broke. Fix it. [SOMETHING]\n" in err
    assert said in err
    assert (tmp_path / "out" / "the-owl-the-moon.md").exists()


async def test_tell_prints_a_line_for_every_refused_field(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Violations name the options, and no file is written."""
    gateway.queue(
        "TellStory",
        Failure(
            grpc.StatusCode.INVALID_ARGUMENT,
            "VALIDATION_FAILED",
            violations=[
                ("spec.child.age", "must be from 1 to 18"),
                ("spec.child.interests[3]", "must be shorter"),
                ("spec.new_field", "\x1b[2Jmust be set"),
            ],
        ),
    )
    code, out, err = await tale(gateway, tmp_path, "tell", "--name", "Mia", "--age", "99")
    assert 2 == code
    assert "" == out
    assert (
        "Error: --age must be from 1 to 18.\n"
        "Error: --interest (spec.child.interests[3]) must be shorter.\n"
        "Error: spec.new_field must be set.\n"
    ) == err
    assert [] == _entries(tmp_path)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_status_without_a_gateway_prints_one_line(tmp_path: Path) -> None:
    """Without a gateway the error says how to start one."""
    process = await start("127.0.0.1:1", tmp_path, "status")
    out, err = await process.communicate()
    assert 1 == process.returncode
    assert b"" == out
    assert err.endswith(
        b"Error: No gateway answers at 127.0.0.1:1. Start one with `tale up`, or set GATEWAY_TARGET or --target.\n"
    )


async def test_wrong_usage_exits_with_code_2(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """click reports a missing option or an unknown command."""
    code, _, err = await tale(gateway, tmp_path, "tell", "--gender", "female")
    assert 2 == code
    assert "--name" in err
    assert 2 == (await tale(gateway, tmp_path, "teller"))[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_tell_says_how_to_follow_the_story(
    gateway: ScriptedGateway, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C ends only the command: it prints how to follow the story and leaves no partial file."""
    hold = Hold()
    gateway.queue("TellStory", *told(story_of(), SOUND)[:-1], hold)
    process = await start(gateway.target, tmp_path, "tell", "--name", "Mia")
    async with asyncio.timeout(SECONDS):
        assert process.stderr is not None
        await process.stderr.readuntil(b"Narrated 50 %\n")
        process.send_signal(number)
        _, err = await process.communicate()
    assert 128 + number == process.returncode
    assert f"The story is still being made. Follow it: tale watch {ID}\n" in err.decode()
    assert [] == _entries(tmp_path / "out")


async def test_watch_and_narrate_follow_a_story(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """watch shows the story from its beginning; narrate selects a voice and shows only what is new."""
    gateway.queue("WatchStory", *watched(story_of(), SOUND))
    code, out, _ = await tale(gateway, tmp_path, "watch", ID)
    assert 0 == code
    assert CONTENT in out
    before = story_of()
    before.audio.audio_id = "earlier"
    gateway.queue("NarrateStory", gateway_pb2.NarrateStoryResponse(story=before))
    other = b"other" * 100
    events = [event for event in watched(story_of(sound=other), other) if not event.event.HasField("text")]
    gateway.queue("WatchStory", *events)
    code, out, _ = await tale(gateway, tmp_path, "narrate", ID, "--voice-provider", "offline", "--voice", "v")
    assert 0 == code
    assert CONTENT not in out
    assert other == (tmp_path / "out" / "the-owl-the-moon.mp3").read_bytes()
    narrate, watch = gateway.calls[-2][1], gateway.calls[-1][1]
    assert isinstance(narrate, gateway_pb2.NarrateStoryRequest)
    assert common_pb2.VoiceSelection(provider="offline", voice_id="v") == narrate.voice
    expected = gateway_pb2.WatchStoryRequest(
        story_id=ID,
        include_audio=True,
        text_offset=len(CONTENT),
        audio_id="earlier",
        audio_offset=len(SOUND),
    )
    assert expected == watch


async def test_narrate_reports_a_failed_narration(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The earlier audio is not written again, and only the new problem is printed."""
    old, new = (common_pb2.Problem(reason="SOMETHING", message=f"{word} trouble.") for word in ("Old", "New"))
    gateway.queue("NarrateStory", gateway_pb2.NarrateStoryResponse(story=story_of(problems=[old])))
    gateway.queue("WatchStory", watched(story_of(problems=[old, new]))[-1])
    code, _, err = await tale(gateway, tmp_path, "narrate", ID)
    assert 3 == code
    assert (
        f"\nWrote {Path('out', 'the-owl-the-moon.md')}\n"
        "Problem: New trouble. [SOMETHING]\n"
        "The new narration failed. The earlier audio is unchanged.\n"
    ) == err
    assert not (tmp_path / "out" / "the-owl-the-moon.mp3").exists()


async def test_tell_with_closed_output_writes_the_files(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """A closed standard output, as of `| head`, ends only the output of the text."""
    gateway.queue("TellStory", *told(story_of(), SOUND))
    reader, writer = os.pipe()
    os.close(reader)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tale_client", "tell", "--name", "Mia"),
        cwd=tmp_path,
        env=environment(gateway.target),
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writer)
    async with asyncio.timeout(SECONDS):
        _, err = await process.communicate()
    assert 0 == process.returncode
    assert b"rror" not in err
    assert SOUND == (tmp_path / "out" / "the-owl-the-moon.mp3").read_bytes()


async def test_show_prints_no_control_characters(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Title, text and facts of a story are shown without their control characters."""
    story = story_of()
    story.title, story.content, story.wish = "A\x1b[2JB\nC", "Once\x1b]0;x\x07.", "w\x9b2J"
    gateway.queue("GetStory", gateway_pb2.GetStoryResponse(story=story))
    code, out, _ = await tale(gateway, tmp_path, "show", ID)
    assert 0 == code
    assert out.startswith("AB C\n")
    assert {"\n"} == {char for char in out if ord(char) < 32 or 127 <= ord(char) < 160}


async def test_audio_writes_to_file_or_standard_output(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """--out names the file, "-" is standard output; without --out the title names the file."""
    gateway.queue("ReadStoryAudio", *audio_pieces(SOUND))
    code, out, _ = await tale(gateway, tmp_path, "audio", ID, "--out", "x.mp3")
    assert 0 == code
    assert "Wrote x.mp3 (1:07 minutes, 2,560 bytes).\n" == out
    gateway.queue("GetStory", gateway_pb2.GetStoryResponse(story=story_of()))
    gateway.queue("ReadStoryAudio", *audio_pieces(SOUND))
    await tale(gateway, tmp_path, "audio", ID)
    assert SOUND == (tmp_path / "x.mp3").read_bytes() == (tmp_path / "out" / "the-owl-the-moon.mp3").read_bytes()
    gateway.queue("ReadStoryAudio", *audio_pieces(SOUND))
    process = await start(gateway.target, tmp_path, "audio", ID, "--out", "-")
    assert (SOUND, b"") == await process.communicate()


async def test_list_stops_at_its_limit(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """One line for each story; protobuf JSON with --json."""
    stories = [common_pb2.StorySummary(id=f"{n}", title=f"T{n}", child_name="Mia") for n in range(3)]
    for _ in range(2):
        gateway.queue("ListStories", gateway_pb2.ListStoriesResponse(stories=stories, next_page_token=stories[-1].id))
    code, out, _ = await tale(gateway, tmp_path, "list", "--limit", "2")
    assert 0 == code
    assert 2 == len(out.splitlines())
    assert "Mia: T1" in out
    _, out, _ = await tale(gateway, tmp_path, "list", "--limit", "3", "--child", "Mia", "--json")
    assert ["0", "1", "2"] == [story["id"] for story in json.loads(out)["stories"]]
    request = gateway_pb2.ListStoriesRequest(filter=common_pb2.StoryFilter(child_name="Mia"), page_size=3)
    assert request == gateway.requests("ListStories")[-1]


async def test_list_sends_every_filter(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Every filter reaches the request; an id is distinguished from a name."""
    gateway.queue("ListStories", gateway_pb2.ListStoriesResponse())
    gateway.answer("ListChildren", lambda _: [profile_pb2.ListChildrenResponse()])
    gateway.queue("GetHero", profile_pb2.GetHeroResponse(hero=common_pb2.Hero(id=OTHER_ID)))
    filters = ("--state", "ready", "--state", "ready-without-audio", "--language", "ru", "--min-rating", "7")
    more = ("--kind", "hero", "--hero", OTHER_ID, "--search", "owl")
    code, out, err = await tale(gateway, tmp_path, "list", "--child", ID, *filters, *more)
    assert 0 == code
    assert "" == out
    assert "No stories match.\n" == err
    wanted = common_pb2.StoryFilter(
        child_id=ID,
        hero_id=OTHER_ID,
        language_code="ru",
        kind=common_pb2.STORY_KIND_HERO,
        states=[common_pb2.STORY_STATE_READY, common_pb2.STORY_STATE_READY_WITHOUT_AUDIO],
        min_rating=7,
        query="owl",
    )
    assert [gateway_pb2.ListStoriesRequest(filter=wanted, page_size=20)] == gateway.requests("ListStories")


async def test_tell_with_json_shows_progress_of_the_writing(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Lines of progress on standard error replace the text; standard output has only JSON."""
    progress = common_pb2.StoryProgress(words_expected=len(CONTENT.split()))
    state = gateway_pb2.StateEvent(state=common_pb2.STORY_STATE_WRITING, progress=progress)
    begun = gateway_pb2.TellStoryResponse(event=gateway_pb2.StoryEvent(story_id=ID, state=state))
    gateway.queue("TellStory", begun, *told(story_of(), SOUND))
    code, out, err = await tale(gateway, tmp_path, "tell", "--name", "Mia", "--json")
    assert 0 == code
    assert ID == json.loads(out)["id"]
    lines = [line for line in err.splitlines() if line.endswith("%")]
    assert ["Written 0 %", "Written 50 %", "Written 100 %", "Narrated 0 %", "Narrated 50 %", "Narrated 100 %"] == lines


async def test_cancel_rate_delete_and_retry_call_their_rpc(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """cancel, rate, delete and retry call their RPC; an error is one line."""
    story = story_of(common_pb2.STORY_STATE_CANCELLED, rating=9)
    gateway.queue("DeleteStory", gateway_pb2.DeleteStoryResponse())
    gateway.queue("CancelStory", gateway_pb2.CancelStoryResponse(story=story))
    gateway.queue("RateStory", gateway_pb2.RateStoryResponse(story=story))
    gateway.queue("DeleteStory", gateway_pb2.DeleteStoryResponse())
    gateway.queue("RetryStory", Failure(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE", "It has not failed."))
    code, out, _ = await tale(gateway, tmp_path, "cancel", ID)
    assert 0 == code
    assert out.startswith("The story is CANCELLED. What was written is stored.")
    assert f"tale show {ID}" in out
    code, out, err = await tale(gateway, tmp_path, "rate", ID, "9")
    assert 0 == code
    assert "The story is rated 9 of 10.\n" == out
    assert "" == err
    code, out, err = await tale(gateway, tmp_path, "delete", ID, "--yes")
    assert 0 == code
    assert "The story is deleted.\n" == out
    assert "" == err
    code, out, err = await tale(gateway, tmp_path, "delete", ID, "--yes", "--json")
    assert 0 == code
    assert "{}\n" == out
    assert "" == err
    code, out, err = await tale(gateway, tmp_path, "retry", ID)
    assert 1 == code
    assert "" == out
    assert "Error: It has not failed. [WRONG_STATE]" == err.splitlines()[0]
    assert gateway.metadata[-1]["x-request-id"] == err.splitlines()[1].removeprefix("  request id ")
