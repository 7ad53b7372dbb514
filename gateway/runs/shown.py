"""Shows the runs and watchers of this gateway to Prometheus. They are read at each scrape and cost nothing between."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from gateway.runs.active import Runs
from gateway.runs.followed_stories import ENDED, FollowedStories
from servicekit.metrics import Metrics
from tale.common.v1 import common_pb2

_WAITS: Final = {
    number: name.removeprefix("WAIT_FOR_").lower() for name, number in common_pb2.WaitFor.items() if number
}
_IN_PROGRESS: Final = tuple(state for state in common_pb2.StoryState.values() if state and state not in ENDED)


def show_runs(metrics: Metrics, runs: Runs, followed: FollowedStories, *, lease_seconds: float) -> None:
    """Adds the gauges. Once a process."""
    providers = metrics.labels(32)

    def states() -> Mapping[tuple[str, ...], float]:
        counts = Counter({common_pb2.StoryState.Name(state): 0 for state in _IN_PROGRESS})
        counts.update(common_pb2.StoryState.Name(run.context.live.state) for run in runs)
        return {(name.removeprefix("STORY_STATE_"),): count for name, count in counts.items()}

    def waiting() -> Mapping[tuple[str, ...], float]:
        counts = Counter[tuple[str, ...]]({(what, ""): 0 for what in _WAITS.values()})
        for run in runs:
            if (waiting := run.context.live.waits.shown) is not None:
                of_provider = waiting.what == common_pb2.WAIT_FOR_PROVIDER
                counts[_WAITS[waiting.what], providers.of(waiting.name) if of_provider else ""] += 1
        return counts

    def lease() -> Mapping[tuple[str, ...], float]:
        return {(): min((run.context.lease.remaining for run in runs if not run.ending), default=lease_seconds)}

    metrics.read("tale_runs", "Stories that this gateway is making, by state", ("state",), states)
    metrics.read("tale_runs_limit", "GATEWAY_MAX_RUNS", (), lambda: {(): runs.limit})
    metrics.read(
        "tale_waiting_stories",
        "Stories being made that wait now, by what they wait for and, where it is a provider, its name",
        ("what", "provider"),
        waiting,
    )
    metrics.read(
        "tale_queue",
        "1 while stories wait in storage for a place in a run, as far as this gateway knows",
        (),
        lambda: {(): runs.stories_wait},
    )
    metrics.read(
        "tale_lease_remaining_seconds",
        "Seconds until the first lease of a run here expires; below 0 while checkpoints are too late",
        (),
        lease,
    )
    metrics.read(
        "tale_listeners",
        "Streams that follow stories in progress",
        (),
        lambda: {(): followed.watchers + sum(run.context.live.watchers for run in runs)},
    )
