"""Every command of docs/client.md and every program in docs/examples works."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from google.protobuf.message import Message
from support.house import House, house
from support.recorder import Recorder
from support.scripted_gateway import scripted_gateway
from support.tale_command import SECONDS, environment

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale.voice.v1 import voice_pb2

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = sorted(place.name for place in (DOCS / "examples").glob("*.py"))
TEXT = (DOCS / "client.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
# test_client_distribution.py runs those that install the client.
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if not line.startswith("pip ")]
# These need a story in another state, a hero story or a transcription.
SCRIPTED = [line for line in COMMANDS if re.match(r"tale (cancel|retry)|tale tell .*--(hero|ask)", line)]
SERVED = [line for line in COMMANDS if line not in SCRIPTED]
ID = "0197a5a0-0000-7000-8000-000000000001"
STORY = common_pb2.Story(id=ID, state=common_pb2.STORY_STATE_READY, title="The Owl")


@pytest_asyncio.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """All four services, for all tests of this file."""
    async with house(tmp_path_factory.mktemp("docs")) as it:
        yield it


async def run(*command: str, folder: Path, target: str) -> str:
    """Runs a command, which must succeed, and returns its standard output. It has an audio device."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment(target, **Recorder(folder / "device", speed=1000).environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    assert 0 == process.returncode, f"{command}:\n{out.decode()}{err.decode()}"
    return out.decode()


def test_docs_link_to_every_example() -> None:
    """The page links to all examples, and to no other file."""
    assert EXAMPLES == sorted(set(re.findall(r"\(examples/(\w+\.py)\)", TEXT)))
    assert 3 == len(EXAMPLES)


def test_docs_name_every_method() -> None:
    """The table has all methods of the clients."""
    from tale_client.client import TaleCalls  # noqa: PLC0415 - beside what it is compared with

    named = set(re.findall(r"`(\w+)`", TEXT))
    assert [] == [
        name for name in dir(TaleCalls) if not name.startswith("_") and name != "target" and name not in named
    ]


async def test_docs_commands_work_one_after_the_other(cluster: House, tmp_path: Path) -> None:
    """As they are written, with the id of the narrated story for ID."""
    target = cluster.servers["gateway"].address
    story_id, said = "", dict[str, str]()
    for line in SERVED:
        command = line.replace(" ID", f" {story_id}")
        said[line] = await run("bash", "-euo", "pipefail", "-c", command, folder=tmp_path, target=target)
        if line.startswith("tale tell") and not story_id:
            (summary,) = json.loads(await run("tale", "list", "--json", folder=tmp_path, target=target))["stories"]
            story_id = summary["id"]
    written = _sizes(tmp_path)
    assert {"story.json", "story.mp3", "_tale", "tale.fish"} == set(written)
    assert 0 < min(written.values())
    assert "STORY_STATE_READY" == json.loads((tmp_path / "story.json").read_text())["state"]
    assert [story_id] == [story["id"] for story in json.loads(said["tale list --min-rating 8 --json"])["stories"]]
    assert (
        "The child is erased. Deleted stories: 2,"
        in said["tale children erase Mia --yes --with-files --with-name-stories"]
    )


def _sizes(folder: Path) -> dict[str, int]:
    return {place.name: place.stat().st_size for place in folder.iterdir() if place.is_file()}


