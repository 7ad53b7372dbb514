"""Circuit breakers whose state the replicas of a service share, through Redis or Valkey.

A replica that opens a circuit publishes it, the others adopt it within a second, and one of them makes the probe of a
window. While the store is away each replica decides alone.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from servicekit.ids import new_id
from servicekit.resilience.errors import ProviderErrorKind
from servicekit.waiting import Finisher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from servicekit.resilience.breaker import CircuitBreaker
    from servicekit.resilience.manager import BreakerManager

_log: Final = structlog.stdlib.get_logger("servicekit.circuits")

_INTERVAL: Final = 0.4
"""Seconds between two reads."""
_TIMEOUT: Final = 0.5
_UNUSED_SECONDS: Final = 2.0
"""A replica that won the probe of a window and has no call to make gives it to another after that time."""
_NEWS_SECONDS: Final = 1.0
"""Difference between the ends of two windows from which on the later one is published."""
_AT_ONCE: Final = sys.float_info.min
"""Less than a step of any clock: what is open for that time is half-open."""
_FORGOTTEN_SECONDS: Final = 3600.0
_MOST: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedState:
    """A change of one circuit: it opened for `seconds` from now, or closed."""

    id: str
    provider: str
    is_open: bool
    seconds: float = 0.0
    """What is left of the window; negative once it is over."""
    cause: ProviderErrorKind = ProviderErrorKind.OVERLOAD


class CircuitStore(Protocol):
    """Where replicas share their circuits. Any exception means that it is away."""

    async def read(self) -> Mapping[str, SharedState]:
        """Returns the last change of each circuit, by its name."""

    async def publish(self, name: str, state: SharedState) -> None:
        """Replaces the last change of a circuit."""

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        """Returns whether `owner` may probe this circuit; if so no other may for `seconds`."""

    async def release(self, name: str) -> None:
        """Gives up the probe of a circuit that this replica claimed."""

    async def aclose(self) -> None:
        """Closes the connection."""


class SharedCircuits:
    """Adopts what other replicas publish, and publishes what this one decided."""

    def __init__(
        self, store: CircuitStore, circuits: BreakerManager, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._circuits = circuits
        self._clock = clock
        self._owner = new_id()
        self._changes = 0
        self._seen: dict[str, tuple[str, int]] = {}
        """Of each circuit the last change that was adopted or published, and how often it had opened here by then."""
        self._claims: dict[str, float] = {}
        """When the right to probe a circuit was won."""
        self._asked: dict[str, float] = {}
        """When that right was last asked for."""
        self._away = False
        self._finisher = Finisher()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to share; returns at once."""
        self._circuits.probe_wait = self.probe_wait
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Ends sharing: the circuits stay as they are."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._finisher.settle()
        with suppress(Exception):
            await self._store.aclose()

    async def exchange(self) -> None:
        """Adopts and publishes once; an exception of the store is a warning, and the circuits stay as they are."""
        try:
            shared = await self._store.read()
            for name, state in shared.items():
                self._adopt(name, state)
            self._seen = {name: seen for name, seen in self._seen.items() if name in shared}
            self._asked = {name: asked for name, asked in self._asked.items() if not self._may_ask(name)}
            for breaker in self._circuits.breakers():
                await self._publish(breaker, shared.get(breaker.name))
            await self._release_unused()
        except Exception as error:  # noqa: BLE001 - whatever a client library raises, each replica continues alone
            if not self._away:
                _log.warning("circuits not shared", error=type(error).__name__)
            self._away = True
        else:
            if self._away:
                _log.info("circuits shared again")
            self._away = False

    def probe_wait(self, breaker: CircuitBreaker) -> float:
        """Returns 0 if this replica may probe the half-open circuit now, else the seconds to wait for the answer."""
        name = breaker.name
        won = self._claims.get(name)
        if self._away or (won is not None and self._clock() < won + breaker.config.recovery_timeout):
            return 0.0
        if self._may_ask(name):
            self._asked[name] = self._clock()
            self._finisher.start(self._claim(breaker))
        return _INTERVAL

    def _may_ask(self, name: str) -> bool:
        return self._clock() >= self._asked.get(name, -math.inf) + _INTERVAL

    async def _run(self) -> None:
        while True:
            await self.exchange()
            await asyncio.sleep(_INTERVAL)

    async def _claim(self, breaker: CircuitBreaker) -> None:
        try:
            won = await self._store.claim(breaker.name, self._owner, breaker.config.recovery_timeout)
        except Exception:  # noqa: BLE001 - a store that is away has no say; the next exchange reports it
            won = True
        if won:
            self._claims[breaker.name] = self._clock()
            breaker.queue.serve()

    def _adopt(self, name: str, state: SharedState) -> None:
        seen, openings = self._seen.get(name, ("", 0))
        if seen == state.id:
            return
        breaker = self._circuits.get(name, provider=state.provider)
        if state.is_open:
            breaker.open_until(max(state.seconds, _AT_ONCE), state.cause)
        elif breaker.openings == openings:
            breaker.reset()
        # Else the circuit has opened here since: that is newer, and published next.
        self._seen[name] = state.id, breaker.openings

    async def _publish(self, breaker: CircuitBreaker, shared: SharedState | None) -> None:
        if not _is_news(breaker, shared):
            if shared is not None and shared.is_open:
                # That it is open is known, whichever replica opened it.
                self._seen[breaker.name] = shared.id, breaker.openings
            return
        self._claims.pop(breaker.name, None)
        self._changes += 1
        is_open = breaker.state == "open"
        state = SharedState(
            id=f"{self._owner}/{self._changes}",
            provider=breaker.config.provider,
            is_open=is_open,
            seconds=breaker.retry_after if is_open else 0.0,
            cause=breaker.cause,
        )
        openings = breaker.openings
        await self._store.publish(breaker.name, state)
        self._seen[breaker.name] = state.id, openings

    async def _release_unused(self) -> None:
        unused = [name for name, won in self._claims.items() if self._clock() > won + _UNUSED_SECONDS]
        for name in unused:
            breaker = self._circuits.get(name)
            if breaker.state != "half_open":
                del self._claims[name]
            elif not breaker.probing:
                del self._claims[name]
                await self._store.release(name)


