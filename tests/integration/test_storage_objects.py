"""Audio in an object store: what it receives, what stays in it, and what callers see when it fails."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs
from support.house import House, house
from support.moto_s3 import ACCESS_KEY_ID, S3, SECRET, Door, door
from support.servers import running
from support.supabase_lite import Lite

from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.metrics import Metrics
from servicekit.resilience.outgoing import AuditLog
from servicekit.settings import ConfigurationError
from servicekit.status import from_rpc_error
from standins.storage_kit import (
    ManualClock,
    checkpoint,
    create_request,
    lease_request,
    narration,
    put_messages,
    speech,
)
from standins.watcher import spec
from storage_service.bootstrap import build_app
from storage_service.commands import run_command
from storage_service.object_store.bucket import Bucket, BucketObjects
from storage_service.object_store.config import BucketConfig
from storage_service.records import Blob, ObjectKey, ObjectKind
from storage_service.settings import StorageSettings
from storage_service.stories import states
from tale.gateway.v1 import gateway_pb2
from tale.storage.v1 import segment_pb2_grpc, storage_pb2, storage_pb2_grpc

SMALL = bytes(range(256)) * 16
LARGE = bytes(range(256)) * 40_000
"""More than a part."""


@pytest.fixture
async def entry(moto_s3: S3) -> AsyncIterator[Door]:
    """A door before the server."""
    async with door(moto_s3) as it:
        yield it


@pytest.fixture
async def place(moto_s3: S3, entry: Door) -> BucketConfig:
    """A bucket behind the door."""
    return moto_s3.config(await moto_s3.make_bucket(), url=entry.url)


def store_at(place: BucketConfig) -> BucketObjects:
    """The store over a bucket."""
    return BucketObjects(Bucket(place), ManualClock())


async def keep(store: BucketObjects, data: bytes = SMALL) -> Blob:
    """Stores bytes under a new key."""
    key = ObjectKey(ObjectKind.AUDIO, new_id())
    async with store.upload(key, content_type="audio/mpeg") as upload:
        await upload.write(data)
        digest = await upload.publish()
    return Blob(key, digest.size, digest.sha256)


async def read(store: BucketObjects, blob: Blob, offset: int = 0) -> bytes:
    """What a reader gets."""
    return b"".join([block async for block in store.read(blob, offset=offset)])


# Encryption.


@pytest.mark.parametrize("data", [SMALL, LARGE])
@pytest.mark.parametrize(("kms", "algorithm"), [("", "AES256"), ("k-1", "aws:kms")])
async def test_audio_is_encrypted_at_rest(
    moto_s3: S3, entry: Door, place: BucketConfig, data: bytes, kms: str, algorithm: str
) -> None:
    """The server is told so with the object, or with the first call of one in parts, and says so of what it keeps."""
    kept = await keep(store_at(replace(place, kms_key_id=kms)), data)
    begun = [seen for seen in entry.seen if seen.method in {"PUT", "POST"} and "uploadId" not in seen.query]
    assert [(algorithm, kms or None, "audio/mpeg")] == [
        (
            seen.headers.get("x-amz-server-side-encryption"),
            seen.headers.get("x-amz-server-side-encryption-aws-kms-key-id"),
            seen.headers.get("content-type"),
        )
        for seen in begun
    ]
    url = (await store_at(replace(place, endpoint=moto_s3.url)).url(kept, expiry=60_000_000)).url
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert algorithm == answer.headers["x-amz-server-side-encryption"]


async def test_only_who_says_so_gets_no_encryption(entry: Door, place: BucketConfig) -> None:
    """AUDIO_STORE_ENCRYPTION=none sends no such header."""
    await keep(store_at(replace(place, kms_key_id=None)))
    assert not [seen for seen in entry.seen if "x-amz-server-side-encryption" in seen.headers]


# What stays.


async def test_nothing_is_sent_before_the_audio_is_whole(entry: Door, place: BucketConfig) -> None:
    """An upload that is given up never touches the bucket."""
    async with store_at(place).upload(ObjectKey(ObjectKind.AUDIO, new_id())) as upload:
        await upload.write(LARGE)
    assert [] == entry.seen


async def test_a_part_that_fails_leaves_nothing(moto_s3: S3, entry: Door, place: BucketConfig) -> None:
    """The upload in parts is given up, the caller is told, and the next one succeeds."""
    store = store_at(replace(place, retries=0))
    entry.refuse(500, when=lambda seen: "partNumber=2" in seen.query)
    with pytest.raises(DomainError, match="UPSTREAM_UNAVAILABLE"):
        await keep(store, LARGE)
    assert (0, []) == (await moto_s3.unfinished(place.bucket), await moto_s3.names(place.bucket))
    entry.fault = None
    assert LARGE == await read(store, await keep(store, LARGE))


async def test_a_passing_failure_is_not_noticed(entry: Door, place: BucketConfig) -> None:
    """The call is made again, with all of the bytes."""
    fails = iter([True, True, False])
    entry.refuse(503, "ServiceUnavailable", when=lambda seen: seen.method == "PUT" and next(fails, False))
    store = store_at(place)
    assert SMALL == await read(store, await keep(store))


async def test_an_object_that_arrived_short_is_taken_back(moto_s3: S3, place: BucketConfig) -> None:
    """What the store says of its size is compared with what was sent."""
    bucket, name = Bucket(place), ObjectKey(ObjectKind.AUDIO, new_id()).path
    assert not await bucket.put(name, lambda: SMALL, len(SMALL) + 1, content_type="audio/mpeg")
    store = store_at(place)
    async with store.upload(ObjectKey(ObjectKind.AUDIO, new_id())) as upload:
        await upload.write(SMALL)
        upload._size += 1  # type: ignore[attr-defined]
        with pytest.raises(DomainError, match="UPSTREAM_UNAVAILABLE"):
            await upload.publish()
    assert [f"{place.prefix}/{name}"] == await moto_s3.names(place.bucket)


async def test_a_caller_who_goes_away_leaves_no_half(moto_s3: S3, entry: Door, place: BucketConfig) -> None:
    """What was begun is ended, and the store waits for it before it closes."""
    store = store_at(place)
    begun, go_on = asyncio.Event(), asyncio.Event()

    def slow(_: Any) -> Any:
        begun.set()
        return go_on.wait()

    entry.fault = slow
    caller = asyncio.create_task(keep(store, b"abc"))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert [] == await moto_s3.names(place.bucket)
    go_on.set()
    await store.close()
    assert 1 == len(await moto_s3.names(place.bucket))


# Reading.


async def test_large_audio_is_read_in_ranges(entry: Door, place: BucketConfig) -> None:
    """No answer is larger than a block, from wherever the reader begins."""
    store = store_at(place)
    kept = await keep(store, LARGE)
    entry.seen.clear()
    assert LARGE[5_000_000:] == await read(store, kept, 5_000_000)
    assert ["bytes=5000000-9194303", "bytes=9194304-10239999"] == [seen.headers["range"] for seen in entry.seen]


async def test_bytes_that_were_changed_are_never_a_success(place: BucketConfig) -> None:
    """Shorter, longer, or just other bytes: the reader is told."""
    store = store_at(place)
    kept = await keep(store)
    for data in (SMALL[:-1], SMALL + b"x", b"x" + SMALL[1:]):
        await Bucket(place).put(kept.key.path, lambda data=data: data, len(data), content_type="audio/mpeg")  # type: ignore[misc]
        with pytest.raises(DomainError, match="AUDIO_CORRUPT"):
            await read(store, kept)


# Failures.


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (500, "InternalError", "UPSTREAM_UNAVAILABLE"),
        (503, "SlowDown", "RATE_LIMITED"),
        (403, "AccessDenied", "UPSTREAM_AUTH"),
        (404, "NoSuchBucket", "INVALID_CONFIGURATION"),
        (501, "NotImplemented", "INVALID_CONFIGURATION"),
    ],
)
async def test_failures_are_typed_and_pass(
    entry: Door, place: BucketConfig, status: int, code: str, expected: str
) -> None:
    """Writing and reading say what is the matter, and go on without a restart once it is mended."""
    store = store_at(place)
    kept = await keep(store)
    entry.refuse(status, code)
    for call in (keep(store), read(store, kept), store.remove([kept.key])):
        with pytest.raises(DomainError, match=expected):
            await call
    entry.fault = None
    assert SMALL == await read(store, kept)


async def test_a_store_that_does_not_answer_in_time_is_given_up(entry: Door, place: BucketConfig) -> None:
    """Each call has a deadline."""
    store = store_at(place)
    kept = await keep(store)
    impatient = store_at(replace(place, timeout_seconds=0.2, retries=0))
    released = asyncio.Event()
    entry.fault = lambda _: released.wait()
    for call in (keep(impatient), read(impatient, kept)):
        with pytest.raises(DomainError, match="NETWORK_ERROR"):
            await call
    released.set()


async def test_calls_to_the_bucket_are_counted_and_audited(entry: Door, place: BucketConfig) -> None:
    """One line and one count an attempt, a warning a retry, an error when none succeeds; no path of an object."""
    metrics = Metrics()
    store = BucketObjects(Bucket(place, audit=AuditLog(metrics, prefix="s3")), ManualClock())
    with capture_logs() as logs:
        stored = await keep(store)
        entry.refuse(500, "InternalError")
        with pytest.raises(DomainError):
            await read(store, stored)
    audited = [(line["endpoint"], line["status"]) for line in logs if line["event"] == "upstream call"]
    assert [("put", 200), ("get", 500), ("get", 500), ("get", 500)] == audited
    assert ["warning"] * 2 == [line["log_level"] for line in logs if line["event"] == "call retried"]
    assert ["error"] == [line["log_level"] for line in logs if line["event"] == "all attempts failed"]
    assert stored.key.path not in str(logs)
    labels = {"endpoint": "get", "status": "500"}
    assert 3 == metrics.registry.get_sample_value("s3_api_calls_total", labels)


async def test_caller_that_leaves_ends_the_retries_of_the_bucket(entry: Door, place: BucketConfig) -> None:
    """Long before the wait is over."""
    store = store_at(replace(place, retry_delay=30.0, timeout_seconds=60.0))
    asked = asyncio.Event()
    entry.refuse(500, "InternalError", when=lambda _: asked.set() or True)  # type: ignore[func-returns-value]
    task = asyncio.create_task(store.remove([ObjectKey(ObjectKind.AUDIO, new_id())]))
    await asked.wait()
    task.cancel()
    async with asyncio.timeout(20):
        await asyncio.wait([task])
        await store.settle()


async def test_a_store_that_is_down_opens_the_circuit(place: BucketConfig) -> None:
    """After some failures nobody waits for it."""
    store = store_at(replace(place, endpoint="http://127.0.0.1:9", retries=0))
    key = ObjectKey(ObjectKind.AUDIO, new_id())
    reasons = []
    for _ in range(11):
        with pytest.raises(DomainError) as caught:
            await store.remove([key])
        reasons.append(caught.value.reason)
    assert ["NETWORK_ERROR"] * 10 + ["CIRCUIT_OPEN"] == reasons


async def test_the_start_sees_to_the_bucket(moto_s3: S3, entry: Door, place: BucketConfig) -> None:
    """No bucket, or no right to it, stops the start; a store that is away for now does not."""
    missing = moto_s3.config("there-is-no-such-bucket")
    with pytest.raises(ConfigurationError, match="AUDIO_STORE_URL: the bucket is not there"):
        await store_at(missing).open()
    entry.refuse(403, "AccessDenied")
    with pytest.raises(ConfigurationError, match="AUDIO_STORE_URL: access is denied"):
        await store_at(place).open()
    await store_at(replace(place, endpoint="http://127.0.0.1:9")).open()


@pytest.mark.parametrize(
    ("refused", "code", "line"),
    [
        (None, 0, "the bucket is ready: "),
        ("PUT", 2, "storage: AUDIO_STORE_URL: writing, reading and removing must be allowed there"),
        ("GET", 2, "storage: AUDIO_STORE_URL: access is denied"),
        ("down", 1, "storage: the object store cannot be used at the moment: the connection failed"),
    ],
)
async def test_the_check_tries_it_out(
    moto_s3: S3,
    entry: Door,
    place: BucketConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    refused: str | None,
    code: int,
    line: str,
) -> None:
    """`python -m storage_service check` does all that the service will do, and leaves nothing."""
    entry.refuse(403, "AccessDenied", when=lambda seen: seen.method == refused)
    environment = {
        **moto_s3.environment(place.bucket),
        "AWS_ENDPOINT_URL_S3": entry.url,
        "TALE_DATA_DIR": str(tmp_path),
    }
    if refused == "down":
        environment["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:9"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with capture_logs():
        assert code == await asyncio.to_thread(run_command, ["check"])
    captured = capsys.readouterr()
    assert (captured.out + captured.err).startswith(line)
    assert [] == await moto_s3.names(place.bucket)


# The service, and the whole cluster.


def s3_settings(server: S3, bucket: str) -> dict[str, Any]:
    """Settings of a storage service that keeps its audio there."""
    return {
        "audio_store_url": f"s3://{bucket}/tales",
        "aws_endpoint_url_s3": server.url,
        "aws_access_key_id": ACCESS_KEY_ID,
        "aws_secret_access_key": SecretStr(SECRET),
    }


def supabase_settings(lite: Lite) -> dict[str, Any]:
    """Settings of one that keeps its records in Supabase."""
    return {"backend": "supabase", "supabase_url": lite.url, "supabase_key": SecretStr(lite.key)}


async def refusal(call: Any) -> str:
    """The reason of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value).reason


