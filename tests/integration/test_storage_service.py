"""The storage service on the wire, over the embedded store."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from support.servers import running

from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.status import from_rpc_error
from standins.storage_kit import (
    FINGERPRINT,
    ManualClock,
    audio_messages,
    begun_story,
    checkpoint,
    create_request,
    lease_request,
    segment,
)
from storage_service import states
from storage_service.bootstrap import build_app
from storage_service.settings import StorageSettings
from tale.common.v1 import common_pb2, status_pb2, status_pb2_grpc
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

DATA = bytes(range(256)) * 5_000
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Storage:
    """A service that runs, and where it keeps what it keeps."""

    stub: "storage_pb2_grpc.StorageServiceAsyncStub"
    channel: grpc.aio.Channel
    folder: Path
    clock: ManualClock

    def files(self) -> list[Path]:
        """The files of audio that there are, whole or in part."""
        return list((self.folder / "storage" / "audio").glob("*/*"))


@asynccontextmanager
async def service(folder: Path, clock: ManualClock | None = None, **changes: Any) -> AsyncIterator[Storage]:
    """The service over a folder."""
    clock = clock or ManualClock()
    settings = StorageSettings(
        listen="127.0.0.1:0", ops_listen="127.0.0.1:0", data_dir=folder, drain_seconds=1, **changes
    )
    async with running(build_app(settings, clock=clock), service="storage", settings=settings) as it:
        yield Storage(storage_pb2_grpc.StorageServiceStub(it.channel), it.channel, folder, clock)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """The service over an empty folder."""
    async with service(tmp_path) as it:
        yield it


async def failure(call: Awaitable[object]) -> DomainError:
    """What a call fails with, as its caller sees it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def created(storage: Storage, **changes: object) -> str:
    """Id of a new story whose lease has token 1."""
    return (await storage.stub.CreateStory(create_request(**changes))).record.story.id


async def kept(storage: Storage, *checkpoints: storage_pb2.StoryCheckpoint) -> None:
    """Checkpoints that hold."""
    request = storage_pb2.CheckpointStoriesRequest(lease_duration=Duration(seconds=30), checkpoints=checkpoints)
    response = await storage.stub.CheckpointStories(request)
    assert [""] * len(checkpoints) == [result.error.reason for result in response.results]


async def narrated(storage: Storage, data: bytes = DATA) -> tuple[str, str]:
    """A READY story with audio: its id and the audio's."""
    story_id, audio_id = await created(storage), new_id()
    header = common_pb2.NarrationHeader(audio_id=audio_id)
    text: dict[str, Any] = {"text": (0, "Once upon a time."), "content_complete": True}
    await kept(storage, checkpoint(story_id, state=states.NARRATING, narration=header, segments=[segment(0)], **text))
    await storage.stub.WriteAudio(iter(audio_messages(story_id, 1, audio_id, data)))
    await kept(storage, checkpoint(story_id, state=states.READY))
    return story_id, audio_id


async def read(storage: Storage, story_id: str, **changes: Any) -> tuple[common_pb2.StoryAudio, bytes]:
    """What ReadAudio gives; its offsets are checked on the way."""
    request = storage_pb2.ReadAudioRequest(story_id=story_id, **changes)
    header, data = None, b""
    async for response in storage.stub.ReadAudio(request):
        if response.WhichOneof("piece") == "header":
            assert header is None
            header = response.header
        else:
            assert request.offset + len(data) == response.chunk.offset
            assert len(response.chunk.data) <= 1_048_576
            data += response.chunk.data
    assert header is not None
    return header, data


# Stories.


async def test_a_story_goes_from_request_to_audio(storage: Storage) -> None:
    """What was written through one call after the other is read back whole."""
    story_id, audio_id = await narrated(storage)
    response = await storage.stub.GetStory(
        storage_pb2.GetStoryRequest(story_id=story_id, view=common_pb2.STORY_VIEW_FULL)
    )
    story = response.record.story
    assert (states.READY, "Once upon a time.", audio_id, len(DATA), hashlib.sha256(DATA).digest()) == (
        story.state,
        story.content,
        story.audio.audio_id,
        story.audio.size_bytes,
        story.audio.sha256,
    )
    assert [segment(0)] == list(story.audio.segments)
    header, data = await read(storage, story_id)
    assert data == DATA
    assert (audio_id, []) == (header.audio_id, list(header.segments))


