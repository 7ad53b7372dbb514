"""Clusters to measure: over an empty folder and the stand-in upstreams, warmed up."""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.load import load
from standins.paid_upstreams import PaidUpstreams, paid_upstreams
from standins.processes import Cluster

LIFTED: Final = {"STORY_CONCURRENCY": "256", "VOICE_CONCURRENCY": "256", "VOICE_PAID_CONCURRENCY": "256"}
"""Concurrency limits of outgoing calls, lifted: their defaults fit the plans of providers and not this machine."""
LIFTED_NOTE: Final = "outgoing limits lifted: 256 calls at a time to models and to voices"


@dataclass(frozen=True, slots=True)
class House:
    """A running cluster and the upstreams that it calls."""

    cluster: Cluster
    upstreams: PaidUpstreams

    async def script(self, **script: Any) -> None:
        """Sets how the upstreams respond from now on, and empties their journal."""
        await self.upstreams.script(**script)
        await self.upstreams.forget()


@asynccontextmanager
async def house(
    settings: Mapping[str, str] | None = None,
    *,
    replicas: Mapping[str, int] | None = None,
    warm: bool = True,
    **script: Any,
) -> AsyncIterator[House]:
    """Runs a cluster with these `settings` beside the stand-ins' own, and upstreams that answer by `script`.

    `replicas` as in `Cluster`; all are started. `warm`: three stories are made first, so that everything is loaded.
    """
    async with paid_upstreams() as upstreams:
        with tempfile.TemporaryDirectory() as folder:
            environment = {"LOG_LEVEL": "WARNING", **upstreams.environment, **(settings or {})}
            it = House(Cluster(Path(folder), environment, replicas=replicas), upstreams)
            try:
                await it.cluster.start()
                for name, count in (replicas or {}).items():
                    for replica in range(2, count + 1):
                        await it.cluster.start(name, replica=replica)
                if warm:
                    (await load(it.cluster, stories=3, at_once=3, minutes=1)).whole()
                await it.script(**script)
                yield it
            finally:
                await it.cluster.close()
