"""Erases a child, with what names it outside its record: `tale children erase`."""

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import grpc

from tale.common.v1 import common_pb2
from tale_client.aio import in_thread
from tale_client.cli.connection import client_of, target_option
from tale_client.cli.finding import candidates
from tale_client.cli.options import is_id, json_option, out_option, yes_option
from tale_client.cli.output_folder import audio_files
from tale_client.cli.profiles import CHILDREN, children_command
from tale_client.cli.removing import delete_stories
from tale_client.cli.runner import FAILED, run
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import as_json as json_of
from tale_client.cli.wording import counted
from tale_client.client import AsyncTaleClient
from tale_client.errors import TaleError

_FACTS: Final = re.compile(r"^- (Story|Child): (.*)$", re.MULTILINE)
_MOST_FILES: Final = 10_000
_MOST_BYTES: Final = 1 << 20


@dataclass
class _Traces:
    """What names a child and is not bound to it."""

    stories: list[common_pb2.StorySummary] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


@children_command.command("erase", short_help="Delete a saved child and all its stories.")
@CHILDREN.argument
@click.option("--with-name-stories", is_flag=True, help="Also the stories that were created with --name and its name.")
@click.option("--with-files", is_flag=True, help="Also the files of its stories in the folder --out.")
@out_option
@yes_option
@json_option
@target_option
def erase_child_command(
    given: str, *, with_name_stories: bool, with_files: bool, out: Path, yes: bool, as_json: bool, target: str
) -> None:
    """Delete a saved child with all its stories, their audio and their attempts. This cannot be undone.

    Two things are not bound to the child: stories that were created with --name, and the files that `tale tell` wrote.
    The command lists them and asks for each; with --yes, --with-name-stories and --with-files delete them.
    """

    async def work() -> int:
        async with client_of(target) as client:
            child = await _child(client, given)
            traces = await _traces(client, child, out)
            name = one_line(child.name or given)
            if not yes:
                question = f"Erase the child {name} with all stories and audio? This cannot be undone."
                click.confirm(question, abort=True, err=True)
            stories = _chosen(
                candidates(traces.stories), _stories_named(traces, name), chosen=with_name_stories, yes=yes
            )
            files = _chosen([str(each) for each in traces.files], _files_in(traces, out), chosen=with_files, yes=yes)
            erased = await client.erase_child(child.id)
            deleted = await delete_stories(client, traces.stories) if stories else []
            for each in traces.files if files else ():
                await in_thread(each.unlink)
        said = (
            f"The child is erased. Deleted stories: {erased.story_count}, audio files: {erased.audio_count},"
            f" segments: {erased.segment_count}."
        )
        click.echo(json_of(erased) if as_json else said)
        _report(traces, name, out, stories=stories, files=files)
        return FAILED if stories and len(deleted) < len(traces.stories) else 0

    run(work())


def _stories_named(traces: _Traces, name: str) -> str:
    return f"{counted(len(traces.stories), 'story', 'stories')} created with --name {name}"


def _files_in(traces: _Traces, out: Path) -> str:
    return f"{counted(len(traces.files), 'file', 'files')} in {out}"


def _chosen(listed: list[str], what: str, *, chosen: bool, yes: bool) -> bool:
    """Returns whether what is listed is to be deleted too; asks if no option says so."""
    if not listed or chosen or yes:
        return bool(listed) and chosen
    for line in listed:
        click.echo(line, err=True)
    return click.confirm(f"Delete {what} too?", err=True)


def _report(traces: _Traces, name: str, out: Path, *, stories: bool, files: bool) -> None:
    for found, what, gone, option in (
        (traces.stories, _stories_named(traces, name), stories, "--with-name-stories"),
        (traces.files, _files_in(traces, out), files, "--with-files"),
    ):
        if found:
            click.echo(f"Deleted too: {what}." if gone else f"Not deleted: {what} ({option} deletes them).", err=True)


async def _child(client: AsyncTaleClient, given: str) -> common_pb2.Child:
    try:
        return await CHILDREN.find(client, given)
    except TaleError as error:
        # A repetition completes an erasure whose last bytes could not be deleted.
        if error.code is grpc.StatusCode.NOT_FOUND and is_id(given):
            return common_pb2.Child(id=given)
        raise


async def _traces(client: AsyncTaleClient, child: common_pb2.Child, out: Path) -> _Traces:
    bound = {each.id async for each in client.list_stories(common_pb2.StoryFilter(child_id=child.id))}
    named = [each async for each in _named(client, child.name)]
    # Those of another saved child of this name are not touched.
    others = {each.id for each in named if each.child_id and each.child_id != child.id}
    loose = [each for each in named if not each.child_id]
    ids = bound | {each.id for each in loose}
    return _Traces(loose, await in_thread(_files, out, ids, others, child.name))


async def _named(client: AsyncTaleClient, name: str) -> AsyncGenerator[common_pb2.StorySummary, None]:
    if name:
        async for each in client.list_stories(common_pb2.StoryFilter(child_name=name)):
            yield each


def _files(folder: Path, ids: set[str], others: set[str], name: str) -> list[Path]:
    """Returns the documents of these stories, or else with this name, and the audio beside each."""
    found: list[Path] = []
    for _, document in zip(range(_MOST_FILES), folder.glob("*.md"), strict=False):
        with document.open(encoding="utf-8", errors="replace") as file:
            facts = dict(_FACTS.findall(file.read(_MOST_BYTES)))
        story_id, child = facts.get("Story", ""), facts.get("Child", "")
        named = bool(name) and (child == name or child.startswith(f"{name}, "))
        if story_id in ids or (story_id and named and story_id not in others):
            found += [document, *audio_files(document)]
    return sorted(found)
