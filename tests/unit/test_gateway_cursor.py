"""A watcher's cursor: whatever it is shown in whatever steps, it emits every unit once and in order."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cursor import CHUNK_BYTES, Cursor
from servicekit.errors import DomainError
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2


def cursor(*, text_offset: int = 0, audio_id: str = "", audio_offset: int = 0) -> Cursor:
    """A cursor of the story "s"."""
    return Cursor("s", text_offset=text_offset, audio_id=audio_id, audio_offset=audio_offset)


def segments(*ends: int) -> list[common_pb2.Segment]:
    """Segments whose audio ends at `ends`."""
    return [
        common_pb2.Segment(index=index, audio=common_pb2.Span(start=start, end=end))
        for index, (start, end) in enumerate(pairwise((0, *ends)))
    ]


@given(st.text(max_size=60), st.data())
def test_text_is_shown_once_however_it_grows(text: str, data: st.DataObject) -> None:
    """From the offset that the watcher brought to the end, without gap or repetition."""
    text = text.encode("utf-8", "ignore").decode()
    start = data.draw(st.integers(0, len(text)))
    watcher = cursor(text_offset=start)
    shown, at = "", start
    for end in sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5))):
        for event in watcher.text(text[:end], final=False):
            assert at == event.text.offset
            shown += event.text.delta
            at += len(event.text.delta)
    shown += "".join(event.text.delta for event in watcher.text(text, final=True))
    assert text[start:] == shown


def test_an_offset_beyond_the_end_is_an_error_once_the_end_is_known() -> None:
    """While the story grows it may still be right."""
    watcher = cursor(text_offset=10)
    assert list(watcher.text("short", final=False)) == []
    with pytest.raises(DomainError, match="text_offset"):
        list(watcher.text("short", final=True))


def test_the_header_comes_before_its_segments_and_once() -> None:
    """And each segment once."""
    watcher, header = cursor(), common_pb2.NarrationHeader(audio_id="a")
    first = [event.WhichOneof("event") for event in watcher.narration(header, segments(10))]
    second = [event.WhichOneof("event") for event in watcher.narration(header, segments(10, 20))]
    assert (first, second) == (["audio_header", "segment"], ["segment"])


def test_who_comes_back_gets_the_segments_that_it_has_not_heard() -> None:
    """Those that end at or before its byte it has seen."""
    watcher = cursor(audio_id="a", audio_offset=10)
    events = list(watcher.narration(common_pb2.NarrationHeader(audio_id="a"), segments(10, 20, 30)))
    assert [event.segment.segment.index for event in events if event.WhichOneof("event") == "segment"] == [1, 2]
    assert [event.audio.offset for event in watcher.audio(b"x")] == [10]


def test_another_narration_begins_at_byte_0() -> None:
    """Never a silent switch: the header with the new id comes first."""
    watcher = cursor(audio_id="old", audio_offset=10)
    events = list(watcher.narration(common_pb2.NarrationHeader(audio_id="new"), segments(5)))
    assert [event.WhichOneof("event") for event in events] == ["audio_header", "segment"]
    assert [(event.audio.audio_id, event.audio.offset) for event in watcher.audio(b"x")] == [("new", 0)]


def test_audio_travels_in_chunks_of_64_kib() -> None:
    """With offsets that follow each other."""
    watcher = cursor(audio_id="a")
    events = [event.audio for event in watcher.audio(bytes(CHUNK_BYTES + 1))]
    assert [(event.offset, len(event.chunk)) for event in events] == [(0, CHUNK_BYTES), (CHUNK_BYTES, 1)]


def test_a_state_is_shown_when_it_changes_and_as_the_heartbeat() -> None:
    """Not otherwise."""
    watcher, progress = cursor(), common_pb2.StoryProgress()
    writing, narrating = common_pb2.STORY_STATE_WRITING, common_pb2.STORY_STATE_NARRATING
    counts = [
        len(list(watcher.state(state, progress, beat=beat)))
        for state, beat in ((writing, False), (writing, False), (writing, True), (narrating, False))
    ]
    assert counts == [1, 0, 1, 1]


def test_a_warning_is_shown_once_though_another_run_counts_anew() -> None:
    """By what it says, not by its place."""
    watcher = cursor()
    one, other = common_pb2.Problem(reason="A"), common_pb2.Problem(reason="B")
    assert [one] == [event.warning for event in watcher.warnings([one])]
    assert [other] == [event.warning for event in watcher.warnings([other])]
    assert [] == list(watcher.warnings([one, other]))


def test_the_end_is_the_whole_story() -> None:
    """`done` carries it."""
    story = common_pb2.Story(id="s", content="c")
    assert gateway_pb2.StoryEvent(story_id="s", done=gateway_pb2.DoneEvent(story=story)) == cursor().done(story)
