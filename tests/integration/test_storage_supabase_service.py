"""The storage service over Supabase, as its callers see it."""

import hashlib
import io
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from pydantic import SecretStr
from support.servers import Running, running
from support.supabase_faults import Fault, Proxy, proxy
from support.supabase_lite import KEY, Lite

from servicekit.ids import new_id
from servicekit.secrets import SecretSource
from servicekit.settings import ConfigurationError
from servicekit.status import from_rpc_error
from standins.storage_kit import audio_messages, checkpoint, create_request, segment
from storage_service import states
from storage_service.bootstrap import build_app
from storage_service.settings import StorageSettings
from storage_service.supabase.config import SupabaseConfig
from storage_service.supabase.connection import Connection
from storage_service.supabase.profile_store import SupabaseProfileStore
from tale.common.v1 import common_pb2, status_pb2, status_pb2_grpc
from tale.profile.v1 import profile_pb2, profile_pb2_grpc
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

DATA = bytes(range(256)) * 6_000
AS_SERVICE = {"apikey": KEY, "Authorization": f"Bearer {KEY}"}


def signs_like_the_real_one(answer: bytes) -> bytes:
    """The stand-in says `signedUrl`, from the root; Storage says `signedURL`, from its own address."""
    if not answer.startswith(b'{"signedUrl"'):
        return answer
    return json.dumps({"signedURL": json.loads(answer)["signedUrl"].removeprefix("/storage/v1")}).encode()


@pytest.fixture
async def supabase(supabase_lite: Lite) -> AsyncIterator[Proxy]:
    """An empty Supabase, and what stands before it."""
    connection = Connection(supabase_lite.config())
    await (await connection.client()).rpc("empty", {})
    await connection.close()
    async with proxy(supabase_lite.url) as it:
        it.rewrite = signs_like_the_real_one
        yield it


def settings(supabase: Proxy, **changes: Any) -> StorageSettings:
    """Settings of a service over it."""
    fields = {"supabase_key": SecretStr(KEY), "listen": "127.0.0.1:0", "ops_listen": "127.0.0.1:0", **changes}
    return StorageSettings(backend="supabase", supabase_url=supabase.url, drain_seconds=1, **fields)


@asynccontextmanager
async def service(supabase: Proxy, **changes: Any) -> AsyncIterator[Running]:
    """A service over it."""
    given = settings(supabase, **changes)
    async with running(build_app(given), service="storage", settings=given) as it:
        yield it


