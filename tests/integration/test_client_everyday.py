"""Short ids, titles, `last`, suggestions, deletion of many and what is waited for, in the `tale` command."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from support.scripted_gateway import Failure, ScriptedGateway, scripted_gateway
from support.tale_command import SECONDS, environment, start
from support.tale_command import tale as run

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale.voice.v1 import voice_pb2
from tale_client.cli.wording import short_ids

DRAGON = "0199ab00-0000-7000-8000-0000aaaa0001"
OWL = "0199ab00-0000-7000-8000-0000aaaa0002"
OTHER_OWL = "0199cd00-0000-7000-8000-0000bbbb0003"
STORIES = [
    common_pb2.StorySummary(
        id=each, title=title, child_name="Mia", state=common_pb2.STORY_STATE_READY, create_time=Timestamp(seconds=day)
    )
    for each, title, day in [
        (OTHER_OWL, "The Owl and the Sea", 1_800_000_000),
        (OWL, "The Owl", 1_700_000_000),
        (DRAGON, "The Brave Dragon", 1_600_000_000),
    ]
]


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    """A gateway with three stories and a child."""
    async with scripted_gateway() as scripted:
        scripted.answer("ListStories", _stories)
        scripted.answer("GetStory", _story)
        scripted.answer("ListChildren", lambda _: [profile_pb2.ListChildrenResponse(children=[_MIA])])
        yield scripted


_MIA = common_pb2.Child(id="0199ab00-0000-7000-8000-0000cccc0004", name="Mia")


def _stories(request: Message) -> Sequence[Message]:
    assert isinstance(request, gateway_pb2.ListStoriesRequest)
    words = set(request.filter.query.lower().split())
    before = request.filter.created_before.seconds
    return [
        gateway_pb2.ListStoriesResponse(
            stories=[
                each
                for each in STORIES
                if words <= set(each.title.lower().split()) and not (before and each.create_time.seconds >= before)
            ]
        )
    ]


def _story(request: Message) -> Sequence[Message | Failure]:
    assert isinstance(request, gateway_pb2.GetStoryRequest)
    for each in STORIES:
        if each.id == request.story_id:
            return [gateway_pb2.GetStoryResponse(story=common_pb2.Story(id=each.id, title=each.title))]
    return [Failure(grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND")]


async def tale(gateway: ScriptedGateway, folder: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    return await run(gateway.target, folder, *arguments, TZ="Europe/Berlin", **more)


def test_short_ids_differ_in_their_list() -> None:
    """The last 8 digits, and more where two ids share them."""
    twin = "0199ef00-0000-7000-8000-1111aaaa0001"
    assert {DRAGON: "0000aaaa0001", twin: "1111aaaa0001", OWL: "aaaa0002"} == short_ids([DRAGON, twin, OWL, OWL])


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("last", OTHER_OWL),
        ("aaaa0002", OWL),
        ("0199CD", OTHER_OWL),
        ("The Brave Dragon", DRAGON),
        ("the owl", OWL),
        ("drag", DRAGON),
    ],
)
async def test_story_is_found_by_what_people_type(
    gateway: ScriptedGateway, tmp_path: Path, given: str, meant: str
) -> None:
    """`last`, digits from either end of an id, a title, a part of a title; an exact title comes first."""
    code, out, _ = await tale(gateway, tmp_path, "show", given, "--json")
    assert 0 == code
    assert meant == json.loads(out)["id"]


async def test_ambiguous_story_lists_the_candidates(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Exit code 2, and a line for each with local time; nothing is called."""
    code, out, err = await tale(gateway, tmp_path, "show", "0199ab")
    assert 2 == code
    assert "" == out
    assert err == (
        "Error: 2 stories have the id or title 0199ab. Use the digits of one of them:\n"
        "  aaaa0002  2023-11-14 23:13 CET  READY  Mia: The Owl\n"
        "  aaaa0001  2020-09-13 14:26 CEST  READY  Mia: The Brave Dragon\n"
    )
    assert [] == gateway.requests("GetStory")


