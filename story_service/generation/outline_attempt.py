"""A call to a chat model that plans the scenes of a story behind the first one."""

from collections.abc import Iterator
from dataclasses import replace

from offline_writer import Outline
from story_service.answer.outline import read_outline, shared_out
from story_service.assignment import Assignment
from story_service.chat import ChatEnded, ChatEvent
from story_service.generation.model_answer import CallFacts, ModelAnswer
from story_service.passage import scenes_of
from story_service.ports import AttemptEnded, Missing


class OutlineAttempt(ModelAnswer):
    """Reads the outline, and records the call for the ledger. No answer is wrong: without a plan, scenes are equal."""

    def __init__(self, facts: CallFacts, assignment: Assignment) -> None:
        super().__init__(facts)
        self._assignment = assignment

    def _taken(self, event: ChatEvent) -> Iterator[Outline]:
        if not isinstance(event, ChatEnded):
            return
        assignment, passage = self._assignment, self._assignment.passage
        told, most = assignment.outline or Outline(), scenes_of(assignment.length_minutes) - 1
        planned = shared_out(read_outline(self.raw_text), most=most, words=passage.words)
        yield replace(
            told,
            setting=planned.setting or told.setting,
            companion=planned.companion,
            gift=planned.gift,
            scenes=(replace(assignment.scenes[0], end=passage.start), *planned.scenes),
        )
        self._end = AttemptEnded("", missing=Missing.SCENE)
