"""Calls to providers for one segment: retried where that may help, recorded, and verified before use."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from servicekit.ids import new_id
from servicekit.logging import log_defect
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from tale.common.v1 import common_pb2
from voice_service.audio.verify import ImplausibleError
from voice_service.synthesis.budget import UsedUpError
from voice_service.synthesis.call import collect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from servicekit.resilience.outgoing import Attempt
    from voice_service.audio.encoder import Sound
    from voice_service.audio.verify import SegmentFinisher
    from voice_service.metrics import VoiceMetrics
    from voice_service.ports import CallFacts, WordTiming
    from voice_service.synthesis.call import AudioBudget, Order
    from voice_service.synthesis.flight import Flight
    from voice_service.synthesis.gates import Gate, Prober, ProviderGates

T = TypeVar("T")

ENDPOINT: Final = "text_to_speech"
_IMPLAUSIBLE_IN_A_ROW: Final = 20
"""Implausible answers, to whatever texts and with no other between them, that are the provider's fault."""
_OK: Final = 200
_QUOTA_SECONDS: Final = 60.0
"""Time that a provider whose plan is used up is not called for, if it names none."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A whole segment in the story's format, and when its words are heard."""

    sound: Sound
    words: tuple[WordTiming, ...]


class ProviderCalls:
    """Calls providers through the gate of each."""

    def __init__(
        self,
        *,
        gates: ProviderGates,
        prober: Prober,
        finisher: SegmentFinisher,
        budget: AudioBudget,
        metrics: VoiceMetrics,
        prices: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """`prices` are US dollars per thousand characters by "provider/model" or "provider"."""
        self._prices = prices
        self._gates = gates
        self._prober = prober
        self._finisher = finisher
        self._budget = budget
        self._metrics = metrics
        self._implausible: Counter[str] = Counter()

    async def fetch(
        self,
        order: Order,
        records: list[common_pb2.Attempt],
        *,
        flight: Flight[Any],
        store: Callable[[Delivery], Awaitable[T]],
    ) -> T:
        """Returns what `store` returns for the segment; every call is added to `records`, even if this raises.

        The flight is committed from the moment that a call is sent until its audio is stored. It passes on when a call
        is sent, or if it is the first of a narration or the voice has not answered lately, when one is answered, so
        that a permanent refusal is the only call. Raises ProviderError, without a call where the segment has used up
        its calls; CircuitOpenError without a call if the circuit breaker is not closed.
        """
        gate, provider, tries = self._gates.of(order.provider.metadata), order.provider, order.tries
        async with AsyncExitStack() as until_stored:
            # Two calls at a time share the room for audio: one is cancelled when the other brings some.
            room = await until_stored.enter_async_context(AsyncExitStack())
            calls_at_once = 0

            @asynccontextmanager
            async def admitted() -> AsyncIterator[None]:
                nonlocal calls_at_once
                calls_at_once += 1
                try:
                    if calls_at_once == 1:
                        await room.enter_async_context(self._budget.take(order.estimated_bytes))
                    # It may have opened while this call waited.
                    _refuse_unless_closed(gate)
                    with ExitStack() as stack:
                        stack.enter_context(flight.committed())
                        if not order.first and gate.proven.knows(order.request):
                            flight.pass_on()
                        yield
                        until_stored.push(stack.pop_all())
                        calls_at_once += 1
                finally:
                    calls_at_once -= 1
                    if not calls_at_once:
                        await room.aclose()

            async def call(attempt: Attempt) -> Delivery:
                return await self._judged(order, gate, attempt, records, flight)

            try:
                _refuse_unless_closed(gate)
                left = tries.take()
                if not left:
                    raise UsedUpError(provider.metadata.name)
                delivery = await gate.calls.call(
                    ENDPOINT,
                    call,
                    deadline=order.deadline,
                    order=order.number,
                    hedge=gate.hedge,
                    may_repeat=lambda _: tries.may_repeat,
                    most=left,
                    on_retry=lambda: self._prober.watch(provider),
                    within=admitted,
                )
            finally:
                self._prober.watch(provider)
            return await store(delivery)

    async def _judged(
        self, order: Order, gate: Gate, attempt: Attempt, records: list[common_pb2.Attempt], flight: Flight[Any]
    ) -> Delivery:
        """Makes the call; what it raises is what it says about the provider."""
        try:
            delivery = await self._call(order, gate, attempt, records, flight)
        except ImplausibleError as error:
            self._implausible[error.provider] += 1
            if self._implausible[error.provider] >= _IMPLAUSIBLE_IN_A_ROW:
                raise ProviderError(error.kind, error.message, provider=error.provider) from error
            raise
        except ProviderError as error:
            if not error.retryable:
                gate.proven.refused(order.request)
            if error.kind is ProviderErrorKind.QUOTA and error.retry_after is None:
                gate.breaker.open_until(_QUOTA_SECONDS, error.kind)
            raise
        self._implausible.pop(order.provider.metadata.name, None)
        return delivery

    async def _call(
        self, order: Order, gate: Gate, attempt: Attempt, records: list[common_pb2.Attempt], flight: Flight[Any]
    ) -> Delivery:
        metadata, request, began = order.provider.metadata, order.request, time.monotonic()

        came = False

        def answered() -> None:
            nonlocal came
            came = True
            attempt.answered()
            gate.proven.answered(request)
            flight.pass_on()
            self._metrics.first_byte.labels(metadata.name).observe(time.monotonic() - began)

        def note(facts: CallFacts) -> None:
            nonlocal came
            came = True
            if facts.request_id:
                record.metadata["request_id"] = facts.request_id
            if facts.characters_billed is not None:
                record.characters = facts.characters_billed

        with self._recorded(order, attempt, records, came=lambda: came) as record:
            with (
                gate.timed(len(request.text)) as timers,
                _typed(ProviderErrorKind.TRANSPORT, "the call failed", metadata.name),
            ):
                got = await collect(order, timers, on_facts=note, on_first_byte=answered, on_pause=gate.pauses.add)
            # Encoding needs no place at the provider.
            await attempt.release()
            with _typed(ProviderErrorKind.TRUNCATED, "the audio cannot be used", metadata.name):
                sound = await self._finisher.finish(
                    got.audio,
                    request=request,
                    metadata=metadata,
                    words=got.words,
                    content_type=got.content_type,
                    levelled=got.levelled,
                    story_format=order.story_format,
                )
        return Delivery(sound, got.words)

    @contextmanager
    def _recorded(
        self, order: Order, attempt: Attempt, records: list[common_pb2.Attempt], *, came: Callable[[], bool]
    ) -> Iterator[common_pb2.Attempt]:
        """Records the call, however it ends; `came` returns whether an answer did.

        The characters are those that were sent until the provider says more.
        """
        metadata, request = order.provider.metadata, order.request
        probe = order.tries.began()
        record = common_pb2.Attempt(
            attempt_id=new_id(),
            kind=common_pb2.ATTEMPT_KIND_SPEECH_CALL,
            provider=metadata.name,
            model=request.model_id,
            outcome=common_pb2.ATTEMPT_OUTCOME_STARTED,
            segment_index=order.segment_index,
            cost_known=not metadata.paid,
            characters=len(request.text),
            metadata={"voice_id": request.voice_id},
        )
        if probe:
            record.metadata["probe"] = "true"
        began = time.time_ns()
        record.start_time.FromNanoseconds(began)
        if metadata.paid:
            sent = common_pb2.Attempt()
            sent.CopyFrom(record)
            order.begun(sent)
        else:
            record.metadata["billed"] = "false"
        record.outcome, record.reason = common_pb2.ATTEMPT_OUTCOME_CANCELLED, "CANCELLED"
        try:
            yield record
            record.outcome, record.reason = common_pb2.ATTEMPT_OUTCOME_SUCCEEDED, ""
        except ProviderError as error:
            record.outcome, record.reason = common_pb2.ATTEMPT_OUTCOME_FAILED, error.kind.value.upper()
            if error.request_id and "request_id" not in record.metadata:
                record.metadata["request_id"] = error.request_id
            billed, answered = error.billed and metadata.paid, came() or error.status == _OK
            if not billed:
                record.metadata["billed"] = "false"
            if answered:
                record.metadata["useless"] = "true"
            order.tries.failed(billed=billed, answered=answered, probe=probe)
            raise
        finally:
            record.cost_usd = self._cost(record, paid=metadata.paid)
            record.end_time.FromNanoseconds(max(began, time.time_ns()))
            records.append(record)
            request_id = record.metadata.get("request_id", "")
            attempt.ids.update(request_id=request_id, model=record.model, voice=request.voice_id)
            attempt.facts = lambda: {
                "tale.segment_index": record.segment_index,
                "tale.characters": record.characters,
                "tale.cost_usd": record.cost_usd,
            }
            self._metrics.characters.labels(record.provider).inc(record.characters)
            self._metrics.cost.labels(record.provider).inc(record.cost_usd)

    def _cost(self, record: common_pb2.Attempt, *, paid: bool) -> float:
        """Returns the cost in US dollars by the price that is set; 0 for a call that failed and was not billed."""
        free = record.metadata.get("billed") == "false"
        if free and (paid or record.outcome != common_pb2.ATTEMPT_OUTCOME_SUCCEEDED):
            return 0.0
        price = self._prices.get(f"{record.provider}/{record.model}", self._prices.get(record.provider, 0.0))
        return price * record.characters / 1000


def _refuse_unless_closed(gate: Gate) -> None:
    """Raises CircuitOpenError unless the circuit breaker is closed: a call with a text is never its probe."""
    refusal = gate.breaker.refusal()
    if refusal is not None:
        raise refusal


@contextmanager
def _typed(kind: ProviderErrorKind, message: str, provider: str) -> Iterator[None]:
    """Raises ProviderError for whatever an added provider raises: it is retried, handed over and recorded."""
    try:
        yield
    except ProviderError:
        raise
    except Exception as error:
        log_defect(error)
        raise ProviderError(kind, message, provider=provider) from error