async def test_a_record_beyond_what_grpc_carries_is_read_all_the_same(storage: Storage) -> None:
    """Without its raw responses, and it says so; the kept ones stay what they were."""
    story_id = await created(storage)
    for size, expected in ((1_000_000, []), (3_500_000, ["RESPONSE_TRUNCATED"])):
        generation = storage_pb2.GenerationRecord(model_used="offline")
        generation.full_response.add().update({"text": "x" * size})
        await kept(storage, checkpoint(story_id, generation=generation))
        request = storage_pb2.GetStoryRequest(story_id=story_id, view=common_pb2.STORY_VIEW_FULL)
        story = (await storage.stub.GetStory(request)).record.story
        assert expected == [problem.reason for problem in story.problems]
        assert (not expected, "offline") == (bool(story.full_response), story.model_used)


async def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    """A service over the same folder has the same stories."""
    async with service(tmp_path) as storage:
        story_id, _ = await narrated(storage)
        before = await storage.stub.GetStory(
            storage_pb2.GetStoryRequest(story_id=story_id, view=common_pb2.STORY_VIEW_FULL)
        )
    async with service(tmp_path) as storage:
        assert before == await storage.stub.GetStory(
            storage_pb2.GetStoryRequest(story_id=story_id, view=common_pb2.STORY_VIEW_FULL)
        )
        assert DATA == (await read(storage, story_id))[1]


async def test_owners_do_not_see_each_other(storage: Storage) -> None:
    """The metadata says whose a story is; without it, it is the local owner's."""
    story_id = await created(storage)
    ben = (("x-tale-owner", "ben"),)
    error = await failure(storage.stub.GetStory(storage_pb2.GetStoryRequest(story_id=story_id), metadata=ben))
    assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == (error.code, error.reason)
    request = create_request()
    assert "ben" == (await storage.stub.CreateStory(request, metadata=ben)).record.owner
    assert [story_id] == [
        story.id for story in (await storage.stub.ListStories(storage_pb2.ListStoriesRequest())).stories
    ]


async def test_runs_work_across_owners(storage: Storage) -> None:
    """Who claims gets everybody's stories, and is told whose they are."""
    request = storage_pb2.CreateStoryRequest(story_id=new_id(), spec=create_request().spec, story=begun_story())
    await storage.stub.CreateStory(request, metadata=(("x-tale-owner", "ben"),))
    claimed = await storage.stub.ClaimStories(storage_pb2.ClaimStoriesRequest(lease=lease_request(), max_count=10))
    assert [("ben", 1)] == [(one.owner, one.lease_token) for one in claimed.stories]
    await kept(storage, checkpoint(request.story_id, text=(0, "Once")))
    lease = storage_pb2.HeldLease(story_id=request.story_id, lease_token=1)
    released = await storage.stub.ReleaseStories(storage_pb2.ReleaseStoriesRequest(leases=[lease]))
    assert 1 == released.released_count


