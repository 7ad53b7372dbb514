"""One call to a provider: in its turn, on its timers, written into the books, and whole before anybody gets it."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from servicekit.failures import log_defect
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind
from voice_service.audio.verify import ImplausibleError
from voice_service.metrics import SUCCESS
from voice_service.synthesis.call import CallOutcome, CallRecord, collect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from servicekit.resilience.breaker import Call
    from servicekit.resilience.retry import RetryPolicy
    from voice_service.audio.encoder import Sound
    from voice_service.audio.verify import SegmentFinisher
    from voice_service.metrics import VoiceMetrics
    from voice_service.ports import SegmentRequest, WordTiming
    from voice_service.synthesis.call import AudioBudget, Order, Timers
    from voice_service.synthesis.flight import Flight
    from voice_service.synthesis.gates import Gate, Prober, ProviderGates

T = TypeVar("T")

ENDPOINT: Final = "text_to_speech"
_TELLING: Final = 2
"""Implausible answers to one text after which it is not sent again."""
_QUOTA_SECONDS: Final = 60.0
"""Time that a provider whose plan is used up is not called for, where it names none."""
_IMPLAUSIBLE_IN_A_ROW: Final = 20
"""Implausible answers, to whatever texts and with no other between them, that are the provider's fault."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A whole segment in the story's format, and when its words sound."""

    sound: Sound
    words: tuple[WordTiming, ...]


class _ShortWaitError(ProviderError):
    """Stands for an error that asks for a wait short enough to sit out: that is no reason to open the circuit."""

    def __init__(self, error: ProviderError) -> None:
        super().__init__(error.kind, error.message, provider=error.provider)
        self.error = error


class ProviderCalls:
    """Makes calls, again where that may help, through the gate of each provider."""

    def __init__(
        self,
        *,
        gates: ProviderGates,
        prober: Prober,
        finisher: SegmentFinisher,
        timers: Timers,
        retry: RetryPolicy,
        budget: AudioBudget,
        metrics: VoiceMetrics,
    ) -> None:
        self._gates = gates
        self._prober = prober
        self._finisher = finisher
        self._timers = timers
        self._retry = retry
        self._budget = budget
        self._metrics = metrics
        self._implausible: Counter[str] = Counter()

    async def fetch(
        self,
        order: Order,
        calls: list[CallRecord],
        *,
        flight: Flight[Any],
        keep: Callable[[Delivery], Awaitable[T]],
    ) -> T:
        """Return what `keep` makes of the segment; every call is added to `calls`, also when this raises ProviderError.

        From the moment that a call is sent until its audio is kept, the flight is committed. It passes on when a call
        is sent; of a voice that has not answered lately, when one is answered, so that a refusal for good is the only
        call. Where the circuit is not closed, CircuitOpenError at once, and nobody is called.
        """
        gate = self._gates.of(order.provider.metadata)
        failures: list[ProviderError] = []

        async def attempt() -> T:
            async with AsyncExitStack() as until_stored:
                try:
                    return await keep(await self._through(gate, order, _Attempt(gate, calls, flight, until_stored)))
                except CircuitOpenError as closed:
                    # What this segment itself failed at says more than that its provider is not asked any more.
                    raise (failures[-1] if failures else closed) from None
                except ProviderError as error:
                    failures.append(error)
                    raise

        try:
            made = await attempt()
        except ProviderError as error:
            if not error.retryable:
                raise
        else:
            gate.budget.earn()
            return made
        async for again in self._retry.attempts(
            budget=gate.budget,
            deadline=order.deadline,
            # What comes twice comes of the text, and each time is billed.
            may_wait=lambda _: sum(isinstance(each, ImplausibleError) for each in failures) < _TELLING,
        ):
            with again:
                if again.retry_state.attempt_number == 1:
                    # Made above: retries are prepared for calls that failed alone, since that takes a while.
                    raise failures[0]
                return await attempt()
        raise AssertionError("attempts end with a result or an error")

    def _refuse_unless_closed(self, order: Order, gate: Gate) -> None:
        """Raise CircuitOpenError where the circuit is not closed: calls with a text are never its probe."""
        if gate.breaker.state != "closed":
            self._prober.watch(order.provider)
            name = order.provider.metadata.name
            raise CircuitOpenError(gate.breaker.name, provider=name, retry_after=gate.breaker.retry_after)

    async def _through(self, gate: Gate, order: Order, attempt: _Attempt) -> Delivery:
        self._refuse_unless_closed(order, gate)
        try:
            async with AsyncExitStack() as slot:
                await slot.enter_async_context(gate.limits.slot(order.deadline))
                await attempt.until_stored.enter_async_context(self._budget.take(order.estimated_bytes))
                # It may have opened while this call waited.
                self._refuse_unless_closed(order, gate)
                # Entered with the slot alone: a wait in our own line says nothing about the provider.
                with gate.breaker.call() as passage:
                    return await self._judged(gate, order, attempt, passage, slot)
        except _ShortWaitError as short:
            raise short.error from None
        finally:
            self._prober.watch(order.provider)

    async def _judged(
        self, gate: Gate, order: Order, attempt: _Attempt, passage: Call, slot: AsyncExitStack
    ) -> Delivery:
        """Make the call; what it raises is what it says about the provider."""
        try:
            delivery = await self._call(order, attempt, passage, slot)
        except ImplausibleError as error:
            self._count_implausible(error)
            raise
        except ProviderError as error:
            if error.kind is ProviderErrorKind.CONCURRENCY:
                gate.limits.told_too_many()
            if not error.retryable:
                gate.proven.refused(order.request)
            if error.kind is ProviderErrorKind.QUOTA and error.retry_after is None:
                error.retry_after = _QUOTA_SECONDS
            if error.retryable and error.retry_after is not None and error.retry_after <= self._retry.longest_wait:
                raise _ShortWaitError(error) from error
            raise
        self._implausible.pop(order.provider.metadata.name, None)
        return delivery

    def _count_implausible(self, error: ImplausibleError) -> None:
        """Raise an error that speaks against the provider's health where nothing that it says fits any text."""
        self._implausible[error.provider] += 1
        if self._implausible[error.provider] >= _IMPLAUSIBLE_IN_A_ROW:
            raise ProviderError(error.kind, error.message, provider=error.provider) from error

    async def _call(self, order: Order, attempt: _Attempt, passage: Call, slot: AsyncExitStack) -> Delivery:
        metadata, request = order.provider.metadata, order.request

        def answered() -> None:
            passage.answered()
            attempt.answered(request)
            self._metrics.first_byte(metadata.name, call.seconds())

        attempt.sent(request)
        with self._recorded(order, attempt.calls) as call:
            with _typed(ProviderErrorKind.TRANSPORT, "the call failed", metadata.name):
                got = await collect(order, self._timers, on_facts=call.note, on_first_byte=answered)
            # Encoding needs no slot of the provider's.
            await slot.aclose()
            with _typed(ProviderErrorKind.TRUNCATED, "the audio can not be used", metadata.name):
                sound = await self._finisher.finish(
                    got.audio,
                    request=request,
                    metadata=metadata,
                    words=got.words,
                    story_format=order.story_format,
                )
        return Delivery(sound, got.words)

    @contextmanager
    def _recorded(self, order: Order, calls: list[CallRecord]) -> Iterator[CallRecord]:
        """Records the call, however it ends."""
        metadata, request = order.provider.metadata, order.request
        call = CallRecord(
            provider=metadata.name,
            voice_id=request.voice_id,
            model_id=request.model_id,
            characters=len(request.text),
            cost_known=not metadata.paid,
        )
        try:
            yield call
            call.outcome, call.reason = CallOutcome.SUCCEEDED, ""
        except ProviderError as error:
            call.failed(error)
            raise
        finally:
            call.ended_ns = max(call.started_ns, time.time_ns())
            calls.append(call)
            self._metrics.call_ended(
                call.provider,
                ENDPOINT,
                call.reason or SUCCESS,
                call.seconds(),
                request_id=call.request_id,
                model=call.model_id,
                voice=call.voice_id,
                http_status=str(call.http_status or ""),
            )
            self._metrics.characters(call.provider, call.characters)


@contextmanager
def _typed(kind: ProviderErrorKind, message: str, provider: str) -> Iterator[None]:
    """Make a ProviderError of whatever else a stranger's provider raises: it is tried again, handed over and booked."""
    try:
        yield
    except ProviderError:
        raise
    except Exception as error:
        log_defect(error)
        raise ProviderError(kind, message, provider=provider) from error


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt at a segment; the flight is committed until `until_stored` closes."""

    gate: Gate
    calls: list[CallRecord]
    flight: Flight[Any]
    until_stored: AsyncExitStack

    def sent(self, request: SegmentRequest) -> None:
        self.until_stored.enter_context(self.flight.committed())
        if self.gate.proven.knows(request):
            self.flight.pass_on()

    def answered(self, request: SegmentRequest) -> None:
        self.gate.proven.answered(request)
        self.flight.pass_on()
