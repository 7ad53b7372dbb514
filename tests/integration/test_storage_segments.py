"""SegmentService on the wire, over the embedded store."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs
from support.storage_service import (
    SIZES,
    Storage,
    created,
    digest,
    failure,
    found,
    harm_file,
    kept,
    narrating,
    put,
    read_segment,
    service,
)

from servicekit.ids import new_id
from standins.storage_kit import Speech, checkpoint, put_messages, speech
from storage_service.settings import Tuning
from storage_service.stories import states
from tale.storage.v1 import segment_pb2, storage_pb2

MIB = 1 << 20


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """The service over an empty folder."""
    async with service(tmp_path) as it:
        yield it


@pytest.mark.parametrize("size", [1, 1_000, MIB, MIB + 1, 5 * MIB])
async def test_a_segment_comes_back_as_it_was_stored(storage: Storage, size: int) -> None:
    """Facts and bytes."""
    (one,) = speech([size])
    response = await put(storage, one)
    assert response.created
    assert response.segment == one.stored
    assert await read_segment(storage, one.stored.key) == one.data
    lookups = [segment_pb2.SegmentLookup(key=key) for key in (one.stored.key, "0" * 64)]
    answer = await storage.segments.FindSegments(segment_pb2.FindSegmentsRequest(lookups=lookups))
    assert list(answer.segments) == [one.stored]


async def test_the_first_segment_under_a_key_wins(storage: Storage) -> None:
    """A voice service that comes second gets the facts of the first, and its bytes are gone."""
    first, second = speech([1_000])[0], speech([2_000], "other")[0]
    second.stored.key = first.stored.key
    assert (await put(storage, first)).created
    answer = await put(storage, second)
    assert not answer.created
    assert answer.segment == first.stored
    assert await read_segment(storage, first.stored.key) == first.data
    assert len(storage.files("segments")) == 1


async def test_segments_of_one_key_that_come_together_store_one(storage: Storage) -> None:
    """Whoever wins, all get the same facts, and one file stays."""
    racing = [speech([50_000], str(number))[0] for number in range(8)]
    for one in racing:
        one.stored.key = racing[0].stored.key
    calls = [storage.segments.PutSegment() for _ in racing]
    for call, one in zip(calls, racing, strict=True):
        await call.write(put_messages(one.stored, one.data)[0])
    await asyncio.gather(*(send(call, one) for call, one in zip(calls, racing, strict=True)))
    answers = [await call for call in calls]
    assert [answer.created for answer in answers].count(True) == 1
    assert len({answer.segment.SerializeToString() for answer in answers}) == 1
    winner = next(one for one in racing if one.stored == answers[0].segment)
    assert await read_segment(storage, racing[0].stored.key) == winner.data
    assert len(storage.files("segments")) == 1


async def send(call: Any, one: Speech) -> None:
    """The pieces behind the header."""
    for message in put_messages(one.stored, one.data)[1:]:
        await call.write(message)
    await call.done_writing()


Broken = Callable[[list[segment_pb2.PutSegmentRequest]], Sequence[segment_pb2.PutSegmentRequest]]
CHUNK = segment_pb2.PutSegmentRequest(chunk=b"x")
HUGE = segment_pb2.PutSegmentRequest(chunk=b"x" * (MIB + 1))
EMPTY = segment_pb2.PutSegmentRequest()
NOTHING = segment_pb2.PutSegmentRequest(chunk=b"")


@pytest.mark.parametrize(
    ("broken", "reason", "fields"),
    [
        (lambda sent: sent[1:], "VALIDATION_FAILED", ["header"]),
        (lambda _: [], "VALIDATION_FAILED", ["header"]),
        (lambda sent: sent[:-1], "VALIDATION_FAILED", ["commit"]),
        (lambda sent: sent[:1], "VALIDATION_FAILED", ["commit"]),
        (lambda sent: [sent[0], *sent], "VALIDATION_FAILED", ["header"]),
        (lambda sent: [*sent, CHUNK], "VALIDATION_FAILED", ["commit"]),
        (lambda sent: [sent[0], HUGE, sent[-1]], "VALIDATION_FAILED", ["chunk"]),
        (lambda sent: [*sent[:-1], EMPTY], "VALIDATION_FAILED", ["piece"]),
        (lambda sent: [sent[0], *[NOTHING] * 1_001, *sent[1:]], "VALIDATION_FAILED", ["chunk"]),
        (lambda sent: [*sent[:-2], sent[-1]], "AUDIO_MISMATCH", []),
        (lambda sent: [*sent[:-1], CHUNK, sent[-1]], "AUDIO_MISMATCH", []),
        (lambda sent: [*sent[:1], *sent[:0:-1][1:], sent[-1]], "AUDIO_MISMATCH", []),
    ],
)
@pytest.mark.parametrize("size", [400_001, 3 * MIB + 1])
async def test_a_segment_that_does_not_add_up_is_not_stored(
    storage: Storage, broken: Broken, reason: str, fields: list[str], size: int
) -> None:
    """Pieces out of order, missing or too many, and bytes that differ: nothing stays, and the next try succeeds."""
    (one,) = speech([size])
    data = os.urandom(size)
    one = Speech(data, one.stored, one.place)
    one.stored.sha256 = digest(data)
    error = await failure(storage.segments.PutSegment(iter(broken(put_messages(one.stored, data, piece=256 << 10)))))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == reason
    assert [violation.field for violation in error.violations] == fields
    assert storage.files() == []
    assert await found(storage, one.stored.key) == set()
    assert (await put(storage, one)).created


@pytest.mark.parametrize("field", ["size_bytes", "sha256"])
async def test_a_mismatch_names_its_field(storage: Storage, field: str) -> None:
    """So that its cause is found."""
    (one,) = speech([1_000])
    setattr(one.stored, field, 999 if field == "size_bytes" else bytes(32))
    error = await failure(put(storage, one))
    assert error.metadata["field"] == field
    assert field in error.message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"key": "X" * 64}, "header.segment.key"),
        ({"key": "a" * 63}, "header.segment.key"),
        ({"size_bytes": 0}, "header.segment.size_bytes"),
        ({"size_bytes": 1 << 40}, "header.segment.size_bytes"),
        ({"sha256": b"x"}, "header.segment.sha256"),
        ({"sample_rate": 0}, "header.segment.sample_rate"),
        ({"sample_count": -1}, "header.segment.sample_count"),
        ({"provider": "x" * 201}, "header.segment.provider"),
    ],
)
async def test_facts_that_cannot_be_are_refused(storage: Storage, change: dict[str, Any], field: str) -> None:
    """Before a byte is taken in."""
    (one,) = speech([1_000])
    for name, value in change.items():
        setattr(one.stored, name, value)
    error = await failure(put(storage, one))
    assert error.reason == "VALIDATION_FAILED"
    assert [violation.field for violation in error.violations] == [field]


async def test_word_timings_are_lists_of_one_length(storage: Storage) -> None:
    """One of them shorter is refused."""
    (one,) = speech([1_000])
    one.stored.words.end_us.append(7)
    error = await failure(put(storage, one))
    assert [violation.field for violation in error.violations] == ["header.segment.words.text_starts"]


async def test_nothing_is_stored_for_a_deleted_story(storage: Storage) -> None:
    """Not even where it is deleted while the segment comes."""
    story_id = await created(storage)
    first, second = speech([1_000, 1_000])
    call = storage.segments.PutSegment()
    messages = put_messages(first.stored, first.data, story_id=story_id)
    for message in messages[:-1]:
        await call.write(message)
    await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=story_id))
    await call.write(messages[-1])
    await call.done_writing()
    for attempt in (call, put(storage, second, story_id)):
        error = await failure(attempt)
        assert error.code is grpc.StatusCode.NOT_FOUND
        assert error.reason == "STORY_NOT_FOUND"
    assert storage.files() == []


async def test_a_refused_segment_says_why_every_time(storage: Storage) -> None:
    """A caller who is still sending when the call fails gets the status, not what its own library makes of it."""
    (one,) = speech([2 * MIB])
    assert {(await failure(put(storage, one, new_id()))).reason for _ in range(20)} == {"STORY_NOT_FOUND"}


async def test_an_upload_that_stalls_is_given_up(tmp_path: Path) -> None:
    """A caller that sends nothing for too long loses the call, and the file goes."""
    async with service(tmp_path, tuning=Tuning(upload_idle=0.05)) as storage:
        (one,) = speech([3 * MIB])
        call = storage.segments.PutSegment()
        for message in put_messages(one.stored, one.data)[:-2]:
            await call.write(message)
        error = await failure(call)
        assert error.code is grpc.StatusCode.ABORTED
        assert error.reason == "UPLOAD_STALLED"
        assert storage.files() == []


async def test_a_caller_who_hangs_up_leaves_nothing(tmp_path: Path) -> None:
    """A cancelled upload is no segment and no file."""
    async with service(tmp_path) as storage:
        (one,) = speech([3 * MIB])
        call = storage.segments.PutSegment()
        for message in put_messages(one.stored, one.data)[:-1]:
            await call.write(message)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert storage.files() == []


async def test_unknown_segments_are_not_found(storage: Storage) -> None:
    """And what can be no key is a violation."""
    error = await failure(read_segment(storage, "0" * 64))
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert error.reason == "SEGMENT_NOT_FOUND"
    assert (await failure(read_segment(storage, "../x"))).reason == "VALIDATION_FAILED"
    lookups = [segment_pb2.SegmentLookup(key="x", story_id="y"), segment_pb2.SegmentLookup(key="0" * 64)]
    error = await failure(storage.segments.FindSegments(segment_pb2.FindSegmentsRequest(lookups=lookups)))
    assert {violation.field for violation in error.violations} == {"lookups[0].key", "lookups[0].story_id"}


@pytest.mark.parametrize("harm", ["gone", "short", "changed"])
async def test_a_damaged_segment_is_dropped_when_it_is_read(storage: Storage, harm: str) -> None:
    """SEGMENT_LOST once; from then on it is not stored, and the next PutSegment stores it again."""
    (one,) = speech([1_000])
    await put(storage, one)
    (path,) = storage.files("segments")
    harm_file(path, harm)
    error = await failure(read_segment(storage, one.stored.key))
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert error.reason == "SEGMENT_LOST"
    assert await found(storage, one.stored.key) == set()
    assert (await put(storage, one)).created
    assert await read_segment(storage, one.stored.key) == one.data


async def test_the_least_recently_used_segments_make_room(tmp_path: Path) -> None:
    """Bytes too; those of unfinished stories stay, and once they are all that is left the bound yields."""
    async with service(tmp_path, segment_store_max_bytes=MIB) as storage:
        mine = await narrating(storage, sizes=[10_000, 200_000])
        others = speech([300_000] * 4)
        for one in others:
            storage.clock.advance(120)
            await put(storage, one)
        keys = [one.stored.key for one in (*mine.spoken, *others)]
        assert await found(storage, *keys) == {*keys[:2], *keys[-2:]}
        assert sum(path.stat().st_size for path in storage.files("segments")) == 810_000
        with capture_logs() as logs:
            large = await narrating(storage, sizes=[500_000, 500_000, 500_000])
        assert [one["log_level"] for one in logs if one["event"] == "segment store bound exceeded"] == ["warning"]
        assert sum(path.stat().st_size for path in storage.files("segments")) == 1_710_000
        await storage.stub.FinishAudio(large.finish())
        await kept(storage, checkpoint(large.story_id, state=states.READY))
        await storage.app.housekeeper.sweep()
        assert sum(path.stat().st_size for path in storage.files("segments")) == 710_000


async def test_a_full_disk_stores_nothing_and_loses_nothing(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told to try again, and that succeeds once there is room."""
    before, large = speech([1_000, 5 * MIB])
    await put(storage, before)
    room = 2 * MIB
    write = os.write

    def write_while_there_is_room(fd: int, data: Any) -> int:
        nonlocal room
        if os.path.realpath(f"/proc/self/fd/{fd}").startswith(str(storage.folder)):
            if not room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[:room]
            room -= len(data)
        return write(fd, data)

    with monkeypatch.context() as full:
        full.setattr(os, "write", write_while_there_is_room)
        error = await failure(put(storage, large))
    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.reason == "STORAGE_FULL"
    assert error.retry_after
    assert await found(storage, before.stored.key, large.stored.key) == {before.stored.key}
    assert len(storage.files()) == 1
    assert (await put(storage, large)).created
    assert await read_segment(storage, large.stored.key) == large.data


async def test_a_full_disk_while_audio_is_composed_loses_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FinishAudio is repeated once there is room."""
    made = await narrating(storage)

    def no_room(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "write", no_room)
        assert (await failure(storage.stub.FinishAudio(made.finish()))).reason == "STORAGE_FULL"
    assert storage.files("audio") == []
    assert (await storage.stub.FinishAudio(made.finish())).audio.size_bytes == sum(SIZES)
