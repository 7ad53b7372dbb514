"""Circuit breaker, limits, retry budget and probes of each provider."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import structlog
from cachetools import TTLCache

from servicekit.logging import log_defect
from servicekit.resilience.circuit_queue import waiting_for
from servicekit.resilience.errors import OF_THE_PACE, CircuitOpenError, ProviderError, ProviderErrorKind
from servicekit.resilience.hedging import Hedge, ResponseTimes
from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.outgoing import OutgoingCalls
from voice_service.ports import AudioChunk, Metered, Probing, SegmentRequest
from voice_service.synthesis.call import Pace, Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from servicekit.resilience.breaker import CircuitBreaker
    from servicekit.resilience.manager import BreakerManager
    from servicekit.resilience.retry import RetryPolicy
    from voice_service.metrics import VoiceMetrics
    from voice_service.ports import ProviderMetadata, VoiceProvider


_PROVEN_SECONDS: Final = 600.0
_PROVEN_VOICES: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Limits of a provider: concurrent calls, calls per minute (None: no limit), and how long a call may take.

    `late_seconds`: time to the first byte after which a call is made once more, until enough of them are known (None:
    never). `pace`, where it is given, says how long a call may take, in place of `timers`.
    """

    concurrency: int
    requests_per_minute: float | None = None
    late_seconds: float | None = None
    timers: Timers = field(default_factory=Timers)
    pace: Pace | None = None


class ProvenVoices:
    """Voices of a provider that have answered within ten minutes, and refused nothing since."""

    def __init__(self) -> None:
        self._answered: TTLCache[tuple[str, str], None] = TTLCache(_PROVEN_VOICES, _PROVEN_SECONDS)

    def knows(self, request: SegmentRequest) -> bool:
        """Returns whether the voice of a request, with its model, is one of them."""
        return (request.voice_id, request.model_id) in self._answered

    def answered(self, request: SegmentRequest) -> None:
        """Adds the voice of a request that was answered with audio."""
        self._answered[request.voice_id, request.model_id] = None

    def refused(self, request: SegmentRequest) -> None:
        """Removes the voice of a request that was refused for good."""
        self._answered.pop((request.voice_id, request.model_id), None)


_STALLED: Final = 5.0
_PAUSES: Final = 4.0
"""An answer has stalled after a pause of five seconds, or of four times what is usual for the provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Circuit breaker, outgoing calls, limits, timers and proven voices of one provider."""

    breaker: CircuitBreaker
    calls: OutgoingCalls
    limits: ProviderLimits
    hedge: Hedge | None = None
    timers: Timers = field(default_factory=Timers)
    pace: Pace | None = None
    pauses: ResponseTimes = field(default_factory=lambda: ResponseTimes(math.inf, shortest=_STALLED, factor=_PAUSES))
    """Of answers that have begun."""
    proven: ProvenVoices = field(default_factory=ProvenVoices)

    @contextmanager
    def timed(self, characters: int) -> Iterator[Timers]:
        """Yields the timeouts of a call that is made within the block; one that is too late was one too many."""
        clock, pace, timers = asyncio.get_running_loop().time, self.pace, self.timers
        began = clock()
        if pace is not None:
            timers = pace.timers(characters, self.limits.limit, began)
        elif self.hedge is not None:
            # A stalled answer holds one of a few places.
            timers = replace(timers, idle=min(timers.idle, self.pauses.late))
        try:
            yield timers
        except ProviderError as error:
            if error.kind is ProviderErrorKind.TIMEOUT:
                self.limits.note_too_many()
                if pace is not None:
                    pace.took(characters, clock() - began)
            raise
        if pace is not None:
            pace.took(characters, clock() - began, answered_at=clock())


