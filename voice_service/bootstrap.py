"""The composition root: settings -> objects -> service."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from servicekit.settings import ConfigurationError
from voice_service.app import VoiceApp
from voice_service.audio.encoder import Mp3Encoder
from voice_service.audio.finish import SegmentFinisher
from voice_service.cache.opening import open_cache
from voice_service.catalogue import VoiceCatalogue
from voice_service.collect import Timers
from voice_service.mock.provider import MockVoiceProvider
from voice_service.narration import Narration, NarrationPolicy
from voice_service.offline.provider import OfflineVoiceProvider
from voice_service.registry import EMBEDDED, Announced, ProviderRegistry
from voice_service.retry import RetryPolicy
from voice_service.servicer import VoiceServicer
from voice_service.slots import ProviderSlots
from voice_service.synthesize import SegmentSynthesizer
from voice_service.transcribe_servicer import TranscribeHandler
from voice_service.transcription.config import transcription_config
from voice_service.transcription.openai_transcriber import OpenAITranscriber

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voice_service.messages import NarrationRequest
    from voice_service.ports import ProviderMetadata, VoiceProvider
    from voice_service.settings import VoiceServiceSettings
    from voice_service.transcription.config import TranscriptionConfig

_ANNOUNCED: Final = (
    ("elevenlabs", "ElevenLabs", "ELEVENLABS_API_KEY"),
    ("speech", "OpenAI-compatible speech", "SPEECH_BASE_URL"),
)
"""Providers that this version does not call yet: name, name to show, the variable that will bring it."""
_MAX_WORKERS: Final = 8
_MAX_FLIGHTS: Final = 4_096
_LANDING_SECONDS: Final = 120.0
"""Seconds within which the audio of a call is encoded and in the cache."""


def build(settings: VoiceServiceSettings) -> VoiceApp:
    """Put the service together. Opens nothing but the cache's folder. Raises ConfigurationError."""
    workers = settings.offline_workers or min(_MAX_WORKERS, os.cpu_count() or 1)
    offline = OfflineVoiceProvider(workers=workers, speak_timeout=settings.segment_seconds)
    return assemble(settings, [offline, MockVoiceProvider(settings.mock_script)], warm_up=offline.warm_up)


def assemble(
    settings: VoiceServiceSettings,
    providers: Sequence[VoiceProvider],
    *,
    warm_up: Callable[[], None] = lambda: None,
) -> VoiceApp:
    """Put the service together around these providers. Raises ConfigurationError."""
    registry = _registry(settings, providers)
    cache = open_cache(
        settings.cache_url,
        settings.data_dir,
        settings.cache_max_bytes,
        # What a narration asked for may end in the cache after the narration.
        forgotten_seconds=settings.narration_seconds + settings.segment_seconds + _LANDING_SECONDS,
    )
    encoder = Mp3Encoder(os.cpu_count() or 1)
    synthesizer = SegmentSynthesizer(
        cache=cache,
        finisher=SegmentFinisher(encoder),
        encoder=encoder,
        slots=ProviderSlots(lambda metadata: _calls_at_once(settings, metadata)),
        timers=Timers(
            first_byte=settings.first_byte_seconds, idle=settings.idle_seconds, total=settings.segment_seconds
        ),
        retry=RetryPolicy(
            retries=settings.retries,
            delay=settings.retry_delay_seconds,
            longest_wait=settings.retry_longest_wait_seconds,
        ),
        max_flights=_MAX_FLIGHTS,
    )
    policy = NarrationPolicy(segment_words=settings.segment_words, segments_ahead=settings.segments_ahead)

    def narrate(request: NarrationRequest) -> Narration:
        return Narration(request, registry=registry, synthesizer=synthesizer, policy=policy)

    catalogue = VoiceCatalogue(registry)
    transcriber = OpenAITranscriber(_transcription(settings))
    servicer = VoiceServicer(
        narrate=narrate,
        catalogue=catalogue,
        cache=cache,
        transcription=TranscribeHandler(
            transcriber, max_bytes=settings.transcribe_max_bytes, seconds=settings.transcribe_seconds
        ),
        narration_seconds=settings.narration_seconds,
    )
    return VoiceApp(
        servicer,
        catalogue=catalogue,
        cache=cache,
        synthesizer=synthesizer,
        warm_up=warm_up,
        uncalled=_uncalled(settings),
        closing=[*(provider.aclose for provider in providers), transcriber.aclose, encoder.aclose, cache.aclose],
    )


def _transcription(settings: VoiceServiceSettings) -> TranscriptionConfig:
    return transcription_config(
        base_url=settings.transcribe_base_url,
        api_key=settings.transcribe_api_key,
        api_key_file=settings.transcribe_api_key_file,
        openai_api_key=settings.openai_api_key,
        openai_api_key_file=settings.openai_api_key_file,
        model=settings.transcribe_model,
    )


def _registry(settings: VoiceServiceSettings, providers: Sequence[VoiceProvider]) -> ProviderRegistry:
    registry = ProviderRegistry(settings.default_provider, settings.provider_fallback)
    for provider in providers:
        registry.register(provider)
    uncalled = _uncalled(settings)
    for name, display_name, variable in _ANNOUNCED:
        unset = f"this version does not call it; a later one does when {variable} is set"
        reason = f"{variable} is set, but this version does not call it yet" if variable in uncalled else unset
        registry.announce(Announced(name, display_name, reason))
    known = ", ".join(sorted({each.metadata.name for each in providers} | {name for name, _, _ in _ANNOUNCED}))
    if not registry.knows(settings.default_provider):
        raise ConfigurationError(f"DEFAULT_VOICE_PROVIDER must be one of {known}")
    if not all(map(registry.knows, settings.provider_fallback)):
        raise ConfigurationError(f"VOICE_PROVIDER_FALLBACK must be a comma-separated list of {known}")
    return registry


def _uncalled(settings: VoiceServiceSettings) -> tuple[str, ...]:
    """Variables that are set for providers that this version does not call."""
    given = {"ELEVENLABS_API_KEY": settings.elevenlabs_api_key, "SPEECH_BASE_URL": settings.speech_base_url}
    return tuple(variable for variable, value in given.items() if value)


def _calls_at_once(settings: VoiceServiceSettings, metadata: ProviderMetadata) -> int:
    if metadata.name == EMBEDDED:
        # One speaks while another is encoded; who waits here is on no timer.
        return 2 * (settings.offline_workers or min(_MAX_WORKERS, os.cpu_count() or 1))
    return settings.paid_concurrency if metadata.paid else settings.concurrency
