"""`tale narrate --keep`: the files of earlier voices stay, with a real cluster in this process."""

from pathlib import Path

from support.house import house
from support.tale_command import tale

from standins.watcher import spec
from tale_client.cli.output_folder import audio_files


async def test_narrate_keeps_the_audio_of_the_earlier_voice(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as home:
        watcher = await home.tell(spec(1))
        _, before = await home.read_audio(watcher.story_id)
        target = home.servers["gateway"].address
        arguments = ("narrate", watcher.story_id, "--keep", "--out", "out")
        code, _, err = await tale(target, tmp_path, *arguments, "--format", "wav")
        assert 0 == code, err
        _, after = await home.read_audio(watcher.story_id)
        code, _, err = await tale(target, tmp_path, *arguments)
        assert 0 == code, err

    (document,) = (tmp_path / "out").glob("*.md")
    assert before == document.with_name(f"{document.stem} (mock).mp3").read_bytes()
    assert after == document.with_name(f"{document.stem} (mock).wav").read_bytes()
    assert f"Wrote out/{document.stem} (mock).wav\n" in err
    assert {".mp3", ".wav"} <= {path.suffix for path in audio_files(document) if "(mock)" in path.name}


async def test_narrate_keeps_nothing_twice(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as home:
        watcher = await home.tell(spec(1))
        target = home.servers["gateway"].address
        for _ in range(2):
            code, _, err = await tale(target, tmp_path, "narrate", watcher.story_id, "--keep", "--out", "out")
            assert 0 == code, err

    assert 1 == len(list((tmp_path / "out").glob("* (*).mp3")))
