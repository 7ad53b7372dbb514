"""Supabase away, slow, refusing and cutting off: typed errors, nothing half kept, and no restart to recover."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace

import grpc
import pytest
from structlog.testing import capture_logs
from support.supabase_faults import Fault, Kind, Proxy, proxy
from support.supabase_lite import Lite

from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.metrics import Metrics
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog
from standins.storage_kit import FINGERPRINT, LEASE, ManualClock, checkpoint, lease_token, new_story, speech, write_held
from storage_service.records import Blob, Cancel, ObjectKey, ObjectKind, RemovalResult, RepeatKey, Retry, StoredAudio
from storage_service.stories import states
from storage_service.supabase.audio import SupabaseObjectNotes, SupabaseRemovalStore, SupabaseSegmentStore
from storage_service.supabase.bucket import ObjectBucket
from storage_service.supabase.connection import DATABASE, Connection
from storage_service.supabase.errors import SupabaseDefectError
from storage_service.supabase.profiles import SupabaseProfileStore
from storage_service.supabase.stories import SupabaseStoryStore
from storage_service.upstream import breaker_config
from tale.common.v1 import common_pb2

ME = "mia"
SOON = 0.1
"""Stands for the ten seconds that Supabase has to answer."""
DATA = bytes(range(256)) * 12_000
EVERY_TRY = 3
HOUR = 3_600 * 1_000_000


class Watch:
    """A clock to set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time that was set."""
        return self.now


class Store:
    """The stores behind a proxy."""

    def __init__(self, lite: Lite, faults: Proxy) -> None:
        self.clock = ManualClock()
        self.watch = Watch()
        self.circuits = BreakerManager(breaker_config, clock=self.watch, random=lambda: 0.0)
        config = lite.config(url=faults.url)
        self.connection = Connection(config, self.circuits, clock=self.clock)
        self.stories = SupabaseStoryStore(self.connection)
        self.profiles = SupabaseProfileStore(self.connection)
        self.removals = SupabaseRemovalStore(self.connection)
        self.segments = SupabaseSegmentStore(self.connection)
        self.objects = SupabaseObjectNotes(self.connection)
        self.files = ObjectBucket(self.connection, self.clock)

    @property
    def circuit(self) -> str:
        """State of the circuit of the database."""
        return self.circuits.get(DATABASE).state

    async def story(self) -> str:
        """Id of a new story that is leased."""
        return (await self.stories.create(ME, new_story(lease=LEASE)))[0].story.id

    async def write(self, story_id: str) -> common_pb2.StoryAudio:
        """Stores the audio of a story."""
        (key,) = await self.objects.note(ObjectKind.AUDIO, 1)
        async with self.files.upload(key, content_type="audio/mpeg") as upload:
            await upload.write(DATA)
            digest = await upload.publish()
        audio = common_pb2.StoryAudio(audio_id=new_id(), size_bytes=digest.size, sha256=digest.sha256)
        return (await self.stories.attach_audio(story_id, await lease_token(self.stories, story_id), audio, key)).audio

    async def read(self, story_id: str) -> bytes:
        """The audio of a story."""
        stored = await self.stories.find_audio(ME, story_id, "")
        assert isinstance(stored, StoredAudio)
        return b"".join([block async for block in self.files.read(stored.blob)])


@pytest.fixture
async def faults(supabase_lite: Lite) -> AsyncIterator[Proxy]:
    """What stands between the store and Supabase."""
    async with proxy(supabase_lite.url) as it:
        yield it


@pytest.fixture
async def store(supabase_lite: Lite, faults: Proxy) -> AsyncIterator[Store]:
    """The stores over an empty Supabase."""
    store = Store(supabase_lite, faults)
    await (await store.connection.client()).rpc("empty", {})
    faults.asked.clear()
    yield store
    faults.end()
    await store.connection.close()


async def failure(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    """Code and reason that a call fails with."""
    with pytest.raises(DomainError) as caught:
        await call
    return caught.value.code, caught.value.reason


# Away.


async def test_calls_to_supabase_are_counted_and_audited(supabase_lite: Lite, faults: Proxy) -> None:
    """One line and one count an attempt, by the function of the schema; a warning a retry."""
    metrics = Metrics()
    connection = Connection(supabase_lite.config(url=faults.url), audit=AuditLog(metrics, prefix="supabase"))
    faults.plan(Fault("answer", status=503, body="busy"))
    with capture_logs() as logs:
        await connection.rpc("schema_version")
    faults.end()
    await connection.close()
    audited = [(line["endpoint"], line["status"]) for line in logs if line["event"] == "upstream call"]
    assert [("schema_version", 503), ("schema_version", 200)] == audited
    assert ["warning"] == [line["log_level"] for line in logs if line["event"] == "call retried"]
    labels = {"endpoint": "schema_version", "status": "200"}
    assert 1 == metrics.registry.get_sample_value("supabase_api_calls_total", labels)


async def test_caller_that_leaves_ends_the_retries_of_supabase(supabase_lite: Lite, faults: Proxy) -> None:
    """Long before the wait is over; nothing is sent after it."""
    config = replace(supabase_lite.config(url=faults.url), retry_delay=30.0, timeout_seconds=60.0)
    connection = Connection(config)
    faults.plan(Fault("answer", status=503, body="busy"))
    retried = asyncio.Event()
    call = connection.rpc("schema_version", on_retry=retried.set)
    task = asyncio.create_task(call)
    await retried.wait()
    task.cancel()
    async with asyncio.timeout(20):
        await asyncio.wait([task])
        await connection.settle()
    faults.end()
    await connection.close()


async def test_while_supabase_is_away_every_call_says_so_and_then_goes_on(store: Store, faults: Proxy) -> None:
    """Nothing becomes None, nothing needs a restart."""
    story_id = await store.story()
    faults.down = True
    calls: list[Awaitable[object]] = [
        store.stories.get(ME, story_id, full=True),
        store.stories.list_page(ME, common_pb2.StoryFilter(), limit=1, after=None),
        store.stories.find_audio(ME, story_id, ""),
    ]
    away = (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR")
    assert [away] * 3 == [await failure(call) for call in calls]
    faults.down = False
    assert story_id == (await store.stories.get(ME, story_id, full=False)).story.id


async def test_after_ten_failures_it_is_left_alone_for_half_a_minute(store: Store, faults: Proxy) -> None:
    """Then one call finds out."""
    faults.down = True
    for _ in range(4):
        await failure(store.stories.find_audio(ME, new_id(), ""))
    assert "open" == store.circuit
    asked = len(faults.asked)
    assert 10 == asked
    assert (grpc.StatusCode.UNAVAILABLE, "CIRCUIT_OPEN") == await failure(store.stories.find_audio(ME, new_id(), ""))
    assert asked == len(faults.asked)
    store.watch.now = 30.0
    faults.down = False
    assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == await failure(store.stories.find_audio(ME, new_id(), ""))
    assert "closed" == store.circuit


async def test_a_connection_that_breaks_once_is_nobodys_trouble(store: Store, faults: Proxy) -> None:
    """A call that can be repeated is."""
    story_id = await store.story()
    for late in (False, True):
        faults.plan(Fault("reset", late=late))
        assert story_id == (await store.stories.get(ME, story_id, full=False)).story.id


# Slow.


async def test_who_is_slow_has_not_answered(store: Store, faults: Proxy) -> None:
    """Each try has its time; then the caller may try again."""
    story_id = await store.story()
    faults.plan(Fault("stall"), times=EVERY_TRY)
    client = await store.connection.client()
    enough, client._timeout = client._timeout, SOON
    assert 10.0 == enough
    slow = (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR")
    assert slow == await failure(store.stories.get(ME, story_id, full=False))
    client._timeout = enough
    assert story_id == (await store.stories.get(ME, story_id, full=False)).story.id


async def test_a_story_whose_answer_was_lost_is_new_all_the_same(store: Store, faults: Proxy) -> None:
    """It was made by this call, so it is this caller's to work on."""
    new = new_story(lease=LEASE, request_id="r-1")
    faults.plan(Fault("reset", at="rpc/create_story", late=True))
    record, created = await store.stories.create(ME, new)
    assert (new.story_id, True, True) == (record.story.id, record.run.HasField("lease_expire_time"), created)
    assert (record, False) == await store.stories.create(ME, new)


