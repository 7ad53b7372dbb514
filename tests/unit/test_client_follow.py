"""The position in a story that a client follows."""

import hashlib
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.errors import TaleError
from tale_client.follow import Follower, StreamBrokenError

ID = "0197a5a0-0000-7000-8000-000000000001"


def text(offset: int, delta: str) -> gateway_pb2.StoryEvent:
    return gateway_pb2.StoryEvent(story_id=ID, text=gateway_pb2.TextEvent(offset=offset, delta=delta))


def audio(offset: int, chunk: bytes, audio_id: str = "a") -> gateway_pb2.StoryEvent:
    return gateway_pb2.StoryEvent(
        story_id=ID, audio=gateway_pb2.AudioEvent(audio_id=audio_id, offset=offset, chunk=chunk)
    )


def header(audio_id: str = "a") -> gateway_pb2.StoryEvent:
    return gateway_pb2.StoryEvent(story_id=ID, audio_header=common_pb2.NarrationHeader(audio_id=audio_id))


def title(words: str = "The Owl") -> gateway_pb2.StoryEvent:
    return gateway_pb2.StoryEvent(story_id=ID, title=gateway_pb2.TitleEvent(title=words))


def segment(index: int, audio_id: str = "a") -> gateway_pb2.StoryEvent:
    return gateway_pb2.StoryEvent(
        story_id=ID, segment=gateway_pb2.SegmentEvent(audio_id=audio_id, segment=common_pb2.Segment(index=index))
    )


def state(words: int) -> gateway_pb2.StoryEvent:
    progress = common_pb2.StoryProgress(words_written=words)
    return gateway_pb2.StoryEvent(
        story_id=ID, state=gateway_pb2.StateEvent(state=common_pb2.STORY_STATE_WRITING, progress=progress)
    )


def done(content: str, sound: bytes | None = None, audio_id: str = "a") -> gateway_pb2.StoryEvent:
    story = common_pb2.Story(id=ID, state=common_pb2.STORY_STATE_READY, title="The Owl", content=content)
    if sound is not None:
        story.audio.audio_id = audio_id
        story.audio.size_bytes = len(sound)
        story.audio.sha256 = hashlib.sha256(sound).digest()
    return gateway_pb2.StoryEvent(story_id=ID, done=gateway_pb2.DoneEvent(story=story))


def connection(follower: Follower, content: str, sound: bytes, step: int) -> Iterator[gateway_pb2.StoryEvent]:
    """Returns what a gateway sends from the position of `follower`, in pieces of `step`."""
    yield state(0)
    yield title()
    start = follower.audio_offset if follower.audio_id == "a" else 0
    yield header()
    # A server may start a little before the requested offset.
    at_text, at_audio = max(0, follower.text_offset - 2), max(0, start - 2)
    while at_text < len(content) or at_audio < len(sound):
        if piece := content[at_text : at_text + step]:
            yield text(at_text, piece)
        if chunk := sound[at_audio : at_audio + step]:
            yield audio(at_audio, chunk)
        at_text, at_audio = at_text + step, at_audio + step
    yield done(content, sound)


@given(
    content=st.text(max_size=60),
    sound=st.binary(max_size=60),
    cuts=st.lists(st.integers(0, 30), max_size=12),
    step=st.integers(1, 20),
)
def test_any_cuts_give_the_same_text_and_audio(content: str, sound: bytes, cuts: list[int], step: int) -> None:
    """Every code point and byte is passed on once, in order, wherever the connection is cut."""
    follower = Follower(include_audio=True)
    shown: list[gateway_pb2.StoryEvent] = []
    for cut in [*cuts, None]:
        for number, event in enumerate(connection(follower, content, sound, step)):
            if number == cut or follower.done:
                break
            shown += follower.accept(event)[0]

    kinds = [event.WhichOneof("event") for event in shown]
    assert content == "".join(event.text.delta for event in shown)
    assert sound == b"".join(event.audio.chunk for event in shown)
    assert 1 == kinds.count("title") == kinds.count("audio_header") == kinds.count("done")
    assert "done" == kinds[-1]


def test_gap_in_the_text_breaks_the_stream() -> None:
    """Text after a gap is not passed on."""
    follower = Follower(include_audio=False)
    follower.accept(text(0, "One."))
    with pytest.raises(StreamBrokenError):
        follower.accept(text(5, "Three."))
    assert 4 == follower.text_offset


def test_gap_in_the_audio_breaks_the_stream() -> None:
    """Audio after a gap is not passed on."""
    follower = Follower(include_audio=True)
    follower.accept(header())
    with pytest.raises(StreamBrokenError):
        follower.accept(audio(1, b"x"))


@pytest.mark.parametrize("event", [audio(0, b"x"), segment(0)])
def test_audio_without_a_header_breaks_the_stream(event: gateway_pb2.StoryEvent) -> None:
    """Bytes and segments of audio without a header are not passed on."""
    follower = Follower(include_audio=True)
    with pytest.raises(StreamBrokenError):
        follower.accept(event)


