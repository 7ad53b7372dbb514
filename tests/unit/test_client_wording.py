"""What the `tale` command says when something did not work out."""

import sys
from pathlib import Path

import click
import grpc
import pytest
from click.testing import CliRunner

from tale.common.v1 import common_pb2
from tale_client.cli import cli
from tale_client.cli.ending import close
from tale_client.cli.options import check_folder
from tale_client.cli.running import explain
from tale_client.cli.wording import for_people, typed
from tale_client.errors import TaleError, Violation

ID = "0197a5a0-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("said", "here"),
    [
        ("NarrateStory tells it again.", f"`tale narrate {ID}` tells it again."),
        ("RetryStory goes on from what there is.", f"`tale retry {ID}` goes on from what there is."),
        ("Ask for a model that ListModels names.", "Ask for a model that `tale models` names."),
        ("Ask for a provider that ListProviders names.", "Ask for a provider that `tale voices` names."),
        ("MyListModels is a word of its own.", "MyListModels is a word of its own."),
    ],
)
def test_what_a_server_advises_is_said_as_a_command(said: str, here: str) -> None:
    """RPCs become the commands that make them, for the story in question."""
    assert here == for_people(said, ID)


def test_a_command_that_is_not_on_the_path_is_named_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hint can be typed as it stands; what only looks like a command stays."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "argv", [".venv/bin/tale", "status"])
    assert "Run `.venv/bin/tale up`; a tale of owls." == typed("Run `tale up`; a tale of owls.")
    monkeypatch.setattr(sys, "argv", ["tale_client/__main__.py", "status"])
    assert "Run `tale up`." == typed("Run `tale up`.")


@pytest.mark.parametrize(("reason", "hinted"), [("UPSTREAM_UNAVAILABLE", True), ("LANGUAGE_UNSUPPORTED", False)])
def test_a_retry_is_advised_where_it_can_help(reason: str, hinted: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """What stays as it is however often it is tried gets no such hint."""
    problem = common_pb2.Problem(reason=reason, message="No.")
    story = common_pb2.Story(id=ID, state=common_pb2.STORY_STATE_FAILED, problems=[problem])
    assert 1 == close(story, [], json_too=False)
    assert hinted == (f"tale retry {ID}" in capsys.readouterr().err)


@pytest.mark.parametrize(
    ("reason", "said"), [("NETWORK_ERROR", "Try again: "), ("UPSTREAM_AUTH", "Once that is mended: ")]
)
def test_a_narration_that_failed_is_tried_again_when_it_can_help(
    reason: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once where that may do, and otherwise after somebody has mended what stands in the way."""
    problem = common_pb2.Problem(reason=reason, message="No.")
    story = common_pb2.Story(id=ID, state=common_pb2.STORY_STATE_READY_WITHOUT_AUDIO, problems=[problem])
    assert 3 == close(story, [], json_too=False)
    assert f"{said}tale narrate {ID}" in capsys.readouterr().err


def test_a_gateway_that_goes_away_leaves_the_way_back_to_the_story() -> None:
    """Whoever followed a story hears how to follow it on; anybody else how to get a gateway."""
    gone = TaleError(grpc.StatusCode.UNAVAILABLE, "GATEWAY_UNREACHABLE", "x", metadata={"target": "t:1"})
    assert ["No gateway at t:1: start one with `tale up`, or set GATEWAY_TARGET."] == explain(gone)
    said, back = explain(gone, ID)
    assert "The gateway at t:1 is gone." == said
    assert f"`tale watch {ID}`" in back


def test_a_refused_id_or_search_is_said_in_the_options_words() -> None:
    """Where ids come from is said too."""
    fields = [Violation("story_id", "must be a UUID"), Violation("filter.query", "is not supported")]
    refused = TaleError(grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED", "x", violations=fields)
    lines = ["the story's ID must be a UUID: take an id from `tale list`", "--search is not supported"]
    assert lines == explain(refused)


def test_a_folder_is_tried_before_anything_is_asked_for(tmp_path: Path) -> None:
    """One below a file can not be; one that is still to be made is not made yet."""
    (tmp_path / "file").touch()
    with pytest.raises(click.UsageError, match="is a file"):
        check_folder(tmp_path / "file" / "out", "--out")
    check_folder(tmp_path / "new" / "out", "--out")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "owl"), "take an id from `tale list`"),
        (("tell", "--name", " "), "give a name"),
        (("tell", "--name", "Mia", "--out", "FILE/out"), "--out FILE/out can not be used"),
        (("narrate", ID, "--out", "FILE/out"), "--out FILE/out can not be used"),
        (("audio", ID, "--out", "FILE/x.mp3"), "--out FILE can not be used"),
        (("demo", "--name", ""), "Give the child's first name"),
        (("demo", "--minutes", "31"), "1<=x<=30"),
        (("demo", "--age", "0"), "1<=x<=18"),
        (("demo",), "TALE_DATA_DIR FILE can not be used"),
        (("up",), "TALE_DATA_DIR FILE can not be used"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_starts(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 and what to do, with no gateway asked and no cluster started."""
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    monkeypatch.setenv("TALE_DATA_DIR", "FILE")
    monkeypatch.setenv("GATEWAY_TARGET", "127.0.0.1:1")
    result = CliRunner().invoke(cli, arguments)
    assert 2 == result.exit_code
    assert said in " ".join(result.output.split())
