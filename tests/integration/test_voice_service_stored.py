"""Delivery STORED: segments are in storage before they are announced, and nothing that was paid for is lost."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import grpc
from support.voice_kit import STORY, HeldVoice, NamedVoice, reason_of, sha256, voice_service
from support.voice_segments import FakeSegments, fake_storage, out_of_room, remote

from servicekit.errors import unavailable
from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.ports import SegmentRequest, SpeechItem

STORED = voice_pb2.DELIVERY_STORED


async def test_segments_are_announced_without_bytes_once_they_are_stored() -> None:
    """Header, then an attempt and a segment each, then the summary; the segment's key, size and checksum are stored."""
    story = new_id()
    async with (
        fake_storage() as (storage, address),
        voice_service(NamedVoice("mock"), storage_target=address) as voice,
    ):
        told = await voice.tell(STORY, title="The Fox", story_id=story, delivery=STORED, word_timings=True)

    assert told.error is None
    assert ["header", *["attempt", "segment"] * len(told.segments), "summary"] == told.kinds
    assert len(storage.rows) == len(told.segments)
    size = 0
    for segment in told.segments:
        row, audio = storage.rows[segment.key]
        assert size == segment.audio.start
        assert (segment.sha256, segment.audio.end - size) == (sha256(audio), row.size_bytes)
        assert len(row.words.start_us) == len(segment.words) > 0
        assert {story} == storage.used_by[segment.key]
        size = segment.audio.end
    assert told.summary is not None
    assert size == told.summary.size_bytes


async def test_a_direct_caller_hears_what_was_stored_for_another() -> None:
    """The same bytes, read from storage, with no call to the provider; words and times are the same."""
    mock = NamedVoice("mock")
    async with fake_storage() as (storage, address), voice_service(mock, storage_target=address) as voice:
        stored = await voice.tell(STORY, delivery=STORED, word_timings=True)
        calls = mock.journal.calls
        heard = await voice.tell(STORY, word_timings=True)

    assert heard.error is None
    assert heard.audio == b"".join(storage.rows[segment.key][1] for segment in stored.segments)
    assert [list(segment.words) for segment in stored.segments] == [list(segment.words) for segment in heard.segments]
    assert calls == mock.journal.calls


class _Louder(NamedVoice):
    """Says the same with other bytes."""

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        async for item in super().synthesize(replace(request, model_id="louder")):
            yield item


async def test_two_voice_services_that_make_a_segment_at_once_use_the_one_that_was_first() -> None:
    """Both announce the facts of the first, and a direct caller of the other gets its bytes."""
    held, louder = HeldVoice("mock"), _Louder("mock")
    async with (
        fake_storage() as (storage, address),
        voice_service(held, storage_target=address) as one,
        voice_service(louder, storage_target=address) as two,
    ):
        telling = asyncio.create_task(one.tell("Good night, fox."))
        await held.called.wait()
        first = await two.tell("Good night, fox.", delivery=STORED)
        held.go_on.set()
        second = await telling

    assert first.segments[0].sha256 == second.segments[0].sha256
    assert second.audio == storage.rows[first.segments[0].key][1]
    assert (1, 1, 1) == (held.journal.calls, louder.journal.calls, len(storage.rows))


async def test_storage_that_is_out_of_room_for_a_moment_is_waited_for() -> None:
    """The narration takes longer, and the provider is called once."""
    storage = FakeSegments()
    storage.refused = [out_of_room(), out_of_room(), unavailable("STORAGE_UNAVAILABLE", "Away.")]
    mock = NamedVoice("mock")
    async with fake_storage(storage) as (_, address), voice_service(mock, storage_target=address) as voice:
        told = await voice.tell(STORY, delivery=STORED)

    assert told.error is None
    assert mock.journal.calls == len(told.segments) == len(storage.rows)


async def test_what_could_not_be_stored_is_not_paid_for_again() -> None:
    """UNAVAILABLE with the calls reported; the next attempt stores what is held and calls for the rest alone."""
    storage, mock, story = FakeSegments(), NamedVoice("mock"), new_id()
    storage.refused = [out_of_room()] * 3
    async with (
        fake_storage(storage) as (_, address),
        remote(address, retry_seconds=0) as store,
        voice_service(mock, store=store) as voice,
    ):
        failed = await voice.tell(STORY, story_id=story, delivery=STORED)
        storage.refused.clear()
        told = await voice.tell(STORY, story_id=story, delivery=STORED)

    assert (grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE") == reason_of(failed.error)[:2]
    assert told.error is None
    assert mock.journal.calls == len(told.segments) == len(failed.attempts) + len(told.attempts)
    assert len(failed.attempts) > 0
    assert all(b"" != audio for _, audio in storage.rows.values())


async def test_a_story_that_was_deleted_meanwhile_ends_its_narration() -> None:
    """NOT_FOUND / STORY_NOT_FOUND; the call is reported, and storage is not called again."""
    storage, mock, story = FakeSegments(), NamedVoice("mock"), new_id()
    storage.deleted = {story}
    async with (
        fake_storage(storage) as (_, address),
        voice_service(mock, storage_target=address, segments_ahead=0) as voice,
    ):
        told = await voice.tell(STORY, story_id=story, delivery=STORED)

    assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == reason_of(told.error)[:2]
    assert [common_pb2.ATTEMPT_OUTCOME_SUCCEEDED] == [attempt.outcome for attempt in told.attempts]
    assert (1, 1, {}) == (mock.journal.calls, storage.puts, storage.rows)


async def test_no_provider_is_called_while_storage_cannot_be_asked() -> None:
    """What it brings could not be stored."""
    mock = NamedVoice("mock")
    async with remote("127.0.0.1:9", retry_seconds=0) as store, voice_service(mock, store=store) as voice:
        told = await voice.tell(STORY, delivery=STORED)

    assert (grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE") == reason_of(told.error)[:2]
    assert 0 == mock.journal.calls
