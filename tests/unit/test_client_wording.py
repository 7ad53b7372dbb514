"""The error messages of the `tale` command."""

import sys
from pathlib import Path

import click
import grpc
import pytest

from tale.common.v1 import common_pb2
from tale_client.cli.options import check_folder, split_commas
from tale_client.cli.runner import explain
from tale_client.cli.stories import list_command
from tale_client.cli.story_view import StoryView
from tale_client.cli.wording import duration, typed, with_commands
from tale_client.errors import TaleError, Violation
from tale_client.transport import unreachable

ID = "0197a5a0-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("said", "here"),
    [
        ("NarrateStory tells it again.", f"`tale narrate {ID}` tells it again."),
        ("RetryStory goes on from what there is.", f"`tale retry {ID}` goes on from what there is."),
        ("Ask for a model that ListModels names.", "Ask for a model that `tale models` names."),
        ("Choose a child that ListChildren lists.", "Choose a child that `tale children list` lists."),
        ("Use a new request_id.", "Use a new --request-id."),
        ("MyListModels is a word of its own.", "MyListModels is a word of its own."),
    ],
)
def test_names_of_rpcs_become_commands(said: str, here: str) -> None:
    """RPCs become the commands that call them, with the id of the story."""
    assert here == with_commands(said, ID)


def test_command_that_is_not_on_the_path_is_shown_with_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hint can be typed as it is printed; other text is unchanged."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "argv", [".venv/bin/tale", "status"])
    assert "Run `.venv/bin/tale up`; a tale of owls." == typed("Run `tale up`; a tale of owls.")
    monkeypatch.setattr(sys, "argv", ["tale_client/__main__.py", "status"])
    assert "Run `tale up`." == typed("Run `tale up`.")


@pytest.mark.parametrize(
    ("reason", "retryable", "said"),
    [
        ("ANY", True, f"Try again: tale retry {ID}"),
        ("INTERNAL", False, f"After the problem is fixed, run tale retry {ID}"),
        ("UPSTREAM_AUTH", False, f"After the problem is fixed, run tale retry {ID}"),
        ("CONTENT_REFUSED", False, ""),
        ("COST_LIMIT", False, ""),
        ("TEXT_TOO_LONG", False, ""),
    ],
)
def test_retry_is_suggested_only_where_it_can_help(
    reason: str, retryable: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, after the cause is fixed, or never where the same story fails again."""
    problem = common_pb2.Problem(reason=reason, message="No.", retryable=retryable)
    story = common_pb2.Story(id=ID, state=common_pb2.STORY_STATE_FAILED, problems=[problem])
    assert 1 == StoryView(Path("out"), json=False).report_end(story)
    shown = capsys.readouterr().err
    assert said in shown
    assert bool(said) == ("tale retry" in shown)


@pytest.mark.parametrize(("retryable", "said"), [(True, "Try again: "), (False, "After the problem is fixed, run ")])
def test_failed_narration_suggests_the_right_next_step(
    retryable: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once if it may help, otherwise after the cause is fixed."""
    problem = common_pb2.Problem(reason="ANY", message="No.", retryable=retryable)
    story = common_pb2.Story(id=ID, state=common_pb2.STORY_STATE_READY_WITHOUT_AUDIO, problems=[problem])
    assert 3 == StoryView(Path("out"), json=False).report_end(story)
    assert f"{said}tale narrate {ID}" in capsys.readouterr().err


def test_next_step_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The remedy of the server may be the same command."""
    problem = common_pb2.Problem(reason="ANY", message="No.", remedy="Repeat it with NarrateStory.", retryable=True)
    story = common_pb2.Story(id=ID, state=common_pb2.STORY_STATE_READY_WITHOUT_AUDIO, problems=[problem])
    StoryView(Path("out"), json=False).report_end(story)
    assert 1 == capsys.readouterr().err.count(f"tale narrate {ID}")


def test_interests_are_separated_by_commas_or_repeated() -> None:
    """Both spellings in one command; blank parts are no interests."""
    assert ["dragons", "the sea", "rain"] == split_commas(["dragons, the sea,", " rain "])


def test_lost_gateway_error_says_how_to_follow_the_story() -> None:
    """With a followed story the error says how to follow it again, otherwise how to start a gateway."""
    gone = unreachable("t:1")
    assert ["No gateway answers at t:1. Start one with `tale up`, or set GATEWAY_TARGET or --target."] == explain(gone)
    said, back = explain(gone, ID)
    assert "The gateway at t:1 does not answer any more." == said
    assert f"`tale watch {ID}`" in back


def test_error_is_explained_with_the_remedy_that_the_server_sent() -> None:
    """With commands for RPCs; the time to wait is printed only if waiting helps."""
    remedy = {"remedy": "Choose a story that ListStories lists.", "retryable": "false"}
    final = TaleError(grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND", "No.", metadata=remedy, retry_after=5)
    busy = TaleError(grpc.StatusCode.UNAVAILABLE, "BUSY", "No.", metadata={"retryable": "true"}, retry_after=5)
    assert ["No. [STORY_NOT_FOUND] Choose a story that `tale list` lists."] == explain(final)
    assert ["No. [BUSY] Try again in 5 s."] == explain(busy)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (60, "1 min"), (64.5, "1 min 5 s"), (3600, "1 h"), (3819, "1 h 4 min"), (7190, "2 h")],
)
def test_duration_is_in_words(seconds: float, said: str) -> None:
    """Rounded up, so that a wait that is announced is long enough."""
    assert said == duration(seconds)


def test_refused_fields_are_named_by_their_options() -> None:
    """The error also says where to find ids."""
    fields = [Violation("story_id", "must be a UUID"), Violation("filter.query", "is not supported")]
    refused = TaleError(grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED", "x", violations=fields)
    lines = ["the story's ID must be a UUID. Take an id from `tale list`.", "--search is not supported."]
    with click.Context(list_command):
        assert lines == explain(refused)


def test_output_folder_is_checked_without_creating_it(tmp_path: Path) -> None:
    """A folder below a file is refused; a missing folder is not created yet."""
    (tmp_path / "file").touch()
    with pytest.raises(click.UsageError, match="is a file"):
        check_folder(tmp_path / "file" / "out", "--out")
    check_folder(tmp_path / "new" / "out", "--out")
    assert not (tmp_path / "new").exists()
