"""The storage service over Supabase, as its callers see it."""

import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from pydantic import SecretStr
from support.storage_service import (
    Storage,
    created,
    digest,
    failure,
    found,
    kept,
    narrated,
    narrating,
    put,
    read,
    service,
)
from support.supabase_faults import Fault, Proxy, proxy
from support.supabase_lite import KEY, Lite

from servicekit.ids import new_id
from servicekit.secrets import SecretSource
from servicekit.settings import ConfigurationError
from standins.storage_kit import SECOND, begun_story, checkpoint, stored_token
from storage_service.stories import states
from storage_service.supabase.config import SupabaseConfig
from storage_service.supabase.connection import Connection
from storage_service.supabase.profiles import SupabaseProfileStore
from tale.common.v1 import common_pb2, status_pb2, status_pb2_grpc
from tale.profile.v1 import profile_pb2, profile_pb2_grpc
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

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


@asynccontextmanager
async def over(supabase: Proxy, folder: Path) -> AsyncIterator[Storage]:
    """A service over it."""
    given: dict[str, Any] = {"backend": "supabase", "supabase_url": supabase.url, "supabase_key": SecretStr(KEY)}
    async with service(folder, **given) as storage:
        yield storage


async def refusal(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    """Code and reason that a call fails with, as its caller sees them."""
    error = await failure(call)
    return error.code, error.reason


async def child_of(storage: Storage) -> str:
    """Id of a new child."""
    profiles = profile_pb2_grpc.ProfileServiceStub(storage.channel)
    mia = common_pb2.Child(name="Mia", age=6)
    return (await profiles.CreateChild(profile_pb2.CreateChildRequest(child=mia))).child.id


def files_of(supabase: Proxy, kind: str) -> list[str]:
    """Paths of the files of a kind that were stored, in order."""
    return list(dict.fromkeys(path for path in supabase.asked if f"/storage/v1/object/tales/{kind}/" in path))


async def is_there(supabase: Proxy, path: str) -> bool:
    """Whether the bucket has a file."""
    async with aiohttp.ClientSession(headers=AS_SERVICE) as session, session.get(supabase.url + path) as answer:
        return answer.status == 200


async def change(supabase: Proxy, path: str) -> None:
    """Puts other bytes in place of a file, as many as it had."""
    async with aiohttp.ClientSession(headers=AS_SERVICE) as session:
        async with session.get(supabase.url + path) as before:
            size = len(await before.read())
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(bytes(size)), filename="x", content_type="audio/mpeg")
        async with session.post(supabase.url + path, data=form, headers={"x-upsert": "true"}) as answer:
            assert 200 == answer.status


