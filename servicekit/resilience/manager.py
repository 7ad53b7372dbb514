"""The circuit breakers of a service, by name.

Streams and calls that change something use a breaker directly::

    with breakers.get("openrouter:openai/gpt-4o-mini", provider="openrouter").call() as call:
        async for event in stream:
            call.answered()

Read-only calls are protected, so that they may be repeated, or answered by what was good before::

    @breakers.protect("openrouter:models")
    async def models() -> list[Model]: ...

    answer = await models()            # an Answer: value, stale, age
"""

from __future__ import annotations

import logging
import random as randomness
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from servicekit.resilience.breaker import BreakerSnapshot, CircuitBreaker, State
from servicekit.resilience.config import BreakerConfig

if TYPE_CHECKING:
    from servicekit.metrics import Metrics
    from servicekit.resilience.outgoing import AuditLog
    from servicekit.resilience.protect import Protected
    from servicekit.resilience.retry import RetryPolicy

_log: Final = structlog.stdlib.get_logger("servicekit.circuits")

Configs: TypeAlias = Callable[[str], BreakerConfig] | Mapping[str, BreakerConfig]


def _default(name: str) -> BreakerConfig:
    return BreakerConfig(name=name)


class BreakerManager:
    """Creates and holds breakers by name.

    `configs` is the configuration by name, or what makes one from a name; a name that the mapping does not hold gets
    the defaults of BreakerConfig.

    Where names come from callers, `listed` are those that are known (the collection may grow): they are never removed,
    and alone have a label of their own in the metrics (None: all have one). Of the others at most `most` exist:
    one more replaces one that is unused and closed, or else half-open, the least recently used first. One that is
    open or has calls in flight or waiting is never removed; if all are like that, a new one is not held.
    """

    def __init__(
        self,
        configs: Configs = _default,
        *,
        metrics: Metrics | None = None,
        listed: Collection[str] | None = None,
        most: int = 256,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._configs = configs
        self._listed = listed
        self._most = most
        self._clock = clock
        self._now = now
        self._random = random
        self.probe_wait: Callable[[CircuitBreaker], float] = lambda _: 0.0
        """Seconds until a half-open circuit may be probed here, where replicas share their circuits."""
        self._breakers: dict[str, CircuitBreaker] = {}
        if metrics is not None:
            metrics.show_circuits(self.snapshots, listed=self._listed)

    def get(self, name: str, *, provider: str = "") -> CircuitBreaker:
        """Returns the breaker of that name; creates it if there is none."""
        breaker = self._breakers.pop(name, None)
        keep = breaker is not None or self._has_room(name)
        if breaker is None:
            breaker = CircuitBreaker(
                self._config(name, provider),
                clock=self._clock,
                now=self._now,
                random=self._random,
                on_change=_log_change,
                probe_wait=self._wait_to_probe,
            )
        if keep:
            # Last in the order is the most recently used.
            self._breakers[name] = breaker
        return breaker

    def protect(
        self,
        name: str,
        *,
        provider: str = "",
        endpoint: str = "",
        retry: RetryPolicy | None = None,
        audit: AuditLog | None = None,
    ) -> Protected:
        """Runs read-only calls under the breaker of that name, as its configuration says: see `Protected`.

        `endpoint` names the operation in the audit log and the metrics; by default it is `name`.
        """
        # Most services have no such call.
        from servicekit.resilience.outgoing import OutgoingCalls  # noqa: PLC0415
        from servicekit.resilience.protect import Protected  # noqa: PLC0415
        from servicekit.resilience.retry import RetryPolicy as Policy  # noqa: PLC0415

        def calls(config: BreakerConfig) -> OutgoingCalls:
            policy = retry or Policy(retries=config.max_retries, delay=0.5, longest_wait=5.0)
            return OutgoingCalls(config.provider or name, breakers=self, policy=policy, audit=audit)

        return Protected(lambda: self.get(name, provider=provider), calls, endpoint=endpoint or name, clock=self._clock)

    def breakers(self) -> list[CircuitBreaker]:
        """Returns all breakers."""
        return list(self._breakers.values())

    def snapshots(self) -> list[BreakerSnapshot]:
        """Returns the state of all breakers, by name."""
        return [self._breakers[name].snapshot() for name in sorted(self._breakers)]

    def snapshot(self, name: str) -> BreakerSnapshot | None:
        """Returns the state of a breaker; None where there is none, and none is created."""
        breaker = self._breakers.get(name)
        return None if breaker is None else breaker.snapshot()

    def reset(self, name: str) -> BreakerSnapshot:
        """Closes a breaker by hand and returns its state then; KeyError for an unknown name."""
        breaker = self._breakers[name]
        breaker.reset()
        _log.info("circuit reset by hand", circuit=name)
        return breaker.snapshot()

    def _config(self, name: str, provider: str) -> BreakerConfig:
        if isinstance(self._configs, Mapping):
            config = self._configs.get(name) or _default(name)
        else:
            config = self._configs(name)
        return replace(config, name=name, provider=provider or config.provider)

    def _wait_to_probe(self, breaker: CircuitBreaker) -> float:
        return self.probe_wait(breaker)

    def _has_room(self, name: str) -> bool:
        """Returns whether a new breaker of that name may be held; makes room for it."""
        if self._is_listed(name):
            return True
        others = [each for each in self._breakers.values() if not self._is_listed(each.name)]
        if len(others) < self._most:
            return True
        idle = [each for each in others if each.state != "open" and not each.in_flight and not len(each.queue)]
        if not idle:
            return False
        # Sorting is stable: the least recently used comes first.
        del self._breakers[min(idle, key=lambda each: each.state != "closed").name]
        return True

    def _is_listed(self, name: str) -> bool:
        return self._listed is not None and name in self._listed


def _log_change(breaker: CircuitBreaker, before: State, after: State) -> None:
    _log.log(
        logging.WARNING if after == "open" else logging.INFO,
        "circuit changed",
        circuit=breaker.name,
        provider=breaker.config.provider,
        before=before,
        after=after,
        retry_after=round(breaker.retry_after, 3),
    )
