"""A wait for a provider stands on the record only while it lasts."""

import pytest

from storage_service.messages import add_facts
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

WRITING, NARRATING = common_pb2.STORY_STATE_WRITING, common_pb2.STORY_STATE_NARRATING


def standing(state: "common_pb2.StoryState.ValueType", **changes: object) -> list[str]:
    """The reasons on a record with a wait of each kind, at the beginning of the story and of its narration "a"."""
    story = common_pb2.Story(state=state, content=str(changes.get("text", "")))
    story.content_complete = bool(changes.get("complete"))
    run = storage_pb2.RunRecord(lease_token=3)
    run.narration.audio_id = "a"
    run.segments.extend(common_pb2.Segment() for _ in str(changes.get("segments", "")))
    if changes.get("audio"):
        story.audio.audio_id = str(changes["audio"])
    run_id = str(changes.get("run", 3))
    story.problems.add(reason="WAITING_FOR_PROVIDER", metadata={"run": run_id, "text_length": "0"})
    waits = {"run": run_id, "segment_count": "0", "audio_id": "a"}
    story.problems.add(reason="WAITING_FOR_PLACE", metadata=waits)
    story.problems.add(reason="MODEL_FALLBACK")
    record = add_facts(storage_pb2.StoryRecord(story=story, run=run))
    return [problem.reason.removeprefix("WAITING_FOR_") for problem in record.story.problems]


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, ["PROVIDER", "PLACE"]),
        ({"text": "Once"}, ["PLACE"]),
        ({"complete": True}, ["PLACE"]),
        ({"segments": "1"}, ["PROVIDER"]),
        ({"audio": "a"}, ["PROVIDER"]),
        ({"run": 2}, []),
    ],
)
def test_wait_ends_with_progress_and_with_its_run(changes: dict[str, object], reasons: list[str]) -> None:
    """Text ends that of the writer, a segment or the audio that of the narration; other problems stay."""
    assert [*reasons, "MODEL_FALLBACK"] == standing(WRITING, **changes)


@pytest.mark.parametrize("state", [value for value in common_pb2.StoryState.values() if value > NARRATING])
def test_ended_story_waits_for_nothing(state: "common_pb2.StoryState.ValueType") -> None:
    """Whatever the end."""
    assert ["MODEL_FALLBACK"] == standing(state)
