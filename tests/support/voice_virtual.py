"""The voice service without a network, for tests in virtual time: default settings, and hours in milliseconds."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from servicekit.context import RequestContext, bound, current_or_none
from servicekit.errors import DomainError
from servicekit.resilience.breaker import BreakerSnapshot
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from standins.virtual_time import loop_time
from support.voice_kit import STORY, NamedVoice, Told, faults, settings
from tale.voice.v1 import voice_pb2
from voice_service.app import VoiceApp
from voice_service.bootstrap import assemble
from voice_service.ports import SegmentRequest, SpeechItem
from voice_service.settings import Tuning
from voice_service.synthesis.store import MemorySegments, SegmentStore


class Weather(NamedVoice):
    """A voice whose calls and probes fail while it is `down`. `called_at` and `probed_at` are times of the loop."""

    def __init__(self, name: str = "one", **script: Any) -> None:
        super().__init__(name, faults(**script))
        self.down: ProviderErrorKind | None = None
        self.retry_after: float | None = None
        self.called_at: list[float] = []
        self.probed_at: list[float] = []

    async def probe(self) -> None:
        self.probed_at.append(loop_time())
        self._check()
        await super().probe()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        self.called_at.append(loop_time())
        self._check()
        async for item in super().synthesize(request):
            yield item

    def _check(self) -> None:
        if self.down is not None:
            raise ProviderError(self.down, "it is down", provider=self.metadata.name, retry_after=self.retry_after)


class VirtualTold(Told):
    """What a narration answered, and when: `at` has the loop's time of each response."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []
        self.failure: DomainError | None = None

    async def write(self, response: voice_pb2.SynthesizeSpeechResponse) -> None:
        """Is a servicer's context: takes a response."""
        self.at.append(loop_time())
        self.add(response)

    def time_remaining(self) -> None:
        """Is a servicer's context: has no deadline."""

    @property
    def warned(self) -> list[str]:
        """The reasons of the warnings."""
        return [each.reason for each in self.warnings]

    @property
    def longest_silence(self) -> float:
        """The longest time without a response, in seconds, of one that began when the loop did."""
        return max(after - at for at, after in pairwise([0.0, *self.at]))

    def warned_at(self, reason: str) -> list[float]:
        """When warnings of that reason came."""
        times = [at for at, kind in zip(self.at, self.kinds, strict=True) if kind == "warning"]
        return [at for at, each in zip(times, self.warnings, strict=True) if each.reason == reason]


class VirtualVoice:
    """A voice service whose RPC is called without a server."""

    def __init__(self, app: VoiceApp) -> None:
        self._app = app
        self._handlers: dict[str, Any] = {}
        app.register(self)  # type: ignore[arg-type] # as much of a server as registering needs

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Is a server: takes no generic handlers."""

    def add_registered_method_handlers(self, name: str, handlers: dict[str, Any]) -> None:
        """Is a server: takes the methods of the service."""
        del name
        self._handlers = handlers

    def circuit(self, name: str = "one") -> BreakerSnapshot:
        """The circuit of a provider."""
        assert self._app.circuits is not None
        return next(each for each in self._app.circuits.snapshots() if each.name == name)

    def open(self, seconds: float, name: str = "one") -> None:
        """Has the circuit of a provider open for so long."""
        assert self._app.circuits is not None
        self._app.circuits.get(name, provider=name).open_until(seconds, ProviderErrorKind.OVERLOAD)

    def metric(self, name: str, **labels: str) -> float:
        """The present value of a metric."""
        assert self._app.metrics is not None
        return self._app.metrics.registry.get_sample_value(name, labels) or 0.0

    async def tell(
        self, text: str | Iterable[str] | AsyncIterable[str] = STORY, told: VirtualTold | None = None, **config: Any
    ) -> VirtualTold:
        """Narrates a text, whole or in pieces; a failure is in `failure`."""
        told = told or VirtualTold()
        pieces = [text] if isinstance(text, str) else text
        config.setdefault("language_code", "en")

        async def requests() -> AsyncIterator[voice_pb2.SynthesizeSpeechRequest]:
            yield voice_pb2.SynthesizeSpeechRequest(config=voice_pb2.SpeechConfig(**config))
            if isinstance(pieces, AsyncIterable):
                async for piece in pieces:
                    yield voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=piece))
                return
            for piece in pieces:
                yield voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=piece))

        try:
            await self.speak(requests(), told)
        except DomainError as error:
            told.failure = error
        return told

    async def speak(self, requests: AsyncIterator[voice_pb2.SynthesizeSpeechRequest], caller: Any) -> None:
        """Calls SynthesizeSpeech; `caller` has `write` and `time_remaining`. Raises DomainError."""
        with bound(current_or_none() or RequestContext("test")):
            await self._handlers["SynthesizeSpeech"].stream_stream(requests, caller)

    async def insist(self, text: str, **config: Any) -> VirtualTold:
        """Narrates a text as the gateway does: with three more attempts, where another one may help."""
        for _ in range(3):
            told = await self.tell(text, **config)
            if told.failure is None or not told.failure.retryable:
                return told
            await asyncio.sleep(1)
        return await self.tell(text, **config)


class SharedSegments(MemorySegments):
    """Is as the segment store of the storage service."""

    is_shared = True


@asynccontextmanager
async def virtual_voice(
    *providers: Any, store: SegmentStore | None = None, tuning: Tuning | None = None, **given: Any
) -> AsyncIterator[VirtualVoice]:
    """Runs a voice service on these providers, `one` first, with the default settings and those given."""
    chosen = settings(**{"default_provider": "one", **given})
    app = assemble(chosen, providers, tuning=tuning or Tuning(), store=store, clock=loop_time)
    try:
        yield VirtualVoice(app)
    finally:
        await app.stop()
