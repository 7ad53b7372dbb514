"""The storage service on the wire, over the embedded store."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from support.storage_service import (
    Storage,
    created,
    digest,
    failure,
    kept,
    narrated,
    narrating,
    read,
    service,
    verdicts,
)

from servicekit.ids import new_id
from standins.storage_kit import (
    FINGERPRINT,
    ManualClock,
    begun_story,
    checkpoint,
    create_request,
    lease_request,
    stored_token,
)
from storage_service.embedded.stories import SqliteStoryStore
from storage_service.errors import storage_unavailable
from storage_service.stories import states
from tale.common.v1 import common_pb2, status_pb2, status_pb2_grpc
from tale.storage.v1 import storage_pb2

NOT_ONE = "?"


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """The service over an empty folder."""
    async with service(tmp_path) as it:
        yield it


# Stories.


async def test_a_story_goes_from_request_to_audio(storage: Storage) -> None:
    """What was written through one call after the other is read back whole."""
    made = await narrated(storage)
    response = await storage.stub.GetStory(
        storage_pb2.GetStoryRequest(story_id=made.story_id, view=common_pb2.STORY_VIEW_FULL)
    )
    story = response.record.story
    assert story.state == states.READY
    assert story.content == "x" * 30
    assert story.audio.audio_id == made.audio_id
    assert story.audio.sha256 == digest(made.data)
    assert list(story.audio.segments) == [one.place for one in made.spoken]
    header, data = await read(storage, made.story_id)
    assert data == made.data
    assert not header.segments


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


async def test_what_a_snapshot_holds_beyond_its_fields_is_not_stored(storage: Storage) -> None:
    """No rule bounds the fields of a later version."""
    request = create_request()
    request.story.child.MergeFromString(b"\xba\x3e\x80\x80\x04" + b"x" * (64 << 10))
    await storage.stub.CreateStory(request)
    stored = await storage.stub.GetStory(storage_pb2.GetStoryRequest(story_id=request.story_id))
    assert stored.record.story.child.name
    assert stored.ByteSize() < 10_000


async def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    """A service over the same folder has the same stories."""
    async with service(tmp_path) as storage:
        ready, unfinished = await narrated(storage), await narrating(storage)
        request = storage_pb2.GetStoryRequest(story_id=ready.story_id, view=common_pb2.STORY_VIEW_FULL)
        before = await storage.stub.GetStory(request)
    async with service(tmp_path) as storage:
        assert before == await storage.stub.GetStory(request)
        assert (await read(storage, ready.story_id))[1] == ready.data
        assert (await read(storage, unfinished.story_id))[1] == unfinished.data
        await storage.stub.FinishAudio(unfinished.finish())


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
    assert ["ben"] == [one.owner for one in claimed.stories]
    await kept(storage, checkpoint(request.story_id, claimed.stories[0].lease_token, text=(0, "Once")))
    lease = storage_pb2.HeldLease(story_id=request.story_id, lease_token=claimed.stories[0].lease_token)
    released = await storage.stub.ReleaseStories(storage_pb2.ReleaseStoriesRequest(leases=[lease]))
    assert 1 == released.released_count


async def test_changes_arrive_as_they_were_asked_for(storage: Storage) -> None:
    """Each change of the oneof does what its name says."""
    made = await narrated(storage, sizes=[100, 100])
    story_id, audio_id = made.story_id, made.audio_id
    update = storage.stub.UpdateStory
    rated = await update(storage_pb2.UpdateStoryRequest(story_id=story_id, rating=9, expected_revision=1))
    assert (True, 9, 2) == (rated.changed, rated.record.story.rating, rated.record.story.revision)
    voice = common_pb2.VoiceSelection(provider="offline", voice_id="de")
    again = storage_pb2.NarrateChange(request_id="r-1", fingerprint=FINGERPRINT, lease=lease_request(), voice=voice)
    request = storage_pb2.UpdateStoryRequest(story_id=story_id, narrate=again)
    answers = [await update(request), await update(request)]
    assert [True, False] == [answer.changed for answer in answers]
    record = answers[0].record
    assert (states.NARRATING, "de", audio_id) == (
        record.story.state,
        record.story.voice.voice_id,
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


# Cancelling.


def started(attempt_id: str) -> common_pb2.Attempt:
    """A call that is under way."""
    kind, outcome = common_pb2.ATTEMPT_KIND_SPEECH_CALL, common_pb2.ATTEMPT_OUTCOME_STARTED
    return common_pb2.Attempt(attempt_id=attempt_id, kind=kind, outcome=outcome, provider="mock")


async def attempts(storage: Storage, story_id: str) -> dict[str, common_pb2.Attempt]:
    """The ledger."""
    request = storage_pb2.GetStoryRequest(story_id=story_id, view=common_pb2.STORY_VIEW_FULL)
    story = (await storage.stub.GetStory(request)).record.story
    return {attempt.attempt_id: attempt for attempt in story.attempts}


async def test_cancelling_ends_the_attempts_that_are_under_way(storage: Storage) -> None:
    """Those that have ended stay as they are, and the lease token stays for what the run still has to say."""
    story_id, (running, done) = await created(storage), (new_id(), new_id())
    ended = common_pb2.Attempt(attempt_id=done, outcome=common_pb2.ATTEMPT_OUTCOME_SUCCEEDED)
    await kept(storage, checkpoint(story_id, attempts=[started(running), ended]))
    cancel = storage_pb2.UpdateStoryRequest(story_id=story_id, cancel=storage_pb2.CancelChange())
    token = await stored_token(storage.stub, story_id)
    record = (await storage.stub.UpdateStory(cancel)).record
    assert record.story.state == states.CANCELLED
    assert record.run.lease_token == token
    ledger = await attempts(storage, story_id)
    assert ledger[running].outcome == common_pb2.ATTEMPT_OUTCOME_CANCELLED
    assert ledger[running].end_time.ToMicroseconds() == storage.clock.now()
    assert ledger[running].provider == "mock"
    assert ledger[done] == ended


async def test_a_cancelled_run_may_say_what_its_calls_cost(storage: Storage) -> None:
    """Ledger and generation record are stored; text, state and other tokens are refused."""
    story_id, call, late = await created(storage), new_id(), new_id()
    await kept(storage, checkpoint(story_id, attempts=[started(call)]))
    cancel = storage_pb2.UpdateStoryRequest(story_id=story_id, cancel=storage_pb2.CancelChange())
    await storage.stub.UpdateStory(cancel)
    last = checkpoint(story_id, state=states.CANCELLED, generation=storage_pb2.GenerationRecord(model_used="m"))
    last.attempts.add(attempt_id=call, outcome=common_pb2.ATTEMPT_OUTCOME_CANCELLED, cost_usd=0.5)
    last.attempts.append(started(late))
    await kept(storage, last)
    ledger = await attempts(storage, story_id)
    assert ledger[call].cost_usd == 0.5
    assert ledger[late].outcome == common_pb2.ATTEMPT_OUTCOME_CANCELLED
    assert ledger[late].HasField("end_time")
    story = (await storage.stub.GetStory(storage_pb2.GetStoryRequest(story_id=story_id))).record.story
    assert story.model_used == "m"
    assert story.state == states.CANCELLED
    text = checkpoint(story_id, state=states.CANCELLED, text=(0, "Once"))
    other = checkpoint(story_id, token=9, state=states.CANCELLED)
    ready = checkpoint(story_id, state=states.READY, content_complete=True)
    assert [await verdicts(storage, one) for one in (text, other, ready)] == [
        ["WRONG_STATE"],
        ["LEASE_LOST"],
        ["WRONG_STATE"],
    ]


async def test_a_run_cannot_cancel_its_story(storage: Storage) -> None:
    """Only a caller can."""
    story_id = await created(storage)
    assert await verdicts(storage, checkpoint(story_id, state=states.CANCELLED)) == ["WRONG_STATE"]


async def test_a_narration_that_is_cancelled_leaves_the_old_audio(storage: Storage) -> None:
    """The late ledger of its run is accepted under READY; the next narration has another token."""
    made = await narrated(storage, sizes=[100, 100])
    narrate = storage_pb2.NarrateChange(lease=lease_request(), voice=common_pb2.VoiceSelection(provider="offline"))
    again = storage_pb2.UpdateStoryRequest(story_id=made.story_id, narrate=narrate)
    await storage.stub.UpdateStory(again)
    call = new_id()
    await kept(storage, checkpoint(made.story_id, attempts=[started(call)]))
    cancel = storage_pb2.UpdateStoryRequest(story_id=made.story_id, cancel=storage_pb2.CancelChange())
    assert (await storage.stub.UpdateStory(cancel)).record.story.state == states.READY
    late = checkpoint(made.story_id, state=states.READY, attempts=[started(call)])
    await kept(storage, late)
    assert (await attempts(storage, made.story_id))[call].outcome == common_pb2.ATTEMPT_OUTCOME_CANCELLED
    await storage.stub.UpdateStory(again)
    assert await verdicts(storage, late) == ["LEASE_LOST"]
    assert (await read(storage, made.story_id))[1] == made.data


# Following.


async def follow(storage: Storage, *positions: storage_pb2.StoryPosition) -> tuple[list[storage_pb2.StoryChange], bool]:
    """What is new, and whether that is not all."""
    answer = await storage.stub.FollowStories(storage_pb2.FollowStoriesRequest(positions=positions))
    return list(answer.changes), answer.truncated


async def test_a_follower_learns_what_is_new_and_nothing_twice(storage: Storage) -> None:
    """Text, segments and problems behind what it knows."""
    made = await narrating(storage, sizes=[100, 100, 100])
    position = storage_pb2.StoryPosition(story_id=made.story_id)
    (change,), truncated = await follow(storage, position)
    assert not truncated
    assert change.state == states.NARRATING
    assert change.leased
    assert change.title == "The dragon"
    assert change.text.text == "x" * 20
    assert change.content_complete
    assert change.narration.audio_id == made.audio_id
    assert list(change.segments) == [one.place for one in made.spoken]
    position.state, position.text_length = change.state, 20
    position.audio_id, position.segment_count = made.audio_id, 3
    assert await follow(storage, position) == ([], False)
    position.text_length, position.segment_count = 15, 2
    (change,), _ = await follow(storage, position)
    assert change.text.offset == 15
    assert change.text.text == "x" * 5
    assert [one.index for one in change.segments] == [2]
    assert not change.HasField("narration")
    position.audio_id = new_id()
    (change,), _ = await follow(storage, position)
    assert [one.index for one in change.segments] == [0, 1, 2]


async def test_a_follower_learns_that_a_story_is_gone(storage: Storage) -> None:
    """Or that there never was one."""
    story_id = await created(storage)
    await storage.stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=story_id))
    changes, _ = await follow(storage, *(storage_pb2.StoryPosition(story_id=one) for one in (story_id, new_id())))
    assert [change.deleted for change in changes] == [True, True]


async def test_a_run_learns_only_that_it_has_ended(storage: Storage) -> None:
    """Or lost its lease."""
    made = await narrating(storage, sizes=[100, 100])
    mine = storage_pb2.StoryPosition(story_id=made.story_id, lease_token=made.token)
    assert await follow(storage, mine) == ([], False)
    storage.clock.advance(60)
    await storage.stub.ClaimStories(storage_pb2.ClaimStoriesRequest(lease=lease_request(), max_count=1))
    expected = storage_pb2.StoryChange(story_id=made.story_id, state=states.NARRATING, leased=True)
    assert await follow(storage, mine) == ([expected], False)
    mine.lease_token = await stored_token(storage.stub, made.story_id)
    assert await follow(storage, mine) == ([], False)
    cancel = storage_pb2.UpdateStoryRequest(story_id=made.story_id, cancel=storage_pb2.CancelChange())
    await storage.stub.UpdateStory(cancel)
    (change,), _ = await follow(storage, mine)
    assert change.state == states.CANCELLED
    assert not change.leased


async def claimed(storage: Storage) -> list[str]:
    """Ids of the stories that a poller claims."""
    claim = storage_pb2.ClaimStoriesRequest(lease=lease_request(), max_count=10)
    return [one.story_id for one in (await storage.stub.ClaimStories(claim)).stories]


async def test_restarted_service_lets_runs_renew_their_leases_first(tmp_path: Path) -> None:
    """For three seconds only stories without a lease are claimed; then those whose runs did not come back."""
    clock = ManualClock()
    async with service(tmp_path, clock) as storage:
        orphan, held = await created(storage), await created(storage)
    clock.advance(60)
    async with service(tmp_path, clock) as storage:
        new = (await storage.stub.CreateStory(create_request(lease=None))).record.story.id
        assert [new] == await claimed(storage)
        assert [""] == await verdicts(storage, checkpoint(held, text=(0, "Once")))
        clock.advance(3)
        assert [orphan] == await claimed(storage)


async def test_store_that_was_away_lets_runs_renew_their_leases_first(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls fail for a minute, then a poller comes before the run."""
    held = await created(storage)
    storage.clock.advance(10)
    with monkeypatch.context() as patch:
        patch.setattr(SqliteStoryStore, "checkpoint", AsyncMock(side_effect=storage_unavailable()))
        error = await failure(verdicts(storage, checkpoint(held, text=(0, "Once"))))
        assert "STORAGE_UNAVAILABLE" == error.reason
        storage.clock.advance(60)
        assert "STORAGE_UNAVAILABLE" == (await failure(verdicts(storage, checkpoint(held, text=(0, "Once"))))).reason
    storage.clock.advance(1)
    assert [] == await claimed(storage)
    assert [] == await claimed(storage)
    assert [""] == await verdicts(storage, checkpoint(held, text=(0, "Once")))
    storage.clock.advance(3)
    assert [] == await claimed(storage)