async def test_changes_arrive_as_they_were_asked_for(storage: Storage) -> None:
    """Each change of the oneof does what its name says."""
    story_id, audio_id = await narrated(storage)
    update = storage.stub.UpdateStory
    rated = await update(storage_pb2.UpdateStoryRequest(story_id=story_id, rating=9, expected_revision=1))
    assert (True, 9, 2) == (rated.changed, rated.record.story.rating, rated.record.story.revision)
    voice = common_pb2.VoiceSelection(provider="offline", voice_id="de")
    again = storage_pb2.NarrateChange(
        request_id="r-1", fingerprint=FINGERPRINT, lease=lease_request("other:1"), voice=voice
    )
    request = storage_pb2.UpdateStoryRequest(story_id=story_id, narrate=again)
    answers = [await update(request), await update(request)]
    assert [True, False] == [answer.changed for answer in answers]
    record = answers[0].record
    assert (states.NARRATING, "de", "other:1", audio_id) == (
        record.story.state,
        record.story.voice.voice_id,
        record.run.runner,
        record.story.audio.audio_id,
    )
    cancelled = await update(storage_pb2.UpdateStoryRequest(story_id=story_id, cancel=storage_pb2.CancelChange()))
    # Its old audio is kept, so it goes back to what it was.
    assert states.READY == cancelled.record.story.state
    retry = storage_pb2.UpdateStoryRequest(story_id=story_id, retry=storage_pb2.RetryChange())
    error = await failure(update(retry))
    assert (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE") == (error.code, error.reason)
    failed = await created(storage)
    await kept(storage, checkpoint(failed, state=states.FAILED))
    retried = await update(storage_pb2.UpdateStoryRequest(story_id=failed, retry=storage_pb2.RetryChange()))
    assert states.PENDING == retried.record.story.state
    late = await failure(update(storage_pb2.UpdateStoryRequest(story_id=story_id, rating=1, expected_revision=1)))
    assert (grpc.StatusCode.ABORTED, "REVISION_MISMATCH") == (late.code, late.reason)


async def test_reused_request_ids_are_refused(storage: Storage) -> None:
    """ALREADY_EXISTS tells a caller that its id stands for something else."""
    await created(storage, request_id="r-1", fingerprint=FINGERPRINT)
    error = await failure(created(storage, request_id="r-1", fingerprint=b"x" * 32))
    assert (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED") == (error.code, error.reason)


async def test_lists_go_on_by_token(storage: Storage) -> None:
    """Pages join to the whole, and a token is good for its own filter alone."""
    stories = []
    for _ in range(5):
        stories.append(await created(storage))
        storage.clock.advance(1)
    seen: list[str] = []
    request = storage_pb2.ListStoriesRequest(page_size=2, filter=common_pb2.StoryFilter(language_code="en"))
    sizes = []
    while True:
        response = await storage.stub.ListStories(request)
        seen += [story.id for story in response.stories]
        sizes.append(len(response.stories))
        if not response.next_page_token:
            break
        request.page_token = response.next_page_token
    assert (stories[::-1], [2, 2, 1]) == (seen, sizes)
    request.filter.language_code = "de"
    error = await failure(storage.stub.ListStories(request))
    assert ["page_token"] == [violation.field for violation in error.violations]


async def test_a_full_last_page_has_no_token(storage: Storage) -> None:
    """Nobody is sent for an empty page."""
    await created(storage)
    response = await storage.stub.ListStories(storage_pb2.ListStoriesRequest(page_size=1))
    assert (1, "") == (len(response.stories), response.next_page_token)


# Audio.


@pytest.mark.parametrize(
    ("offset", "limit"), [(0, None), (1, None), (65_536, 65_536), (70_000, 100), (0, 0), (len(DATA), None)]
)
async def test_audio_is_read_from_any_byte(storage: Storage, offset: int, limit: int | None) -> None:
    """The range is exact to the byte, and its end may be the end."""
    story_id, audio_id = await narrated(storage)
    changes: dict[str, Any] = {} if limit is None else {"limit": limit}
    _, data = await read(storage, story_id, audio_id=audio_id, offset=offset, **changes)
    assert data == DATA[offset : None if limit is None else offset + limit]


async def test_audio_that_is_not_there_is_not_found(storage: Storage) -> None:
    """Neither another audio id nor a story without audio gives bytes."""
    story_id, _ = await narrated(storage)
    silent = await created(storage)
    for one, audio_id, reason in (
        (story_id, new_id(), "AUDIO_NOT_FOUND"),
        (silent, "", "AUDIO_NOT_FOUND"),
        (new_id(), "", "STORY_NOT_FOUND"),
    ):
        error = await failure(read(storage, one, audio_id=audio_id))
        assert (grpc.StatusCode.NOT_FOUND, reason) == (error.code, error.reason)


async def test_reading_beyond_the_end_is_a_violation(storage: Storage) -> None:
    """An offset that can not be is said to be so, not answered with nothing."""
    story_id, _ = await narrated(storage)
    error = await failure(read(storage, story_id, offset=len(DATA) + 1))
    assert (grpc.StatusCode.INVALID_ARGUMENT, ["offset"]) == (error.code, [one.field for one in error.violations])


async def test_new_audio_takes_the_place_of_the_old(storage: Storage) -> None:
    """One file a story: the old one goes once the new one is kept."""
    story_id, _ = await narrated(storage)
    again = storage_pb2.NarrateChange(lease=lease_request(), voice=common_pb2.VoiceSelection(provider="offline"))
    await storage.stub.UpdateStory(storage_pb2.UpdateStoryRequest(story_id=story_id, narrate=again))
    assert DATA == (await read(storage, story_id))[1]
    new = new_id()
    for _ in range(2):
        response = await storage.stub.WriteAudio(iter(audio_messages(story_id, 2, new, b"new audio")))
        assert (new, 9) == (response.audio.audio_id, response.audio.size_bytes)
    assert b"new audio" == (await read(storage, story_id))[1]
    assert 1 == len(storage.files())


async def test_deleting_a_story_removes_its_file(storage: Storage) -> None:
    """Hashes of its segments come back, and neither story nor file stays."""
    story_id, _ = await narrated(storage)
    response = await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=story_id))
    assert [segment(0).sha256] == list(response.segment_sha256)
    assert [] == storage.files()
    error = await failure(storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=story_id)))
    assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == (error.code, error.reason)


