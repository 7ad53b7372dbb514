"""Shows a story while it is being made, writes its files, and reports how it ended."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager, ExitStack, aclosing, nullcontext
from pathlib import Path
from typing import Final

import click

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.aio import in_thread
from tale_client.cli.output_folder import AudioDraft, OutputFolder, audio_suffix
from tale_client.cli.player import Player
from tale_client.cli.runner import FAILED, WITHOUT_AUDIO
from tale_client.cli.terminal import Progress, Wrapper, discard_output, one_line, printable, progress, width
from tale_client.cli.waiting import WaitingLine
from tale_client.cli.wording import as_json, audio_seconds, clock, problem, state_name, typed
from tale_client.client import AsyncTaleClient
from tale_client.transport import PartialFile

_TEXT_IS_COMPLETE: Final = frozenset({common_pb2.STORY_STATE_NARRATING, common_pb2.STORY_STATE_READY})

_FINAL: Final = frozenset({"CONTENT_REFUSED", "COST_LIMIT", "TEXT_TOO_LONG"})
"""Reasons for which a story would fail again."""


class StoryView:
    """One story on the terminal, from its first event to its files in `folder`.

    The text goes to standard output, everything else to standard error. With `json` the text is not shown, and standard
    output gets the finished story as protobuf JSON. Progress of the narration is shown once the text is complete,
    because the text shows its own progress until then; with `json` the writing has a progress too. With `play` the
    audio is played while it arrives.
    """

    def __init__(self, folder: Path, *, json: bool, play: bool = False) -> None:
        self.story_id = ""
        """Id of the story; empty until it is known."""
        self.line = WaitingLine()
        """Says what is waited for."""
        self.line.lead = self._line_break
        self.files: list[Path] = []
        """Files that were written."""
        self.is_over = False
        """Whether the story has ended and was reported; all that may still last is its sound."""
        self._play = play
        self._folder = OutputFolder(folder)
        self._json = json
        self._mute = json
        self._before: common_pb2.Story | None = None
        self._wrapper = Wrapper(width())
        self._characters_shown = 0
        self._characters_written: int | None = None
        self._characters_narrated = 0
        self._words = 0
        self._words_expected = 0
        self._writing: Progress | None = None
        self._narration: Progress | None = None
        self._notes: list[str] = []

    async def follow(
        self,
        client: AsyncTaleClient,
        events: AsyncGenerator[gateway_pb2.StoryEvent, None],
        *,
        before: common_pb2.Story | None = None,
        shown: int = 0,
    ) -> int:
        """Shows `events` to their end, writes the files, reports the end and returns the exit code.

        `before`: the story as it was before; its problems and its audio are not news. `shown`: code points of the text
        that `events` leave out.
        """
        self._before = before
        self._characters_shown = shown
        done: common_pb2.Story | None = None
        async with (
            PartialFile(self._folder.path, ".audio", in_thread) as file,
            Player(self._remark) if self._play else nullcontext() as player,
            aclosing(events),
        ):
            audio = AudioDraft(file)
            with ExitStack() as stack:
                async for event in events:
                    self.story_id = event.story_id or self.story_id
                    if event.HasField("audio_header"):
                        self._characters_narrated = 0
                        await audio.begin(event.audio_header.audio_id)
                    elif event.HasField("audio"):
                        await audio.add(event.audio.chunk)
                    self.line.erase()
                    self._show(event, stack)
                    self.line.update(client)
                    if player is not None:
                        await player.take(event)
                    if event.HasField("done"):
                        done = event.done.story
            for note in self._notes:
                click.echo(note, err=True)
            if done is None:
                raise RuntimeError("the events of a story end with `done`")
            await self._write(client, done, audio)
            code = self.report_end(done)
            self.is_over = True
            if player is not None:
                await player.finish()
        return code

    def report_end(self, story: common_pb2.Story) -> int:
        """Reports how the story ended, which files were written and what to do next; returns the exit code."""
        if self._json:
            click.echo(as_json(story))
        click.echo("", err=True)
        for file in self.files:
            click.echo(f"Wrote {file}", err=True)
        if self._has_new_audio(story):
            click.echo(f"Audio: {clock(audio_seconds(story.audio))} minutes.", err=True)
        old = self._before.problems if self._before is not None else ()
        problems = [each for each in story.problems if each not in old]
        for each in problems:
            click.echo(f"Problem: {typed(problem(each, story.id))}", err=True)
        code, message = self._ending(story, problems)
        if message:
            click.echo(typed(message), err=True)
        return code

    def _ending(self, story: common_pb2.Story, problems: Sequence[common_pb2.Problem]) -> tuple[int, str]:
        had_audio = self._before is not None and self._before.HasField("audio")
        permanent = bool(problems) and not problems[-1].retryable
        again = "After the problem is fixed, run" if permanent else "Try again:"
        match story.state:
            case common_pb2.STORY_STATE_READY if self._has_new_audio(story) or not had_audio:
                return 0, ""
            case common_pb2.STORY_STATE_READY:
                how = "failed" if problems else "was stopped"
                return WITHOUT_AUDIO, f"The new narration {how}. The earlier audio is unchanged."
            case common_pb2.STORY_STATE_READY_WITHOUT_AUDIO:
                step = _unless_known(f" {again} tale narrate {story.id}", story.id, problems)
                return WITHOUT_AUDIO, f"The text is stored, but it has no audio.{step}"
            case common_pb2.STORY_STATE_FAILED:
                final = bool(problems) and problems[-1].reason in _FINAL
                step = "" if final else _unless_known(f" {again} tale retry {story.id}", story.id, problems)
                return FAILED, f"The story is FAILED. What was written is stored.{step}"
            case _:
                return FAILED, standing(story)

    def _has_new_audio(self, story: common_pb2.Story) -> bool:
        before = self._before
        return story.HasField("audio") and (before is None or story.audio.audio_id != before.audio.audio_id)

    def _show(self, event: gateway_pb2.StoryEvent, stack: ExitStack) -> None:
        match event.WhichOneof("event"):
            case "title":
                self._print(heading(event.title.title))
            case "text":
                self._characters_shown += len(event.text.delta)
                self._words += len(event.text.delta.split())
                self._show_writing(stack)
                self._print(self._wrapper.feed(printable(event.text.delta)))
                self._check_text(stack)
            case "segment" if self._before is None or event.segment.audio_id != self._before.audio.audio_id:
                self._characters_narrated = max(self._characters_narrated, event.segment.segment.text.end)
                self._show_narration()
            case "state":
                self._characters_narrated = max(self._characters_narrated, event.state.progress.characters_narrated)
                self._words_expected = event.state.progress.words_expected
                self._set_waiting(event.state.progress)
                self._show_writing(stack)
                if event.state.state == common_pb2.STORY_STATE_NARRATING:
                    self._characters_written = event.state.progress.characters_written
                self._check_text(stack)
                self._show_narration()
            case "warning":
                self._note(event.warning)
            case "done":
                self.line.story = None
                if event.done.story.state in _TEXT_IS_COMPLETE and self._has_new_audio(event.done.story):
                    self._end_text(stack)
                    self._characters_narrated = self._characters_shown
                    self._show_narration()
                self._finish_line()
            case _:
                pass

    def _note(self, warning: common_pb2.Problem) -> None:
        # The state says for what the story waits, while it lasts.
        if not warning.reason.startswith("WAITING_FOR_"):
            self._remark(f"Note: {typed(problem(warning, self.story_id))}")

    def _remark(self, note: str) -> None:
        # Inside the text or a progress bar it would break a line, so it waits for the end.
        if self._characters_shown or self._writing is not None or self._narration is not None:
            self._notes.append(note)
        else:
            click.echo(note, err=True)

    def _line_break(self) -> str:
        return "" if self._mute or self._wrapper.at_line_start else "\n"

    def _show_writing(self, stack: ExitStack) -> None:
        if not self._json or not self._words_expected or self._narration is not None:
            return
        if self._writing is None:
            self._writing = stack.enter_context(self._bar("Written"))
        self._writing(self._words, self._words_expected)

    def _show_narration(self) -> None:
        if self._narration is not None:
            self._narration(min(self._characters_narrated, self._characters_shown), self._characters_shown)

    def _check_text(self, stack: ExitStack) -> None:
        # The state may arrive before the text that belongs to it.
        if self._characters_written is not None and self._characters_shown >= self._characters_written:
            self._end_text(stack)

    def _end_text(self, stack: ExitStack) -> None:
        self._finish_line()
        if self._narration is None:
            if self._writing is not None:
                self._writing(1, 1)
                stack.close()
            self._narration = stack.enter_context(self._bar("Narrated"))

    def _set_waiting(self, progress: common_pb2.StoryProgress) -> None:
        # A narration that waits beside a text that is being shown would break its lines.
        beside = progress.waiting.narration and self._narration is None and not self._mute
        self.line.story = progress.waiting if progress.HasField("waiting") and not beside else None

    def _bar(self, what: str) -> AbstractContextManager[Progress]:
        # The bar has the last line of the terminal.
        self.line.in_place = False
        return progress(what)

    def _finish_line(self) -> None:
        rest = self._wrapper.flush()
        self._print(rest if self._wrapper.at_line_start else f"{rest}{self._wrapper.feed(chr(10))}")

    def _print(self, text: str) -> None:
        if not text or self._mute:
            return
        try:
            click.echo(text, nl=False)
        except BrokenPipeError:
            # The reader, such as `head`, has closed the pipe; the files are still wanted.
            self._mute = True
            discard_output()

    async def _write(self, client: AsyncTaleClient, story: common_pb2.Story, audio: AudioDraft) -> None:
        if not story.title and not story.content:
            return
        document = await self._folder.write_text(story)
        self.files.append(document)
        if self._has_new_audio(story):
            place = document.with_suffix(audio_suffix(story.audio))
            if not await audio.commit(story.audio, place):
                await client.save_audio(story.id, place, audio_id=story.audio.audio_id)
            self.files.append(place)


def _unless_known(step: str, story_id: str, problems: Sequence[common_pb2.Problem]) -> str:
    """Returns `step`, or "" if a problem has named its command already."""
    command = step.partition("tale ")[2]
    return "" if any(command in problem(each, story_id) for each in problems) else step


def heading(title: str) -> str:
    """Returns a title with a line under it."""
    shown = one_line(title) or "(no title yet)"
    return f"{click.style(shown, bold=True)}\n{'=' * min(len(shown), width())}\n\n"


def standing(story: common_pb2.Story) -> str:
    """Returns the state of a story that is neither ready nor failed, and what can be done with it."""
    said = f"The story is {state_name(story.state)}. What was written is stored."
    return f"{said} {cancelled(story)}" if story.state == common_pb2.STORY_STATE_CANCELLED else said


def cancelled(story: common_pb2.Story) -> str:
    """Returns what can be done with a cancelled story."""
    return f"A cancelled story cannot continue. Read it: tale show {story.id}. Delete it: tale delete {story.id}"


def interrupted(story_id: str, request_id: str = "") -> list[str]:
    """Returns what to print when the user stops following a story."""
    if story_id:
        return [
            "",
            f"The story is still being made. Follow it: tale watch {story_id}",
            f"Stop it: tale cancel {story_id}",
        ]
    if request_id:
        found = f"If the gateway accepted the story, the same command with --request-id {request_id} finds it."
        return ["", f"Interrupted. {found}"]
    return ["", "Interrupted."]
