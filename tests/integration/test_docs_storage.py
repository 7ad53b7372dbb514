"""The commands of docs/storage.md do what is said, with either setting of STORAGE_SYNC."""

import asyncio
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from servicekit.metrics import Metrics
from servicekit.settings import env_name
from standins.processes import Cluster
from standins.storage_kit import (
    ManualClock,
    checkpoint,
    create_request,
    lease_request,
    narration,
    put_messages,
    speech,
)
from storage_service.backends import make_backend
from storage_service.exchange.exporting import all_stories
from storage_service.records import ObjectKind
from storage_service.settings import StorageSettings
from storage_service.stories import states
from tale.storage.v1 import segment_pb2_grpc, storage_pb2, storage_pb2_grpc

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "storage.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SPOKEN = speech([100, 1_000_000])
AUDIO = b"".join(one.data for one in SPOKEN)


async def run(commands: str, folder: Path, **environment: str) -> str:
    """What commands print; they must succeed."""
    variables = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "TALE_DATA_DIR": "data", **environment}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", commands),
        cwd=folder,
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert 0 == process.returncode, out.decode()
    return out.decode()


async def tell(channel: grpc.aio.Channel) -> str:
    """Id of a story with audio whose every write was acknowledged."""
    stub: Any = storage_pb2_grpc.StorageServiceStub(channel)
    record: storage_pb2.StoryRecord = (await stub.CreateStory(create_request())).record
    story_id, token = record.story.id, record.run.lease_token
    segments: Any = segment_pb2_grpc.SegmentServiceStub(channel)
    for one in SPOKEN:
        await segments.PutSegment(iter(put_messages(one.stored, one.data, story_id=story_id)))
    header = narration()
    made = checkpoint(
        story_id,
        token,
        state=states.NARRATING,
        text=(0, "0123456789"),
        content_complete=True,
        narration=header,
        segments=[one.place for one in SPOKEN],
    )
    request = storage_pb2.CheckpointStoriesRequest(lease_duration=lease_request().duration, checkpoints=[made])
    (result,) = (await stub.CheckpointStories(request)).results
    assert "" == result.error.reason
    finish = storage_pb2.FinishAudioRequest(story_id=story_id, lease_token=token, audio_id=header.audio_id)
    await stub.FinishAudio(finish)
    return story_id


async def kept(data_dir: Path) -> dict[str, bool]:
    """The stories of a store, and whether they have audio, which is whole then."""
    backend = make_backend(StorageSettings(data_dir=data_dir), ManualClock(), Metrics())
    await backend.open()
    try:
        found = {}
        async for record, blob in all_stories(backend.records.stories):
            found[record.story.id] = blob is not None
            if blob is not None:
                reading = backend.objects[ObjectKind.AUDIO].read(blob)
                assert AUDIO == b"".join([block async for block in reading])
        return found
    finally:
        await backend.close()


@pytest.mark.parametrize("sync", ["normal", "full"])
async def test_backups_hold_what_was_acknowledged(tmp_path: Path, sync: str) -> None:
    """The export and the copies while the service runs and is written to, and the copy after a kill -9."""
    export, cold, hot, import_ = BLOCKS
    cluster = Cluster(tmp_path, {"STORAGE_SYNC": sync, "LOG_LEVEL": "WARNING"})
    try:
        await cluster.start("storage")
        async with cluster.channel("storage") as channel:
            early = [await tell(channel) for _ in range(2)]
            writing = asyncio.create_task(_write_on(channel))
            assert "exported" in await run(export, tmp_path, STORAGE_SYNC=sync)
            await run(hot, tmp_path)
            late = await tell(channel)
            writing.cancel()
            await asyncio.wait([writing])
            await cluster.kill("storage")
    finally:
        await cluster.close()
    await run(cold, tmp_path)
    assert "imported" in await run(import_, tmp_path, TALE_DATA_DIR="elsewhere")
    for copy in ("cold-copy", "hot-copy"):
        await asyncio.to_thread(shutil.move, tmp_path / copy, tmp_path / f"from-{copy}" / "storage")
    restored = {name: await kept(tmp_path / name) for name in ("from-cold-copy", "from-hot-copy", "elsewhere")}
    assert all(stories[story_id] for stories in restored.values() for story_id in early)
    assert restored["from-cold-copy"][late]


async def _write_on(channel: grpc.aio.Channel) -> None:
    for _ in range(10):
        await tell(channel)


def test_every_variable_that_is_named_is_one() -> None:
    """And none that belongs to S3 is left out."""
    known = {env_name(StorageSettings, field) for field in StorageSettings.model_fields}
    named = set(re.findall(r"\b(?:AUDIO|AWS|SEGMENT|STORAGE|SUPABASE)_[A-Z0-9_]+\b", TEXT))
    # Reasons of errors look alike.
    assert set() == named - known - {"AUDIO_URL_UNSUPPORTED", "SEGMENT_LOST", "STORAGE_DAMAGED", "STORAGE_FULL"}
    # A fall-back that is not worth a line.
    places = {name for name in known if name.startswith(("AUDIO_STORE", "SEGMENT_STORE", "AWS"))}
    assert {"AWS_DEFAULT_REGION"} == places - named
