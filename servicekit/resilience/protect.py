"""Read-only calls behind a circuit breaker: retried, then answered by the last good answer or a fixed one."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar

import structlog
from cachetools import LRUCache

from servicekit.resilience.config import UNSET
from servicekit.resilience.errors import CircuitOpenError, ProviderError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Mapping

    from servicekit.resilience.breaker import CircuitBreaker
    from servicekit.resilience.config import BreakerConfig
    from servicekit.resilience.outgoing import Attempt, OutgoingCalls

_log: Final = structlog.stdlib.get_logger("servicekit.circuits")

_MAX_ANSWERS: Final = 64

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a protected call gave.

    `stale` is True where the provider did not answer now: then `value` is its last good answer, `age` seconds old, or
    the fixed fallback, whose age is None.
    """

    value: T
    stale: bool = False
    age: float | None = 0.0


class Protected:
    """Calls to one operation of a provider that change nothing, and so may be made twice or not at all.

    Each attempt counts for the breaker. When the attempts have failed, or the circuit lets none through, the answer
    is the last good one to the same arguments where the breaker's configuration has `cache_on_failure` and it is not
    older than `cache_ttl`; else its `fallback_result`; else the error is raised. Errors of the request or of the
    key are always raised. The last good answers to 64 different arguments are held.

    Never for the text of a story: what was written for one child must not reach another.
    """

    def __init__(
        self,
        breaker: Callable[[], CircuitBreaker],
        calls: Callable[[BreakerConfig], OutgoingCalls],
        *,
        endpoint: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._breaker = breaker
        self._make_calls = calls
        self._calls: OutgoingCalls | None = None
        self._endpoint = endpoint
        self._clock = clock
        self._good: LRUCache[Hashable, tuple[float, Any]] = LRUCache(_MAX_ANSWERS)

    def __call__(self, call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[Answer[T]]]:
        """As a decorator: the coroutine function gives an Answer. Its arguments must be hashable."""

        @functools.wraps(call)
        async def protected(*args: P.args, **kwargs: P.kwargs) -> Answer[T]:
            key = (args, tuple(sorted(kwargs.items())))
            return await self.run(lambda: call(*args, **kwargs), key=key)

        return protected

    async def run(
        self,
        call: Callable[[], Awaitable[T]],
        *,
        key: Hashable = None,
        deadline: float | None = None,
        ids: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer[T]:
        """Returns the answer to `call`; `key` distinguishes answers; no wait goes past `deadline` (the loop's clock).

        `ids` stand in the audit line.
        """
        breaker = self._breaker()
        config = breaker.config
        if self._calls is None:
            self._calls = self._make_calls(config)

        async def work(attempt: Attempt) -> T:
            attempt.ids.update(ids)
            return await call()

        try:
            value = await self._calls.call(
                self._endpoint, work, circuit=breaker.name, deadline=deadline, has_fallback=True
            )
        except config.expected_exception as error:
            return self._instead(breaker, key, error)
        except CircuitOpenError as error:
            return self._instead(breaker, key, error)
        if config.cache_on_failure:
            self._good[key] = (self._clock(), value)
        return Answer(value)

    def _instead(self, breaker: CircuitBreaker, key: Hashable, error: Exception) -> Answer[Any]:
        config = breaker.config
        if not _passing(error) or isinstance(error, config.exclude_exceptions):
            raise error
        last = self._good.get(key) if config.cache_on_failure else None
        age = None if last is None else self._clock() - last[0]
        answer: Answer[Any]
        if last is not None and age is not None and age <= config.cache_ttl:
            answer = Answer(last[1], stale=True, age=age)
        elif config.fallback_result is not UNSET:
            answer = Answer(config.fallback_result, stale=True, age=None)
        else:
            _log.error("all attempts failed", circuit=breaker.name, kind=_kind(error))
            raise error
        breaker.count_fallback()
        _log.warning("fallback answered", circuit=breaker.name, kind=_kind(error), age=answer.age)
        return answer


def _kind(error: Exception) -> str:
    return error.kind.value if isinstance(error, ProviderError) else type(error).__name__


def _passing(error: Exception) -> bool:
    """Returns whether the provider failed, and not the request or the key."""
    if isinstance(error, ProviderError) and not isinstance(error, CircuitOpenError):
        return error.treatment.retry or error.treatment.cool_down
    return True
