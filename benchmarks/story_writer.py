"""Has a story service write stories, as the gateway does, and reads the briefs of `benchmarks/stories/`."""

import asyncio
import functools
import tempfile
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc

from benchmarks.story_measures import Told, Wish
from servicekit.channel import open_channel
from servicekit.ids import new_id
from servicekit.status import from_rpc_error
from standins.processes import Cluster
from tale.common.v1 import common_pb2
from tale.story.v1 import story_pb2, story_pb2_grpc

STORIES: Final = Path(__file__).parent / "stories"
LANGUAGES: Final = ("en", "ru")
FAILED: Final = "FAILED"
_HEARD: Final = 20
_SECONDS: Final = 1_800.0
_METADATA: Final = (("x-tale-owner", "evaluation"),)
_AT_ONCE: Final = 4
_GENDERS: Final = {"female": common_pb2.GENDER_FEMALE, "male": common_pb2.GENDER_MALE}


@functools.cache
def briefs() -> dict[str, Any]:
    """Returns the briefs as they stand in the file."""
    return tomllib.loads((STORIES / "briefs.toml").read_text("utf-8"))


def _rows(name: str) -> list[list[str]]:
    lines = (STORIES / name).read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines if line]


def _slot(lemmas: str) -> frozenset[str]:
    return frozenset(lemmas.replace("\u0451", "\u0435").split("|"))


def wishes(language: str) -> list[Wish]:
    """Returns the wishes that are to be enacted."""
    return [Wish(text, tuple(map(_slot, slots))) for text, *slots in _rows(f"wishes_{language}.tsv")]


def unsafe_wishes(language: str) -> list[tuple[str, Wish]]:
    """Returns the unsafe wishes, each with its kind."""
    return [(kind, Wish(text, (_slot(harm),))) for kind, text, harm in _rows(f"unsafe_{language}.tsv")]


def spec(language: str, *, seed: int, age: int = 6, minutes: int = 3, **facts: Any) -> common_pb2.StorySpec:
    """Returns what is asked for; `facts` are further fields, and `interests` of the child."""
    name, gender = briefs()["names"][language]
    child = common_pb2.Child(name=name, age=age, gender=_GENDERS[gender], interests=facts.pop("interests", ()))
    return common_pb2.StorySpec(
        child=child, language_code=language, length_minutes=minutes, seed=seed, narrate=False, **facts
    )


class StoryWriter:
    """Writes stories with one model; "" is the service's own choice."""

    def __init__(self, channel: grpc.aio.Channel, model: str) -> None:
        self._stub = story_pb2_grpc.StoryServiceStub(channel)
        self._model = model
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def write(
        self, wanted: common_pb2.StorySpec, heard: Sequence[common_pb2.StoryOutline] = ()
    ) -> tuple[Told, common_pb2.StoryOutline]:
        """Returns the story and its plan; one that failed has FAILED and its reason, and the text so far."""
        wanted.model = self._model
        request = story_pb2.GenerateStoryRequest(
            story_id=new_id(), spec=wanted, child=wanted.child, heard=heard[:_HEARD]
        )
        title, text, reasons, plan = "", "", [], common_pb2.StoryOutline()
        async with self._places:
            call: Any = self._stub.GenerateStory(request, timeout=_SECONDS, metadata=_METADATA)
            try:
                async for response in call:
                    title += response.title.title
                    text += response.delta.text
                    if response.HasField("warning"):
                        reasons.append(response.warning.reason)
                    if response.HasField("outline"):
                        plan = response.outline
            except grpc.aio.AioRpcError as error:
                reasons += [FAILED, from_rpc_error(error).reason]
        plan.title = title[:200]
        return Told(title, text, tuple(reasons)), plan

    async def nights(self, wanted: common_pb2.StorySpec, seeds: Sequence[int]) -> list[Told]:
        """Returns one story for each seed; each differs from those before, as far as the writer remembers them."""
        told: list[Told] = []
        heard: list[common_pb2.StoryOutline] = []
        for seed in seeds:
            wanted.seed = seed
            story, plan = await self.write(wanted, heard)
            for scene in plan.scenes:
                scene.ClearField("purpose")
            told.append(story)
            heard.insert(0, plan)
        return told


@asynccontextmanager
async def story_writer(model: str, **environment: str) -> AsyncIterator[StoryWriter]:
    """Runs a story service with this environment."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), environment)
        try:
            await cluster.start("story")
            async with open_channel(cluster.address("story").grpc, health_checked=False) as channel:
                yield StoryWriter(channel, model)
        finally:
            await cluster.close()
