"""The composition root: settings -> objects -> service."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from servicekit.channel import PeerChannel, open_channel
from servicekit.languages import LanguageDetector
from servicekit.metrics import Metrics
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import OutgoingCalls
from servicekit.resilience.retry import RetryPolicy
from servicekit.settings import ConfigurationError, warnings_of
from voice_service.app import VoiceApp
from voice_service.audio.encoder import AudioEncoder
from voice_service.audio.verify import SegmentFinisher
from voice_service.metrics import VoiceMetrics
from voice_service.narration.admission import Admission
from voice_service.narration.narration import Narration, NarrationPolicy
from voice_service.providers.factory import ANNOUNCED, BY_NAME, make_providers, offline_workers
from voice_service.providers.registry import EMBEDDED, Announced, ProviderRegistry
from voice_service.settings import Tuning
from voice_service.synthesis.call import AudioBudget, Pace, Timers
from voice_service.synthesis.calls import ProviderCalls
from voice_service.synthesis.gates import AccountWatch, Allowance, Prober, ProviderGates
from voice_service.synthesis.remote_store import RemoteSegments
from voice_service.synthesis.store import MemorySegments
from voice_service.synthesis.synthesize import SegmentSynthesizer
from voice_service.transcription.openai_transcriber import OpenAITranscriber, transcription_config
from voice_service.wire.catalogue import VoiceCatalogue
from voice_service.wire.servicer import VoiceServicer
from voice_service.wire.transcribe_servicer import TranscribeHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from voice_service.narration.messages import NarrationRequest
    from voice_service.ports import ProviderMetadata, VoiceProvider
    from voice_service.settings import VoiceServiceSettings
    from voice_service.synthesis.store import SegmentStore

DEFAULTS: Final = Tuning()
_MAX_FLIGHTS: Final = 4_096
_USUAL_SECONDS: Final = 30.0
"""Time to the first byte of a segment, and to its end."""
_LOCAL_SECONDS: Final = 300.0
"""The same of a server in the own network, at least."""
_LOADING_SECONDS: Final = 120.0
"""The same of another server that may have to load its model."""
_QUEUED_CALLS: Final = 2
_FREE_CALLS: Final = 64


def build(
    settings: VoiceServiceSettings,
    tuning: Tuning = DEFAULTS,
    *,
    store: SegmentStore | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> VoiceApp:
    """Puts the service together; `store` and `clock` as in `assemble`. Opens nothing yet. Raises ConfigurationError."""
    metrics = Metrics()
    voice_metrics = VoiceMetrics(metrics)
    providers = make_providers(settings, tuning, voice_metrics, os.environ)
    return assemble(
        settings, providers, tuning=tuning, metrics=metrics, voice_metrics=voice_metrics, store=store, clock=clock
    )


def assemble(
    settings: VoiceServiceSettings,
    providers: Sequence[VoiceProvider | Announced],
    *,
    tuning: Tuning = DEFAULTS,
    metrics: Metrics | None = None,
    voice_metrics: VoiceMetrics | None = None,
    store: SegmentStore | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> VoiceApp:
    """Puts the service together around these providers; `clock` is that of circuits and limits, in seconds.

    Raises ConfigurationError.
    """
    metrics = metrics or Metrics()
    voice_metrics = voice_metrics or VoiceMetrics(metrics)
    callable_ones = [each for each in providers if not isinstance(each, Announced)]
    # A file that comes when all of it is made begins late by its nature, and so does what is written down.
    # A server that may be one machine is slow where that is.
    streaming = {
        each.metadata.name for each in callable_ones if each.metadata.supports_streaming and not each.metadata.queues
    }
    circuits = _circuits(settings, metrics, streaming, clock)
    retry = RetryPolicy(
        retries=settings.retries, delay=tuning.retry_delay, longest_wait=settings.retry_longest_wait_seconds
    )
    gates = ProviderGates(
        circuits,
        lambda metadata: _allowance(settings, tuning, metadata),
        retry=retry,
        metrics=voice_metrics,
        clock=clock,
    )
    registry = _registry(settings, providers, gates)
    store = store or _store(settings)
    for provider in callable_ones:
        gates.of(provider.metadata)
    encoder = AudioEncoder(os.cpu_count() or 1)
    prober = Prober(gates, voice_metrics)
    calls = ProviderCalls(
        gates=gates,
        prober=prober,
        finisher=SegmentFinisher(encoder),
        budget=AudioBudget(tuning.audio_buffer_bytes),
        metrics=voice_metrics,
        prices=settings.prices,
    )
    synthesizer = SegmentSynthesizer(
        store=store, calls=calls, encoder=encoder, metrics=voice_metrics, max_flights=_MAX_FLIGHTS
    )
    policy = NarrationPolicy(
        segment_words=settings.segment_words,
        segments_ahead=settings.segments_ahead,
        max_audio_bytes=settings.max_audio_bytes,
        beat=tuning.beat,
    )
    admission = Admission(
        gates.calls_at_once, voice_metrics, is_closed=lambda provider: gates.state(provider) == "closed"
    )
    detector = LanguageDetector()

    def narrate(request: NarrationRequest, deadline: float) -> Narration:
        return Narration(
            request,
            registry=registry,
            store=store,
            synthesizer=synthesizer,
            detector=detector,
            metrics=voice_metrics,
            policy=policy,
            place=admission.arrive(),
            prober=prober,
            deadline=deadline,
        )

    catalogue = VoiceCatalogue(registry, gates.state)
    transcriber = OpenAITranscriber(transcription_config(settings))
    audit = voice_metrics.audit(transcriber.name)
    transcribing = OutgoingCalls(transcriber.name, breakers=circuits, policy=retry, audit=audit, http=False)
    account = AccountWatch(callable_ones, voice_metrics, tuning.quota_interval)
    return VoiceApp(
        VoiceServicer(
            narrate=narrate,
            catalogue=catalogue,
            transcription=TranscribeHandler(
                transcriber, transcribing, max_bytes=settings.transcribe_max_bytes, seconds=tuning.transcription
            ),
            metrics=voice_metrics,
            narration_seconds=tuning.narration,
            can_store=store.is_shared,
        ),
        catalogue=catalogue,
        synthesizer=synthesizer,
        providers=callable_ones,
        account=account,
        metrics=metrics,
        circuits=circuits,
        warnings=warnings_of(settings),
        # Providers last: what still calls them ends before them.
        closing=[
            account.aclose,
            prober.aclose,
            admission.aclose,
            *(provider.aclose for provider in callable_ones),
            transcriber.aclose,
            encoder.aclose,
            store.aclose,
        ],
    )


def _store(settings: VoiceServiceSettings) -> SegmentStore:
    if not settings.storage_target:
        return MemorySegments()
    return RemoteSegments(PeerChannel(open_channel(settings.storage_target), settings.peer_token))


def _registry(
    settings: VoiceServiceSettings, providers: Sequence[VoiceProvider | Announced], gates: ProviderGates
) -> ProviderRegistry:
    default, brought = settings.default_provider, [each for each in providers if not isinstance(each, Announced)]
    registry = ProviderRegistry(
        default,
        settings.provider_fallback,
        preferred=[name for each in brought if (name := each.metadata.name) not in BY_NAME],
        closed_reason=gates.closed_reason,
    )
    for provider in providers:
        if isinstance(provider, Announced):
            registry.announce(provider)
        else:
            registry.register(provider)
    for announced in ANNOUNCED:
        registry.announce(announced)
    known = ", ".join(sorted(registry.names))
    if default and not registry.knows(default):
        raise ConfigurationError(f"DEFAULT_VOICE_PROVIDER must be one of {known}")
    if not all(map(registry.knows, settings.provider_fallback)):
        raise ConfigurationError(f"VOICE_PROVIDER_FALLBACK must be a comma-separated list of {known}")
    return registry


def _circuits(
    settings: VoiceServiceSettings, metrics: Metrics, streaming: Collection[str], clock: Callable[[], float]
) -> BreakerManager:
    def config(name: str) -> BreakerConfig:
        return BreakerConfig(
            name=name,
            failure_threshold=settings.breaker_failures,
            recovery_timeout=settings.breaker_seconds,
            shortest_cooldown=settings.retry_longest_wait_seconds,
            opens_when_refused=True,
            slow_call_seconds=settings.slow_seconds if name in streaming else None,
        )

    return BreakerManager(config, metrics=metrics, clock=clock)


def _allowance(settings: VoiceServiceSettings, tuning: Tuning, metadata: ProviderMetadata) -> Allowance:
    usual = _LOCAL_SECONDS if metadata.local else _USUAL_SECONDS
    timers = Timers(
        first_byte=settings.first_byte_seconds or usual, idle=tuning.idle, total=settings.segment_seconds or usual
    )
    if metadata.name == EMBEDDED:
        # One speaks while another is encoded; a wait here is on no timer.
        return Allowance(concurrency=2 * offline_workers(tuning), timers=timers)
    free = settings.concurrency or (_QUEUED_CALLS if metadata.queues else _FREE_CALLS)
    pace = Pace(
        warm=usual,
        cold=max(usual, _LOADING_SECONDS),
        first_byte=settings.first_byte_seconds,
        total=settings.segment_seconds,
    )
    return Allowance(
        concurrency=metadata.concurrency or (settings.paid_concurrency if metadata.paid else free),
        requests_per_minute=settings.requests_per_minute if metadata.paid else None,
        # A second call for a late segment would take the time of the first.
        late_seconds=None if metadata.queues else settings.slow_seconds,
        timers=timers,
        pace=pace if metadata.queues else None,
    )