async def test_unknown_title_suggests_the_nearest(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Exit code 2 and a question."""
    code, _, err = await tale(gateway, tmp_path, "show", "The Brav Dragn")
    assert 2 == code
    assert 'Error: No story has the id or title The Brav Dragn. Did you mean "The Brave Dragon"?\n' == err


async def test_list_shows_short_ids_and_local_times(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """With the zone; JSON stays in UTC."""
    _, out, _ = await tale(gateway, tmp_path, "list")
    assert out.startswith("bbbb0003  2027-01-15 09:00 CET  READY")
    _, out, _ = await tale(gateway, tmp_path, "list", "--json")
    assert "2027-01-15T08:00:00Z" == json.loads(out)["stories"][0]["createTime"]


async def test_id_of_a_story_is_no_child(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The error says what the id is."""
    gateway.answer("GetChild", lambda _: [Failure(grpc.StatusCode.NOT_FOUND, "CHILD_NOT_FOUND")])
    code, _, err = await tale(gateway, tmp_path, "tell", "--child", OWL)
    assert 2 == code
    assert f"Error: {OWL} is the id of a story (The Owl), not of a child.\n" == err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tel", "--name", "Mia"), "tell"),
        (("tell", "--nam", "Mia"), "--name"),
        (("list", "--state", "redy"), 'Did you mean "ready"?'),
        (("tell", "--name", "Mia", "--kind", "heroe"), 'Did you mean "hero"?'),
    ],
)
async def test_unknown_word_suggests_the_nearest(
    gateway: ScriptedGateway, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Commands, options and choices."""
    code, _, err = await tale(gateway, tmp_path, *arguments)
    assert 2 == code
    assert said in err


async def test_unknown_voice_suggests_one_that_the_gateway_lists(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """What the services refuse is compared with what they list."""
    gateway.queue("TellStory", Failure(grpc.StatusCode.NOT_FOUND, "VOICE_NOT_FOUND", "No voice."))
    voices = voice_pb2.ListVoicesResponse(voices=[voice_pb2.Voice(voice_id="af_heart", provider="offline")])
    gateway.answer("ListVoices", lambda _: [voices])
    _, _, err = await tale(gateway, tmp_path, "tell", "--name", "Mia", "--voice", "af_hart")
    assert 'Did you mean "af_heart"?' in err


async def test_moral_that_is_almost_a_known_one_is_noted(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Other words stay allowed."""
    gateway.queue("TellStory", Failure(grpc.StatusCode.UNIMPLEMENTED, "ANY"))
    _, _, err = await tale(gateway, tmp_path, "tell", "--name", "Mia", "--moral", "kidness")
    assert 'Note: --moral kidness. Did you mean "kindness"?\n' in err
    assert 1 == len(gateway.requests("TellStory"))


async def test_delete_of_many_lists_them_asks_once_and_continues(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """A story that cannot be deleted is reported, the others are deleted; exit code 1."""
    code, out, err = await tale(gateway, tmp_path, "delete", "--child", "Mia", "--before", "2025-01-01")
    assert 1 == code
    assert "" == out
    assert "aaaa0002  2023-11-14 23:13 CET  READY  Mia: The Owl\n" in err
    assert "Owl and the Sea" not in err
    assert "Delete 2 stories with audio? This cannot be undone. [y/N]" in err
    assert [] == gateway.requests("DeleteStory")
    gateway.queue("DeleteStory", Failure(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE", "It is busy."))
    gateway.queue("DeleteStory", gateway_pb2.DeleteStoryResponse())
    code, out, err = await tale(gateway, tmp_path, "delete", "the owl", "aaaa0001", "--yes")
    assert 1 == code
    assert "Deleted 1 of 2 stories.\n" == out
    assert f"Error: {OWL}: It is busy. [WRONG_STATE]\n" == err
    assert [OWL, DRAGON] == [each.story_id for each in gateway.requests("DeleteStory")]  # type: ignore[attr-defined]


def _named(request: Message) -> Sequence[Message]:
    """One story of the child, one that was created with its name, one of another child of this name."""
    assert isinstance(request, gateway_pb2.ListStoriesRequest)
    each = common_pb2.StorySummary
    bound = each(id=DRAGON, child_id=_MIA.id, child_name="Mia")
    named = [bound, each(id=OWL, child_name="Mia", title="The Owl"), each(id=OTHER_OWL, child_id=OWL, child_name="Mia")]
    return [gateway_pb2.ListStoriesResponse(stories=[bound] if request.filter.child_id else named)]


@pytest.mark.parametrize("options", [(), ("--with-name-stories", "--with-files")])
async def test_erase_says_what_is_not_bound_to_the_child(
    gateway: ScriptedGateway, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """And deletes it only where it is told to; what is of another child of this name stays."""
    (tmp_path / "out").mkdir()
    deleted = "11111111-0000-7000-8000-000000000005"
    for name, story_id in {"dragon": DRAGON, "owl": OWL, "other": OTHER_OWL, "deleted": deleted}.items():
        (tmp_path / "out" / f"{name}.md").write_text(f"# T\n\n---\n\n- Story: {story_id}\n- Child: Mia, 6\n")
    (tmp_path / "out" / "owl.mp3").touch()
    (tmp_path / "out" / "mine.md").write_text("Mia and I")
    gateway.answer("ListStories", _named)
    gateway.queue("EraseChild", gateway_pb2.EraseChildResponse(story_count=1))
    if options:
        gateway.queue("DeleteStory", gateway_pb2.DeleteStoryResponse())
    code, out, err = await tale(gateway, tmp_path, "children", "erase", "Mia", "--yes", *options)
    assert 0 == code
    assert "The child is erased. Deleted stories: 1, audio files: 0, segments: 0.\n" == out
    left = {each.name for each in (tmp_path / "out").iterdir()}
    if options:
        assert "Deleted too: 1 story created with --name Mia.\nDeleted too: 4 files in out.\n" == err
        assert {"other.md", "mine.md"} == left
        assert [OWL] == [each.story_id for each in gateway.requests("DeleteStory")]  # type: ignore[attr-defined]
    else:
        assert "Not deleted: 1 story created with --name Mia (--with-name-stories deletes them).\n" in err
        assert "Not deleted: 4 files in out (--with-files deletes them).\n" in err
        assert 6 == len(left)


@pytest.mark.parametrize("arguments", [(), ("last", "--state", "failed"), ("--older-than", "soon")])
async def test_delete_needs_one_choice(gateway: ScriptedGateway, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Stories or filters, never all by accident."""
    assert 2 == (await tale(gateway, tmp_path, "delete", *arguments))[0]
    assert [] == gateway.requests("ListStories")


async def test_tell_says_what_it_waits_for_until_the_gateway_is_there(tmp_path: Path) -> None:
    """Within two seconds, one line in a pipe; the story is then told."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await start(f"127.0.0.1:{port}", tmp_path, "tell", "--name", "Mia")
    async with asyncio.timeout(SECONDS):
        assert process.stderr is not None
        line = (await process.stderr.readline()).decode()
        assert (
            f"Waiting for the gateway at 127.0.0.1:{port}, not reachable for 2 s (start it with `tale up`)…\n" == line
        )
        done = gateway_pb2.StoryEvent(done=gateway_pb2.DoneEvent(story=common_pb2.Story(id=OWL, title="The Owl")))
        async with scripted_gateway(port) as gateway:
            gateway.queue("TellStory", gateway_pb2.TellStoryResponse(event=done))
            _, err = await process.communicate()
    assert "Waiting" not in err.decode()
    assert 1 == len(gateway.requests("TellStory"))


async def test_status_says_what_stories_wait_for(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """How many, for what and how long."""
    wait = common_pb2.Waiting(
        what=common_pb2.WAIT_FOR_PROVIDER,
        name="elevenlabs",
        reason="UPSTREAM_UNAVAILABLE",
        since=Timestamp(seconds=int(time.time()) - 4000),
    )
    waiting = gateway_pb2.WaitingStories(waiting=wait, story_count=2, story_ids=[OWL, DRAGON])
    gateway.queue("GetSystemStatus", gateway_pb2.GetSystemStatusResponse(running_stories=2, waiting=[waiting]))
    _, out, _ = await tale(gateway, tmp_path, "status")
    said = "2 stories wait for elevenlabs [UPSTREAM_UNAVAILABLE] for 1 h 7 min (aaaa0002, aaaa0001)"
    assert f"Stories in progress: 2\n  {said}\n" in f"{out}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_shell_completes_what_the_gateway_has(gateway: ScriptedGateway, tmp_path: Path, shell: str) -> None:
    """Ids with their titles, titles, names."""
    asked = {
        "COMP_WORDS": "tale show ",
        "COMP_CWORD": "2" if shell != "fish" else "",
        "_TALE_COMPLETE": f"{shell}_complete",
    }
    code, out, err = await tale(gateway, tmp_path, **asked)
    assert (0, "") == (code, err)
    assert ["last", "bbbb0003", "The Brave Dragon"] == [
        word for word in ("last", "bbbb0003", "The Brave Dragon") if word in out
    ]


async def test_shell_completion_is_silent_without_a_gateway(tmp_path: Path) -> None:
    """And has ended after about a second."""
    asked = {"COMP_WORDS": "tale show l", "COMP_CWORD": "2", "_TALE_COMPLETE": "bash_complete"}
    code, out, err = await run("127.0.0.1:1", tmp_path, **asked)
    assert (0, "", "") == (code, out.strip(), err)


async def test_bash_completes_a_title_with_blanks(gateway: ScriptedGateway) -> None:
    """The word that bash inserts is one word."""
    script = (
        "source <(tale completion bash); COMP_WORDS=(tale show 'The\\ Br'); COMP_CWORD=2;"
        ' _tale_completion tale; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        env=environment(gateway.target),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert "The\\ Brave\\ Dragon\n" == out.decode()
