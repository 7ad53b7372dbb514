"""Finishing a narration: a call that is repeated joins the first, whose caller may be gone."""

import asyncio
from unittest.mock import Mock

from servicekit.context import Caller, RequestContext, bound, current
from storage_service.audio.finishing import AudioFinisher
from storage_service.ports import StoryStore
from storage_service.records import StoredAudio
from tale.common.v1 import common_pb2


async def test_flight_goes_by_no_deadline_of_the_caller_that_started_it() -> None:
    """Which has left; the second caller gets the audio."""
    go = asyncio.Event()
    deadlines: list[float | None] = []

    async def manifest(*_: object) -> StoredAudio:
        deadlines.append(current().deadline)
        await go.wait()
        return StoredAudio(common_pb2.StoryAudio(audio_id="a"), Mock())

    finisher = AudioFinisher(Mock(StoryStore, manifest=manifest), Mock(), Mock(), Mock(), max_bytes=1)
    with bound(RequestContext("r", Caller("mia"), asyncio.get_running_loop().time() + 60)):
        first, second = (asyncio.create_task(finisher.finish("s", 1, "a")) for _ in range(2))
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    go.set()
    assert "a" == (await second).audio_id
    assert [None] == deadlines