def _is_news(breaker: CircuitBreaker, shared: SharedState | None) -> bool:
    if shared is None or not shared.is_open:
        return breaker.state == "open"
    if breaker.state == "open":
        return breaker.retry_after > shared.seconds + _NEWS_SECONDS
    return breaker.state == "closed"


class RedisCircuits:
    """A `CircuitStore` in Redis or Valkey, over one connection. Windows are counted by the server's clock."""

    def __init__(self, url: str, service: str) -> None:
        """`url` as in CIRCUIT_STORE_URL; services of different names share nothing."""
        self._url = url.replace("valkey://", "redis://", 1).replace("valkeys://", "rediss://", 1)
        self._changes = f"tale:circuits:{service}"
        self._client: Any = None

    async def read(self) -> Mapping[str, SharedState]:
        """See CircuitStore."""
        async with self._connected() as client:
            pipeline = client.pipeline(transaction=False)
            (seconds, micros), stored = await pipeline.time().hgetall(self._changes).execute()
        now, states, old = seconds + micros / 1e6, dict[str, SharedState](), list[str]()
        for name, value in stored.items():
            fields = json.loads(value)
            left = fields.pop("until") - now
            if left < -_FORGOTTEN_SECONDS or len(states) >= _MOST:
                old.append(name)
            else:
                fields["cause"] = ProviderErrorKind(fields["cause"])
                states[name] = SharedState(**fields, seconds=left)
        if old:
            async with self._connected() as client:
                await client.hdel(self._changes, *old)
        return states

    async def publish(self, name: str, state: SharedState) -> None:
        """See CircuitStore."""
        async with self._connected() as client:
            seconds, micros = await client.time()
            value = {
                "id": state.id,
                "provider": state.provider,
                "is_open": state.is_open,
                "until": seconds + micros / 1e6 + state.seconds,
                "cause": state.cause.value,
            }
            await client.hset(self._changes, name, json.dumps(value))

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        """See CircuitStore."""
        async with self._connected() as client:
            return bool(await client.set(f"{self._changes}:probe:{name}", owner, nx=True, px=round(seconds * 1000)))

    async def release(self, name: str) -> None:
        """See CircuitStore."""
        async with self._connected() as client:
            await client.delete(f"{self._changes}:probe:{name}")

    async def aclose(self) -> None:
        """See CircuitStore."""
        if self._client is not None:
            await self._client.aclose()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        """Gives the client for `_TIMEOUT`; loading the library has no limit."""
        if self._client is None:
            # Few installations need the library, and it takes a while to load.
            library = await asyncio.to_thread(import_module, "redis.asyncio")
            # Another call may have come first.
            self._client = self._client or library.Redis.from_pool(
                library.BlockingConnectionPool.from_url(
                    self._url,
                    max_connections=1,
                    timeout=_TIMEOUT,
                    socket_timeout=_TIMEOUT,
                    socket_connect_timeout=_TIMEOUT,
                    decode_responses=True,
                )
            )
        async with asyncio.timeout(_TIMEOUT):
            yield self._client