async def test_what_may_have_been_done_is_not_done_twice(store: Store, faults: Proxy) -> None:
    """A claim, a deletion, a retry: where the answer is lost the caller is told, and one request was made."""
    story_id = await store.story()
    await write_held(store.stories, checkpoint(story_id, state=states.FAILED))
    cases: list[tuple[str, Awaitable[object]]] = [
        ("claim_stories", store.stories.claim(LEASE, most=1, story_ids=())),
        ("update_story", store.stories.update(ME, story_id, Retry(RepeatKey("r-2", FINGERPRINT)), expected_revision=1)),
        ("delete_story", store.stories.delete(ME, story_id)),
    ]
    for function, call in cases:
        faults.asked.clear()
        faults.plan(Fault("reset", at=function, late=True))
        assert (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR") == await failure(call)
        assert [f"/rest/v1/rpc/{function}"] == faults.asked


async def test_a_refused_claim_that_did_nothing_is_repeated(store: Store, faults: Proxy) -> None:
    """The database says that it undid it."""
    await store.stories.create(ME, new_story())
    deadlock = {"code": "40P01", "message": "deadlock detected", "details": None, "hint": None}
    faults.plan(Fault("answer", at="claim_stories", status=500, body=deadlock))
    assert 1 == len(await store.stories.claim(LEASE, most=1, story_ids=()))


async def test_a_checkpoint_whose_answer_was_lost_is_kept_once(store: Store, faults: Proxy) -> None:
    """Repeating it changes nothing."""
    story_id = await store.story()
    faults.plan(Fault("reset", at="checkpoint_stories", late=True))
    (result,) = await write_held(store.stories, checkpoint(story_id, text=(0, "Once")))
    assert "" == result.error.reason
    assert "Once" == (await store.stories.get(ME, story_id, full=False)).story.content


async def test_a_write_goes_on_when_its_caller_goes_away(store: Store, faults: Proxy) -> None:
    """Whoever hangs up leaves no half of it."""
    story_id = await store.story()
    faults.first_asked.clear()
    call = asyncio.create_task(store.stories.update(ME, story_id, Cancel(), expected_revision=None))
    await faults.first_asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await store.connection.close()
    assert states.CANCELLED == (await store.stories.get(ME, story_id, full=False)).story.state


# Refused.


@pytest.mark.parametrize(
    ("fault", "expected", "tries"),
    [
        (
            Fault("answer", status=401, body={"message": "Invalid API key", "hint": "secret words"}),
            (grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_AUTH"),
            1,
        ),
        (
            Fault("answer", status=403, body={"code": "42501", "message": "permission denied for schema tales"}),
            (grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_AUTH"),
            1,
        ),
        (
            Fault("answer", status=404, body={"code": "PGRST202", "message": "Could not find the function"}),
            (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_CONFIGURATION"),
            1,
        ),
        (
            Fault("answer", status=406, body={"code": "PGRST106", "message": "Invalid schema: tales"}),
            (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_CONFIGURATION"),
            1,
        ),
        (
            Fault("answer", status=409, body={"code": "23505", "message": "duplicate key"}),
            (grpc.StatusCode.ABORTED, "STORAGE_CONFLICT"),
            1,
        ),
        (
            Fault("answer", status=500, body={"code": "40001", "message": "could not serialize access"}),
            (grpc.StatusCode.ABORTED, "STORAGE_CONFLICT"),
            EVERY_TRY,
        ),
        (
            Fault("answer", status=400, body={"code": "23514", "message": "secret words"}),
            (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED"),
            1,
        ),
        (
            Fault("answer", status=500, body={"code": "57014", "message": "canceling statement"}),
            (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR"),
            EVERY_TRY,
        ),
        (
            Fault("answer", status=429, body="slow down", headers={"Retry-After": "0"}),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
            EVERY_TRY,
        ),
        (
            Fault("answer", status=500, body="<html>secret words</html>"),
            (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
            EVERY_TRY,
        ),
        (
            Fault("answer", status=503, body={"code": "PGRST002", "message": "no schema cache"}),
            (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
            EVERY_TRY,
        ),
        (
            Fault("answer", status=504, body="upstream timed out"),
            (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR"),
            EVERY_TRY,
        ),
        (
            Fault("answer", status=200, body="secret words of somebody's proxy"),
            (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR"),
            EVERY_TRY,
        ),
        (
            Fault("answer", status=402, body={"message": "Service for this project is restricted"}),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL"),
            1,
        ),
        (
            Fault("answer", status=405, body={"code": "25006", "message": "read-only transaction"}),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL"),
            1,
        ),
        (
            Fault("cut", late=True),
            (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR"),
            EVERY_TRY,
        ),
    ],
)
async def test_each_refusal_is_told_apart(
    store: Store, faults: Proxy, fault: Fault, expected: tuple[grpc.StatusCode, str], tries: int
) -> None:
    """With no word of what Supabase said; a later call goes through."""
    story_id = await store.story()
    faults.asked.clear()
    faults.plan(fault, times=tries)
    with pytest.raises(DomainError) as caught:
        await store.stories.get(ME, story_id, full=False)
    assert expected == (caught.value.code, caught.value.reason)
    assert "secret words" not in caught.value.message
    assert tries == len(faults.asked)
    store.watch.now += 3600
    assert story_id == (await store.stories.get(ME, story_id, full=False)).story.id
    assert "closed" == store.circuit


async def test_a_missing_schema_is_said_with_its_mend(store: Store, faults: Proxy) -> None:
    """The operator reads what to do."""
    faults.plan(Fault("answer", status=404, body={"code": "PGRST202", "message": "no function"}))
    with pytest.raises(DomainError, match="python -m storage_service migrate"):
        await store.stories.find_audio(ME, new_id(), "")


PAGE = {"Content-Type": "text/html; charset=utf-8"}
ELSEWHERE = [
    Fault("answer", status=200, body="<html>secret words</html>"),
    Fault("answer", status=200, body="secret words", headers=PAGE),
    Fault("answer", status=301, body="", headers={"Location": "http://127.0.0.1:1/"}),
    Fault("answer", status=308, body="", headers={"Location": "http://127.0.0.1:1/"}),
    Fault("answer", status=400, body="secret words", headers=PAGE),
    Fault("answer", status=403, body="secret words", headers=PAGE),
    Fault("answer", status=404, body="secret words", headers=PAGE),
    Fault("answer", status=404, body={"error": "requested path is invalid"}),
    Fault("answer", status=404, body={"message": "no Route matched with those values"}),
    Fault("answer", status=404, body={"statusCode": 404, "error": "Not Found", "message": "Route not found"}),
    Fault("answer", status=404, body={"code": "PGRST125", "message": "Invalid path specified in request URL"}),
    Fault("answer", status=405, body=""),
]


@pytest.mark.parametrize("fault", ELSEWHERE)
async def test_what_is_no_supabase_is_said_with_the_variable(store: Store, faults: Proxy, fault: Fault) -> None:
    """It does not count as "there is none"; it is asked once, and the circuit stays closed."""
    faults.plan(fault)
    with pytest.raises(DomainError, match="SUPABASE_URL") as caught:
        await store.stories.find_audio(ME, new_id(), "")
    assert grpc.StatusCode.UNAVAILABLE is caught.value.code
    assert "secret words" not in caught.value.message
    assert 0 == store.circuits.get(DATABASE).snapshot().failed_calls


@pytest.mark.parametrize(
    "fault", [fault for fault in ELSEWHERE if isinstance(fault.body, str) and not fault.body.startswith("<")]
)
async def test_a_page_in_place_of_a_file_is_no_damaged_file(store: Store, faults: Proxy, fault: Fault) -> None:
    """What Storage says is not there is damaged; what somebody else does not know is to be asked for again."""
    story_id = await store.story()
    await store.write(story_id)
    faults.plan(fault)
    assert grpc.StatusCode.UNAVAILABLE is (await failure(store.read(story_id)))[0]
    gone = {"statusCode": "404", "error": "not_found", "message": "Object not found"}
    faults.plan(Fault("answer", at="/object/", status=400, body=gone))
    assert (grpc.StatusCode.DATA_LOSS, "AUDIO_CORRUPT") == await failure(store.read(story_id))
    assert DATA == await store.read(story_id)


async def test_an_erasure_whose_answer_was_lost_is_finished_by_the_next(store: Store, faults: Proxy) -> None:
    """It is not done twice unasked, and the objects that are still to be removed are returned again."""
    mia = await store.profiles.create(ME, common_pb2.Child(name="Mia"), None)
    story_id = (await store.stories.create(ME, new_story(child_id=mia.id, lease=LEASE)))[0].story.id
    await store.write(story_id)
    (one,) = speech([100])
    (key,) = await store.objects.note(ObjectKind.SEGMENT, 1)
    await store.segments.add(one.stored, key, story_id)
    faults.asked.clear()
    faults.plan(Fault("reset", at="erase_child", late=True))
    lost = await failure(store.removals.erase_child(ME, mia.id))
    assert (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR") == lost
    assert ["/rest/v1/rpc/erase_child"] == faults.asked
    erased = await store.removals.erase_child(ME, mia.id)
    assert 0 == erased.story_count
    assert 1 == erased.count(ObjectKind.AUDIO)
    assert 1 == erased.count(ObjectKind.SEGMENT)
    await store.files.remove(erased.dropped)
    await store.objects.remove_notes(erased.dropped)
    assert RemovalResult(0, []) == await store.removals.erase_child(ME, mia.id)
    stranger = (grpc.StatusCode.NOT_FOUND, "CHILD_NOT_FOUND")
    assert stranger == await failure(store.removals.erase_child("ben", mia.id))
    assert stranger == await failure(store.removals.erase_child(ME, new_id()))


@pytest.mark.parametrize("function", ["add_segment", "note_objects"])
async def test_a_segment_whose_answer_was_lost_is_stored_once(store: Store, faults: Proxy, function: str) -> None:
    """The repetition finds what the first try stored, and says that it is new."""
    (one,) = speech([100])
    story_id = await store.story()
    faults.plan(Fault("reset", at=function, late=True))
    (key,) = await store.objects.note(ObjectKind.SEGMENT, 1)
    added = await store.segments.add(one.stored, key, story_id)
    assert added.created
    assert 100 == added.stored_bytes
    assert [] == await store.objects.take_deleted(grace=HOUR, most=10)


async def test_our_own_defect_stays_one(store: Store, faults: Proxy) -> None:
    """What should not have been asked is neither repeated nor blamed on Supabase."""
    faults.plan(Fault("answer", status=400, body={"code": "42601", "message": "syntax error at a child's name"}))
    with pytest.raises(SupabaseDefectError) as caught:
        await store.stories.find_audio(ME, new_id(), "")
    assert "HTTP 400, 42601" == str(caught.value)
    assert 0 == store.circuits.get(DATABASE).snapshot().failed_calls


# Files.


async def test_audio_survives_an_upload_that_is_cut(store: Store, faults: Proxy) -> None:
    """Sent again from its beginning; one that only half arrived as well."""
    for fault in (
        Fault("cut", at="/object/tales/"),
        Fault("halve", at="/object/tales/"),
        Fault("reset", at="/object/tales/", late=True),
        Fault("answer", at="/object/tales/", status=500, body={"statusCode": "500", "error": "Internal"}),
        # What Storage answers to HEAD where there is no such file.
        Fault("answer", at="/object/tales/", method="HEAD", status=400, body=""),
    ):
        story_id = await store.story()
        faults.plan(fault)
        audio = await store.write(story_id)
        assert (len(DATA), hashlib.sha256(DATA).digest()) == (audio.size_bytes, audio.sha256)
        assert DATA == await store.read(story_id)


@pytest.mark.parametrize("kind", ["cut", "halve"])
async def test_an_upload_that_never_arrives_leaves_no_audio(store: Store, faults: Proxy, kind: Kind) -> None:
    """The story has none, what there is of the file is removed by its note, and the next upload goes through."""
    story_id = await store.story()
    faults.plan(Fault(kind, at="/object/tales/", method="POST"), times=EVERY_TRY)
    code, _ = await failure(store.write(story_id))
    assert grpc.StatusCode.UNAVAILABLE is code
    assert None is await store.stories.find_audio(ME, story_id, "")
    store.clock.advance(10)
    (left,) = await store.objects.take_deleted(grace=0, most=10)
    assert ObjectKind.AUDIO is left.kind
    await store.files.remove([left])
    await store.objects.remove_notes([left])
    await store.write(story_id)
    store.clock.advance(10)
    assert DATA == await store.read(story_id)
    assert [] == await store.objects.take_deleted(grace=0, most=10)


async def test_audio_is_not_thrown_away_when_the_answer_about_it_is_lost(store: Store, faults: Proxy) -> None:
    """Attaching the same bytes twice drops neither."""
    story_id = await store.story()
    faults.plan(Fault("reset", at="attach_audio", late=True))
    await store.write(story_id)
    assert DATA == await store.read(story_id)


async def test_audio_that_stops_in_the_middle_is_no_success(store: Store, faults: Proxy) -> None:
    """A connection that breaks can be tried again; a file that is short is damaged."""
    story_id = await store.story()
    await store.write(story_id)
    faults.plan(Fault("cut", at="/object/tales/", late=True))
    assert (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR") == await failure(store.read(story_id))
    faults.plan(Fault("halve", at="/object/tales/", late=True))
    assert (grpc.StatusCode.DATA_LOSS, "AUDIO_CORRUPT") == await failure(store.read(story_id))
    assert DATA == await store.read(story_id)


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        ("403", "Unauthorized", "UPSTREAM_AUTH"),
        ("404", "Bucket not found", "INVALID_CONFIGURATION"),
        ("413", "Payload too large", "AUDIO_TOO_LARGE"),
        ("409", "Duplicate", "STORAGE_CONFLICT"),
    ],
)
async def test_each_refusal_of_a_file_is_told_apart(
    store: Store, faults: Proxy, status: str, error: str, reason: str
) -> None:
    """Storage answers 400 to everything and says in the body what it means."""
    story_id = await store.story()
    said = {"statusCode": status, "error": error, "message": error}
    faults.plan(Fault("answer", at="/object/", status=400, body=said))
    assert reason == (await failure(store.write(story_id)))[1]
    await store.write(story_id)
    assert DATA == await store.read(story_id)


async def test_a_range_is_asked_for_as_a_range(store: Store, faults: Proxy) -> None:
    """A server that knows ranges sends no more than that, and the first byte is where it should be."""
    part = DATA[1_000:3_000]
    # What Storage answers; the stand-in sends all of it.
    faults.plan(
        Fault(
            "answer",
            at="/object/",
            status=206,
            body=part.decode("latin-1"),
            headers={"Content-Range": f"bytes 1000-2999/{len(DATA)}", "Content-Type": "audio/mpeg; charset=latin-1"},
        )
    )
    blob = Blob(ObjectKey(ObjectKind.SEGMENT, new_id()), len(DATA), hashlib.sha256(DATA).digest())
    blocks = [block async for block in store.files.read(blob, offset=1_000, limit=2_000)]
    assert part == b"".join(blocks)