NOT_ONE = "?"

Broken = Callable[[list[storage_pb2.WriteAudioRequest]], Sequence[storage_pb2.WriteAudioRequest]]
CHUNK = storage_pb2.WriteAudioRequest(chunk=storage_pb2.AudioPiece(data=b"x"))
COMMIT = storage_pb2.WriteAudioRequest(commit=storage_pb2.AudioCommit(size_bytes=1, sha256=b"x" * 32))
HUGE = storage_pb2.WriteAudioRequest(chunk=storage_pb2.AudioPiece(data=b"x" * (MIB + 1)))
SILENT = storage_pb2.WriteAudioRequest(commit=storage_pb2.AudioCommit(sha256=hashlib.sha256(b"").digest()))


@pytest.mark.parametrize(
    ("broken", "reason", "fields"),
    [
        (lambda sent: sent[1:], "VALIDATION_FAILED", ["header"]),
        (lambda _: [], "VALIDATION_FAILED", ["header"]),
        (lambda sent: sent[:-1], "VALIDATION_FAILED", ["commit"]),
        (lambda sent: sent[:1], "VALIDATION_FAILED", ["commit"]),
        (lambda sent: [sent[0], *sent], "VALIDATION_FAILED", ["header"]),
        (lambda sent: [*sent, CHUNK], "VALIDATION_FAILED", ["commit"]),
        (lambda sent: [sent[0], *sent[2:]], "VALIDATION_FAILED", ["chunk.offset"]),
        (lambda sent: [*sent[:2], *sent[1:]], "VALIDATION_FAILED", ["chunk.offset"]),
        (lambda sent: [sent[0], HUGE, sent[-1]], "VALIDATION_FAILED", ["chunk.data"]),
        (lambda sent: [*sent[:-1], storage_pb2.WriteAudioRequest()], "VALIDATION_FAILED", ["piece"]),
        (lambda sent: [sent[0], SILENT], "VALIDATION_FAILED", ["commit.size_bytes"]),
        (lambda sent: [*sent[:-2], sent[-1]], "AUDIO_MISMATCH", []),
        (lambda sent: [*sent[:-1], COMMIT], "AUDIO_MISMATCH", []),
    ],
)
async def test_an_upload_that_does_not_add_up_keeps_nothing(
    storage: Storage, broken: Broken, reason: str, fields: list[str]
) -> None:
    """Pieces out of order, missing or too many, and a commit that disagrees: nothing of them stays."""
    story_id = await created(storage)
    sent = broken(audio_messages(story_id, 1, new_id(), DATA))
    error = await failure(storage.stub.WriteAudio(iter(sent)))
    assert (grpc.StatusCode.INVALID_ARGUMENT, reason) == (error.code, error.reason)
    assert fields == [violation.field for violation in error.violations]
    assert [] == storage.files()
    assert "AUDIO_NOT_FOUND" == (await failure(read(storage, story_id))).reason


async def test_the_lease_is_asked_for_before_and_after(storage: Storage) -> None:
    """A run that lost its story uploads nothing, whether it lost it before or meanwhile."""
    story_id = await created(storage)
    messages = audio_messages(story_id, 1, new_id(), DATA)
    call = storage.stub.WriteAudio()
    for message in messages[:-1]:
        await call.write(message)
    await storage.stub.UpdateStory(storage_pb2.UpdateStoryRequest(story_id=story_id, cancel=storage_pb2.CancelChange()))
    await call.write(messages[-1])
    await call.done_writing()
    assert "LEASE_LOST" == (await failure(call)).reason
    assert "LEASE_LOST" == (await failure(storage.stub.WriteAudio(iter(messages)))).reason
    assert [] == storage.files()