class ProviderGates:
    """A gate for each provider, made when it is first needed."""

    def __init__(
        self,
        breakers: BreakerManager,
        allowance: Callable[[ProviderMetadata], Allowance],
        *,
        retry: RetryPolicy,
        metrics: VoiceMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` in seconds is that of the limits."""
        self._clock = clock
        self._breakers = breakers
        self._allowance = allowance
        self._retry = retry
        self._metrics = metrics
        self._gates: dict[str, Gate] = {}

    def of(self, metadata: ProviderMetadata) -> Gate:
        """Returns the gate of the provider."""
        name = metadata.name
        gate = self._gates.get(name)
        if gate is None:
            allowed = self._allowance(metadata)
            limits = ProviderLimits(allowed.concurrency, allowed.requests_per_minute, provider=name, clock=self._clock)
            calls = OutgoingCalls(
                name,
                breakers=self._breakers,
                policy=self._retry,
                audit=self._metrics.audit(name),
                limits=limits,
                http=False,
                clock=self._clock,
            )
            breaker = self._breakers.get(name, provider=name)
            hedge = None
            if allowed.late_seconds is not None:
                second = self._metrics.hedges.labels(name)
                hedge = Hedge(times=ResponseTimes(allowed.late_seconds), on_second=second.inc)
            gate = self._gates[name] = Gate(
                breaker=breaker, calls=calls, limits=limits, hedge=hedge, timers=allowed.timers, pace=allowed.pace
            )
        return gate

    def calls_at_once(self, name: str) -> int:
        """Returns how many calls may be made to the provider at once, now."""
        return self._gates[name].limits.limit

    def refusal(self, name: str) -> CircuitOpenError | None:
        """Returns why no call with a text is made to the provider now; None where it can be called."""
        gate = self._gates.get(name)
        return None if gate is None else gate.breaker.refusal()

    def closed_reason(self, name: str) -> str:
        """Returns why the provider, though configured, is not called now, else ""."""
        refusal = self.refusal(name)
        if refusal is None:
            return ""
        why = "it failed too often" if refusal.treatment.reason == "CIRCUIT_OPEN" else refusal.message
        seconds = refusal.retry_after or 0.0
        return f"{why}; it is called again {f'in {seconds:.0f} s' if seconds >= 1 else 'shortly'}"

    def state(self, name: str) -> str:
        """State of the provider's circuit: "closed", "open" or "half_open"."""
        gate = self._gates.get(name)
        return "closed" if gate is None else gate.breaker.state


_SECONDS: Final = 10.0
_SHORTEST_WAIT: Final = 0.01
_WORD: Final = "Hello."
_ANSWERS: Final = frozenset(
    {
        ProviderErrorKind.AUTH,
        ProviderErrorKind.INVALID_INPUT,
        ProviderErrorKind.UNSUPPORTED,
        ProviderErrorKind.CONTENT_POLICY,
    }
)
"""Failures of a provider that is up: what is wrong with the call, the next call will show."""


class Prober:
    """Probes each provider whose circuit is open, once a window. Calls with a text are never probes."""

    def __init__(self, gates: ProviderGates, metrics: VoiceMetrics) -> None:
        self._gates = gates
        self._metrics = metrics
        self._watches: dict[str, asyncio.Task[None]] = {}

    def watch(self, provider: VoiceProvider) -> None:
        """Has the provider probed as long as its circuit is not closed."""
        name = provider.metadata.name
        if name not in self._watches and self._gates.state(name) != "closed":
            self._watches[name] = task = asyncio.create_task(self._watch(provider), name=f"probe {name}")
            task.add_done_callback(lambda _: self._watches.pop(name, None))

    def watched(self, providers: Iterable[VoiceProvider]) -> list[CircuitBreaker]:
        """Returns the circuits of the providers, which are probed as long as they are not closed."""
        for provider in providers:
            self.watch(provider)
        return [self._gates.of(provider.metadata).breaker for provider in providers]

    def refusal(self, provider: VoiceProvider) -> CircuitOpenError | None:
        """Returns why no call with a text is made to the provider now, and has it probed then; None where it can be."""
        self.watch(provider)
        return self._gates.refusal(provider.metadata.name)

    async def aclose(self) -> None:
        """Stops probing."""
        watches = list(self._watches.values())
        for task in watches:
            task.cancel()
        if watches:
            await asyncio.wait(watches)

    async def _watch(self, provider: VoiceProvider) -> None:
        breaker = self._gates.of(provider.metadata).breaker
        with waiting_for([breaker], probes=False) as waiter:
            wait = breaker.retry_after
            # A rest that ends, or a circuit that is closed by hand, needs no probe.
            while await waiter.turn(max(_SHORTEST_WAIT, wait)) is None and breaker.state != "closed":
                try:
                    with breaker.call():
                        await self._ask(provider)
                except CircuitOpenError as error:
                    # Another replica probes.
                    wait = error.retry_after or 0.0
                    continue
                except ProviderError:
                    self._metrics.probes.labels(provider.metadata.name, "not_well").inc()
                else:
                    self._metrics.probes.labels(provider.metadata.name, "well").inc()
                wait = breaker.retry_after

    async def _ask(self, provider: VoiceProvider) -> None:
        """Probes once. Raises ProviderError, of a kind that counts as a failure, if the provider fails."""
        name = provider.metadata.name
        try:
            async with asyncio.timeout(_SECONDS):
                await (provider.probe() if isinstance(provider, Probing) else _say_a_word(provider))
        except TimeoutError:
            raise ProviderError(ProviderErrorKind.TIMEOUT, "it does not answer", provider=name) from None
        except ProviderError as error:
            if error.kind in OF_THE_PACE:
                raise
            if error.kind not in _ANSWERS:
                raise ProviderError(
                    ProviderErrorKind.OVERLOAD, "its probe failed", provider=name, retry_after=error.retry_after
                ) from error
        except Exception as error:
            # Whatever an added provider raises: a probe that ended here would leave the circuit open until a restart.
            log_defect(error)
            raise ProviderError(ProviderErrorKind.TRANSPORT, "its probe failed", provider=name) from error


async def _say_a_word(provider: VoiceProvider) -> None:
    metadata = provider.metadata
    request = SegmentRequest(
        text=_WORD, language_code="en", voice_id=metadata.default_voice, model_id=metadata.default_model
    )
    async with aclosing(provider.synthesize(request)) as items:
        async for item in items:
            if isinstance(item, AudioChunk) and item.data:
                return
    raise ProviderError(ProviderErrorKind.TRUNCATED, "it sent no audio", provider=metadata.name)


_log: Final = structlog.stdlib.get_logger(__name__)


class AccountWatch:
    """Reads what the plans of providers have left, every `interval` seconds, in the background."""

    def __init__(self, providers: Sequence[VoiceProvider], metrics: VoiceMetrics, interval: float) -> None:
        self._metered = [(each.metadata.name, each) for each in providers if isinstance(each, Metered)]
        self._metrics = metrics
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts, if any provider reports its quota."""
        if self._metered:
            self._task = asyncio.create_task(self._watch(), name="account watch")

    async def aclose(self) -> None:
        """Stops probing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while True:
            for name, provider in self._metered:
                await self._ask(name, provider)
            await asyncio.sleep(self._interval)

    async def _ask(self, name: str, provider: Metered) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                left = await provider.remaining_characters()
                self._metrics.remaining.labels(name).set(math.inf if left is None else left)
        except (ProviderError, TimeoutError) as error:
            kind = error.kind.value if isinstance(error, ProviderError) else "timeout"
            _log.info("remaining quota unknown", provider=name, kind=kind)
