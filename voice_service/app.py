"""The voice service as the kit runs it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import structlog

from servicekit.app import App, Description
from tale.common.v1 import status_pb2
from tale.voice.v1 import voice_pb2, voice_pb2_grpc
from voice_service.ports import Reducible
from voice_service.providers.factory import BRING_REAL_VOICE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import grpc

    from servicekit.metrics import Metrics
    from servicekit.resilience.manager import BreakerManager
    from voice_service.ports import VoiceProvider
    from voice_service.synthesis.gates import AccountWatch
    from voice_service.synthesis.synthesize import SegmentSynthesizer
    from voice_service.wire.catalogue import VoiceCatalogue
    from voice_service.wire.servicer import VoiceServicer

_log: Final = structlog.stdlib.get_logger(__name__)

_CALLS_SECONDS: Final = 5.0
"""Seconds that calls to providers, which no caller waits for any more, get to end and to be stored."""


@runtime_checkable
class _Warmable(Protocol):
    def warm_up(self) -> None: ...


class VoiceApp(App):
    """Registers the servicer, and opens and closes what stands behind it."""

    def __init__(
        self,
        servicer: VoiceServicer,
        *,
        catalogue: VoiceCatalogue,
        synthesizer: SegmentSynthesizer,
        providers: Sequence[VoiceProvider],
        account: AccountWatch,
        metrics: Metrics,
        circuits: BreakerManager,
        closing: Sequence[Callable[[], Awaitable[None]]],
        warnings: Sequence[str] = (),
    ) -> None:
        self._servicer = servicer
        self._catalogue = catalogue
        self._synthesizer = synthesizer
        self._providers = providers
        self._account = account
        self._closing = closing
        self._notes = tuple(warnings)
        self._warming: asyncio.Task[None] | None = None
        self.metrics = metrics
        self.circuits = circuits

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds the servicer."""
        voice_pb2_grpc.add_VoiceServiceServicer_to_server(self._servicer, server)
        return (voice_pb2.DESCRIPTOR.services_by_name["VoiceService"].full_name,)

    async def start(self) -> None:
        """Begins what need not be waited for."""
        self._warming = asyncio.create_task(self._warm_up(), name="warm up")

    async def describe(self) -> Description:
        """Returns the state of the providers, and whether the embedded voice speaks."""
        providers = await self._catalogue.providers(asked_for=True)
        first = next((each for each in providers if each.is_default), None)
        parts, warnings = [], await self._warnings(providers)
        if first is None:
            warnings.append("No voice provider is available: narration fails.")
        elif first.embedded:
            parts.append(
                status_pb2.EmbeddedPart(
                    part="voice", implementation=first.display_name, environment_variables=BRING_REAL_VOICE
                )
            )
        statuses = [
            status_pb2.ProviderStatus(
                name=each.provider_name,
                configured=each.configured,
                available=each.available,
                unavailable_reason=each.unavailable_reason,
                is_default=each.is_default,
            )
            for each in providers
        ]
        return Description(embedded_parts=parts, providers=statuses, warnings=warnings)

    async def stop(self) -> None:
        """Lets calls that were sent end, then closes everything."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.wait([self._warming])
        await self._synthesizer.drain(_CALLS_SECONDS)
        for close in self._closing:
            await close()

    async def _warm_up(self) -> None:
        """Loads SDKs in threads and starts workers; then logs what is configured wrongly."""
        for provider in self._providers:
            if isinstance(provider, _Warmable):
                provider.warm_up()
        self._account.start()
        for warning in await self._warnings(await self._catalogue.providers(asked_for=True)):
            _log.warning("set-up warning", warning=warning)

    async def _warnings(self, providers: Sequence[voice_pb2.Provider]) -> list[str]:
        speaking = {each.provider_name for each in providers if each.available}
        reduced = [
            await each.reduced()
            for each in self._providers
            if isinstance(each, Reducible) and each.metadata.name in speaking
        ]
        return [*self._notes, *_warnings(providers), *filter(None, reduced)]


def _warnings(providers: Sequence[voice_pb2.Provider]) -> list[str]:
    """Names providers that are to speak and cannot."""
    return [
        f"The voice provider {each.provider_name} is not used: {each.unavailable_reason}."
        for each in providers
        if each.unavailable_reason
    ]
