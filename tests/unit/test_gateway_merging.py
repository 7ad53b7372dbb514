"""Two checkpoints of one story, merged, have the same effect as both in turn."""

from gateway.runs.checkpointer import merge
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

Checkpoint = storage_pb2.StoryCheckpoint
STARTED, DONE = common_pb2.ATTEMPT_OUTCOME_STARTED, common_pb2.ATTEMPT_OUTCOME_SUCCEEDED


def attempt(name: str, outcome: common_pb2.AttemptOutcome.ValueType) -> common_pb2.Attempt:
    return common_pb2.Attempt(attempt_id=name, outcome=outcome)


def test_text_that_follows_text_is_joined() -> None:
    """With the offset of the first, in code points."""
    into = Checkpoint(text=storage_pb2.TextAppend(offset=5, text="Ы—"))
    assert merge(into, Checkpoint(text=storage_pb2.TextAppend(offset=7, text="x"), content_complete=True))
    assert into == Checkpoint(text=storage_pb2.TextAppend(offset=5, text="Ы—x"), content_complete=True)


def test_text_that_does_not_follow_stays_apart() -> None:
    """And nothing is changed."""
    into = Checkpoint(text=storage_pb2.TextAppend(offset=5, text="ab"))
    assert not merge(into, Checkpoint(text=storage_pb2.TextAppend(offset=8, text="x")))
    assert into == Checkpoint(text=storage_pb2.TextAppend(offset=5, text="ab"))


def test_only_time_that_was_all_waiting_is_no_work() -> None:
    """One that works, on either side, makes it work."""
    for first, second in ((True, True), (True, False), (False, True)):
        into = Checkpoint(waiting=first)
        assert merge(into, Checkpoint(waiting=second))
        assert (first and second) == into.waiting


def test_later_state_and_the_later_line_of_the_ledger_count() -> None:
    """Each attempt is in it once."""
    into = Checkpoint(state=common_pb2.STORY_STATE_WRITING, attempts=[attempt("a", STARTED), attempt("b", STARTED)])
    assert merge(into, Checkpoint(state=common_pb2.STORY_STATE_NARRATING, attempts=[attempt("a", DONE)]))
    assert into.state == common_pb2.STORY_STATE_NARRATING
    assert {line.attempt_id: line.outcome for line in into.attempts} == {"b": STARTED, "a": DONE}
    assert len(into.attempts) == 2


def test_segments_follow_their_header_but_another_narration_stays_apart() -> None:
    """One checkpoint has one narration."""
    header = common_pb2.NarrationHeader(audio_id="a")
    into = Checkpoint(narration=header, segments=[common_pb2.Segment(index=0)])
    assert merge(into, Checkpoint(segments=[common_pb2.Segment(index=1)]))
    assert [segment.index for segment in into.segments] == [0, 1]
    assert not merge(into, Checkpoint(narration=common_pb2.NarrationHeader(audio_id="b")))


def test_later_outline_replaces_the_earlier_one() -> None:
    """Its scenes are not added to those before."""
    one, two = (
        Checkpoint(outline=common_pb2.StoryOutline(title="T", scenes=[common_pb2.OutlineScene(words=words)]))
        for words in (1, 2)
    )
    assert merge(one, two)
    assert two.outline == one.outline


def test_later_generation_record_replaces_the_earlier_one() -> None:
    """It has all that the earlier one has: nothing is added up."""
    one = Checkpoint(generation=storage_pb2.GenerationRecord(model_used="m"))
    one.generation.full_response.add()
    two = Checkpoint(generation=storage_pb2.GenerationRecord(model_used="n"))
    for _ in range(2):
        two.generation.full_response.add()
    assert merge(one, two)
    assert two.generation == one.generation
