"""`--play` of the `tale` command, as a process against a real cluster with the mock voice."""

import asyncio
import signal
from pathlib import Path

from support.house import House, house
from support.recorder import Recorder
from support.tale_command import SECONDS, start, tale

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.cli.player import decode

TELL = ("tell", "--name", "Mia", "--age", "6", "--minutes", "1", "--play")


def target(home: House) -> str:
    return home.servers["gateway"].address


async def the_story(home: House) -> common_pb2.Story:
    """The one story that there is."""
    answer = await home.stub.ListStories(gateway_pb2.ListStoriesRequest(), timeout=20)
    (summary,) = answer.stories
    return await home.get(summary.id)


async def heard(recorder: Recorder, process: asyncio.subprocess.Process) -> None:
    """Returns once something has been played."""
    async with asyncio.timeout(SECONDS):
        while not recorder.samples:
            assert process.returncode is None
            await asyncio.sleep(0.02)


def whole(story: common_pb2.Story, file: Path) -> bytes:
    """The sound of a file, segment by segment."""
    audio = file.read_bytes()
    return b"".join(decode(audio[each.audio.start : each.audio.end]) for each in story.audio.segments)


async def test_story_is_heard_while_it_is_written_and_saved_whole(tmp_path: Path) -> None:
    """From the first sentence on; then the stored audio is played too, with a file and without one."""
    recorder = Recorder(tmp_path / "a")
    async with house(tmp_path / "data", words_per_second=40) as home:
        process = await start(target(home), tmp_path, *TELL, "--out", "told", **recorder.environment)
        await heard(recorder, process)
        state = (await the_story(home)).state
        out, err = await process.communicate()
        story = await the_story(home)

        assert state in {common_pb2.STORY_STATE_WRITING, common_pb2.STORY_STATE_NARRATING}
        assert (0, b"No sound" in err) == (process.returncode, False), err
        assert story.content.split()[-1] in out.decode()
        (file,) = (tmp_path / "told").glob("*.mp3")
        assert whole(story, file) == recorder.samples

        again = Recorder(tmp_path / "b", speed=500)
        code, out_again, _ = await tale(target(home), tmp_path, "audio", story.id, "--play", **again.environment)
        assert (0, "") == (code, out_again)
        assert recorder.samples == again.samples
        assert not (tmp_path / "out").exists()

        wav = ("narrate", story.id, "--format", "wav")
        assert 0 == (await tale(target(home), tmp_path, *wav))[0]
        third = Recorder(tmp_path / "c", speed=500)
        play = ("audio", story.id, "--play", "--out", "saved.wav")
        code, out_again, _ = await tale(target(home), tmp_path, *play, **third.environment)
        assert 0 == code
        assert "Wrote saved.wav" in out_again
        assert (tmp_path / "saved.wav").read_bytes()[44:] == third.samples


async def test_interrupt_stops_the_sound_and_leaves_the_story_running(tmp_path: Path) -> None:
    """Ctrl-C ends the command alone."""
    recorder = Recorder(tmp_path, speed=1)
    async with house(tmp_path / "data", words_per_second=40) as home:
        process = await start(target(home), tmp_path, *TELL, **recorder.environment)
        await heard(recorder, process)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(5):
            _, err = await process.communicate()
        played = len(recorder.samples)
        story_id = (await the_story(home)).id
        await home.watch(story_id)

        assert common_pb2.STORY_STATE_READY == (await home.get(story_id)).state
        assert 128 + signal.SIGINT == process.returncode
        assert f"The story is still being made. Follow it: tale watch {story_id}" in err.decode()
        assert played == len(recorder.samples)


async def test_interrupt_of_a_story_that_is_over_stops_its_sound_alone(tmp_path: Path) -> None:
    """The files are there by then, and nothing is said of a story that is still being made."""
    recorder = Recorder(tmp_path, speed=1)
    async with house(tmp_path / "data") as home:
        process = await start(target(home), tmp_path, *TELL, **recorder.environment)
        assert process.stderr is not None
        async with asyncio.timeout(SECONDS):
            await process.stderr.readuntil(b"Audio: ")
        await heard(recorder, process)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(5):
            _, err = await process.communicate()

        assert 128 + signal.SIGINT == process.returncode
        assert b"still being made" not in err
        assert 2 == len(list((tmp_path / "out").iterdir()))


async def test_without_an_audio_device_the_story_is_made_and_saved(tmp_path: Path) -> None:
    """One note, and the exit code of the story; a command that does nothing but play fails."""
    recorder = Recorder(tmp_path, broken=True)
    async with house(tmp_path / "data") as home:
        code, _, err = await tale(target(home), tmp_path, *TELL, **recorder.environment)
        story = await the_story(home)

        assert 0 == code
        assert 1 == err.count("No sound: failed to init device.")
        assert 2 == len(list((tmp_path / "out").iterdir()))

        code, out, err = await tale(target(home), tmp_path, "audio", story.id, "--play", **recorder.environment)
        assert (1, "") == (code, out)
        assert f"Error: No sound: failed to init device. See `tale show {story.id}`." in err


async def test_what_has_no_sound_is_refused_before_a_story_is_made(tmp_path: Path) -> None:
    """A format that is not played, and a story without a narration; a stored one without audio is an error."""
    recorder = Recorder(tmp_path)
    async with house(tmp_path / "data") as home:
        for more in (("--format", "ogg"), ("--no-narrate",)):
            code, _, err = await tale(target(home), tmp_path, *TELL, *more, **recorder.environment)
            assert (2, True) == (code, "--play plays a narration, mp3 or wav." in err)
        assert [] == list((await home.stub.ListStories(gateway_pb2.ListStoriesRequest(), timeout=20)).stories)

        text = ("tell", "--name", "Mia", "--minutes", "1", "--no-narrate")
        assert 0 == (await tale(target(home), tmp_path, *text))[0]
        story = await the_story(home)
        code, _, err = await tale(target(home), tmp_path, "audio", story.id, "--play", **recorder.environment)
        assert (1, True) == (code, "Error: There is no audio." in err)
