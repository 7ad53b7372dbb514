"""The audio of stories on the wire: FinishAudio and ReadAudio over the embedded store."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from support.storage_service import (
    SIZES,
    Storage,
    created,
    digest,
    failure,
    found,
    harm_file,
    joined,
    kept,
    narrated,
    narrating,
    put,
    read,
    service,
)

from servicekit.ids import new_id
from servicekit.reasons import REASONS
from standins.storage_kit import checkpoint, lease_request, narration, speech, stored_token
from storage_service.stories import states
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

TOTAL = sum(SIZES)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """The service over an empty folder."""
    async with service(tmp_path) as it:
        yield it


async def test_a_finished_narration_is_its_segments_in_one_file(storage: Storage) -> None:
    """With the facts of its header and manifest."""
    made = await narrating(storage)
    audio = (await storage.stub.FinishAudio(made.finish())).audio
    assert audio.size_bytes == TOTAL
    assert audio.sha256 == digest(made.data)
    assert audio.duration.ToSeconds() == len(SIZES)
    assert audio.provider == "mock"
    assert audio.content_type == "audio/mpeg"
    assert audio.audio_format == common_pb2.AUDIO_FORMAT_MP3
    assert MessageToDict(audio.metadata) == {"segments_by_provider": {"mock": len(SIZES)}}
    assert not audio.segments
    await kept(storage, checkpoint(made.story_id, state=states.READY))
    header, data = await read(storage, made.story_id)
    assert header == audio
    assert data == made.data
    record = await storage.stub.GetStory(
        storage_pb2.GetStoryRequest(story_id=made.story_id, view=common_pb2.STORY_VIEW_FULL)
    )
    assert list(record.record.story.audio.segments) == [one.place for one in made.spoken]


async def test_audio_is_as_long_as_its_last_segment_says(storage: Storage) -> None:
    """Durations are cut to whole microseconds, so their sum is short of the end by some."""
    spoken, header, story_id = speech([100, 100, 100]), narration(), await created(storage)
    for index, one in enumerate(spoken):
        await put(storage, one, story_id)
        one.place.start.FromMicroseconds(-(-index * 1_000_000 // 3))
        one.place.duration.FromMicroseconds(333_333)
    places, text = [one.place for one in spoken], "x" * spoken[-1].place.text.end
    made = checkpoint(story_id, text=(0, text), content_complete=True, narration=header, segments=places)
    await kept(storage, made)
    assert (await read(storage, story_id))[0].duration.ToMicroseconds() == 1_000_000
    request = storage_pb2.FinishAudioRequest(
        story_id=story_id, lease_token=await stored_token(storage.stub, story_id), audio_id=header.audio_id
    )
    assert (await storage.stub.FinishAudio(request)).audio.duration.ToMicroseconds() == 1_000_000


async def test_finishing_can_be_repeated(storage: Storage) -> None:
    """At the same moment, later, and after the story is READY: one file, one answer."""
    made = await narrating(storage)
    first, second = await asyncio.gather(*(storage.stub.FinishAudio(made.finish()) for _ in range(2)))
    await kept(storage, checkpoint(made.story_id, state=states.READY))
    third = await storage.stub.FinishAudio(made.finish())
    assert first == second == third
    assert len(storage.files("audio")) == 1


async def test_an_old_lease_finishes_nothing(storage: Storage) -> None:
    """Neither before the audio is there nor afterwards."""
    made = await narrating(storage)
    storage.clock.advance(60)
    claim = storage_pb2.ClaimStoriesRequest(lease=lease_request(), max_count=1)
    token = (await storage.stub.ClaimStories(claim)).stories[0].lease_token
    for _ in range(2):
        error = await failure(storage.stub.FinishAudio(made.finish()))
        assert error.code is grpc.StatusCode.ABORTED
        assert error.reason == "LEASE_LOST"
        await storage.stub.FinishAudio(replace(made, token=token).finish())
    assert len(storage.files("audio")) == 1


async def test_text_without_speech_cannot_be_finished(storage: Storage) -> None:
    """Not one character may be left out."""
    made = await narrating(storage, text="x" * 31)
    error = await failure(storage.stub.FinishAudio(made.finish()))
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert error.reason == "WRONG_STATE"
    assert "30 of 31" in error.message


async def test_text_that_is_not_whole_cannot_be_finished(storage: Storage) -> None:
    """More of it may come."""
    story_id = await created(storage)
    spoken, header = speech([100, 100]), narration()
    for one in spoken:
        await put(storage, one, story_id)
    places = [one.place for one in spoken]
    await kept(storage, checkpoint(story_id, text=(0, "x" * 10), narration=header, segments=places))
    request = storage_pb2.FinishAudioRequest(
        story_id=story_id, lease_token=await stored_token(storage.stub, story_id), audio_id=header.audio_id
    )
    assert (await failure(storage.stub.FinishAudio(request))).reason == "WRONG_STATE"
    request.audio_id = new_id()
    assert (await failure(storage.stub.FinishAudio(request))).reason == "WRONG_STATE"
    assert storage.files("audio") == []


@pytest.mark.parametrize("harm", ["gone", "short", "changed"])
async def test_a_damaged_segment_is_named_and_made_anew(storage: Storage, harm: str) -> None:
    """FinishAudio says SEGMENT_LOST; afterwards the segment can be stored again, and a new narration finished."""
    made = await narrating(storage)
    harmed = made.spoken[2]
    (path,) = [path for path in storage.files("segments") if path.read_bytes() == harmed.data]
    harm_file(path, harm)
    for _ in range(2):
        error = await failure(storage.stub.FinishAudio(made.finish()))
        assert error.code is grpc.StatusCode.FAILED_PRECONDITION
        assert error.reason == "SEGMENT_LOST"
        assert storage.files("audio") == []
    keys = [one.stored.key for one in made.spoken]
    assert await found(storage, *keys) == set(keys) - {harmed.stored.key}
    assert (await put(storage, harmed, made.story_id)).created
    assert (await storage.stub.FinishAudio(made.finish())).audio.sha256 == digest(made.data)


@pytest.mark.parametrize("read_first", [False, True])
async def test_a_database_without_its_segments_loses_all_of_them_at_once(storage: Storage, *, read_first: bool) -> None:
    """Such as one restored without the folder: a narration that is started again once can be finished."""
    made = await narrating(storage)
    for path in storage.files("segments"):
        path.unlink()
    if read_first:
        await failure(read(storage, made.story_id))
    assert (await failure(storage.stub.FinishAudio(made.finish()))).reason == "SEGMENT_LOST"
    assert await found(storage, *(one.stored.key for one in made.spoken)) == set()
    again = narration()
    for one in made.spoken:
        assert (await put(storage, one, made.story_id)).created
    await kept(storage, checkpoint(made.story_id, narration=again, segments=[one.place for one in made.spoken]))
    finished = storage_pb2.FinishAudioRequest(
        story_id=made.story_id, lease_token=await stored_token(storage.stub, made.story_id), audio_id=again.audio_id
    )
    assert (await storage.stub.FinishAudio(finished)).audio.sha256 == digest(made.data)


async def test_a_segment_that_was_made_anew_with_other_bytes_is_lost_to_an_old_manifest(storage: Storage) -> None:
    """The same key, but not what listeners heard."""
    made = await narrating(storage, sizes=[100, 100])
    for path in storage.files("segments"):
        path.unlink()
    assert (await failure(storage.stub.FinishAudio(made.finish()))).reason == "SEGMENT_LOST"
    other = speech([100], "other")[0]
    other.stored.key = made.spoken[0].stored.key
    assert (await put(storage, other, made.story_id)).created
    assert (await failure(storage.stub.FinishAudio(made.finish()))).reason == "SEGMENT_LOST"


async def test_audio_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    """The limit holds to the byte."""
    async with service(tmp_path, audio_max_bytes=1 << 20) as storage:
        large = await narrating(storage, sizes=[1, 1 << 20])
        error = await failure(storage.stub.FinishAudio(large.finish()))
        assert error.code is grpc.StatusCode.FAILED_PRECONDITION
        assert error.reason == "AUDIO_TOO_LARGE"
        assert storage.files("audio") == []
        await storage.stub.FinishAudio((await narrating(storage, sizes=[1, (1 << 20) - 1])).finish())


async def test_audio_is_composed_into_another_folder(tmp_path: Path) -> None:
    """SEGMENT_STORE_URL and AUDIO_STORE_URL name places of their own."""
    audio, segments = f"file://{tmp_path}/a", f"file://{tmp_path}/s"
    async with service(tmp_path, audio_store_url=audio, segment_store_url=segments) as storage:
        made = await narrated(storage)
        assert (await read(storage, made.story_id))[1] == made.data
        assert len(list((tmp_path / "a/audio").glob("*/*"))) == 1
        assert len(list((tmp_path / "s/segments").glob("*/*"))) == len(SIZES)
        assert storage.files() == []


# Reading.


RANGES = [
    (0, None),
    (1, None),
    (SIZES[0] - 1, 2),
    (SIZES[0], None),
    (SIZES[0], SIZES[1]),
    (SIZES[0] - 1, SIZES[1] + 2),
    (70_000, 100),
    (0, 0),
    (TOTAL - 1, 100),
    (TOTAL, None),
]


@pytest.mark.parametrize(("offset", "limit"), RANGES)
async def test_audio_in_the_making_is_read_from_any_byte(storage: Storage, offset: int, limit: int | None) -> None:
    """Over the borders of segments, with the same bytes as the finished file has then."""
    made = await narrating(storage)
    changes: dict[str, Any] = {"offset": offset, "audio_id": made.audio_id}
    if limit is not None:
        changes["limit"] = limit
    header, data = await read(storage, made.story_id, **changes)
    assert data == made.data[offset : None if limit is None else offset + limit]
    assert header.size_bytes == TOTAL
    assert header.duration.ToSeconds() == len(SIZES)
    assert header.sha256 == b""
    await storage.stub.FinishAudio(made.finish())
    assert (await read(storage, made.story_id, **changes))[1] == data


async def test_audio_grows_while_it_is_made(storage: Storage) -> None:
    """A listener asks again from where it is."""
    story_id = await created(storage)
    spoken, header = speech(SIZES), narration()
    text = "x" * spoken[-1].place.text.end
    await kept(storage, checkpoint(story_id, text=(0, text), narration=header))
    heard = b""
    for one in spoken:
        await put(storage, one, story_id)
        await kept(storage, checkpoint(story_id, segments=[one.place]))
        heard += (await read(storage, story_id, offset=len(heard)))[1]
        assert len(heard) == one.place.audio.end
    assert heard == joined(spoken)


async def test_a_lost_segment_in_the_making_is_said(storage: Storage) -> None:
    """What comes before it is read; it itself is SEGMENT_LOST, never silence."""
    made = await narrating(storage)
    (path,) = [path for path in storage.files("segments") if path.read_bytes() == made.spoken[1].data]
    path.unlink()
    assert (await read(storage, made.story_id, limit=SIZES[0]))[1] == made.spoken[0].data
    for _ in range(2):
        assert (await failure(read(storage, made.story_id))).reason == "SEGMENT_LOST"


async def test_audio_that_is_not_there_is_not_found(storage: Storage) -> None:
    """Neither another audio id nor a story without audio gives bytes."""
    made = await narrated(storage, sizes=[100, 100])
    silent = await created(storage)
    for story_id, audio_id, reason in (
        (made.story_id, new_id(), "AUDIO_NOT_FOUND"),
        (silent, "", "AUDIO_NOT_FOUND"),
        (new_id(), "", "STORY_NOT_FOUND"),
    ):
        error = await failure(read(storage, story_id, audio_id=audio_id))
        assert error.code is grpc.StatusCode.NOT_FOUND
        assert error.reason == reason


@pytest.mark.parametrize("make", [narrating, narrated])
async def test_reading_beyond_the_end_is_a_violation(storage: Storage, make: Any) -> None:
    """An offset that cannot be is not answered with nothing."""
    made = await make(storage, sizes=[100, 100])
    error = await failure(read(storage, made.story_id, offset=201))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [one.field for one in error.violations] == ["offset"]


async def test_new_audio_takes_the_place_of_the_old(storage: Storage) -> None:
    """The old audio is read until the new one is finished; then its file is gone."""
    old = await narrated(storage, sizes=[100, 100])
    again = storage_pb2.NarrateChange(lease=lease_request(), voice=common_pb2.VoiceSelection(provider="offline"))
    await storage.stub.UpdateStory(storage_pb2.UpdateStoryRequest(story_id=old.story_id, narrate=again))
    spoken, header = speech([70, 70], "again"), narration()
    for one in spoken:
        await put(storage, one, old.story_id)
    places = [one.place for one in spoken]
    await kept(storage, checkpoint(old.story_id, narration=header, segments=places))
    assert (await read(storage, old.story_id))[1] == old.data
    assert (await read(storage, old.story_id, audio_id=header.audio_id))[1] == joined(spoken)
    request = storage_pb2.FinishAudioRequest(
        story_id=old.story_id, lease_token=await stored_token(storage.stub, old.story_id), audio_id=header.audio_id
    )
    await storage.stub.FinishAudio(request)
    assert (await read(storage, old.story_id))[1] == joined(spoken)
    assert len(storage.files("audio")) == 1


@pytest.mark.parametrize("harm", ["gone", "short", "changed"])
async def test_damaged_audio_is_never_a_success(storage: Storage, harm: str) -> None:
    """A reader of bytes that are missing or changed gets DATA_LOSS, and no path."""
    made = await narrated(storage)
    (path,) = storage.files("audio")
    harm_file(path, harm)
    error = await failure(read(storage, made.story_id))
    assert error.code is grpc.StatusCode.DATA_LOSS
    assert error.reason == "AUDIO_CORRUPT"
    assert str(storage.folder) not in error.message


async def test_the_embedded_store_has_no_addresses(storage: Storage) -> None:
    """The remedy names the RPC to use."""
    made = await narrated(storage, sizes=[100, 100])
    error = await failure(storage.stub.GetAudioUrl(storage_pb2.GetAudioUrlRequest(story_id=made.story_id)))
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert error.reason == "AUDIO_URL_UNSUPPORTED"
    assert "ReadStoryAudio" in REASONS[error.reason].remedy


async def test_deleting_a_story_removes_its_files(storage: Storage) -> None:
    """Its audio and its segments, but none that another story uses."""
    mine, other = await narrated(storage, seed="same"), await narrated(storage, seed="same")
    assert len(storage.files("segments")) == len(SIZES)
    await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=mine.story_id))
    assert len(storage.files("audio")) == 1
    assert len(storage.files("segments")) == len(SIZES)
    await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=other.story_id))
    assert storage.files() == []
    error = await failure(storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=other.story_id)))
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert error.reason == "STORY_NOT_FOUND"


async def test_a_manifest_with_a_gap_is_refused(storage: Storage) -> None:
    """In its text, in its bytes, or of a segment that is not stored."""
    story_id = await created(storage)
    first, second = speech([100, 100])
    await put(storage, first, story_id)
    await put(storage, second, story_id)
    begun = checkpoint(story_id, text=(0, "x" * 30), narration=narration(), segments=[first.place])
    await kept(storage, begun)
    for field, value in (("text", 1), ("audio", 101), ("sha256", bytes(32)), ("key", "0" * 64)):
        awry = common_pb2.Segment()
        awry.CopyFrom(second.place)
        if field in {"text", "audio"}:
            getattr(awry, field).start = value
        else:
            setattr(awry, field, value)
        given = checkpoint(story_id, begun.lease_token, segments=[awry])
        request = storage_pb2.CheckpointStoriesRequest(checkpoints=[given])
        request.lease_duration.FromSeconds(30)
        (result,) = (await storage.stub.CheckpointStories(request)).results
        assert result.error.reason == "CHECKPOINT_CONFLICT"
    await kept(storage, checkpoint(story_id, segments=[second.place]))
