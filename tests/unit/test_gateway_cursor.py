"""The cursor of a watcher: it emits every unit once and in order, in whatever steps the story grows."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.runs.live_story import End, LiveStory
from gateway.watch.cursor import CHUNK_BYTES, Cursor
from servicekit.errors import DomainError
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

Response = gateway_pb2.WatchStoryResponse
Request = gateway_pb2.WatchStoryRequest


def cursor(*, text_offset: int = 0, audio_id: str = "", audio_offset: int = 0) -> Cursor[Response]:
    """A cursor of the story "s"."""
    return Cursor(Response, "s", Request(text_offset=text_offset, audio_id=audio_id, audio_offset=audio_offset))


def live(**story: object) -> LiveStory:
    """The live story "s"."""
    return LiveStory(common_pb2.Story(id="s", **story))  # type: ignore[arg-type]


def narrated(audio_id: str, *ends: int) -> LiveStory:
    """A live story whose segments end at these bytes."""
    it = live()
    it.begin_audio(common_pb2.NarrationHeader(audio_id=audio_id))
    it.add_segments(
        common_pb2.Segment(index=index, audio=common_pb2.Span(start=start, end=end))
        for index, (start, end) in enumerate(pairwise((0, *ends)))
    )
    return it


def shown(watcher: Cursor[Response], it: LiveStory, *, beat: bool = False) -> list[gateway_pb2.StoryEvent]:
    """The events that are new, without the state."""
    events = [response.event for response in watcher.released(it, beat=beat)]
    return [event for event in events if event.WhichOneof("event") != "state"]


def test_wait_is_shown_while_it_lasts_and_again_after_progress() -> None:
    """A watcher that comes later does not hear of a wait that is over."""

    def waits(**progress: str) -> common_pb2.Problem:
        return common_pb2.Problem(reason="WAITING_FOR_PROVIDER", metadata=progress)

    it, watcher = live(), cursor()
    it.warn(waits(text_length="0"))
    assert ["warning"] == [event.WhichOneof("event") for event in shown(watcher, it)]
    assert [] == shown(watcher, it)
    it.add_text(title="T", text="once")
    assert {"title", "text"} == {event.WhichOneof("event") for event in shown(cursor(), it)}
    it.warn(waits(text_length="4"))
    assert ["text", "title", "warning"] == sorted(str(each.WhichOneof("event")) for each in shown(watcher, it))
    it.complete_text()
    it.begin_audio(common_pb2.NarrationHeader(audio_id="a"))
    it.warn(waits(audio_id="a", segment_count="0"))
    assert ["audio_header", "warning"] == sorted(str(each.WhichOneof("event")) for each in shown(watcher, it))
    it.add_segments([common_pb2.Segment(index=0)])
    assert "warning" not in {event.WhichOneof("event") for event in shown(cursor(), it)}


@given(st.text(max_size=60), st.data())
def test_text_is_shown_once_however_it_grows(text: str, data: st.DataObject) -> None:
    """From the offset that the watcher brought to the end, without gap or repetition."""
    text = text.encode("utf-8", "ignore").decode()
    start = data.draw(st.integers(0, len(text)))
    watcher = cursor(text_offset=start)
    seen, at = "", start
    for end in [*sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5))), len(text)]:
        for event in shown(watcher, live(content=text[:end])):
            assert at == event.text.offset
            seen += event.text.delta
            at += len(event.text.delta)
    assert text[start:] == seen


@pytest.mark.parametrize("known", ["text", "end"])
def test_offset_beyond_the_end_is_an_error_once_the_end_is_known(known: str) -> None:
    """While the story grows it may still be right."""
    watcher, it = cursor(text_offset=10), live(content="short")
    assert shown(watcher, it) == []
    if known == "text":
        it.complete_text()
    else:
        it.finish(End.DONE, common_pb2.Story())
    with pytest.raises(DomainError, match="text_offset"):
        shown(watcher, it)


def test_header_comes_before_its_segments_and_once() -> None:
    """And each segment once."""
    watcher = cursor()
    first = [event.WhichOneof("event") for event in shown(watcher, narrated("a", 10))]
    second = [event.WhichOneof("event") for event in shown(watcher, narrated("a", 10, 20))]
    assert first == ["audio_header", "segment"]
    assert second == ["segment"]


def test_resuming_watcher_gets_the_segments_that_it_has_not_heard() -> None:
    """Those that end at or before its byte it has seen."""
    watcher = cursor(audio_id="a", audio_offset=10)
    events = shown(watcher, narrated("a", 10, 20, 30))
    assert [event.segment.segment.index for event in events if event.WhichOneof("event") == "segment"] == [1, 2]
    assert [response.event.audio.offset for response in watcher.audio(b"x")] == [10]


def test_another_narration_begins_at_byte_0() -> None:
    """Never a silent switch: the header with the new id comes first."""
    watcher = cursor(audio_id="old", audio_offset=10)
    events = shown(watcher, narrated("new", 5))
    assert [event.WhichOneof("event") for event in events] == ["audio_header", "segment"]
    audio = [response.event.audio for response in watcher.audio(b"x")]
    assert [(each.audio_id, each.offset) for each in audio] == [("new", 0)]


def test_audio_is_sent_in_chunks_of_64_kib() -> None:
    """With offsets that follow each other."""
    watcher = cursor(audio_id="a")
    events = [response.event.audio for response in watcher.audio(bytes(CHUNK_BYTES + 1))]
    assert [(event.offset, len(event.chunk)) for event in events] == [(0, CHUNK_BYTES), (CHUNK_BYTES, 1)]


def test_state_is_shown_when_it_changes_and_as_the_heartbeat() -> None:
    """Not otherwise."""
    watcher, it = cursor(), live(state=common_pb2.STORY_STATE_WRITING)
    counts = [len(list(watcher.released(it, beat=beat))) for beat in (False, False, True)]
    it.set_state(common_pb2.STORY_STATE_NARRATING)
    (last,) = watcher.released(it, beat=False)
    assert counts == [1, 0, 1]
    assert last.event.state.state == common_pb2.STORY_STATE_NARRATING


def test_warning_is_shown_once_even_if_another_run_repeats_it() -> None:
    """By what it says, not by its place."""
    watcher = cursor()
    one, other = common_pb2.Problem(reason="A"), common_pb2.Problem(reason="B")
    seen = []
    for problems in ([one], [other], [one, other]):
        it = live()
        for problem in problems:
            it.warn(problem)
        seen.append([event.warning for event in shown(watcher, it)])
    assert seen == [[one], [other], []]


def test_last_event_has_the_story() -> None:
    """`done` carries it."""
    story = common_pb2.Story(id="s", content="c")
    event = gateway_pb2.StoryEvent(story_id="s", done=gateway_pb2.DoneEvent(story=story))
    assert event == cursor().done(story).event


@pytest.mark.parametrize(("offset", "span"), [(0, (0, 10)), (9, (0, 10)), (10, (10, 30)), (29, (10, 30)), (30, None)])
def test_audio_span_is_the_segment_with_the_byte(offset: int, span: tuple[int, int] | None) -> None:
    """None where the manifest ends before it."""
    assert narrated("a", 10, 30).audio_span(offset) == span