async def test_a_story_is_stored_composed_read_found_and_erased(supabase: Proxy, tmp_path: Path) -> None:
    """From the child to its erasure, over the wire; nothing is left in the bucket."""
    async with over(supabase, tmp_path) as storage:
        child_id = await child_of(storage)
        made = await narrating(storage, story=begun_story(child_id=child_id, child=None))
        header, data = await read(storage, made.story_id, offset=100_000)
        assert made.data[100_000:] == data
        assert b"" == header.sha256
        await storage.stub.FinishAudio(made.finish())
        await kept(storage, checkpoint(made.story_id, state=states.READY))
        story = (await storage.stub.GetStory(storage_pb2.GetStoryRequest(story_id=made.story_id))).record.story
        assert states.READY == story.state
        assert "Mia" == story.child.name
        assert len(made.data) == story.audio.size_bytes
        assert [] == list(story.embedded_parts)
        header, data = await read(storage, made.story_id)
        assert made.data == data
        assert digest(data) == header.sha256
        query = common_pb2.StoryFilter(query="dragon", child_id=child_id)
        listed = await storage.stub.ListStories(storage_pb2.ListStoriesRequest(filter=query))
        assert [made.story_id] == [summary.id for summary in listed.stories]
        stored = [*files_of(supabase, "audio"), *files_of(supabase, "segments")]
        assert [True] * 5 == [await is_there(supabase, path) for path in stored]
        erased = await storage.stub.EraseChild(storage_pb2.EraseChildRequest(child_id=child_id))
        assert 1 == erased.story_count
        assert 1 == erased.audio_count
        assert 4 == erased.segment_count
        assert [False] * 5 == [await is_there(supabase, path) for path in stored]
        gone = (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND")
        assert gone == await refusal(read(storage, made.story_id))


async def test_a_segment_that_was_changed_in_the_bucket_can_be_stored_anew(supabase: Proxy, tmp_path: Path) -> None:
    """The story is never composed of other bytes; the next call to store the segment succeeds."""
    async with over(supabase, tmp_path) as storage:
        made = await narrating(storage)
        await change(supabase, files_of(supabase, "segments")[0])
        lost = await refusal(storage.stub.FinishAudio(made.finish()))
        assert (grpc.StatusCode.FAILED_PRECONDITION, "SEGMENT_LOST") == lost
        keys = [one.stored.key for one in made.spoken]
        assert {*keys[1:]} == await found(storage, *keys)
        assert (await put(storage, made.spoken[0], made.story_id)).created
        finished = await storage.stub.FinishAudio(made.finish())
        assert digest(made.data) == finished.audio.sha256


async def test_a_cancelled_run_leaves_no_attempt_started(supabase: Proxy, tmp_path: Path) -> None:
    """What the run still reports of it is stored with the state that stands."""
    async with over(supabase, tmp_path) as storage:
        story_id = await created(storage)
        first, second = (
            common_pb2.Attempt(attempt_id=new_id(), model="m", outcome=common_pb2.ATTEMPT_OUTCOME_STARTED)
            for _ in range(2)
        )
        await kept(storage, checkpoint(story_id, attempts=[first, second]))
        cancel = storage_pb2.UpdateStoryRequest(story_id=story_id, cancel=storage_pb2.CancelChange())
        await storage.stub.UpdateStory(cancel)
        position = storage_pb2.StoryPosition(story_id=story_id, lease_token=await stored_token(storage.stub, story_id))
        (news,) = (await storage.stub.FollowStories(storage_pb2.FollowStoriesRequest(positions=[position]))).changes
        assert states.CANCELLED == news.state
        second.outcome = common_pb2.ATTEMPT_OUTCOME_SUCCEEDED
        second.cost_usd = 0.25
        await kept(storage, checkpoint(story_id, state=states.CANCELLED, attempts=[second]))
        asked = storage_pb2.GetStoryRequest(story_id=story_id, view=common_pb2.STORY_VIEW_FULL)
        one, other = (await storage.stub.GetStory(asked)).record.story.attempts
        assert common_pb2.ATTEMPT_OUTCOME_CANCELLED == one.outcome
        assert one.HasField("end_time")
        assert common_pb2.ATTEMPT_OUTCOME_SUCCEEDED == other.outcome
        assert 0.25 == other.cost_usd


async def test_the_calls_of_a_story_are_few(supabase: Proxy, tmp_path: Path) -> None:
    """One call of a function for each request of a caller; objects are noted many at a time."""
    async with over(supabase, tmp_path) as storage:
        await narrated(storage, sizes=[1_000] * 20)
        calls = Counter(path.rpartition("/")[2] for path in supabase.asked if "/rpc/" in path)
    assert 20 == calls["add_segment"]
    assert 1 == calls["load_manifest"]
    assert 1 == calls["attach_audio"]
    assert 2 == calls["note_objects"]


async def test_an_address_gives_the_audio_for_a_while(supabase: Proxy, tmp_path: Path) -> None:
    """To anybody who has it, with no key; the answer says when it ends."""
    async with over(supabase, tmp_path) as storage:
        made = await narrated(storage)
        asked = storage_pb2.GetAudioUrlRequest(story_id=made.story_id, expiry=Duration(seconds=60))
        signed = await storage.stub.GetAudioUrl(asked)
        assert storage.clock.now() + 60 * SECOND == signed.expire_time.ToMicroseconds()
        async with aiohttp.ClientSession() as session:
            async with session.get(signed.url) as answer:
                assert 200 == answer.status
                assert made.data == await answer.read()
            async with session.get(signed.url.split("?")[0]) as bare:
                assert bare.status >= 400
        # The stand-in stores the media type and does not answer with it.
        (path,) = files_of(supabase, "audio")
        about = supabase.url + path.replace("/object/", "/object/info/")
        async with aiohttp.ClientSession(headers=AS_SERVICE) as session, session.get(about) as answer:
            facts = await answer.json()
        assert "audio/mpeg" == facts["metadata"]["mimetype"]
        other = storage_pb2.GetAudioUrlRequest(story_id=made.story_id)
        stranger = storage.stub.GetAudioUrl(other, metadata=(("x-tale-owner", "ben"),))
        assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == await refusal(stranger)


async def test_the_status_tells_of_supabase_and_its_circuits(supabase: Proxy, tmp_path: Path) -> None:
    """There is no embedded part; an open circuit can be closed by hand."""
    async with over(supabase, tmp_path) as it:
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
            (await refusal(stories.GetStory(storage_pb2.GetStoryRequest(story_id=new_id()))))[1] for _ in range(5)
        ]
        assert {"NETWORK_ERROR", "CIRCUIT_OPEN"} == set(reasons)
        (provider,) = (await stub.GetStatus(status_pb2.GetStatusRequest())).status.providers
        assert (False, "CIRCUIT_OPEN") == (provider.available, provider.unavailable_reason)
        supabase.down = False
        await stub.ResetCircuit(status_pb2.ResetCircuitRequest(name="supabase:database"))
        gone = stories.GetStory(storage_pb2.GetStoryRequest(story_id=new_id()))
        assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == await refusal(gone)


