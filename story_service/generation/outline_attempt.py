"""A call to a chat model that plans a story."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from offline_writer import Outline, Scene
from servicekit.languages import LanguageDetector
from story_service.answer.outline import read_outline, shared_out
from story_service.assignment import Assignment
from story_service.chat import ChatEnded, ChatEvent
from story_service.generation.model_answer import ModelAnswer
from story_service.generation.opening import OpeningGuard, RefusedError
from story_service.passage import scenes_of, words_of
from story_service.ports import AttemptEnded, AttemptTitle, Missing


class OutlineAttempt(ModelAnswer):
    """Reads the outline, and records the call for the ledger. No answer is wrong: without a plan, scenes are equal."""

    def __init__(
        self,
        assignment: Assignment,
        *,
        model: str,
        provider: str,
        start_time: datetime,
        free: bool = False,
        languages: LanguageDetector | None = None,
    ) -> None:
        """Its outline holds the plot, the place and the mood that the model was asked to use."""
        super().__init__(model=model, provider=provider, start_time=start_time, free=free)
        self._assignment = assignment
        self._drawn = assignment.outline or Outline()
        self._opening = OpeningGuard(assignment, languages)

    def _taken(self, event: ChatEvent) -> Iterator[AttemptTitle | Outline]:
        if not isinstance(event, ChatEnded):
            return
        words, most = words_of(self._assignment.length_minutes), scenes_of(self._assignment.length_minutes)
        read = read_outline(self.raw_text)
        planned = shared_out(read, most=most, words=words) if read is not None else None
        if planned is None:
            planned = Outline(scenes=(Scene(words=round(words / most)),) * most)
        outline = replace(
            planned,
            setting=planned.setting or self._drawn.setting,
            plot_shape=self._drawn.plot_shape,
            mood=self._drawn.mood,
        )
        yield outline
        if outline.title and not self._assignment.title_so_far and self._may_be_title(outline.title):
            yield AttemptTitle(outline.title)
        self._end = AttemptEnded("", missing=Missing.SCENE)

    def _may_be_title(self, title: str) -> bool:
        try:
            return self._opening.title(title)
        except RefusedError:
            return False