async def test_a_refused_upload_tells_why_every_time(storage: Storage) -> None:
    """A caller who is still sending when the call fails gets the status, not what its own library makes of it."""
    sent = audio_messages(new_id(), 1, new_id(), DATA)
    assert {"STORY_NOT_FOUND"} == {(await failure(storage.stub.WriteAudio(iter(sent)))).reason for _ in range(20)}


async def test_audio_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    """The limit holds to the byte, and nothing of what is too much stays."""
    async with service(tmp_path, audio_max_bytes=MIB) as storage:
        story_id = await created(storage)
        messages = audio_messages(story_id, 1, new_id(), b"x" * (MIB + 1))
        error = await failure(storage.stub.WriteAudio(iter(messages)))
        assert (grpc.StatusCode.FAILED_PRECONDITION, "AUDIO_TOO_LARGE") == (error.code, error.reason)
        assert [] == storage.files()
        await storage.stub.WriteAudio(iter(audio_messages(story_id, 1, new_id(), b"x" * MIB)))


async def test_an_upload_that_stalls_is_given_up(tmp_path: Path) -> None:
    """Who sends nothing for too long loses the call, and the file goes."""
    async with service(tmp_path, upload_idle_seconds=0.05) as storage:
        story_id = await created(storage)
        call = storage.stub.WriteAudio()
        await call.write(audio_messages(story_id, 1, new_id(), DATA)[0])
        error = await failure(call)
        assert (grpc.StatusCode.ABORTED, "UPLOAD_STALLED") == (error.code, error.reason)
        assert [] == storage.files()


async def test_a_caller_who_hangs_up_leaves_nothing(tmp_path: Path) -> None:
    """A cancelled upload is no audio and no file."""
    async with service(tmp_path) as storage:
        story_id = await created(storage)
        call = storage.stub.WriteAudio()
        for message in audio_messages(story_id, 1, new_id(), DATA * 4)[:-1]:
            await call.write(message)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert [] == storage.files()


@pytest.mark.parametrize("harm", ["gone", "short", "changed"])
async def test_damaged_audio_is_never_a_success(storage: Storage, harm: str) -> None:
    """A reader of bytes that are missing or changed gets DATA_LOSS, and no path."""
    story_id, _ = await narrated(storage)
    (path,) = storage.files()
    match harm:
        case "gone":
            path.unlink()
        case "short":
            path.write_bytes(DATA[:-1])
        case "changed":
            path.write_bytes(DATA[:-1] + b"?")
    error = await failure(read(storage, story_id))
    assert (grpc.StatusCode.DATA_LOSS, "AUDIO_CORRUPT", False) == (
        error.code,
        error.reason,
        str(storage.folder) in error.message,
    )


async def test_a_start_sweeps_files_without_a_story(tmp_path: Path) -> None:
    """What a crash left is removed once it is old; what is kept or young stays."""
    async with service(tmp_path) as storage:
        story_id, _ = await narrated(storage)
        (mine,) = storage.files()
        orphan = mine.with_name(f"{new_id()}.{new_id()}")
        part = mine.with_name(f"{new_id()}.{new_id()}.part")
        for path in (orphan, part):
            path.write_bytes(b"left")
    young = ManualClock(int(mine.stat().st_mtime * 1_000_000))
    async with service(tmp_path, young) as storage:
        assert {mine, orphan, part} == set(storage.files())
    young.advance(3_700)
    async with service(tmp_path, young) as storage:
        assert [mine] == storage.files()
        assert DATA == (await read(storage, story_id))[1]


async def test_the_embedded_store_has_no_addresses(storage: Storage) -> None:
    """The caller is told which RPC to use."""
    story_id, _ = await narrated(storage)
    error = await failure(storage.stub.GetAudioUrl(storage_pb2.GetAudioUrlRequest(story_id=story_id)))
    assert (grpc.StatusCode.FAILED_PRECONDITION, "AUDIO_URL_UNSUPPORTED", True) == (
        error.code,
        error.reason,
        "ReadStoryAudio" in error.message,
    )


# Requests that can not be used.