@pytest.mark.parametrize("records", ["embedded", "supabase"])
async def test_audio_is_in_s3_whatever_keeps_the_records(
    request: pytest.FixtureRequest, moto_s3: S3, tmp_path: Path, records: str
) -> None:
    """Bytes that differ leave neither object nor part; those that agree are read, and are gone with their story."""
    bucket = await moto_s3.make_bucket()
    settings = StorageSettings(
        listen="127.0.0.1:0",
        ops_listen="127.0.0.1:0",
        data_dir=tmp_path,
        **s3_settings(moto_s3, bucket),
        **(supabase_settings(request.getfixturevalue("supabase_lite")) if records == "supabase" else {}),
    )
    async with running(build_app(settings), service="storage", settings=settings) as it:
        stub: Any = storage_pb2_grpc.StorageServiceStub(it.channel)
        segments: Any = segment_pb2_grpc.SegmentServiceStub(it.channel)
        record = (await stub.CreateStory(create_request())).record
        story_id, token = record.story.id, record.run.lease_token
        spoken, header = speech([100, len(LARGE)]), narration()
        wrong = put_messages(spoken[1].stored, spoken[1].data[:-1] + b"?")
        assert "AUDIO_MISMATCH" == await refusal(segments.PutSegment(iter(wrong)))
        assert (0, []) == (await moto_s3.unfinished(bucket), await moto_s3.names(bucket))
        for one in spoken:
            await segments.PutSegment(iter(put_messages(one.stored, one.data, story_id=story_id)))
        made = checkpoint(story_id, token, text=(0, "x" * 10), content_complete=True, narration=header)
        made.segments.extend(one.place for one in spoken)
        batch = storage_pb2.CheckpointStoriesRequest(lease_duration=lease_request().duration, checkpoints=[made])
        assert not (await stub.CheckpointStories(batch)).results[0].HasField("error")
        whole = b"".join(one.data for one in spoken)
        for finish in (False, True):
            if finish:
                asked = storage_pb2.FinishAudioRequest(story_id=story_id, lease_token=token, audio_id=header.audio_id)
                assert (await stub.FinishAudio(asked)).audio.sha256 == hashlib.sha256(whole).digest()
            read = [piece.chunk.data async for piece in stub.ReadAudio(storage_pb2.ReadAudioRequest(story_id=story_id))]
            assert whole == b"".join(read)
        assert 3 == len(await moto_s3.names(bucket))
        assert bucket in (await stub.GetAudioUrl(storage_pb2.GetAudioUrlRequest(story_id=story_id))).url
        await stub.DeleteStory(storage_pb2.DeleteStoryRequest(story_id=story_id))
        assert [] == await moto_s3.names(bucket)