def test_overlap_is_shown_once() -> None:
    """Only the new part of an overlapping text is passed on, at its own offset."""
    follower = Follower(include_audio=False)
    follower.accept(text(0, "Once upon"))
    (shown,), progressed = follower.accept(text(5, "upon a time"))
    assert 9 == shown.text.offset
    assert " a time" == shown.text.delta
    assert progressed
    assert ([], False) == follower.accept(text(0, "Once"))


def test_overlap_that_differs_is_an_error() -> None:
    """Different text at the same offset is TEXT_CHANGED."""
    follower = Follower(include_audio=False)
    follower.accept(text(0, "Once upon"))
    with pytest.raises(TaleError) as caught:
        follower.accept(text(5, "above a time"))
    assert "TEXT_CHANGED" == caught.value.reason
    assert grpc.StatusCode.DATA_LOSS == caught.value.code


@pytest.mark.parametrize("content", ["Twice upon", "Once"])
def test_stored_story_that_differs_from_the_shown_one_is_an_error(content: str) -> None:
    """`done` with a different or shorter text is TEXT_CHANGED."""
    follower = Follower(include_audio=False)
    follower.accept(text(0, "Once upon"))
    with pytest.raises(TaleError, match="TEXT_CHANGED"):
        follower.accept(done(content))


def test_done_adds_missing_title_and_text() -> None:
    """The missing rest of the text comes before `done`."""
    follower = Follower(include_audio=False)
    follower.accept(text(0, "Once"))
    shown, _ = follower.accept(done("Once upon"))
    assert ["title", "text", "done"] == [event.WhichOneof("event") for event in shown]
    assert 4 == shown[1].text.offset
    assert " upon" == shown[1].text.delta


def test_done_with_audio_missing_breaks_the_stream() -> None:
    """With audio, a story is not done before its last byte."""
    follower = Follower(include_audio=True)
    follower.accept(header())
    follower.accept(audio(0, b"ab"))
    with pytest.raises(StreamBrokenError):
        follower.accept(done("", b"abc"))
    assert not follower.done


def test_new_audio_id_begins_again() -> None:
    """A header with a new audio id is passed on, and its audio starts at byte 0 with segment 0."""
    follower = Follower(include_audio=True)
    for event in (header("a"), audio(0, b"abc", "a"), segment(3, "a")):
        follower.accept(event)
    shown = [
        follower.accept(event)[0] for event in (header("b"), segment(0, "b"), audio(0, b"x", "b"), done("", b"x", "b"))
    ]
    assert [1, 1, 1] == [len(events) for events in shown[:3]]
    assert follower.done


def test_follower_from_the_middle_gets_only_new_text() -> None:
    """A follower that starts at an offset drops what is before it without comparing it."""
    follower = Follower(include_audio=True, story_id=ID, text_offset=4, audio_id="a", audio_offset=2)
    shown = [
        event for given in (header(), text(0, "Once upon"), audio(0, b"abcd")) for event in follower.accept(given)[0]
    ]
    assert ["audio_header", "text", "audio"] == [event.WhichOneof("event") for event in shown]
    assert " upon" == shown[1].text.delta
    assert b"cd" == shown[2].audio.chunk
    assert "done" == follower.accept(done("Once upon", b"abcd"))[0][-1].WhichOneof("event")


def test_segments_and_warnings_are_shown_once() -> None:
    """Repetitions after a reconnect are left out."""
    follower = Follower(include_audio=False)
    warning = gateway_pb2.StoryEvent(story_id=ID, warning=common_pb2.Problem(reason="R", message="m"))
    later = gateway_pb2.StoryEvent()
    later.CopyFrom(warning)
    later.warning.time.FromSeconds(1)
    given = [header(), segment(0), segment(1), warning, header(), segment(0), segment(1), segment(2), later]
    shown = [event.WhichOneof("event") for each in given for event in follower.accept(each)[0]]
    assert ["audio_header", "segment", "segment", "warning", "segment"] == shown


def test_heartbeat_is_shown_and_is_not_progress() -> None:
    """Every state event is passed on; it is progress only if the state changed."""
    follower = Follower(include_audio=False)
    assert [True, False, True] == [follower.accept(state(words))[1] for words in (1, 1, 2)]
    assert [state(2)] == follower.accept(state(2))[0]


def test_unknown_event_is_left_out() -> None:
    """An event of an unknown kind is not an error."""
    assert ([], False) == Follower(include_audio=False).accept(gateway_pb2.StoryEvent(story_id=ID))


def test_wait_is_shown_again_after_progress() -> None:
    """The same words at another place of the story; a repetition at the same place is left out."""
    follower = Follower(include_audio=True)
    waits = [gateway_pb2.StoryEvent(story_id=ID, warning=common_pb2.Problem(reason="W", message="m")) for _ in "ab"]
    for place, wait in zip("07", waits, strict=True):
        wait.warning.metadata["text_length"] = place
    assert [True, False, True] == [follower.accept(each)[1] for each in (waits[0], waits[0], waits[1])]