def invalid() -> list[tuple[str, Any, set[str]]]:
    """An RPC, a request with much wrong in it, and all fields that must be named."""
    awry = storage_pb2.StoryCheckpoint(
        story_id="../x",
        state=states.CANCELLED,
        title="",
        text=storage_pb2.TextAppend(offset=-1, text="\0"),
        narration=common_pb2.NarrationHeader(audio_id="x"),
        segments=[common_pb2.Segment(index=-1)],
        attempts=[common_pb2.Attempt(attempt_id="x")],
        problems=[common_pb2.Problem()],
        embedded_parts=["a,b"],
    )
    one = checkpoint(new_id())
    many = [checkpoint(new_id()) for _ in range(1_001)]
    seconds = Duration(seconds=30)
    return [
        ("CreateStory", storage_pb2.CreateStoryRequest(), {"story_id", "spec", "story"}),
        (
            "CreateStory",
            storage_pb2.CreateStoryRequest(
                story_id=new_id().upper(),
                request_id="no spaces",
                spec=common_pb2.StorySpec(wish="x" * 2_001, moral="x" * 201, theme="x" * 201),
                story=common_pb2.Story(
                    kind=9,  # type: ignore[arg-type]
                    language_code="",
                    length_minutes=31,
                    child=common_pb2.Child(name="x" * 101, interests=["x"] * 21),
                    child_id="mia",
                    hero_id="..",
                    parent_story_id="/",
                    content="already",
                    rating=9,
                ),
                lease=storage_pb2.LeaseRequest(),
            ),
            {
                "story_id",
                "request_id",
                "fingerprint",
                "spec.wish",
                "spec.moral",
                "spec.theme",
                "story.kind",
                "story.language_code",
                "story.length_minutes",
                "story.child.name",
                "story.child.interests",
                "story.child_id",
                "story.hero_id",
                "story.parent_story_id",
                "story.content",
                "story.rating",
                "lease.runner",
                "lease.duration",
            },
        ),
        ("GetStory", storage_pb2.GetStoryRequest(view=7), {"story_id", "view"}),  # type: ignore[arg-type]
        (
            "ListStories",
            storage_pb2.ListStoriesRequest(
                page_size=101,
                page_token="x" * 513,
                filter=common_pb2.StoryFilter(
                    child_name="x" * 101,
                    kind=9,  # type: ignore[arg-type]
                    states=[common_pb2.STORY_STATE_UNSPECIFIED],
                    min_rating=11,
                    max_rating=0,
                    query="x" * 201,
                ),
            ),
            {
                "page_size",
                "page_token",
                "filter.child_name",
                "filter.kind",
                "filter.states",
                "filter.min_rating",
                "filter.max_rating",
                "filter.query",
            },
        ),
        ("ListStories", storage_pb2.ListStoriesRequest(page_size=-1, page_token=NOT_ONE), {"page_size"}),
        ("ListStories", storage_pb2.ListStoriesRequest(page_token=NOT_ONE), {"page_token"}),
        (
            "ListStories",
            storage_pb2.ListStoriesRequest(filter=common_pb2.StoryFilter(min_rating=6, max_rating=5)),
            {"filter.min_rating"},
        ),
        (
            "UpdateStory",
            storage_pb2.UpdateStoryRequest(expected_revision=0),
            {"story_id", "expected_revision", "change"},
        ),
        ("UpdateStory", storage_pb2.UpdateStoryRequest(rating=11), {"story_id", "rating"}),
        (
            "UpdateStory",
            storage_pb2.UpdateStoryRequest(narrate=storage_pb2.NarrateChange(request_id="r", lease={})),  # type: ignore[arg-type]
            {"story_id", "narrate.fingerprint", "narrate.voice", "narrate.lease.runner", "narrate.lease.duration"},
        ),
        (
            "UpdateStory",
            storage_pb2.UpdateStoryRequest(retry=storage_pb2.RetryChange(request_id="ü", lease={})),  # type: ignore[arg-type]
            {
                "story_id",
                "retry.request_id",
                "retry.fingerprint",
                "retry.lease.runner",
                "retry.lease.duration",
            },
        ),
        ("DeleteStory", storage_pb2.DeleteStoryRequest(story_id="*"), {"story_id"}),
        ("ClaimStories", storage_pb2.ClaimStoriesRequest(), {"lease", "max_count"}),
        (
            "ClaimStories",
            storage_pb2.ClaimStoriesRequest(lease=lease_request("", 3_601), max_count=101, story_ids=["", "x"]),
            {"lease.runner", "lease.duration", "max_count", "story_ids[0]", "story_ids[1]"},
        ),
        (
            "ClaimStories",
            storage_pb2.ClaimStoriesRequest(lease=lease_request(), max_count=1, story_ids=[new_id()] * 101),
            {"story_ids"},
        ),
        ("CheckpointStories", storage_pb2.CheckpointStoriesRequest(), {"lease_duration", "checkpoints"}),
        (
            "CheckpointStories",
            storage_pb2.CheckpointStoriesRequest(lease_duration=seconds, checkpoints=many),
            {"checkpoints"},
        ),
        (
            "CheckpointStories",
            storage_pb2.CheckpointStoriesRequest(lease_duration=seconds, checkpoints=[one, one]),
            {"checkpoints"},
        ),
        (
            "CheckpointStories",
            storage_pb2.CheckpointStoriesRequest(lease_duration=seconds, checkpoints=[one, awry]),
            {
                "checkpoints[1].story_id",
                "checkpoints[1].lease_token",
                "checkpoints[1].state",
                "checkpoints[1].title",
                "checkpoints[1].text.offset",
                "checkpoints[1].text.text",
                "checkpoints[1].narration.audio_id",
                "checkpoints[1].segments[0].index",
                "checkpoints[1].segments[0].sha256",
                "checkpoints[1].attempts[0].attempt_id",
                "checkpoints[1].problems[0].reason",
                "checkpoints[1].embedded_parts[0]",
            },
        ),
        ("ReleaseStories", storage_pb2.ReleaseStoriesRequest(), {"leases"}),
        (
            "ReleaseStories",
            storage_pb2.ReleaseStoriesRequest(leases=[storage_pb2.HeldLease()]),
            {"leases[0].story_id", "leases[0].lease_token"},
        ),
        (
            "ReadAudio",
            storage_pb2.ReadAudioRequest(audio_id="x", offset=-1, limit=-1),
            {"story_id", "audio_id", "offset", "limit"},
        ),
        ("GetAudioUrl", storage_pb2.GetAudioUrlRequest(expiry=Duration()), {"story_id", "expiry"}),
        (
            "WriteAudio",
            iter([storage_pb2.WriteAudioRequest(header=storage_pb2.AudioHeader())]),
            {"header.story_id", "header.lease_token", "header.audio"},
        ),
        (
            "WriteAudio",
            iter([storage_pb2.WriteAudioRequest(header=storage_pb2.AudioHeader(audio={}))]),  # type: ignore[arg-type]
            {"header.story_id", "header.lease_token", "header.audio.audio_id", "header.audio.content_type"},
        ),
    ]


