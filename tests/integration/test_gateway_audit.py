"""The audit log: who did what to what, and what came of it; no text and no names."""

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from support.house import house

from gateway.door.keys import KeyFile
from standins.watcher import spec
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc

SECRETS = ("Mirabella", "a dragon who cannot sleep", "kindness")


async def test_a_call_that_comes_too_often_is_of_its_caller(tmp_path: Path) -> None:
    """Also the line of a refusal names owner and key."""
    file = KeyFile(tmp_path / "keys.json")
    key, made = file.create("mia")
    own = [("authorization", f"Bearer {key}")]
    settings: dict[str, Any] = {"auth": "api_key", "api_keys_file": tmp_path / "keys.json"}
    with structlog.testing.capture_logs() as lines:
        async with house(tmp_path / "data", requests_per_minute=1, **settings) as it:
            wanted = gateway_pb2.CreateStoryRequest(spec=spec(1, narrate=False))
            await it.stub.CreateStory(wanted, metadata=own)
            with pytest.raises(grpc.aio.AioRpcError):
                await it.stub.CreateStory(wanted, metadata=own)
    (refused,) = (line for line in lines if line.get("reason") == "RATE_LIMITED" and "credential" in line)
    assert ("mia", made.id, "CreateStory") == (refused["owner"], refused["credential"], refused["event"])


async def test_each_change_is_one_line(tmp_path: Path) -> None:
    """With owner, key, ids, outcome and cost; reads have none; what was refused has the reason."""
    file = KeyFile(tmp_path / "keys.json")
    key, made = file.create("mia")
    own = [("authorization", f"Bearer {key}")]
    with structlog.testing.capture_logs() as lines:
        async with house(tmp_path / "data", auth="api_key", api_keys_file=tmp_path / "keys.json") as it:
            profiles: Any = profile_pb2_grpc.ProfileServiceStub(it.channel)
            new = profile_pb2.CreateChildRequest(child=common_pb2.Child(name="Mirabella", age=6))
            child = (await profiles.CreateChild(new, metadata=own)).child.id
            wish = spec(1)
            wish.ClearField("child")
            wish.child_id = child
            events = it.stub.TellStory(gateway_pb2.TellStoryRequest(spec=wish), metadata=own)
            story = {each.event.story_id async for each in events}.pop()
            await it.stub.RateStory(gateway_pb2.RateStoryRequest(story_id=story, rating=9), metadata=own)
            await it.stub.GetStory(gateway_pb2.GetStoryRequest(story_id=story), metadata=own)
            with pytest.raises(grpc.aio.AioRpcError):
                await it.stub.ResetCircuit(gateway_pb2.ResetCircuitRequest(name="elevenlabs"), metadata=own)
            with pytest.raises(grpc.aio.AioRpcError):
                await it.stub.DeleteStory(gateway_pb2.DeleteStoryRequest(story_id=story))
            erased = await it.stub.EraseChild(gateway_pb2.EraseChildRequest(child_id=child), metadata=own)
    audit = [line for line in lines if "credential" in line or line["event"] == "StoryEnded"]
    said = [(line["event"], line.get("code", line.get("state"))) for line in audit]

    assert [
        ("CreateChild", "OK"),
        ("StoryEnded", "STORY_STATE_READY"),
        ("TellStory", "OK"),
        ("RateStory", "OK"),
        ("ResetCircuit", "PERMISSION_DENIED"),
        ("DeleteStory", "UNAUTHENTICATED"),
        ("EraseChild", "OK"),
    ] == said
    assert {"mia"} == {line["owner"] for line in audit if line.get("code") != "UNAUTHENTICATED"}
    assert {made.id} == {line["credential"] for line in audit if line.get("credential")}
    assert [child, story, story, story] == [audit[0]["child_id"], *(line["story_id"] for line in audit[1:4])]
    assert ("OPERATOR_ONLY", "TOKEN_MISSING") == (audit[4]["reason"], audit[5]["reason"])
    assert (erased.receipt_id, "1") == (audit[6]["receipt_id"], audit[6]["stories"])
    assert erased.HasField("erase_time")
    assert not any(secret in json.dumps(lines, default=str) for secret in (*SECRETS, key))
