"""What a checkpoint brings is judged against what is stored."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.ids import new_id
from standins.storage_kit import checkpoint, speech
from storage_service.records import Digest
from storage_service.stories import states
from storage_service.stories.checkpoints import MAX_CONTENT, CheckpointRefused, RunFacts, check_token, judge
from tale.common.v1 import common_pb2

STORY = new_id()
NARRATION = new_id()
SPOKEN = speech([10, 10, 10, 10])
OTHER = speech([10, 10, 10, 10], "other")
FACTS = RunFacts(
    state=states.WRITING,
    lease_token=3,
    leased=True,
    narrate=True,
    title="The Sleepless Dragon",
    content_length=5,
    content_complete=False,
    narration_audio_id=NARRATION,
    segment_count=2,
    text_end=10,
    audio_end=20,
    stored_audio_id="",
)


class Pieces:
    """What is stored of a story whose content is "Once " and whose manifest has two segments."""

    def __init__(self, content: str = "Once ") -> None:
        self._content = content

    def text(self, start: int, end: int) -> str:
        """A part of the content."""
        return self._content[start:end]

    def manifest_segment(self, index: int) -> tuple[str, bytes] | None:
        """Key and hash of a segment of the manifest."""
        return SPOKEN[index].place.key, SPOKEN[index].place.sha256

    def stored_segment(self, key: str) -> Digest | None:
        """What the segment store has."""
        stored = {one.stored.key: one.stored for one in (*SPOKEN, *OTHER)}.get(key)
        return None if stored is None else Digest(stored.size_bytes, stored.sha256)


def segment(index: int, seed: str = "", **changes: object) -> common_pb2.Segment:
    """A segment of a manifest."""
    place = common_pb2.Segment()
    place.CopyFrom((OTHER if seed else SPOKEN)[index].place)
    place.MergeFrom(common_pb2.Segment(**changes))  # type: ignore[arg-type]
    return place


def refused(facts: RunFacts, **changes: object) -> str:
    """The reason for which a checkpoint is refused."""
    with pytest.raises(CheckpointRefused) as caught:
        judge(facts, checkpoint(STORY, **{"token": 3, **changes}), Pieces())  # type: ignore[arg-type]
    return caught.value.reason


def test_new_text_is_what_lies_beyond_the_kept() -> None:
    """Text that overlaps what is stored adds only the rest."""
    assert "upon" == judge(FACTS, checkpoint(STORY, 3, text=(2, "ce upon")), Pieces()).text


def test_a_repeated_checkpoint_is_no_progress() -> None:
    """A checkpoint that brings nothing but what is stored changes nothing."""
    again = checkpoint(
        STORY,
        3,
        state=states.WRITING,
        title=FACTS.title,
        text=(0, "Once "),
        narration=common_pb2.NarrationHeader(audio_id=NARRATION),
        segments=[segment(0), segment(1)],
    )
    advance = judge(FACTS, again, Pieces())
    assert (False, "", "", None, []) == (
        advance.progress,
        advance.text,
        advance.title,
        advance.narration,
        list(advance.segments),
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text": (6, "upon")}, "CHECKPOINT_CONFLICT"),
        ({"text": (0, "Twice")}, "CHECKPOINT_CONFLICT"),
        ({"text": (5, "x" * (MAX_CONTENT - 4))}, "TEXT_TOO_LONG"),
        ({"title": "Another"}, "CHECKPOINT_CONFLICT"),
        ({"segments": [segment(3)]}, "CHECKPOINT_CONFLICT"),
        ({"segments": [segment(1, "other")]}, "CHECKPOINT_CONFLICT"),
        ({"segments": [segment(2), segment(2, "other")]}, "CHECKPOINT_CONFLICT"),
        ({"segments": [segment(2, key="0" * 64)]}, "CHECKPOINT_CONFLICT"),
        ({"segments": [segment(2, sha256=bytes(31) + b"x")]}, "CHECKPOINT_CONFLICT"),
        ({"segments": [segment(2, text=common_pb2.Span(start=11))]}, "CHECKPOINT_CONFLICT"),
        ({"segments": [segment(2, audio=common_pb2.Span(start=21))]}, "CHECKPOINT_CONFLICT"),
        ({"segments": [segment(2, audio=common_pb2.Span(end=31))]}, "CHECKPOINT_CONFLICT"),
        ({"segments": [segment(2), segment(3, audio=common_pb2.Span(start=31))]}, "CHECKPOINT_CONFLICT"),
        ({"state": states.CANCELLED}, "WRONG_STATE"),
        ({"state": states.NARRATING}, "WRONG_STATE"),
        ({"state": states.READY, "content_complete": True}, "WRONG_STATE"),
        ({"token": 2}, "LEASE_LOST"),
        ({"token": 4}, "LEASE_LOST"),
    ],
)
def test_what_can_not_be_kept_is_refused(changes: dict[str, object], reason: str) -> None:
    """Gaps, disagreements, states too early and foreign tokens each have their reason."""
    assert reason == refused(FACTS, **changes)


def test_the_longest_story_fits() -> None:
    """Text may reach the limit exactly."""
    advance = judge(FACTS, checkpoint(STORY, 3, text=(5, "x" * (MAX_CONTENT - 5))), Pieces())
    assert MAX_CONTENT == FACTS.content_length + len(advance.text)


def test_length_counts_code_points() -> None:
    """A character beyond the basic plane counts once."""
    assert "🐉🐉" == judge(FACTS, checkpoint(STORY, 3, text=(5, "🐉🐉")), Pieces()).text


def test_whole_text_takes_no_more() -> None:
    """Nothing follows text that was said to be whole."""
    whole = dataclasses.replace(FACTS, content_complete=True)
    assert "CHECKPOINT_CONFLICT" == refused(whole, text=(5, "more"))


def test_another_audio_id_begins_a_new_manifest() -> None:
    """Segments count from 0 again in a new manifest."""
    header = common_pb2.NarrationHeader(audio_id=new_id())
    advance = judge(FACTS, checkpoint(STORY, 3, narration=header, segments=[segment(0, "new")]), Pieces())
    assert (header, [segment(0, "new")]) == (advance.narration, list(advance.segments))


def test_the_first_header_of_a_manifest_is_pinned() -> None:
    """Another header under the same audio id replaces nothing."""
    header = common_pb2.NarrationHeader(audio_id=NARRATION, provider="another")
    assert judge(FACTS, checkpoint(STORY, 3, narration=header), Pieces()).narration is None


def test_segments_need_a_narration() -> None:
    """A segment before any header belongs nowhere."""
    silent = dataclasses.replace(FACTS, narration_audio_id="", segment_count=0)
    assert "CHECKPOINT_CONFLICT" == refused(silent, segments=[segment(0)])


def test_a_narration_cannot_take_the_id_of_kept_audio() -> None:
    """After a new narration was asked for, the old audio keeps its id to itself."""
    kept = dataclasses.replace(FACTS, narration_audio_id="", segment_count=0, stored_audio_id=NARRATION)
    assert "CHECKPOINT_CONFLICT" == refused(kept, narration=common_pb2.NarrationHeader(audio_id=NARRATION))


def test_writing_does_not_follow_narrating() -> None:
    """A state never goes back."""
    narrating = dataclasses.replace(FACTS, state=states.NARRATING, content_complete=True)
    assert "WRONG_STATE" == refused(narrating, state=states.WRITING)


def test_ready_without_audio_needs_none() -> None:
    """A story that was not to be told aloud is ready with its text."""
    silent = dataclasses.replace(FACTS, narrate=False)
    advance = judge(silent, checkpoint(STORY, 3, state=states.READY, content_complete=True), Pieces())
    assert states.READY == advance.state


def test_a_story_with_audio_does_not_end_without_it() -> None:
    """The answer of FinishAudio was lost: the next run finds the audio."""
    whole = dataclasses.replace(FACTS, state=states.NARRATING, content_complete=True, stored_audio_id=NARRATION)
    with pytest.raises(CheckpointRefused, match="WRONG_STATE"):
        judge(whole, checkpoint(STORY, 3, state=states.READY_WITHOUT_AUDIO), Pieces())


def test_the_checkpoint_that_ended_the_story_can_be_repeated() -> None:
    """The same end once more is no error, though the lease is gone."""
    ended = dataclasses.replace(FACTS, state=states.FAILED, leased=False)
    assert not judge(ended, checkpoint(STORY, 3, state=states.FAILED, text=(0, "Once ")), Pieces()).progress


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": states.FAILED, "text": (5, "upon")}, "WRONG_STATE"),
        ({"state": states.READY}, "WRONG_STATE"),
        ({"text": (0, "Once ")}, "WRONG_STATE"),
        ({"state": states.FAILED, "token": 2}, "LEASE_LOST"),
    ],
)
def test_an_ended_story_takes_nothing_else(changes: dict[str, object], reason: str) -> None:
    """After the end only the end itself may come again."""
    assert reason == refused(dataclasses.replace(FACTS, state=states.FAILED, leased=False), **changes)


def test_a_token_without_a_lease_is_lost() -> None:
    """A lease that was given back is not valid any more, even by its own token."""
    with pytest.raises(CheckpointRefused, match="LEASE_LOST"):
        check_token(dataclasses.replace(FACTS, leased=False), 3)


@given(st.text(min_size=1, max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=20))
def test_any_overlapping_pieces_give_the_same_text(content: str, pieces: list[tuple[int, int]]) -> None:
    """Whatever pieces of a text come, in whatever order and however often, what is stored is a prefix of it."""
    kept = ""
    for start, length in [*pieces, (0, len(content))]:
        facts = dataclasses.replace(FACTS, content_length=len(kept))
        piece = checkpoint(STORY, 3, text=(start, content[start : start + length]))
        try:
            kept += judge(facts, piece, Pieces(kept)).text
        except CheckpointRefused:
            assert start > len(kept)
        assert content.startswith(kept)
    assert content == kept