# The start.


async def test_a_service_begins_while_supabase_is_away(supabase: Proxy, tmp_path: Path) -> None:
    """It says so to its callers until Supabase is there, and needs no restart."""
    supabase.down = True
    async with over(supabase, tmp_path) as it:
        stub = storage_pb2_grpc.StorageServiceStub(it.channel)
        away = await refusal(stub.GetStory(storage_pb2.GetStoryRequest(story_id=new_id())))
        assert grpc.StatusCode.UNAVAILABLE is away[0]
        supabase.down = False
        gone = await refusal(stub.GetStory(storage_pb2.GetStoryRequest(story_id=new_id())))
        assert (grpc.StatusCode.NOT_FOUND, "STORY_NOT_FOUND") == gone


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (Fault("answer", status=401, body={"message": "Invalid API key"}), "SUPABASE_KEY: the key is not accepted"),
        (
            Fault("answer", at="rpc", status=404, body={"code": "PGRST202", "message": "x"}),
            "SUPABASE_URL: the schema `tales`.*python -m storage_service migrate",
        ),
        (
            Fault("answer", at="schema_version", status=200, body="0"),
            "SUPABASE_URL has schema version 0, and this program needs version 8: run",
        ),
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
async def test_what_is_not_set_up_stops_the_start_with_its_remedy(
    supabase: Proxy, tmp_path: Path, fault: Fault, line: str
) -> None:
    """One line for the operator."""
    supabase.plan(fault)
    with pytest.raises(ConfigurationError, match=line) as caught:
        async with over(supabase, tmp_path):
            pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("answer", at="take_deleted", status=402, body={"message": "restricted"}),
        Fault("answer", at="take_deleted", status=400, body={"message": "x"}),
        Fault("answer", at="schema_version", status=402, body={"message": "restricted"}),
    ],
)
async def test_a_refusal_at_the_start_is_no_end(supabase: Proxy, tmp_path: Path, fault: Fault) -> None:
    """The service begins and serves."""
    supabase.plan(fault)
    async with over(supabase, tmp_path) as it:
        stub = storage_pb2_grpc.StorageServiceStub(it.channel)
        gone = await refusal(stub.GetStory(storage_pb2.GetStoryRequest(story_id=new_id())))
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


async def test_audio_that_was_changed_in_the_bucket_is_never_a_success(supabase: Proxy, tmp_path: Path) -> None:
    """The reader gets DATA_LOSS, not other bytes."""
    async with over(supabase, tmp_path) as storage:
        made = await narrated(storage)
        await change(supabase, files_of(supabase, "audio")[0])
        damaged = await refusal(read(storage, made.story_id))
        assert (grpc.StatusCode.DATA_LOSS, "AUDIO_CORRUPT") == damaged
