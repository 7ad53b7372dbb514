"""The voice service as the kit runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from servicekit.app import AppBase, Description
from tale.common.v1 import status_pb2
from tale.voice.v1 import voice_pb2, voice_pb2_grpc
from voice_service.catalogue_responses import provider_status
from voice_service.registry import EMBEDDED
from voice_service.speaker import BRING_REAL_VOICE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import grpc

    from voice_service.cache.ports import SegmentCache
    from voice_service.catalogue import VoiceCatalogue
    from voice_service.servicer import VoiceServicer
    from voice_service.synthesize import SegmentSynthesizer

_log: Final = structlog.stdlib.get_logger(__name__)

_CALLS_SECONDS: Final = 5.0
"""Seconds that calls to providers, which nobody waits for any more, get to end into the cache."""


class VoiceApp(AppBase):
    """Registers the servicer, and opens and closes what stands behind it."""

    def __init__(
        self,
        servicer: VoiceServicer,
        *,
        catalogue: VoiceCatalogue,
        cache: SegmentCache,
        synthesizer: SegmentSynthesizer,
        warm_up: Callable[[], None],
        uncalled: Sequence[str],
        closing: Sequence[Callable[[], Awaitable[None]]],
    ) -> None:
        """`uncalled` are variables that are set for providers that this version does not call."""
        self._servicer = servicer
        self._catalogue = catalogue
        self._cache = cache
        self._synthesizer = synthesizer
        self._warm_up = warm_up
        self._uncalled = uncalled
        self._warnings = tuple(
            f"{variable} is set, but this version does not call that provider: it will not speak."
            for variable in uncalled
        )
        self._closing = closing

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Add the servicer."""
        voice_pb2_grpc.add_VoiceServiceServicer_to_server(self._servicer, server)
        return (voice_pb2.DESCRIPTOR.services_by_name["VoiceService"].full_name,)

    async def start(self) -> None:
        """Tell the operator what there is to know, begin to look at the cache and to start the workers.

        Waits for neither.
        """
        for warning in self._warnings:
            _log.warning(warning)
        await self._cache.start()
        self._warm_up()

    async def describe(self) -> Description:
        """Tell of the providers, and whether the embedded voice is the one that speaks."""
        facts = await self._catalogue.providers()
        first = next((each for each in facts if each.is_default), None)
        parts, warnings = [], [*self._warnings]
        if first is None:
            warnings.append("No voice provider can be called: narration fails.")
        elif first.name == EMBEDDED:
            parts.append(
                status_pb2.EmbeddedPart(
                    part="voice",
                    implementation="espeak-ng",
                    environment_variables=[each for each in BRING_REAL_VOICE if each not in self._uncalled],
                )
            )
        return Description(embedded_parts=parts, providers=[provider_status(each) for each in facts], warnings=warnings)

    async def stop(self) -> None:
        """Let calls that were sent end, then close everything."""
        await self._synthesizer.drain(_CALLS_SECONDS)
        for close in self._closing:
            await close()
