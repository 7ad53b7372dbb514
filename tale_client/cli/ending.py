"""How the telling of a story ended, in words and as an exit code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from tale.common.v1 import common_pb2
from tale_client.cli.facts import as_json, audio_seconds, clock, problem, state_name
from tale_client.cli.running import FAILED, WITHOUT_AUDIO
from tale_client.cli.wording import typed

# Reasons that stay as they are however often the same story is tried.
_BEYOND_RETRY: Final = frozenset(
    {
        "LANGUAGE_UNSUPPORTED",
        "MODEL_NOT_FOUND",
        "PROVIDER_NOT_FOUND",
        "VOICE_NOT_FOUND",
        "INVALID_CONFIGURATION",
        "UPSTREAM_AUTH",
        "QUOTA_EXCEEDED",
        "COST_LIMIT",
        "CONTENT_REFUSED",
        "TEXT_TOO_LONG",
    }
)


def close(
    story: common_pb2.Story, kept: Sequence[Path], *, json_too: bool, before: common_pb2.Story | None = None
) -> int:
    """Says how a story ended, where it is and what can be done next; the exit code.

    `before`: the story as it was before this telling; its problems and its audio are no news.
    """
    if json_too:
        click.echo(as_json(story))
    click.echo("", err=True)
    for place in kept:
        click.echo(f"Wrote {place}", err=True)
    if has_new_audio(story, before):
        click.echo(f"The audio is {clock(audio_seconds(story.audio))} minutes long.", err=True)
    old = before.problems if before is not None else ()
    problems = [each for each in story.problems if each not in old]
    for each in problems:
        click.echo(f"Problem: {typed(problem(each, story.id))}", err=True)
    code, said = _ending(story, problems, before)
    if said:
        click.echo(typed(said), err=True)
    return code


def _ending(
    story: common_pb2.Story, problems: Sequence[common_pb2.Problem], before: common_pb2.Story | None
) -> tuple[int, str]:
    match story.state:
        case common_pb2.STORY_STATE_READY if has_new_audio(story, before) or not _had_audio(before):
            return 0, ""
        case common_pb2.STORY_STATE_READY:
            how = "failed" if problems else "was stopped"
            return WITHOUT_AUDIO, f"The new narration {how}; the earlier audio is kept."
        case common_pb2.STORY_STATE_READY_WITHOUT_AUDIO:
            again = "Once that is mended" if _stays(problems) else "Try again"
            said = f"The text is kept, but it could not be told aloud. {again}: tale narrate {story.id}"
            return WITHOUT_AUDIO, said
        case common_pb2.STORY_STATE_FAILED:
            said = "The story FAILED; what there is of it is kept."
            if not _stays(problems):
                said += f" Go on with it: tale retry {story.id}"
            return FAILED, said
        case _:
            return FAILED, standing(story)


def _stays(problems: Sequence[common_pb2.Problem]) -> bool:
    """Whether the same would fail again until somebody changes something."""
    return bool(problems) and problems[-1].reason in _BEYOND_RETRY


def standing(story: common_pb2.Story) -> str:
    """How a story is that is neither ready nor failed, and what can be done with what there is."""
    said = f"The story is {state_name(story.state)}"
    if story.state != common_pb2.STORY_STATE_CANCELLED:
        return f"{said}; what there is of it is kept."
    return f"{said}; what there is of it is kept. {cancelled(story)}"


def cancelled(story: common_pb2.Story) -> str:
    """What can be done with a cancelled story."""
    return f"Read it: tale show {story.id} - remove it: tale delete {story.id} - a cancelled story does not go on."


def has_new_audio(story: common_pb2.Story, before: common_pb2.Story | None) -> bool:
    """Whether there is audio that `before` did not have."""
    return story.HasField("audio") and (before is None or story.audio.audio_id != before.audio.audio_id)


def _had_audio(before: common_pb2.Story | None) -> bool:
    return before is not None and before.HasField("audio")


def goes_on(story_id: str, request_id: str = "") -> list[str]:
    """What to tell somebody who stopped listening."""
    if story_id:
        return [
            "",
            f"The story goes on without you. Follow it: tale watch {story_id}",
            f"Stop it: tale cancel {story_id}",
        ]
    if request_id:
        return [
            "",
            f"Interrupted. If the story was accepted, the same command with --request-id {request_id} finds it.",
        ]
    return ["", "Interrupted."]