@pytest.mark.parametrize(("rpc", "request_", "fields"), invalid())
async def test_all_that_is_wrong_is_said_at_once(storage: Storage, rpc: str, request_: Any, fields: set[str]) -> None:
    """INVALID_ARGUMENT names every field, and repeats none of the values."""
    call = getattr(storage.stub, rpc)(request_)
    error = await failure(anext(aiter(call)) if rpc == "ReadAudio" else call)
    assert (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED") == (error.code, error.reason)
    assert fields == {violation.field for violation in error.violations}


async def test_unknown_stories_are_not_found(storage: Storage) -> None:
    """Every RPC that names one story says so in the same way."""
    gone = new_id()
    calls: list[Awaitable[object]] = [
        storage.stub.GetStory(storage_pb2.GetStoryRequest(story_id=gone)),
        storage.stub.UpdateStory(storage_pb2.UpdateStoryRequest(story_id=gone, rating=5)),
        storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=gone)),
        storage.stub.GetAudioUrl(storage_pb2.GetAudioUrlRequest(story_id=gone)),
        storage.stub.WriteAudio(iter(audio_messages(gone, 1, new_id(), b"x"))),
        read(storage, gone),
    ]
    errors = [await failure(call) for call in calls]
    assert {(grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND")} == {(error.code, error.reason) for error in errors}


# The rest of the house.


async def test_the_status_names_what_is_embedded(storage: Storage) -> None:
    """An operator learns which variables bring the real store."""
    response = await status_pb2_grpc.StatusServiceStub(storage.channel).GetStatus(status_pb2.GetStatusRequest())
    (part,) = response.status.embedded_parts
    assert ("storage", "store", "sqlite", ["STORAGE_BACKEND", "SUPABASE_URL", "SUPABASE_KEY"]) == (
        response.status.service,
        part.part,
        part.implementation,
        list(part.environment_variables),
    )
