"""What operators see of stories, and of the circuit breakers of the whole cluster."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families
from support.circuit_services import circuit_cluster
from support.house import House, house
from support.paid_house import paid_house
from support.promql import named
from support.servers import Running

from standins.watcher import spec


async def page(service: Running, path: str) -> str:
    """A page for operators."""
    async with ClientSession(f"http://{service.server.ops_address}") as http, http.get(path) as answer:
        assert 200 == answer.status
        return await answer.text()


async def samples(home: House, service: str) -> dict[tuple[str, ...], float]:
    """What a service shows: by name and the values of the labels."""
    text = await page(home.servers[service], "/metrics")
    families = text_string_to_metric_families(text)
    return {
        (sample.name, *(value for label, value in sorted(sample.labels.items()) if label != "le")): sample.value
        for family in families
        for sample in family.samples
    }


async def test_a_told_story_is_counted_and_measured(tmp_path: Path) -> None:
    """By state, reason and language; to its first text, its first audio and its end; its run is over."""
    async with house(tmp_path) as home:
        told = await home.tell(spec(1))
        door, store = await samples(home, "gateway"), await samples(home, "storage")
        segments = len((await home.get(told.story_id)).audio.segments)

    assert 1 == door["tale_stories_total", "en", "none", "READY"]
    for name in ("story_wait", "story_first_text", "story_first_audio"):
        assert 1 == door[f"tale_{name}_seconds_count",]
    assert 1 == door["tale_story_seconds_count", "READY"]
    assert door["tale_story_first_text_seconds_sum",] <= door["tale_story_first_audio_seconds_sum",] + 0.001
    assert 0 == sum(value for key, value in door.items() if "tale_runs" == key[0])
    assert 256 == door["tale_runs_limit",]
    assert 0 < door["tale_checkpoint_stories_count",] <= door["tale_checkpoint_stories_sum",]
    assert abs(door["tale_clock_skew_seconds",]) < 10
    assert segments == store["storage_segments_stored_total",] == store["storage_segment_lookups_total", "miss"]
    assert 0 < store["storage_segment_store_bytes",] < store["storage_segment_store_max_bytes",]
    assert 0 < store["storage_disk_free_bytes",] <= store["storage_disk_bytes",]
    assert 1 == door["tale_build_info", "gateway", door_version(door)]


def door_version(shown: Mapping[tuple[str, ...], float]) -> str:
    """The version that is shown."""
    (version,) = [key[2] for key in shown if "tale_build_info" == key[0]]
    return version


async def test_a_cancelled_story_is_counted_once(tmp_path: Path) -> None:
    """Cancelling it again changes nothing; while it is made, its run and its listeners are shown."""
    async with house(tmp_path, words_per_second=20) as home:
        story = await home.create(spec(2))
        shown = await samples(home, "gateway")
        running = {key[1]: value for key, value in shown.items() if "tale_runs" == key[0]}
        await home.cancel(story.id)
        after = await samples(home, "gateway")

    assert (1, {"PENDING", "WRITING", "NARRATING"}) == (sum(running.values()), {*running})
    assert 1 == after["tale_stories_total", "en", "CANCELLED", "CANCELLED"]
    assert 6 >= shown["tale_lease_remaining_seconds",] > 0


async def test_counters_have_no_series_of_their_creation(tmp_path: Path) -> None:
    """They would double what Prometheus stores."""
    async with house(tmp_path) as home:
        await home.tell(spec(3, narrate=False))
        for service in home.servers.values():
            assert "_created" not in await page(service, "/metrics")


async def test_gateway_shows_the_circuits_of_the_cluster() -> None:
    """A name that two services have is told apart; a service that does not answer is named."""
    async with circuit_cluster(story=["openrouter:m", "both"], voice=["elevenlabs", "both"]) as cluster:
        whole: dict[str, Any] = json.loads(await page(cluster.servers["gateway"], "/metrics/circuit-breakers"))
        own: dict[str, Any] = json.loads(await page(cluster.servers["voice"], "/metrics/circuit-breakers"))
        await cluster.servers["voice"].server.stop()
        without: dict[str, Any] = json.loads(await page(cluster.servers["gateway"], "/metrics/circuit-breakers"))

    assert ["both", "elevenlabs", "openrouter:m", "voice/both"] == whole["open_circuits"]
    assert (4, 4, 0, False) == (
        whole["open_circuits_count"],
        whole["total_breakers"],
        whole["healthy_breakers"],
        whole["healthy"],
    )
    assert own["metrics"]["elevenlabs"].keys() == whole["metrics"]["elevenlabs"].keys()
    assert (["both", "elevenlabs"], []) == (own["open_circuits"], own["unreachable_services"])
    assert (["both", "openrouter:m"], ["voice"]) == (without["open_circuits"], without["unreachable_services"])


async def test_running_house_shows_what_dashboards_and_alerts_ask_for(tmp_path: Path) -> None:
    """All but the calls to providers that this house does not have."""
    async with paid_house(tmp_path) as paid:
        pages = [await page(service, "/metrics") for service in paid.home.servers.values()]
    shown = {name for text in pages for name in re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)}

    assert set() == {name for name in named() if not name.startswith(("speech_", "supabase_", "s3_"))} - shown