@pytest.fixture
async def home(moto_s3: S3, tmp_path: Path) -> AsyncIterator[House]:
    """A cluster whose audio is in S3."""
    async with house(tmp_path, storage=s3_settings(moto_s3, await moto_s3.make_bucket())) as it:
        yield it


async def test_the_gateway_gives_an_address_to_the_owner_alone(home: House) -> None:
    """The bytes come from the store itself, for as long as was asked; somebody else's story is none."""
    watcher = await home.tell(spec(1))
    request = gateway_pb2.GetAudioUrlRequest(story_id=watcher.story_id)
    request.expiry.FromSeconds(90)
    answer = await home.stub.GetAudioUrl(request, timeout=10)
    assert "X-Amz-Expires=90" in answer.url
    async with aiohttp.ClientSession() as session, session.get(answer.url) as fetched:
        assert "audio/mpeg" == fetched.content_type
        assert hashlib.sha256(watcher.audio).digest() == hashlib.sha256(await fetched.read()).digest()
    _, data = await home.read_audio(watcher.story_id)
    assert bytes(watcher.audio) == data
    foreign = await home.storage.CreateStory(create_request(), metadata=[("x-tale-owner", "ben")])
    other = gateway_pb2.GetAudioUrlRequest(story_id=foreign.record.story.id)
    assert "STORY_NOT_FOUND" == await refusal(home.stub.GetAudioUrl(other, timeout=10))


