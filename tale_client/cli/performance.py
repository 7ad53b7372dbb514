"""Shows a story while it is told, and puts it on the shelf when it is done."""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from pathlib import Path

import click

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.aio import in_thread
from tale_client.cli.ending import has_new_audio
from tale_client.cli.facts import problem
from tale_client.cli.progress import Progress, progress
from tale_client.cli.shelf import AudioIntake, Shelf, audio_suffix
from tale_client.cli.terminal import Wrapper, one_line, printable, width
from tale_client.cli.wording import typed
from tale_client.client import AsyncTaleClient
from tale_client.files import PartialFile

_TEXT_IS_WHOLE = frozenset({common_pb2.STORY_STATE_NARRATING, common_pb2.STORY_STATE_READY})


class Performance:
    """One story, from its first event to the files.

    The text goes to standard output (nowhere with `quiet`), everything else to standard error. The progress of the
    narration begins when the text is whole: the text is its own progress until then, and the two never mix. With
    `quiet` the writing has a progress of its own, by words. `before`: the story as it was before this telling.
    """

    def __init__(
        self, client: AsyncTaleClient, shelf: Shelf, *, quiet: bool, before: common_pb2.Story | None = None
    ) -> None:
        self.story_id = ""
        """Known with the first event."""
        self.kept: list[Path] = []
        """Files that were written."""
        self._client = client
        self._shelf = shelf
        self._quiet = quiet
        self._mute = quiet
        self._before = before
        self._old_audio_id = before.audio.audio_id if before is not None and before.HasField("audio") else None
        self._wrapper = Wrapper(width())
        self._written = 0
        self._total: int | None = None
        self._spoken = 0
        self._words = 0
        self._expected = 0
        self._writing: Progress | None = None
        self._progress: Progress | None = None
        self._notes: list[str] = []

    async def give(self, events: AsyncGenerator[gateway_pb2.StoryEvent, None], *, written: int = 0) -> common_pb2.Story:
        """Shows `events` to their end, writes the files and gives the story. `written`: code points shown before."""
        self._written = written
        done: common_pb2.Story | None = None
        async with PartialFile(self._shelf.folder, ".audio", in_thread) as file, aclosing(events):
            intake = AudioIntake(file)
            with ExitStack() as stack:
                async for event in events:
                    self.story_id = event.story_id or self.story_id
                    await self._take_audio(event, intake)
                    self._show(event, stack)
                    if event.HasField("done"):
                        done = event.done.story
            for note in self._notes:
                click.echo(f"Note: {typed(note)}", err=True)
            if done is None:
                raise RuntimeError("a followed story ends with `done`")
            await self._keep(done, intake)
        return done

    async def _take_audio(self, event: gateway_pb2.StoryEvent, intake: AudioIntake) -> None:
        if event.HasField("audio_header"):
            self._spoken = 0
            await intake.begin(event.audio_header.audio_id)
        elif event.HasField("audio"):
            await intake.take(event.audio.chunk)

    def _show(self, event: gateway_pb2.StoryEvent, stack: ExitStack) -> None:
        match event.WhichOneof("event"):
            case "title":
                title = one_line(event.title.title)
                self._say(f"{click.style(title, bold=True)}\n{'=' * min(len(title), width())}\n\n")
            case "text":
                self._written += len(event.text.delta)
                self._words += len(event.text.delta.split())
                self._count_words(stack)
                self._say(self._wrapper.feed(printable(event.text.delta)))
                self._check_text(stack)
            case "segment" if event.segment.audio_id != self._old_audio_id:
                self._spoken = max(self._spoken, event.segment.segment.text.end)
                self._advance()
            case "state":
                self._spoken = max(self._spoken, event.state.progress.characters_narrated)
                self._expected = event.state.progress.words_expected
                self._count_words(stack)
                if event.state.state == common_pb2.STORY_STATE_NARRATING:
                    self._total = event.state.progress.characters_written
                self._check_text(stack)
                self._advance()
            case "warning":
                self._note(event.warning)
            case "done":
                story = event.done.story
                if story.state in _TEXT_IS_WHOLE and has_new_audio(story, self._before):
                    self._end_text(stack)
                    self._spoken = self._written
                    self._advance()
                self._finish_line()
            case _:
                pass

    def _note(self, warning: common_pb2.Problem) -> None:
        # In the middle of the text, or of the bar, it would tear a line apart: then it waits for the end.
        if self._written or self._writing is not None or self._progress is not None:
            self._notes.append(problem(warning, self.story_id))
        else:
            click.echo(f"Note: {typed(problem(warning, self.story_id))}", err=True)

    def _count_words(self, stack: ExitStack) -> None:
        if not self._quiet or not self._expected or self._progress is not None:
            return
        if self._writing is None:
            self._writing = stack.enter_context(progress("Written"))
        self._writing.show(self._words, self._expected)

    def _check_text(self, stack: ExitStack) -> None:
        # The state may be ahead of the text that belongs to it.
        if self._total is not None and self._written >= self._total:
            self._end_text(stack)

    def _end_text(self, stack: ExitStack) -> None:
        self._finish_line()
        if self._progress is None:
            if self._writing is not None:
                self._writing.show(1, 1)
                stack.close()
            self._progress = stack.enter_context(progress("Narrated"))

    def _finish_line(self) -> None:
        rest = self._wrapper.flush()
        self._say(rest if self._wrapper.at_line_start else f"{rest}{self._wrapper.feed(chr(10))}")

    def _advance(self) -> None:
        if self._progress is not None:
            self._progress.show(min(self._spoken, self._written), self._written)

    def _say(self, text: str) -> None:
        if not text or self._mute:
            return
        try:
            click.echo(text, nl=False)
        except BrokenPipeError:
            # `| head` has seen enough; the files are still wanted.
            self._mute = True
            leave_output()

    async def _keep(self, story: common_pb2.Story, intake: AudioIntake) -> None:
        if not story.title and not story.content:
            return
        document = await self._shelf.put_text(story)
        self.kept.append(document)
        if has_new_audio(story, self._before):
            place = document.with_suffix(audio_suffix(story.audio))

            async def fetch(to: Path) -> common_pb2.StoryAudio:
                return await self._client.save_audio(story.id, to, audio_id=story.audio.audio_id)

            await intake.keep(story.audio, place, fetch)
            self.kept.append(place)


def leave_output() -> None:
    """Sends what still comes to standard output nowhere, once nobody reads it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