async def test_docs_commands_reach_a_scripted_gateway(tmp_path: Path) -> None:
    """Hero stories, recorded wishes, sequels, cancel and retry reach the gateway."""
    (tmp_path / "wish.wav").write_bytes(b"RIFF")
    done = gateway_pb2.StoryEvent(story_id=ID, done=gateway_pb2.DoneEvent(story=STORY))
    answers: dict[str, Message] = {
        "ListChildren": profile_pb2.ListChildrenResponse(children=[common_pb2.Child(id=ID, name="Mia")]),
        "ListHeroes": profile_pb2.ListHeroesResponse(heroes=[common_pb2.Hero(id=ID, name="Captain Wonder")]),
        "Transcribe": voice_pb2.TranscribeResponse(text="A story about dragons.", language_code="en"),
        "TellStory": gateway_pb2.TellStoryResponse(event=done),
        "WatchStory": gateway_pb2.WatchStoryResponse(event=done),
        "CancelStory": gateway_pb2.CancelStoryResponse(story=STORY),
        "RetryStory": gateway_pb2.RetryStoryResponse(story=STORY),
    }
    async with scripted_gateway() as gateway:
        for name, answer in answers.items():
            gateway.answer(name, _always(answer))
        for line in SCRIPTED:
            await run("bash", "-c", line.replace(" ID", f" {ID}"), folder=tmp_path, target=gateway.target)
    hero, spoken = ["ListChildren", "ListHeroes", "TellStory"], ["ListChildren", *["Transcribe"] * 2, "TellStory"]
    assert [*hero, *spoken, "TellStory", "CancelStory", "RetryStory", "WatchStory"] == [
        name for name, _ in gateway.calls
    ]
    kept, heard, sequel = (_spec(request) for request in gateway.requests("TellStory"))
    assert "A story about dragons." == heard.wish
    assert "en" == heard.language_code
    assert ID == kept.child_id
    assert ID == kept.hero_id
    assert common_pb2.STORY_KIND_COMBINED == kept.kind
    assert ID == sequel.parent_story_id
    assert "Robo Rex" == sequel.hero.name
    assert common_pb2.STORY_KIND_HERO == sequel.kind


def _always(answer: Message) -> Callable[[Message], list[Message]]:
    return lambda _: [answer]


def _spec(request: Message) -> common_pb2.StorySpec:
    assert isinstance(request, gateway_pb2.TellStoryRequest)
    return request.spec


async def test_example_tell_to_file_writes_text_and_audio(cluster: House, tmp_path: Path) -> None:
    """tell_to_file.py: title, text, sound."""
    out = await _example("tell_to_file.py", cluster, tmp_path)
    assert "Mia" in out
    seconds = re.search(r"story\.mp3 sounds for (\d+) seconds", out)
    assert seconds is not None
    # 128 kbit/s.
    assert int(seconds[1]) == (tmp_path / "story.mp3").stat().st_size // 16_000


async def test_example_batch_creates_one_story_per_child(cluster: House, tmp_path: Path) -> None:
    """batch.py: two runs create one story for each child."""
    target = cluster.servers["gateway"].address
    for name in ("Ann", "Ben"):
        await run("tale", "children", "add", "--name", name, folder=tmp_path, target=target)
    first = await _example("batch.py", cluster, tmp_path, "2026-01-01")
    assert ["Ben", "Ann"] == [line.partition(":")[0] for line in first.splitlines()]
    assert 2 == len(list((tmp_path / "tonight").glob("*.mp3")))
    assert first == await _example("batch.py", cluster, tmp_path, "2026-01-01")
    stories = json.loads(await run("tale", "list", "--child", "Ann", "--json", folder=tmp_path, target=target))
    assert 1 == len(stories["stories"])


async def test_example_watch_and_rate_continues_where_it_stopped(cluster: House, tmp_path: Path) -> None:
    """watch_and_rate.py: the text is complete over two connections, and the rating is stored."""
    out = await _example("watch_and_rate.py", cluster, tmp_path)
    listed = await run(
        "tale", "list", "--child", "Leo", "--json", folder=tmp_path, target=cluster.servers["gateway"].address
    )
    (summary,) = json.loads(listed)["stories"]
    story = await cluster.get(summary["id"])
    assert f"{story.content}\n\n{story.title}: 9 of 10\n" == out
    assert 9 == story.rating


async def _example(name: str, cluster: House, folder: Path, *arguments: str) -> str:
    target = cluster.servers["gateway"].address
    return await run(sys.executable, str(DOCS / "examples" / name), *arguments, folder=folder, target=target)