async def test_a_story_without_audio_has_no_address(home: House) -> None:
    """AUDIO_NOT_FOUND, as for reading it."""
    record = (await home.storage.CreateStory(create_request(), timeout=10)).record
    end = checkpoint(record.story.id, record.run.lease_token, state=states.FAILED)
    request = storage_pb2.CheckpointStoriesRequest(lease_duration=lease_request().duration, checkpoints=[end])
    await home.storage.CheckpointStories(request, timeout=10)
    asked = gateway_pb2.GetAudioUrlRequest(story_id=record.story.id)
    assert "AUDIO_NOT_FOUND" == await refusal(home.stub.GetAudioUrl(asked, timeout=10))


async def test_an_embedded_cluster_names_the_other_way(tmp_path: Path) -> None:
    """Files have no address, also in a folder of their own; the remedy of the reason is ReadStoryAudio."""
    folder = tmp_path / "elsewhere"
    async with house(tmp_path, storage={"audio_store_url": folder.as_uri()}) as home:
        watcher = await home.tell(spec(1))
        assert 1 == len(list(folder.glob("audio/*/*")))
        asked = home.stub.GetAudioUrl(gateway_pb2.GetAudioUrlRequest(story_id=watcher.story_id), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError, match="has no addresses") as caught:
            await asked
        error = from_rpc_error(caught.value)
        assert (grpc.StatusCode.FAILED_PRECONDITION, "AUDIO_URL_UNSUPPORTED") == (error.code, error.reason)