async def failure(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    """Code and reason that a call fails with, as its caller sees them."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = from_rpc_error(caught.value)
    return error.code, error.reason


async def narrated(stub: "storage_pb2_grpc.StorageServiceAsyncStub", child_id: str) -> str:
    """Id of a story of a child, with sound."""
    audio_id = new_id()
    begun = common_pb2.Story(
        kind=common_pb2.STORY_KIND_CHILD, child_id=child_id, language_code="en", length_minutes=5, narrate=True
    )
    story_id = (await stub.CreateStory(create_request(story=begun))).record.story.id
    text = checkpoint(
        story_id,
        state=states.NARRATING,
        title="The Owl",
        text=(0, "Once upon a time."),
        content_complete=True,
        narration=common_pb2.NarrationHeader(audio_id=audio_id),
        segments=[segment(0)],
    )
    lease = Duration(seconds=30)
    await stub.CheckpointStories(storage_pb2.CheckpointStoriesRequest(lease_duration=lease, checkpoints=[text]))
    await stub.WriteAudio(iter(audio_messages(story_id, 1, audio_id, DATA)))
    end = checkpoint(story_id, state=states.READY)
    await stub.CheckpointStories(storage_pb2.CheckpointStoriesRequest(lease_duration=lease, checkpoints=[end]))
    return story_id


async def test_a_story_is_kept_read_found_and_erased(supabase: Proxy) -> None:
    """From the child to its erasure, over the wire; nothing is left in the bucket."""
    async with service(supabase) as it:
        stub = storage_pb2_grpc.StorageServiceStub(it.channel)
        profiles = profile_pb2_grpc.ProfileServiceStub(it.channel)
        mia = common_pb2.Child(name="Mia", age=6)
        child = (await profiles.CreateChild(profile_pb2.CreateChildRequest(child=mia))).child
        story_id = await narrated(stub, child.id)
        story = (await stub.GetStory(storage_pb2.GetStoryRequest(story_id=story_id))).record.story
        assert (states.READY, "Mia", "Once upon a time.", len(DATA), []) == (
            story.state,
            story.child.name,
            story.content,
            story.audio.size_bytes,
            list(story.embedded_parts),
        )
        chunks = [
            response.chunk.data
            async for response in stub.ReadAudio(storage_pb2.ReadAudioRequest(story_id=story_id, offset=1_000_000))
            if response.WhichOneof("piece") == "chunk"
        ]
        assert DATA[1_000_000:] == b"".join(chunks)
        query = common_pb2.StoryFilter(query="owl", child_id=child.id)
        listed = await stub.ListStories(storage_pb2.ListStoriesRequest(filter=query))
        assert [story_id] == [summary.id for summary in listed.stories]
        (removed,) = [path for path in supabase.asked if f"/object/tales/stories/{story_id}/" in path][:1]
        erased = await stub.EraseChild(storage_pb2.EraseChildRequest(child_id=child.id))
        assert (1, 1, True) == (erased.story_count, erased.audio_count, erased.done)
        async with aiohttp.ClientSession(headers=AS_SERVICE) as session:
            answer = await (await session.get(supabase.url + removed)).json()
        assert "404" == str(answer["statusCode"])


async def test_an_address_gives_the_audio_for_a_while(supabase: Proxy) -> None:
    """To anybody who has it, with no key; the answer says when it ends."""
    async with service(supabase) as it:
        stub = storage_pb2_grpc.StorageServiceStub(it.channel)
        profiles = profile_pb2_grpc.ProfileServiceStub(it.channel)
        child = (await profiles.CreateChild(profile_pb2.CreateChildRequest(child=common_pb2.Child(name="Mia")))).child
        story_id = await narrated(stub, child.id)
        asked = storage_pb2.GetAudioUrlRequest(story_id=story_id, expiry=Duration(seconds=60))
        before = storage_pb2.GetAudioUrlResponse()
        before.expire_time.GetCurrentTime()
        signed = await stub.GetAudioUrl(asked)
        assert 59 <= signed.expire_time.seconds - before.expire_time.seconds <= 75
        async with aiohttp.ClientSession() as session:
            answer = await session.get(signed.url)
            assert 200 == answer.status
            assert DATA == await answer.read()
            bare = await session.get(signed.url.split("?")[0])
            assert bare.status >= 400
        # The stand-in keeps the media type and does not answer with it.
        (path,) = {path for path in supabase.asked if f"/object/tales/stories/{story_id}/" in path}
        async with aiohttp.ClientSession(headers=AS_SERVICE) as session:
            kept = await (await session.get(supabase.url + path.replace("/object/", "/object/info/"))).json()
        assert "audio/mpeg" == kept["metadata"]["mimetype"]
        other = storage_pb2.GetAudioUrlRequest(story_id=story_id)
        stranger = stub.GetAudioUrl(other, metadata=(("x-tale-owner", "ben"),))
        assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == await failure(stranger)


async def test_the_status_tells_of_supabase_and_its_circuits(supabase: Proxy) -> None:
    """There is no embedded part; an open circuit can be closed by hand."""
    async with service(supabase) as it:
        stub = status_pb2_grpc.StatusServiceStub(it.channel)
        told = (await stub.GetStatus(status_pb2.GetStatusRequest())).status
        assert ([], [("supabase", True, True)]) == (
            list(told.embedded_parts),
            [(one.name, one.configured, one.available) for one in told.providers],
        )
        assert "supabase:database" in [circuit.name for circuit in told.circuits]
        supabase.down = True
        stories = storage_pb2_grpc.StorageServiceStub(it.channel)
        reasons = [
            (await failure(stories.GetStory(storage_pb2.GetStoryRequest(story_id=new_id()))))[1] for _ in range(5)
        ]
        assert {"NETWORK_ERROR", "CIRCUIT_OPEN"} == set(reasons)
        (provider,) = (await stub.GetStatus(status_pb2.GetStatusRequest())).status.providers
        assert (False, "CIRCUIT_OPEN") == (provider.available, provider.unavailable_reason)
        supabase.down = False
        await stub.ResetCircuit(status_pb2.ResetCircuitRequest(name="supabase:database"))
        gone = stories.GetStory(storage_pb2.GetStoryRequest(story_id=new_id()))
        assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == await failure(gone)


# The start.


async def test_a_service_begins_while_supabase_is_away(supabase: Proxy) -> None:
    """It says so to its callers until Supabase is there, and needs no restart."""
    supabase.down = True
    async with service(supabase) as it:
        stub = storage_pb2_grpc.StorageServiceStub(it.channel)
        away = await failure(stub.GetStory(storage_pb2.GetStoryRequest(story_id=new_id())))
        assert grpc.StatusCode.UNAVAILABLE is away[0]
        supabase.down = False
        gone = await failure(stub.GetStory(storage_pb2.GetStoryRequest(story_id=new_id())))
        assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == gone


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (Fault("answer", status=401, body={"message": "Invalid API key"}), "SUPABASE_KEY: the key is not accepted"),
        (
            Fault("answer", at="rpc", status=404, body={"code": "PGRST202", "message": "x"}),
            "SUPABASE_URL: the schema `tales`.*python -m storage_service migrate",
        ),
        (Fault("answer", at="schema_version", status=200, body="0"), "SUPABASE_URL has an older schema"),
        (
            Fault("answer", at="bucket", status=400, body={"statusCode": "404", "error": "Bucket not found"}),
            "SUPABASE_URL: the bucket `tales` is not there.*python -m storage_service migrate",
        ),
        (Fault("answer", at="bucket", status=200, body={"public": True}), "the bucket `tales` is public"),
        (Fault("answer", status=200, body="<html>"), "SUPABASE_URL: no Supabase answers there"),
        (Fault("answer", status=404, body="not here"), "SUPABASE_URL: no Supabase answers there"),
        (Fault("answer", at="bucket", status=404, body="not here"), "SUPABASE_URL: no Supabase answers there"),
        (Fault("answer", status=405, body=""), "SUPABASE_URL: no Supabase answers there"),
        (
            Fault("answer", status=308, body="", headers={"Location": "http://127.0.0.1:1/"}),
            "SUPABASE_URL: no Supabase answers there",
        ),
        (Fault("answer", status=400, body={"message": "x"}), "SUPABASE_URL: what answers there does not take"),
    ],
)
async def test_what_is_not_set_up_stops_the_start_with_its_mend(supabase: Proxy, fault: Fault, line: str) -> None:
    """One line for the operator."""
    supabase.plan(fault)
    with pytest.raises(ConfigurationError, match=line) as caught:
        async with service(supabase):
            pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("answer", at="files_to_remove", status=402, body={"message": "restricted"}),
        Fault("answer", at="files_to_remove", status=400, body={"message": "x"}),
        Fault("answer", at="schema_version", status=402, body={"message": "restricted"}),
    ],
)
async def test_a_refusal_at_the_start_is_no_end(supabase: Proxy, fault: Fault) -> None:
    """The service begins and serves."""
    supabase.plan(fault)
    async with service(supabase) as it:
        stub = storage_pb2_grpc.StorageServiceStub(it.channel)
        gone = await failure(stub.GetStory(storage_pb2.GetStoryRequest(story_id=new_id())))
        assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == gone


async def test_a_key_that_is_rotated_is_used_at_once(supabase: Proxy, tmp_path: Path) -> None:
    """The file is read again; nobody restarts anything."""
    time = 0.0
    file = tmp_path / "key"
    file.write_text("sb_secret_that_was_revoked")
    source = SecretSource(None, file, name="SUPABASE_KEY", clock=lambda: time)
    connection = Connection(SupabaseConfig(supabase.url, source, retry_delay=0.01))
    profiles = SupabaseProfileStore(connection)
    with pytest.raises(Exception, match="UPSTREAM_AUTH"):
        await profiles.list_page("mia", common_pb2.Child, limit=1, after=None)
    file.write_text(KEY)
    time += 10
    assert [] == await profiles.list_page("mia", common_pb2.Child, limit=1, after=None)
    await connection.close()


async def test_audio_that_was_changed_in_the_bucket_is_never_a_success(supabase: Proxy) -> None:
    """The reader gets DATA_LOSS, not other bytes."""
    async with service(supabase) as it:
        stub = storage_pb2_grpc.StorageServiceStub(it.channel)
        profiles = profile_pb2_grpc.ProfileServiceStub(it.channel)
        child = (await profiles.CreateChild(profile_pb2.CreateChildRequest(child=common_pb2.Child(name="Mia")))).child
        story_id = await narrated(stub, child.id)
        (path,) = {path for path in supabase.asked if f"/object/tales/stories/{story_id}/" in path}
        other = bytes(len(DATA))
        assert hashlib.sha256(other).digest() != hashlib.sha256(DATA).digest()
        async with aiohttp.ClientSession(headers=AS_SERVICE) as session:
            form = aiohttp.FormData()
            form.add_field("file", io.BytesIO(other), filename="x", content_type="audio/mpeg")
            answer = await session.post(supabase.url + path, data=form, headers={"x-upsert": "true"})
            assert 200 == answer.status

        async def read() -> None:
            async for _ in stub.ReadAudio(storage_pb2.ReadAudioRequest(story_id=story_id)):
                pass

        assert (grpc.StatusCode.DATA_LOSS, "AUDIO_CORRUPT") == await failure(read())