async def test_store_that_was_held_up_lets_runs_renew_their_leases_first(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim of another gateway that waited for the maintenance comes before the run."""
    monkeypatch.setattr("storage_service.embedded.database._LONG_SECONDS", 0.05)
    orphan, held = await created(storage), await created(storage)
    storage.clock.advance(10)
    began, done = threading.Event(), threading.Event()

    def maintain(_: object) -> None:
        began.set()
        done.wait(10)

    database = storage.app._backend.database
    assert database is not None
    maintenance = asyncio.create_task(database.write(maintain))
    await asyncio.to_thread(began.wait, 10)
    claim = asyncio.create_task(claimed(storage))
    async with asyncio.timeout(10):
        while database._waiting < 2:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.06)
    storage.clock.advance(60)
    done.set()
    await maintenance
    assert [] == await claim
    assert [""] == await verdicts(storage, checkpoint(held, text=(0, "Once")))
    storage.clock.advance(3)
    assert [orphan] == await claimed(storage)


@pytest.mark.parametrize("seconds", [3600, -3600])
async def test_clock_that_is_set_takes_no_story_from_its_run(storage: Storage, seconds: int) -> None:
    """A run at work renews its lease within seconds; one that does not loses it within seconds."""
    held, orphan = await created(storage), await created(storage)
    storage.clock.advance(10)
    storage.clock.set_forward(seconds)
    assert [] == await claimed(storage)
    assert [""] == await verdicts(storage, checkpoint(held, text=(0, "Once")))
    storage.clock.advance(3)
    assert [orphan] == await claimed(storage)
    assert [""] == await verdicts(storage, checkpoint(held, text=(4, " upon")))


async def test_what_does_not_fit_comes_with_the_next_call(storage: Storage) -> None:
    """Asking again from where the answer ends gets everything once, and no answer is beyond 1 MiB."""
    texts = {await created(storage): f"{number}" * 60_000 for number in range(9)}
    texts |= {await created(storage): "ы" * 65_000 for _ in range(9)}
    await kept(storage, *(checkpoint(one, text=(0, text)) for one, text in texts.items()))
    positions = {one: storage_pb2.StoryPosition(story_id=one) for one in texts}
    got = dict.fromkeys(texts, "")
    calls, truncated = 0, True
    while truncated:
        request = storage_pb2.FollowStoriesRequest(positions=positions.values())
        answer = await storage.stub.FollowStories(request)
        assert answer.ByteSize() < 1 << 20
        for change in answer.changes:
            got[change.story_id] += change.text.text
            positions[change.story_id].text_length += len(change.text.text)
            positions[change.story_id].state = change.state
        calls, truncated = calls + 1, answer.truncated
    assert got == texts
    assert calls < 5


# Requests that cannot be used.


def invalid() -> list[tuple[str, Any, set[str]]]:
    """An RPC, a request with much wrong in it, and all fields that must be named."""
    awry = storage_pb2.StoryCheckpoint(
        story_id="../x",
        state=states.PENDING,
        title="",
        text=storage_pb2.TextAppend(offset=-1, text="\0"),
        narration=common_pb2.NarrationHeader(audio_id="x"),
        segments=[common_pb2.Segment(index=-1)],
        attempts=[common_pb2.Attempt(attempt_id="x")],
        problems=[common_pb2.Problem()],
        embedded_parts=["a,b"],
    )
    one = checkpoint(new_id(), 1)
    many = [checkpoint(new_id(), 1) for _ in range(1_001)]
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
                "spec.child",
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
                "story",
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
                "filter.states[0]",
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
            {"story_id", "narrate.fingerprint", "narrate.voice", "narrate.lease.duration"},
        ),
        (
            "UpdateStory",
            storage_pb2.UpdateStoryRequest(retry=storage_pb2.RetryChange(request_id="ü", lease={})),  # type: ignore[arg-type]
            {
                "story_id",
                "retry.request_id",
                "retry.fingerprint",
                "retry.lease.duration",
            },
        ),
        ("DeleteStory", storage_pb2.DeleteStoryRequest(story_id="*"), {"story_id"}),
        ("ClaimStories", storage_pb2.ClaimStoriesRequest(), {"lease", "max_count"}),
        (
            "ClaimStories",
            storage_pb2.ClaimStoriesRequest(lease=lease_request(3_601), max_count=101, story_ids=["", "x"]),
            {"lease.duration", "max_count", "story_ids[0]", "story_ids[1]"},
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
                "checkpoints[1].narration.provider",
                "checkpoints[1].segments[0].index",
                "checkpoints[1].segments[0].key",
                "checkpoints[1].segments[0].audio",
                "checkpoints[1].segments[0].provider",
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
        ("FinishAudio", storage_pb2.FinishAudioRequest(), {"story_id", "lease_token", "audio_id"}),
        ("EraseChild", storage_pb2.EraseChildRequest(child_id="mia"), {"child_id"}),
        ("FollowStories", storage_pb2.FollowStoriesRequest(), {"positions"}),
        (
            "FollowStories",
            storage_pb2.FollowStoriesRequest(
                positions=[storage_pb2.StoryPosition(audio_id="x", lease_token=-1, text_length=-1, segment_count=-1)]
            ),
            {
                "positions[0].story_id",
                "positions[0].audio_id",
                "positions[0].lease_token",
                "positions[0].text_length",
                "positions[0].segment_count",
            },
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
        storage.stub.FinishAudio(storage_pb2.FinishAudioRequest(story_id=gone, lease_token=1, audio_id=new_id())),
        read(storage, gone),
    ]
    errors = [await failure(call) for call in calls]
    assert {(grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND")} == {(error.code, error.reason) for error in errors}


# The rest of the house.


async def test_the_status_names_what_is_embedded(storage: Storage) -> None:
    """An operator learns which variables bring the real store."""
    response = await status_pb2_grpc.StatusServiceStub(storage.channel).GetStatus(status_pb2.GetStatusRequest())
    (part,) = response.status.embedded_parts
    assert ("storage", "store", "sqlite", ["STORAGE_BACKEND, SUPABASE_URL and SUPABASE_KEY"]) == (
        response.status.service,
        part.part,
        part.implementation,
        list(part.environment_variables),
    )
