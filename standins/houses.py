"""Clusters over an empty folder and the stand-in upstreams, warmed up, to measure or to disturb."""

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from standins.callers import SEEDS, Crowd, Facts, crowd
from standins.paid_upstreams import PaidUpstreams, paid_upstreams
from standins.processes import Cluster

LIFTED: Final = {"STORY_CONCURRENCY": "256", "VOICE_CONCURRENCY": "256", "VOICE_PAID_CONCURRENCY": "256"}
"""Concurrency limits of outgoing calls, lifted: their defaults fit the plans of providers and not this machine."""
LIFTED_NOTE: Final = "outgoing limits lifted: 256 calls at a time to models and to voices"
_WARM_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class House:
    """A running cluster and the upstreams that it calls."""

    cluster: Cluster
    upstreams: PaidUpstreams
    _known: set[str] = field(default_factory=set)
    """Stories that a caller of `crowd` has."""

    async def script(self, **script: Any) -> None:
        """Sets how the upstreams respond from now on, and empties their journal."""
        await self.upstreams.script(**script)
        await self.upstreams.forget()

    async def crowd(self, size: int, seconds: float, *, narrate: bool = True, **script: Any) -> Facts:
        """Requests `size` one-minute stories at once from upstreams that respond by `script`; see `facts`."""
        await self.script(**script)
        async with crowd(self.cluster.target, size) as callers:
            for _ in range(size):
                callers.request(next(SEEDS), narrate=narrate)
            return await self.facts(callers, seconds, words=script.get("words", 0))

    async def facts(self, callers: Crowd, seconds: float, *, words: int = 0) -> Facts:
        """Returns what became of the stories of `callers` when all have ended, or after `seconds`."""
        await callers.ended(seconds)
        # What ends from now on is not in the records that are read.
        await callers.close()
        await callers.read()
        journal = await self.upstreams.journal()
        self._known.update(caller.story_id for caller in callers.callers)
        return Facts(callers.callers, journal, len(await callers.stored() - self._known), words)


@asynccontextmanager
async def house(
    settings: Mapping[str, str] | None = None,
    *,
    replicas: Mapping[str, int] | None = None,
    wrappers: Mapping[str, Sequence[str]] | None = None,
    warm: bool = True,
    **script: Any,
) -> AsyncIterator[House]:
    """Runs a cluster with these `settings` beside the stand-ins' own, and upstreams that answer by `script`.

    `replicas` and `wrappers` as in `Cluster`; all replicas are started. `warm`: three stories are made first, so that
    everything is loaded.
    """
    async with paid_upstreams() as upstreams:
        with tempfile.TemporaryDirectory() as folder:
            environment = {"LOG_LEVEL": "WARNING", **upstreams.environment, **(settings or {})}
            it = House(Cluster(Path(folder), environment, replicas=replicas, wrappers=wrappers), upstreams)
            try:
                await it.cluster.start()
                for name, count in (replicas or {}).items():
                    for replica in range(2, count + 1):
                        await it.cluster.start(name, replica=replica)
                if warm:
                    _check_warm(await it.crowd(3, _WARM_SECONDS))
                await it.script(**script)
                yield it
            finally:
                await it.cluster.close()


def _check_warm(first: Facts) -> None:
    if not first.all_ready:
        raise RuntimeError(f"not every story is READY in calm weather: {first.ends}")
